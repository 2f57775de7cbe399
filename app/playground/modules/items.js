// Brings phrases of an answer and classes of a detection into one form.

/** Colours of Okabe and Ito, lightened so that dark digits are readable on them; the digit of a box repeats its colour. */
const COLOURS = ["#f0b429", "#67c1f5", "#3ad1a5", "#f5ec5d", "#ff9466", "#e9a1cd", "#a7b6ff", "#c9c9c9"];

export const colourOf = (index) => COLOURS[index % COLOURS.length];

export function itemOfEntity(entity, answerSpan = null) {
  const boxes = entity.boxes.map((box) => ({
    coarse: box.xyxy_normalized,
    refined: box.xyxy_refined_normalized,
    confidence: box.confidence,
  }));
  return { name: entity.phrase ?? "no phrase", span: entity.span ?? null, answerSpan, isSent: entity.from_prompt, boxes };
}

export function itemOfClass({ class: name, presence, predictions }) {
  const boxes = predictions.map((one) => ({ coarse: null, refined: one.xyxy_normalized, confidence: one.confidence }));
  return { name, presence, isSent: false, boxes };
}

/** Returns the boxes of an item that the slider does not hide: index, confidence, and corners per kind. */
export function visibleBoxes(item, { threshold, kind }) {
  return item.boxes
    .map((box, index) => ({ index, confidence: box.confidence, shapes: shapesOf(box, kind) }))
    .filter((box) => box.confidence === null || box.confidence >= threshold);
}

// A box of the request has no refined form, a detection no coarse one: the other form replaces it.
function shapesOf({ coarse, refined }, kind) {
  const both = [["coarse", coarse ?? refined], ["refined", refined ?? coarse]];
  if (kind === "both" && coarse && refined) return both;
  return both.filter(([name]) => name === (kind === "both" ? "refined" : kind));
}

/** Returns the part of the picture that a box covers, in words for a screen reader. */
export function placeOf([x0, y0, x1, y1]) {
  const at = (value) => Math.round(value * 100);
  return `left ${at(x0)}, top ${at(y0)}, right ${at(x1)}, bottom ${at(y1)} percent`;
}
