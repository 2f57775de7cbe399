// The boxes as a list with names, for the keyboard and for screen readers as much as for the eye.
import { byId, element, percent, unseen } from "./dom.js";
import { colourOf, placeOf, visibleBoxes } from "./items.js";
import { setRegion } from "./region.js";

export function mountBoxList(store) {
  const list = byId("boxes");
  list.addEventListener("click", (event) => {
    const corners = event.target.closest("[data-corners]")?.dataset.corners;
    if (corners === undefined) return;
    event.stopPropagation();
    setRegion(store, JSON.parse(corners));
    byId("text").focus();
  });
  store.watch(["items", "threshold", "kind", "answer"], (state) => {
    const rows = state.items.flatMap((item, index) => rowsOf(item, index, state));
    list.replaceChildren(...rows);
    const isDetection = Boolean(state.request?.classes);
    for (const radio of document.getElementsByName("kind")) radio.disabled = isDetection;
  });
}

function rowsOf(item, index, state) {
  const boxes = visibleBoxes(item, state);
  if (boxes.length > 0) return boxes.map((box) => row(item, index, box));
  if (item.presence === undefined) return [];
  return [element("li", { className: "absent" }, `no ${item.name} (probability that it is there: ${percent(item.presence)})`)];
}

function row(item, index, { confidence, shapes }) {
  const edges = shapes.at(-1)[1];
  const share = item.isSent ? "your region" : percent(confidence);
  const button = element(
    "button",
    { type: "button", className: "item", data: { item: index } },
    element("span", { className: "number" }, String(index + 1)),
    element("span", { className: "name" }, ` ${item.name}`),
    unseen(item.isSent ? ", " : ", confidence "),
    element("span", { className: "share" }, share),
    unseen(`, ${placeOf(edges)}`),
  );
  button.style.setProperty("--colour", colourOf(index));
  const use = element(
    "button",
    { type: "button", className: "use", data: { corners: JSON.stringify(edges) } },
    "Ask",
    unseen(` about this box: ${index + 1} ${item.name}`),
  );
  return element("li", {}, button, use);
}
