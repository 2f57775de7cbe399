// The recorded answers of the published model, on a blank grid: no request runs a model for them.
import { byId, element, unseen } from "./dom.js";
import { loadFile } from "./files.js";
import { colourOf } from "./items.js";
import { reportActive, showActive } from "./links.js";
import { segmentsOf } from "./segments.js";
import { Stage } from "./stage.js";
import { createStore } from "./store.js";
import { taskNamed } from "./tasks.js";

const VIEW = { threshold: 0, kind: "refined" };

/** Returns a function that loads and shows the answers, the first time that it is called. A failed load is repeated. */
export function mountPublished() {
  let isLoaded = false;
  return async () => {
    if (isLoaded) return;
    isLoaded = true; // a second call must not wait for the same file
    const file = await loadFile("./playground/published.json");
    isLoaded = file !== null;
    if (isLoaded) show(JSON.parse(await file.text()));
    else byId("recorded").replaceChildren(element("li", { role: "alert" }, "The answers cannot be loaded. Check the network, then choose this tab again."));
  };
}

function show({ answers }) {
  const recorded = answers.map(stateOf);
  const stage = new Stage(byId("published-stage"));
  stage.showBlank(1);
  const store = createStore({ shown: 0, active: null, pinned: null });
  const cards = recorded.map((answer, index) => card(answer, index, store));
  byId("recorded").replaceChildren(...cards);
  reportActive(byId("panel-published"), store);
  store.watch(["shown"], ({ shown }) => {
    stage.draw(recorded[shown].items, VIEW);
    cards.forEach((other, index) => {
      other.classList.toggle("shown", index === shown);
      other.querySelector("button").setAttribute("aria-pressed", index === shown);
    });
  });
  store.watch(["active", "shown"], ({ active, shown }) => {
    showActive(byId("published-stage"), active);
    cards.forEach((other, index) => showActive(other, index === shown ? active : null));
  });
}

function stateOf({ request, text, entities }) {
  const items = entities.map(([name, span, boxes]) => ({
    name,
    span,
    isSent: false,
    boxes: boxes.map((corners) => ({ coarse: corners, refined: null, confidence: null })),
  }));
  return { request: { task: request.task }, title: titleOf(request), items, answer: { text, answer_start: 0 }, ...VIEW };
}

// The words of the request, as the tab "Try it" names its tasks.
function titleOf({ task, text }) {
  const { label } = taskNamed(task);
  return text ? `${label}: ${text}` : label;
}

function card(answer, index, store) {
  const choose = element("button", { type: "button" }, "Show boxes", unseen(` of ${index + 1}, ${answer.title}`));
  choose.addEventListener("click", () => store.set({ shown: index, active: null, pinned: null }));
  const text = element("p", {}, ...segmentsOf(answer).map((segment) => part(segment)));
  const item = element("li", {}, element("div", { className: "row" }, element("h3", {}, answer.title), choose), text);
  const show = () => store.get().shown !== index && store.set({ shown: index });
  item.addEventListener("pointerenter", show);
  item.addEventListener("focusin", (event) => event.target !== choose && show());
  return item;
}

function part({ text, item }) {
  if (item === undefined) return text;
  const phrase = element("span", { className: "phrase", tabIndex: 0, role: "button", data: { item } }, text, element("sup", {}, String(item + 1)));
  phrase.style.setProperty("--colour", colourOf(item));
  return phrase;
}
