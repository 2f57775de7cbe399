// The region that a question or a description is about: drawn with a pointer, or typed as numbers.
import { byId, element } from "./dom.js";
import { setCorners } from "./stage.js";
import { taskNamed } from "./tasks.js";

const LEAST_SIDE = 0.01;
const SIDES = [0, 1, 2, 3];

/** Lets the user draw on the sheet of the stage, and keeps the number fields equal to the region. */
export function mountRegion(store, stage) {
  const edges = SIDES.map((side) => byId(`edge-${side}`));
  byId("draw").addEventListener("click", () => {
    setDrawing(byId("draw").getAttribute("aria-pressed") !== "true");
  });
  byId("clear-region").addEventListener("click", () => store.set({ region: null }));
  for (const edge of edges) {
    edge.addEventListener("change", () => {
      const region = typedRegion(edges) ?? store.get().region;
      if (region !== null) store.set({ region }); // until all four edges are typed, the fields keep the first ones
    });
  }
  drawWithPointer(store, stage);
  store.watch(["region", "pictureUrl", "task"], (state) => {
    const region = usedRegion(state);
    byId("draw").disabled = state.picture === null;
    byId("clear-region").hidden = region === null;
    show(stage, region);
    edges.forEach((edge, side) => (edge.value = region ? (region[side] * 100).toFixed(1) : ""));
  });
}

/** Takes a region for a question; other tasks that accept no region give way to a question. */
export function setRegion(store, region) {
  const task = taskNamed(store.get().task).region === undefined ? "grounded_vqa" : store.get().task;
  store.set({ region, task });
}

/** Returns the region if the task accepts one, or null. */
function usedRegion({ region, task }) {
  return taskNamed(task).region === undefined ? null : region;
}

function typedRegion(edges) {
  if (edges.some((edge) => edge.value === "")) return null;
  const [x0, y0, x1, y1] = edges.map((edge) => Math.min(1, Math.max(0, Number(edge.value) / 100)));
  return x1 - x0 >= LEAST_SIDE && y1 - y0 >= LEAST_SIDE ? [x0, y0, x1, y1] : null;
}

// A finger scrolls the page unless the button is pressed; a mouse can always draw.
function setDrawing(isOn) {
  byId("draw").setAttribute("aria-pressed", isOn);
  byId("stage").classList.toggle("drawing", isOn);
}

function drawWithPointer(store, stage) {
  const container = byId("stage");
  let start = null;
  container.addEventListener("pointerdown", (event) => {
    const isAllowed = event.pointerType === "mouse" || byId("draw").getAttribute("aria-pressed") === "true";
    if (!isAllowed || event.button !== 0 || stage.sheet === null || !stage.sheet.contains(event.target)) return;
    start = positionOf(event, stage.sheet);
    stage.sheet.setPointerCapture(event.pointerId);
  });
  container.addEventListener("pointermove", (event) => start && show(stage, between(start, positionOf(event, stage.sheet))));
  container.addEventListener("pointercancel", () => {
    start = null;
    show(stage, usedRegion(store.get()));
  });
  container.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const drawn = between(start, positionOf(event, stage.sheet));
    start = null;
    const isClick = drawn[2] - drawn[0] < LEAST_SIDE || drawn[3] - drawn[1] < LEAST_SIDE;
    if (isClick) show(stage, usedRegion(store.get()));
    else {
      setDrawing(false);
      setRegion(store, drawn);
    }
  });
}

function positionOf(event, sheet) {
  const { left, top, width, height } = sheet.getBoundingClientRect();
  const within = (value) => Math.min(1, Math.max(0, value));
  return [within((event.clientX - left) / width), within((event.clientY - top) / height)];
}

function between([ax, ay], [bx, by]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
}

function show(stage, region) {
  stage.sheet?.querySelector(".region")?.remove();
  stage.sheet?.classList.add("can-draw");
  if (region === null || stage.sheet === null) return;
  const part = element("div", { className: "region" });
  setCorners(part, region);
  stage.sheet.append(part);
}
