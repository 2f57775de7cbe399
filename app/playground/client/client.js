// The client: one method for each route.
import { entityInOriginal, fieldsForSent, imageInOriginal, predictionInOriginal } from "./coordinates.js";
import { Deadline } from "./deadline.js";
import { readEvents } from "./events.js";
import { formOf } from "./forms.js";
import { toBlob } from "./pictures.js";
import { shrink } from "./resize.js";
import { withStringIndices } from "./spans.js";
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
    const [answer, sizes] = await this.#upload("/v1/ground", picture, fields, options, (response) => response.json());
    return answerInOriginal(answer, sizes);
  }

  /** Yields `token`, `entity` and finally `done`, each as soon as it is final. */
  async *groundStream(picture, fields, options = {}) {
    let text = "";
    for await (const { name, data, sizes } of this.#events("/v1/ground", picture, fields, options)) {
      if (name === "token") {
        text += data.text;
        yield { type: "token", text: data.text };
      } else if (name === "entity") {
        // Positions in `text` are unknown until `done`, which has the prompt's text.
        const { span: _, ...entity } = entityInOriginal(data.entity, sizes);
        yield { type: "entity", index: data.index, entity, answerSpan: endOf(text, entity.phrase) };
      } else if (name === "done") {
        yield { type: "done", answer: answerInOriginal(data, sizes) };
      }
    }
  }

  /** Returns the objects of the given classes. With tiles, the picture is sent at full size. */
  async detect(picture, fields, options = {}) {
    const all = { maxSide: maxSideFor(fields), ...options };
    const [answer, sizes] = await this.#upload("/v1/detect", picture, fields, all, (response) => response.json());
    return detectionsInOriginal(answer, sizes);
  }

  /** Yields a `class` for each class as soon as its predictions are final, and finally `done`. */
  async *detectStream(picture, fields, options = {}) {
    const all = { maxSide: maxSideFor(fields), ...options };
    for await (const { name, data, sizes } of this.#events("/v1/detect", picture, fields, all)) {
      if (name === "class") {
        const predictions = data.predictions.map((one) => predictionInOriginal(one, sizes));
        yield { type: "class", result: { ...data, predictions } };
      } else if (name === "done") {
        yield { type: "done", answer: detectionsInOriginal(data, sizes) };
      }
    }
  }

  /** Returns the picture as a Blob, with the answer or the given entities drawn on it, at full size. */
  async annotate(picture, fields, options = {}) {
    const all = { accept: options.mediaType ?? "image/png", maxSide: 0, ...options };
    const [drawn] = await this.#upload("/v1/annotate", picture, fields, all, (response) => response.blob());
    return drawn;
  }

  /** Returns the tasks with their prompts, and an example for each. */
  tasks(options = {}) {
    return this.#get("/v1/tasks", options);
  }

  /** Returns version, model, defaults and limits of the service. */
  version(options = {}) {
    return this.#get("/version", options);
  }

  async #get(path, { signal, timeoutMs = this.#timeoutMs, onRetry }) {
    const deadline = new Deadline(timeoutMs, signal);
    try {
      return await (await this.#transport.send(path, { accept: JSON_TYPE, deadline, onRetry })).json();
    } finally {
      deadline.end();
    }
  }

  async #upload(path, picture, fields, { signal, timeoutMs = this.#timeoutMs, accept = JSON_TYPE, ...options }, read) {
    const deadline = new Deadline(timeoutMs, signal);
    try {
      const [response, sizes] = await this.#post(path, picture, fields, { ...options, accept, deadline });
      return [await read(response), sizes];
    } catch (error) {
      deadline.signal.throwIfAborted();
      throw error;
    } finally {
      deadline.end();
    }
  }

  async *#events(path, picture, fields, { signal, timeoutMs = this.#timeoutMs, ...options }) {
    const deadline = new Deadline(timeoutMs, signal);
    try {
      const [response, sizes] = await this.#post(path, picture, fields, { ...options, accept: EVENTS_TYPE, deadline });
      for await (const event of readEvents(response.body, deadline.signal)) yield { ...event, sizes };
    } finally {
      deadline.end();
    }
  }

  async #post(path, picture, fields, { accept, deadline, onRetry, maxSide = this.#maxSide }) {
    const sizes = await shrink(await toBlob(picture), maxSide);
    const body = formOf(sizes.blob, fieldsForSent(fields, sizes));
    return [await this.#transport.send(path, { accept, body, deadline, onRetry }), sizes];
  }
}

// Tiles search parts of the picture for small objects, which a smaller picture would not show.
function maxSideFor({ tiles = "none" }) {
  return tiles === "none" ? undefined : 0;
}

function endOf(text, phrase) {
  return phrase && text.endsWith(phrase) ? [text.length - phrase.length, text.length] : null;
}

function answerInOriginal(answer, sizes) {
  const entities = answer.entities.map((entity) => entityInOriginal(entity, sizes));
  return withStringIndices({ ...answer, entities, image: imageInOriginal(answer.image, sizes) });
}

function detectionsInOriginal(answer, sizes) {
  const predictions = answer.predictions.map((one) => predictionInOriginal(one, sizes));
  return { ...answer, predictions, image: imageInOriginal(answer.image, sizes) };
}
