// Errors of a running service, as classes with their facts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AuthenticationError, InvalidRequestError, Kosmos2, TimeoutError, UnavailableError } from "../../src/index.js";
import { client, SCENE, smallUrl } from "./support.js";

const LONG = { task: "detailed_caption", max_new_tokens: 400, temperature: 2, seed: 1 };

test("a wrong field is named, with the id of the request", async () => {
  await assert.rejects(client.ground(SCENE, { task: "dance" }), (error) => {
    assert.ok(error instanceof InvalidRequestError);
    assert.deepEqual([error.status, error.code, error.fields[0].field], [422, "invalid_request", "task"]);
    assert.match(error.requestId, /^[0-9a-f]{32}$/);
    return true;
  });
});

test("a file that is no picture is rejected before a stream begins", async () => {
  const stream = client.groundStream(new Blob(["no picture"]), { task: "brief_caption" });
  await assert.rejects(stream.next(), { name: "InvalidRequestError", code: "invalid_image" });
});

test("a missing key is an error of its own", async () => {
  await assert.rejects(new Kosmos2(smallUrl).tasks(), AuthenticationError);
});

test("a call ends at its time limit, or when its signal aborts", async () => {
  await assert.rejects(client.ground(SCENE, LONG, { timeoutMs: 1 }), TimeoutError);
  await assert.rejects(client.ground(SCENE, LONG, { signal: AbortSignal.abort(new Error("left")) }), /left/);
});

test("a full service is an error that names a wait, and retries succeed when it has room again", async () => {
  const patient = new Kosmos2(smallUrl, { apiKey: "the-key", maxRetries: 20 });
  const hasty = new Kosmos2(smallUrl, { apiKey: "the-key", maxRetries: 0 });
  const first = patient.groundStream(SCENE, LONG);
  await first.next(); // the only slot is in use from here on
  await assert.rejects(hasty.ground(SCENE, LONG), (error) => {
    assert.ok(error instanceof UnavailableError);
    assert.ok(error.retryAfterS >= 1);
    return true;
  });
  let numRetries = 0;
  const second = patient.ground(SCENE, { task: "brief_caption" }, { onRetry: () => numRetries++ });
  for await (const event of first) assert.ok(event.type);
  assert.equal((await second).task, "brief_caption");
  assert.ok(numRetries >= 1);
});
