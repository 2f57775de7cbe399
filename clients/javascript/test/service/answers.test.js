// Answers of a running service, for every form of a picture.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { client, SCENE } from "./support.js";

const bytes = await readFile(SCENE);
const PHRASES = ["two red circles", "a blue square"];
const PICTURES = {
  path: SCENE,
  "file URL": pathToFileURL(SCENE),
  Buffer: bytes,
  Uint8Array: new Uint8Array(bytes),
  ArrayBuffer: new Uint8Array(bytes).buffer,
  Blob: new Blob([bytes]),
  "data URI": `data:image/jpeg;base64,${bytes.toString("base64")}`,
};

for (const [name, picture] of Object.entries(PICTURES)) {
  test(`a picture may be a ${name}`, async () => {
    const answer = await client.ground(picture, { task: "brief_caption" });
    assert.deepEqual(answer.entities.map((entity) => entity.phrase), PHRASES);
    for (const { phrase, span } of answer.entities) assert.equal(answer.text.slice(...span), phrase);
    assert.equal(answer.text.slice(answer.answer_start), answer.answer);
  });
}

test("an address is refused, because the client sends files", async () => {
  await assert.rejects(client.ground("https://example.com/a.jpg", { task: "brief_caption" }), TypeError);
});

test("a region and characters outside the basic plane reach the service", async () => {
  const regions = [{ phrase: "the square", boxes: [[114, 68, 180, 134]] }];
  const answer = await client.ground(SCENE, { task: "grounded_vqa", text: "🐶 What color is the square?", regions });
  const [square] = answer.entities;
  assert.equal(square.from_prompt, true);
  assert.equal(answer.text.slice(...square.span), "the square");
});

test("the events of a stream add up to the answer", async () => {
  const [events, phrases] = [[], []];
  let text = "";
  for await (const event of client.groundStream(SCENE, { task: "brief_caption" })) {
    events.push(event.type);
    if (event.type === "token") text += event.text;
    if (event.type === "entity") phrases.push(text.slice(...event.answerSpan));
    if (event.type === "done") assert.equal(text, event.answer.answer);
  }
  assert.equal(events.at(-1), "done");
  assert.deepEqual(phrases, PHRASES);
});

test("leaving the loop ends a stream", async () => {
  for await (const event of client.groundStream(SCENE, { task: "detailed_caption" })) {
    assert.equal(event.type, "token");
    break;
  }
});

test("classes are detected, whole and as a stream", async () => {
  const fields = { classes: ["red circle", "green star"], confidence: 0.5 };
  const found = await client.detect(SCENE, fields);
  assert.deepEqual(found.predictions.map((one) => one.class), ["red circle", "red circle"]);
  const streamed = [];
  for await (const event of client.detectStream(SCENE, fields)) {
    if (event.type === "class") streamed.push([event.result.class, event.result.predictions.length]);
    else assert.deepEqual(event.answer.classes.map((one) => one.class), fields.classes);
  }
  assert.deepEqual(streamed.sort(), [["green star", 0], ["red circle", 2]]);
});

test("an annotated picture has the requested type", async () => {
  const drawn = await client.annotate(SCENE, { task: "brief_caption" }, { mediaType: "image/webp" });
  assert.equal(drawn.type, "image/webp");
  assert.ok(drawn.size > 1000);
});

test("the tasks and the version are those of the service", async () => {
  const tasks = await client.tasks();
  assert.ok(tasks.some((task) => task.task === "brief_caption"));
  assert.equal((await client.version()).model.name, "kosmos2-shapes-demo");
});
