// Boxes are converted between the original and the smaller picture that was sent.
import assert from "node:assert/strict";
import { test } from "node:test";
import { entityInOriginal, fieldsForSent, imageInOriginal, predictionInOriginal } from "../../src/coordinates.js";

const SIZES = { original: { width: 4000, height: 3000 }, sent: { width: 1000, height: 750 } };

test("boxes of an answer are scaled to the original, and fractions stay", () => {
  const box = { xyxy: [10, 20, 30, 40], xyxy_refined: [1, 2, 3, 4], xyxy_normalized: [0.01, 0.02, 0.03, 0.04] };
  const [scaled] = entityInOriginal({ boxes: [box] }, SIZES).boxes;
  assert.deepEqual(scaled.xyxy, [40, 80, 120, 160]);
  assert.deepEqual(scaled.xyxy_refined, [4, 8, 12, 16]);
  assert.deepEqual(scaled.xyxy_normalized, box.xyxy_normalized);
});

test("a box without a refined form keeps null", () => {
  const [scaled] = entityInOriginal({ boxes: [{ xyxy: [0, 0, 1, 1], xyxy_refined: null }] }, SIZES).boxes;
  assert.equal(scaled.xyxy_refined, null);
});

test("the forms of a prediction agree after scaling", () => {
  const scaled = predictionInOriginal({ x: 20, y: 30, width: 20, height: 20, xyxy: [10, 20, 30, 40] }, SIZES);
  assert.deepEqual(scaled, { x: 80, y: 120, width: 80, height: 80, xyxy: [40, 80, 120, 160] });
});

test("regions of a request are scaled to the sent picture, unless they are fractions", () => {
  const regions = [{ phrase: "it", boxes: [[400, 800, 1200, 1600]] }];
  assert.deepEqual(fieldsForSent({ regions }, SIZES).regions[0].boxes, [[100, 200, 300, 400]]);
  const fractions = { regions: [{ boxes: [[0.1, 0.2, 0.3, 0.4]] }], box_format: "normalized" };
  assert.deepEqual(fieldsForSent(fractions, SIZES), fractions);
});

test("entities to draw are scaled to the sent picture", () => {
  const entities = [{ phrase: "a", boxes: [{ xyxy: [400, 800, 1200, 1600] }] }];
  assert.deepEqual(fieldsForSent({ entities }, SIZES).entities[0].boxes[0].xyxy, [100, 200, 300, 400]);
});

test("the size of an answer is that of the original", () => {
  const image = { width: 1000, height: 750, exif_orientation: 1 };
  assert.deepEqual(imageInOriginal(image, SIZES), { width: 4000, height: 3000, exif_orientation: 1 });
});
