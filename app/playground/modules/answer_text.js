// The text of the answer, with its phrases in the colours of their boxes.
import { byId, element } from "./dom.js";
import { colourOf, visibleBoxes } from "./items.js";
import { segmentsOf } from "./segments.js";

const WATCHED = ["streamedText", "items", "answer", "isRunning", "threshold", "message"];

export function mountAnswer(store) {
  const container = byId("answer");
  const invitation = [...container.childNodes];
  store.watch(WATCHED, (state) => {
    const segments = segmentsOf(state);
    if (segments.length === 0 && !state.isRunning) container.replaceChildren(...invitation);
    else container.replaceChildren(...segments.map((segment) => part(segment, state)));
    if (!state.isRunning) return;
    container.append(element("span", { className: "caret" }));
    container.scrollTop = container.scrollHeight; // a long answer shows its end
  });
  mountStatus(store);
}

// A screen reader hears the whole answer once, and not every token.
function mountStatus(store) {
  const status = byId("status");
  store.watch(["isRunning"], (state) => {
    if (state.isRunning) status.textContent = "Working …";
    else if (state.answer !== null) status.textContent = `${spoken(state)} ${count(state)}`;
    else status.textContent = state.progress;
  });
  store.watch(["progress"], ({ progress, isRunning }) => {
    if (isRunning && progress.includes("again")) status.textContent = progress;
  });
}

function spoken(state) {
  return segmentsOf(state).map((segment) => segment.text).join("");
}

function count(state) {
  const number = state.items.reduce((sum, item) => sum + visibleBoxes(item, state).length, 0);
  return `${number} ${number === 1 ? "box" : "boxes"}.`;
}

function part({ text, item, isPrompt }, state) {
  if (item === undefined) return element("span", { className: isPrompt ? "prompt" : "" }, text);
  const isBoxed = visibleBoxes(state.items[item], state).length > 0;
  const phrase = element(
    "span",
    { className: `phrase${isBoxed ? "" : " unboxed"}${state.active === item ? " active" : ""}`, tabIndex: 0, role: "button", data: { item } },
    text,
    element("sup", {}, String(item + 1)),
  );
  phrase.style.setProperty("--colour", colourOf(item));
  return phrase;
}
