// The form of a request: task, text, classes, region.
import { byId, element } from "./dom.js";
import { TASKS, taskNamed } from "./tasks.js";

const REGION_QUESTION = "What is it?";

/** Fills the form, and calls `run` when the user submits it. */
export function mountForm(store, run) {
  const texts = new Map();
  byId("tasks").append(...TASKS.map((task) => chip(task, store)));
  byId("request").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  byId("text").addEventListener("input", () => texts.set(store.get().task, byId("text").value));
  byId("text").addEventListener("select", () => markWords(store));
  store.watch(["task", "region", "model"], ({ task: name, region, model }) => {
    const task = taskNamed(name);
    byId("tasks").querySelector(`[value="${name}"]`).checked = true;
    byId("task-hint").textContent = task.hint;
    byId("text-field").hidden = task.text === undefined;
    byId("text-label").textContent = task.text ?? "";
    byId("text").value = texts.get(name) ?? firstText(task, region, model);
    byId("tiles-field").hidden = name !== "detect";
    byId("region-field").hidden = task.region === undefined || (task.region === "allowed" && region === null);
    byId("phrase-field").hidden = name !== "grounded_vqa";
  });
  store.watch(["picture", "isRunning"], ({ picture, isRunning }) => {
    byId("run").disabled = picture === null || isRunning;
    byId("cancel").hidden = !isRunning;
  });
  store.watch(["progress"], ({ progress }) => (byId("progress").textContent = progress));
}

/** Returns the fields of the request, or the message and the field that has to be corrected first. */
export function readForm({ task: name, region }) {
  const task = taskNamed(name);
  const text = byId("text").value.trim();
  if (task.text !== undefined && text === "") return { wrong: byId("text"), message: `${task.text}: this task needs words.` };
  if (name === "detect") return detection(text);
  const fields = { task: name, ...(task.text === undefined ? {} : { text }) };
  if (task.region === "required" && region === null) {
    return { wrong: byId("draw"), message: "This task needs a region: drag over the picture, or type the four edges." };
  }
  if (task.region === undefined || region === null) return { fields };
  const boxes = [region.map((edge) => Math.round(edge * 1e4) / 1e4)];
  if (task.region === "required") return { fields: { ...fields, regions: [{ boxes }], box_format: "normalized" } };
  const phrase = byId("phrase").value.trim();
  if (phrase === "" || !text.includes(phrase)) {
    const message = `The question must contain the words that the region stands for, now “${phrase}”. Mark them in the question.`;
    return { wrong: byId("phrase"), message };
  }
  return { fields: { ...fields, regions: [{ phrase, boxes }], box_format: "normalized" } };
}

function detection(text) {
  const classes = [...new Set(text.split(",").map((name) => name.trim()).filter(Boolean))];
  if (classes.length === 0) return { wrong: byId("text"), message: "The list has commas only: type the names of classes." };
  // No threshold: the slider hides boxes, and can show them again without another request.
  return { fields: { classes, confidence: 0, ...(byId("tiles").checked ? { tiles: "auto" } : {}) } };
}

function firstText(task, region, model) {
  if (task.name === "grounded_vqa" && region !== null) return REGION_QUESTION;
  return task.samples?.[model?.embedded === false ? 1 : 0] ?? "";
}

// Words that the user marks in the question become those of the region; the whole question is marked to replace it.
function markWords(store) {
  const { selectionStart, selectionEnd, value } = byId("text");
  const words = value.slice(selectionStart, selectionEnd).trim();
  if (words === "" || words === value.trim()) return;
  if (store.get().task === "grounded_vqa" && store.get().region !== null) byId("phrase").value = words;
}

function chip(task, store) {
  const radio = element("input", { type: "radio", name: "task", value: task.name });
  radio.addEventListener("change", () => store.set({ task: task.name }));
  return element("label", {}, radio, element("span", {}, task.label));
}
