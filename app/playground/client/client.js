// The client: one method for each route.
import {
  answerInOriginal,
  checkedTasks,
  checkedVersion,
  detectionsInOriginal,
  readAnswer,
  readPicture,
  requireFields,
} from "./answers.js";
import { entityInOriginal, fieldsForSent, predictionInOriginal } from "./coordinates.js";
import { Deadline } from "./deadline.js";
import { readEvents } from "./events.js";
import { formOf } from "./forms.js";
import { toBlob } from "./pictures.js";
import { shrink } from "./resize.js";
import { Transport } from "./transport.js";

const JSON_TYPE = "application/json";
const EVENTS_TYPE = "text/event-stream";

export class Kosmos2 {
  #transport;
  #timeoutMs;
  #maxSide;

  /**
   * @param baseUrl Address of the service, with a prefix if a proxy has one; "" in a page means the page's own origin.
   * @param options `timeoutMs` covers a whole call with its retries. `maxSide` limits the upload of a browser, in pixels.
   */
  constructor(baseUrl, { apiKey, timeoutMs = 120_000, maxRetries = 2, maxSide = 1024, fetch = globalThis.fetch } = {}) {
    // A browser's `fetch` must be called as a function, not as a method of another object.
    this.#transport = new Transport(baseUrl, { apiKey, maxRetries, fetch: (...sent) => fetch(...sent) });
    this.#timeoutMs = timeoutMs;
    this.#maxSide = maxSide;
  }

  /** Returns text and boxes for a picture and a task. */
  async ground(picture, fields, options = {}) {
    return this.#upload("/v1/ground", picture, fields, options, readJson(answerInOriginal));
  }

  /** Yields `token`, `entity` and finally `done`, each as soon as it is final. */
  async *groundStream(picture, fields, options = {}) {
    yield* this.#events("/v1/ground", picture, fields, options, groundEvents());
  }

  /** Returns the objects of the given classes. With tiles, the picture is sent at full size. */
  async detect(picture, fields, options = {}) {
    const all = { maxSide: maxSideFor(fields), ...options };
    return this.#upload("/v1/detect", picture, fields, all, readJson(detectionsInOriginal));
  }

  /** Yields a `class` for each class as soon as its predictions are final, and finally `done`. */
  async *detectStream(picture, fields, options = {}) {
    const all = { maxSide: maxSideFor(fields), ...options };
    yield* this.#events("/v1/detect", picture, fields, all, detectEvent);
  }

  /** Returns the picture as a Blob, with the answer or the given entities drawn on it, at full size. */
  async annotate(picture, fields, options = {}) {
    const all = { accept: options.mediaType ?? "image/png", maxSide: 0, ...options };
    return this.#upload("/v1/annotate", picture, fields, all, readPicture);
  }

  /** Returns the tasks with their prompts, and an example for each. */
  tasks(options = {}) {
    return this.#get("/v1/tasks", options, checkedTasks);
  }

  /** Returns version, model, defaults and limits of the service. */
  version(options = {}) {
    return this.#get("/version", options, checkedVersion);
  }

  async #get(path, { signal, timeoutMs = this.#timeoutMs, onRetry }, check) {
    const deadline = new Deadline(timeoutMs, signal);
    try {
      return await this.#transport.send(path, { accept: JSON_TYPE, deadline, onRetry, read: readJson(check) });
    } finally {
      deadline.end();
    }
  }

  async #upload(path, picture, fields, { signal, timeoutMs = this.#timeoutMs, accept = JSON_TYPE, ...options }, read) {
    const deadline = new Deadline(timeoutMs, signal);
    try {
      return await this.#post(path, picture, fields, { ...options, accept, deadline }, read);
    } finally {
      deadline.end();
    }
  }

  async *#events(path, picture, fields, { signal, timeoutMs = this.#timeoutMs, ...options }, convert) {
    const deadline = new Deadline(timeoutMs, signal);
    try {
      const sent = { ...options, accept: EVENTS_TYPE, deadline };
      const open = (response, sizes) => readEvents(response, deadline.signal, (event) => convert(event, sizes));
      yield* await this.#post(path, picture, fields, sent, open);
    } finally {
      deadline.end();
    }
  }

  async #post(path, picture, fields, { accept, deadline, onRetry, maxSide = this.#maxSide }, read) {
    const sizes = await shrink(await toBlob(picture), maxSide);
    const body = formOf(sizes.blob, fieldsForSent(fields, sizes));
    return this.#transport.send(path, { accept, body, deadline, onRetry, read: (response) => read(response, sizes) });
  }
}

// Tiles search parts of the picture for small objects, which a smaller picture would not show.
function maxSideFor({ tiles = "none" }) {
  return tiles === "none" ? undefined : 0;
}

/** Returns a function that reads a response as JSON and converts it. */
function readJson(convert) {
  return async (response, sizes) => readAnswer(await response.text(), response.status, (json) => convert(json, sizes));
}

/** Returns a function that converts the events of one stream of `/v1/ground`; null for an unknown event. */
function groundEvents() {
  let text = "";
  return ({ name, data }, sizes) => {
    if (name === "done") return { type: "done", answer: answerInOriginal(data, sizes) };
    if (name === "token") {
      requireFields(data, "text");
      text += data.text;
      return { type: "token", text: data.text };
    }
    if (name !== "entity") return null;
    // Positions in `text` are unknown until `done`, which has the prompt's text.
    const { span: _, ...entity } = entityInOriginal(data.entity, sizes);
    return { type: "entity", index: data.index, entity, answerSpan: endOf(text, entity.phrase) };
  };
}

/** Returns the converted event of a stream of `/v1/detect`; null for an unknown event. */
function detectEvent({ name, data }, sizes) {
  if (name === "done") return { type: "done", answer: detectionsInOriginal(data, sizes) };
  if (name !== "class") return null;
  const predictions = data.predictions.map((one) => predictionInOriginal(one, sizes));
  return { type: "class", result: { ...data, predictions } };
}

function endOf(text, phrase) {
  return phrase && text.endsWith(phrase) ? [text.length - phrase.length, text.length] : null;
}
