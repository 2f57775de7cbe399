// Shows an error in words, and opens the field for the key when the service wants one.
import { byId, element } from "./dom.js";

export function mountMessage(store) {
  store.watch(["message"], ({ message }) => {
    const box = byId("message");
    box.hidden = message === null;
    box.replaceChildren();
    if (message === null) return;
    const parts = [["strong", message.title], ["span", message.advice], ["small", message.detail]];
    box.append(...parts.filter(([, text]) => text).map(([tag, text]) => element(tag, {}, text)));
    box.scrollIntoView({ block: "nearest" }); // on a phone it may be below the screen
    if (message.code === "unauthorized") {
      byId("key-box").open = true;
      byId("key").focus();
    }
  });
}

/** Keeps the key in memory only. */
export function mountKey(store, run) {
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    store.set({ apiKey: byId("key").value.trim(), message: null });
    byId("key-box").open = false;
    if (store.get().picture !== null) run();
  });
}
