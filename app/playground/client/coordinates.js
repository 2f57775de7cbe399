// Converts boxes between the pixels of the original and the pixels of the picture that was sent.

const round = (value) => Math.round(value * 1e4) / 1e4;

/** Returns a function that scales `[x0, y0, x1, y1]` from one size to another. */
function scaler(from, to) {
  const [x, y] = [to.width / from.width, to.height / from.height];
  return (box) => box.map((edge, side) => round(edge * (side % 2 === 0 ? x : y)));
}

/** Returns the fields of a request with their boxes in the pixels of the sent picture. */
export function fieldsForSent(fields, { original, sent }) {
  if (original === null || fields.box_format === "normalized") return fields;
  const scale = scaler(original, sent);
  const scaleItem = (item) => ({ ...item, boxes: item.boxes.map((box) => (Array.isArray(box) ? scale(box) : scaleBox(box, scale))) });
  const scaled = { ...fields };
  if (fields.regions) scaled.regions = fields.regions.map(scaleItem);
  if (fields.entities) scaled.entities = fields.entities.map(scaleItem);
  return scaled;
}

/** Returns an entity of an answer with its boxes in the pixels of the original. */
export function entityInOriginal(entity, { original, sent }) {
  if (original === null) return entity;
  const scale = scaler(sent, original);
  return { ...entity, boxes: entity.boxes.map((box) => scaleBox(box, scale)) };
}

/** Returns a prediction of a detection with its box in the pixels of the original. */
export function predictionInOriginal(prediction, { original, sent }) {
  if (original === null) return prediction;
  const [x0, y0, x1, y1] = scaler(sent, original)(prediction.xyxy);
  const box = { x: round((x0 + x1) / 2), y: round((y0 + y1) / 2), width: round(x1 - x0), height: round(y1 - y0) };
  return { ...prediction, ...box, xyxy: [x0, y0, x1, y1] };
}

/** Returns the facts about the picture with the size of the original. */
export function imageInOriginal(image, { original }) {
  return original === null ? image : { ...image, ...original };
}

function scaleBox(box, scale) {
  const refined = box.xyxy_refined ? { xyxy_refined: scale(box.xyxy_refined) } : {};
  return { ...box, xyxy: scale(box.xyxy), ...refined };
}
