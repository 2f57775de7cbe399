// A server that misbehaves as proxies and networks do.
import { createServer } from "node:http";
import { once } from "node:events";

/** Starts a server whose n-th request is handled by the n-th handler, and the rest by the last one. */
export async function serve(context, ...handlers) {
  const times = [];
  const server = createServer((request, response) => {
    times.push(performance.now());
    request.resume().on("end", () => handlers[Math.min(times.length, handlers.length) - 1](response, request));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, times };
}
