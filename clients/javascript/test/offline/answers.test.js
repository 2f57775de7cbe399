// Answers that are cut short, or that another program sent: every method throws an error of this package.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionError, InvalidAnswerError, InvalidRequestError, Kosmos2 } from "../../src/index.js";
import { serve } from "./support.js";

const PICTURE = new Blob(["x"]);
const CALLS = {
  ground: (client) => client.ground(PICTURE, { task: "brief_caption" }),
  detect: (client) => client.detect(PICTURE, { classes: ["dog"] }),
  annotate: (client) => client.annotate(PICTURE, { task: "brief_caption" }),
  tasks: (client) => client.tasks(),
  version: (client) => client.version(),
};
const STREAMS = {
  groundStream: (client) => client.groundStream(PICTURE, { task: "brief_caption" }).next(),
  detectStream: (client) => client.detectStream(PICTURE, { classes: ["dog"] }).next(),
};

const page = (response) => response.end("<h1>Another\nprogram</h1>");
const emptyObject = (response) => response.end("{}");
const cutShort = (response) => {
  response.writeHead(200, { "Content-Type": "image/png", "Content-Length": 1000 });
  response.write("7 bytes", () => response.socket.destroy());
};

for (const [name, call] of Object.entries(CALLS)) {
  test(`${name} is sent again after an answer that is cut short`, async (context) => {
    const { url, times } = await serve(context, cutShort);
    await assert.rejects(call(new Kosmos2(url, { maxRetries: 1 })), (error) => {
      assert.ok(error instanceof ConnectionError);
      assert.deepEqual([error.code, error.status], ["incomplete_answer", null]);
      return true;
    });
    assert.equal(times.length, 2);
  });

  for (const [kind, handler] of Object.entries({ "a page": page, "an empty object": emptyObject })) {
    test(`${name} rejects a complete answer that is ${kind}, and is not sent again`, async (context) => {
      const { url, times } = await serve(context, handler);
      await assert.rejects(call(new Kosmos2(url)), (error) => {
        assert.ok(error instanceof InvalidAnswerError);
        assert.deepEqual([error.code, error.status], ["unexpected_response", 200]);
        assert.match(error.message, /: (<h1>Another program<\/h1>|\{\})$/);
        return true;
      });
      assert.equal(times.length, 1);
    });
  }
}

for (const [name, call] of Object.entries(STREAMS)) {
  for (const event of ["done\ndata: {}", "done\ndata: null", "done\ndata: <h1>", "done", "error\ndata: null"]) {
    test(`${name} rejects the event ${JSON.stringify(event)}`, async (context) => {
      const { url } = await serve(context, (response) => response.end(`event: ${event}\n\n`));
      await assert.rejects(call(new Kosmos2(url)), InvalidAnswerError);
    });
  }

  test(`${name} needs a body`, async (context) => {
    const { url } = await serve(context, (response) => response.writeHead(204).end());
    await assert.rejects(call(new Kosmos2(url)), ConnectionError);
  });
}

test("a call is sent again after an answer that is cut short, and succeeds", async (context) => {
  const { url } = await serve(context, cutShort, (response) => response.end("[]"));
  const codes = [];
  assert.deepEqual(await new Kosmos2(url).tasks({ onRetry: ({ error }) => codes.push(error.code) }), []);
  assert.deepEqual(codes, ["incomplete_answer"]);
});

test("an error whose body is null has its status", async (context) => {
  const { url, times } = await serve(context, (response) => response.writeHead(403).end("null"));
  await assert.rejects(new Kosmos2(url).tasks(), (error) => {
    assert.ok(error instanceof InvalidRequestError);
    assert.deepEqual([error.status, error.code], [403, "unexpected_response"]);
    return true;
  });
  assert.equal(times.length, 1);
});
