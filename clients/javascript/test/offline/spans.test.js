// Spans in code points become indices of JavaScript strings.
import assert from "node:assert/strict";
import { test } from "node:test";
import { withStringIndices } from "../../src/spans.js";

test("a slice by the converted span is the phrase, also after characters outside the basic plane", () => {
  const text = "Question: 🐶 or 🐱? Answer: a 🐱 here";
  const points = Array.from(text);
  const phrase = "a 🐱";
  const start = points.join("").split(phrase)[0].length; // in UTF-16 units
  const codePointStart = Array.from(text.slice(0, start)).length;
  const converted = withStringIndices({
    text,
    answer_start: codePointStart,
    entities: [{ phrase, span: [codePointStart, codePointStart + 3], boxes: [] }],
  });
  assert.equal(text.slice(...converted.entities[0].span), phrase);
  assert.equal(text.slice(converted.answer_start), "a 🐱 here");
});

test("positions in a text of the basic plane stay as they are", () => {
  const answer = { text: "a dog", answer_start: 0, entities: [{ span: [0, 5] }] };
  assert.deepEqual(withStringIndices(answer), answer);
});
