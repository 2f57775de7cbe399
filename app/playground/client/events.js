// Reads Server-Sent Events from the body of a response.
import { readAnswer } from "./answers.js";
import { cutShort, errorOfProblem, Kosmos2Error } from "./errors.js";

/**
 * Yields what `convert` returns for `{name, data}` of every event up to and including `done`, except null.
 * If the caller ends the loop early, the connection is closed, so the service stops working on the answer.
 */
export async function* readEvents({ body, status }, signal, convert) {
  if (body === null) throw cutShort();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let unread = ""; ; ) {
      const part = await reader.read();
      if (part.done) break;
      const frames = (unread + part.value).split("\n\n");
      unread = frames.pop(); // an incomplete event
      for (const event of frames.map(parseFrame)) {
        if (event === null) continue;
        const { name, text } = event;
        if (name === "error") throw readAnswer(text, status, (problem) => errorOfProblem(problem));
        // Nothing follows; after a response is read to its end, the connection is free for the next request.
        if (name === "done") await drain(reader);
        const converted = readAnswer(text, status, (data) => convert({ name, data }));
        if (converted !== null) yield converted;
        if (name === "done") return;
      }
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw cause instanceof Kosmos2Error ? cause : cutShort(cause);
  } finally {
    await reader.cancel().catch(() => {});
  }
  signal.throwIfAborted();
  throw cutShort();
}

async function drain(reader) {
  while (!(await reader.read()).done);
}

// The service writes one line of `event` and one line of `data`; comments keep the connection open.
function parseFrame(frame) {
  const lines = frame.split("\n");
  const valueOf = (field) => lines.find((line) => line.startsWith(`${field}: `))?.slice(field.length + 2);
  const name = valueOf("event");
  return name === undefined ? null : { name, text: valueOf("data") ?? "" };
}
