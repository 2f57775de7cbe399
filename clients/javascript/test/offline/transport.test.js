// Retries, timeouts and broken connections, with a server that misbehaves as proxies and networks do.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionError, InvalidRequestError, Kosmos2, TimeoutError, UnavailableError } from "../../src/index.js";
import { serve } from "./support.js";

const full = (response) => response.writeHead(503, { "Retry-After": "1" }).end('{"code": "overloaded", "detail": "full"}');
const tasks = (response) => response.end("[]");
const cut = (response) => response.socket.destroy();

test("a full service is asked again, not before its Retry-After", async (context) => {
  const { url, times } = await serve(context, full, tasks);
  const waits = [];
  assert.deepEqual(await new Kosmos2(url).tasks({ onRetry: (retry) => waits.push(retry) }), []);
  assert.ok(times[1] - times[0] >= 990, `retried after ${times[1] - times[0]} ms`);
  assert.equal(waits.length, 1);
  assert.equal(waits[0].error.code, "overloaded");
});

test("the last error is thrown after all retries", async (context) => {
  const { url, times } = await serve(context, cut);
  await assert.rejects(new Kosmos2(url, { maxRetries: 1 }).tasks(), ConnectionError);
  assert.equal(times.length, 2);
});

test("a wrong request is not sent again", async (context) => {
  const { url, times } = await serve(context, (response) => response.writeHead(422).end("{}"));
  await assert.rejects(new Kosmos2(url).tasks(), InvalidRequestError);
  assert.equal(times.length, 1);
});

test("an error page of a proxy has a status and no problem", async (context) => {
  const { url } = await serve(context, (response) => response.writeHead(502).end("<h1>Bad Gateway</h1>"));
  await assert.rejects(new Kosmos2(url, { maxRetries: 0 }).tasks(), (error) => {
    assert.ok(error instanceof UnavailableError);
    assert.deepEqual([error.status, error.code], [502, "unexpected_response"]);
    return true;
  });
});

test("a wait that exceeds the time limit throws the service's error at once", async (context) => {
  const { url } = await serve(context, full);
  await assert.rejects(new Kosmos2(url, { timeoutMs: 900 }).tasks(), UnavailableError);
});

test("a silent service causes a timeout", async (context) => {
  const { url } = await serve(context, () => {});
  await assert.rejects(new Kosmos2(url, { timeoutMs: 100 }).tasks(), TimeoutError);
});

for (const timeoutMs of [2 ** 31, Infinity]) {
  test(`a time limit of ${timeoutMs} ms is no limit`, async (context) => {
    const { url } = await serve(context, (response) => setTimeout(() => tasks(response), 50));
    assert.deepEqual(await new Kosmos2(url, { timeoutMs }).tasks(), []);
  });
}

test("a Retry-After of 30 days is not retried at once", async (context) => {
  const days = (response) => response.writeHead(503, { "Retry-After": String(30 * 24 * 3600) }).end("{}");
  const { url, times } = await serve(context, days);
  const controller = new AbortController();
  const onRetry = () => setTimeout(() => controller.abort(new Error("enough")), 100);
  await assert.rejects(new Kosmos2(url, { timeoutMs: Infinity }).tasks({ signal: controller.signal, onRetry }), /enough/);
  assert.equal(times.length, 1);
});

test("a signal ends the call with its reason, also during a wait", async (context) => {
  const { url } = await serve(context, full);
  const controller = new AbortController();
  const start = performance.now();
  const call = new Kosmos2(url).tasks({ signal: controller.signal, onRetry: () => controller.abort(new Error("enough")) });
  await assert.rejects(call, /enough/);
  assert.ok(performance.now() - start < 900, "the call waited for Retry-After");
});

test("a signal ends the call with its reason while the body of an error arrives", async (context) => {
  const { url } = await serve(context, (response) => response.writeHead(422).write("{"));
  const controller = new AbortController();
  const fetchAndAbort = async (...sent) => {
    const response = await fetch(...sent);
    setTimeout(() => controller.abort(new Error("enough")));
    return response;
  };
  await assert.rejects(new Kosmos2(url, { fetch: fetchAndAbort }).tasks({ signal: controller.signal }), /enough/);
});

test("a stream that ends before its last event is an error", async (context) => {
  const { url } = await serve(context, (response) => response.end('event: token\ndata: {"text": "a"}\n\n'));
  const texts = [];
  await assert.rejects(async () => {
    for await (const event of new Kosmos2(url).groundStream(new Blob(["x"]), { task: "brief_caption" })) texts.push(event.text);
  }, { name: "ConnectionError", code: "incomplete_answer" });
  assert.deepEqual(texts, ["a"]);
});

test("the key is sent in the header", async (context) => {
  const { url } = await serve(context, (response, request) => response.end(JSON.stringify([request.headers.authorization])));
  assert.deepEqual(await new Kosmos2(`${url}/`, { apiKey: "k" }).tasks(), ["Bearer k"]);
});

for (const address of ["", "localhost:8000", "127.0.0.1:8000", "ftp://localhost"]) {
  test(`the address ${JSON.stringify(address)} is an error at once`, () => {
    assert.throws(() => new Kosmos2(address), /^TypeError: the address of a service starts with http/);
  });
}

for (const apiKey of ["schlüssel", "a\nb"]) {
  test(`the key ${JSON.stringify(apiKey)}, which no header can hold, is an error at once`, () => {
    assert.throws(() => new Kosmos2("http://127.0.0.1", { apiKey }), /^TypeError: an API key has/);
  });
}
