// Reads answers of the service, and rejects those of other programs.
import { entityInOriginal, imageInOriginal, predictionInOriginal } from "./coordinates.js";
import { InvalidAnswerError } from "./errors.js";
import { withStringIndices } from "./spans.js";

const SHOWN_CHARACTERS = 200;

/**
 * Returns what `convert` returns for the JSON in `text`. Any error of `convert` means that the JSON
 * lacks a field: the rest of the package never sees such an answer.
 */
export function readAnswer(text, status, convert) {
  try {
    return convert(JSON.parse(text));
  } catch (cause) {
    throw invalidAnswer(text, status, cause);
  }
}

/** Returns the picture of a response. */
export async function readPicture(response) {
  const picture = await response.blob();
  if (!picture.type.startsWith("image/")) throw invalidAnswer(await picture.text(), response.status);
  return picture;
}

/** Returns the answer to `ground` in the pixels of the original. */
export function answerInOriginal(answer, sizes) {
  requireFields(answer, "text", "answer_start", "entities", "image");
  const entities = answer.entities.map((entity) => entityInOriginal(entity, sizes));
  return withStringIndices({ ...answer, entities, image: imageInOriginal(answer.image, sizes) });
}

/** Returns the answer to `detect` in the pixels of the original. */
export function detectionsInOriginal(answer, sizes) {
  requireFields(answer, "predictions", "classes", "image");
  const predictions = answer.predictions.map((one) => predictionInOriginal(one, sizes));
  return { ...answer, predictions, image: imageInOriginal(answer.image, sizes) };
}

/** Returns the list of tasks as it is. */
export function checkedTasks(tasks) {
  if (!Array.isArray(tasks)) throw new TypeError("the tasks are not a list");
  return tasks;
}

/** Returns the version as it is. */
export function checkedVersion(version) {
  requireFields(version, "version", "model", "defaults", "limits");
  return version;
}

/** Throws a TypeError that names the first missing field. */
export function requireFields(json, ...names) {
  const missing = names.find((name) => json[name] === undefined);
  if (missing !== undefined) throw new TypeError(`there is no field ${missing}`);
}

function invalidAnswer(text, status, cause) {
  const start = text.slice(0, SHOWN_CHARACTERS).replace(/\s+/g, " ").trim() || "empty";
  return new InvalidAnswerError(`not an answer of a Kosmos-2 service: ${start}`, { code: "unexpected_response", status, cause });
}
