// Runs a request: streams its answer into the store, and can be cancelled.
import { Kosmos2 } from "../client/index.js";
import { itemOfClass, itemOfEntity } from "./items.js";
import { messageOf } from "./messages.js";
import { readForm } from "./request_form.js";
import { taskNamed } from "./tasks.js";

/** The address of the service: the folder of this page, so that it also works behind a prefix. */
export const BASE_URL = new URL("./", document.baseURI).href;

/** Returns a client with the key that the user has typed. */
export const clientOf = ({ apiKey }) => new Kosmos2(BASE_URL, { apiKey });

export function createRunner(store) {
  let current = null;

  async function run() {
    const state = store.get();
    const { fields, wrong, message } = readForm(state);
    if (message) {
      store.set({ message: { title: message } });
      wrong.focus();
      return;
    }
    cancel();
    const controller = (current = new AbortController());
    const set = (changes) => current === controller && store.set(changes);
    set({ ...blank(), request: fields, promptText: taskNamed(state.task).prompt(fields.text) });
    try {
      await stream(state, fields, controller.signal, set, store);
      set({ isRunning: false, progress: "" });
    } catch (error) {
      const shown = controller.signal.aborted ? { progress: "Cancelled." } : { progress: "", message: messageOf(error) };
      set({ isRunning: false, ...shown });
    }
  }

  function cancel() {
    current?.abort();
  }

  return { run, cancel };
}

function blank() {
  return {
    isRunning: true,
    progress: "Sending the picture …",
    message: null,
    streamedText: "",
    items: [],
    answer: null,
    firstBoxMs: null,
    active: null,
    pinned: null,
  };
}

async function stream(state, fields, signal, set, store) {
  const startedAt = performance.now();
  const onRetry = ({ error, waitMs }) => {
    const seconds = Math.ceil(waitMs / 1000);
    set({ progress: `${messageOf(error).title} Trying again in ${seconds} s …` });
  };
  const add = (index, item) => {
    const items = [...store.get().items];
    items[index] = item;
    const isFirst = store.get().firstBoxMs === null && item.boxes.length > 0;
    set({ items, progress: "Answering …", ...(isFirst ? { firstBoxMs: performance.now() - startedAt } : {}) });
  };
  const method = fields.classes ? "detectStream" : "groundStream";
  for await (const event of clientOf(state)[method](state.picture, fields, { signal, onRetry })) {
    if (event.type === "token") set({ streamedText: store.get().streamedText + event.text, progress: "Answering …" });
    else if (event.type === "entity") add(event.index, itemOfEntity(event.entity, event.answerSpan));
    else if (event.type === "class") add(store.get().items.length, itemOfClass(event.result));
    else set({ answer: event.answer, items: finalItems(event.answer, store.get().items) });
  }
}

// Classes arrive in the order in which they are ready, and are shown in the order of the request.
function finalItems(answer, items) {
  if (answer.entities) return answer.entities.map((entity) => itemOfEntity(entity));
  return answer.classes.map(({ class: name }) => items.find((item) => item.name === name));
}
