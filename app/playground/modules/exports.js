// Copies the request as code, and saves the answer as JSON or as an annotated picture.
import { byId, element } from "./dom.js";
import { visibleBoxes } from "./items.js";
import { messageOf } from "./messages.js";
import { BASE_URL, clientOf } from "./runner.js";
import { snippetsOf } from "./snippets.js";

const COPIES = ["curl", "python", "javascript"];

export function mountExports(store) {
  const code = () => {
    const { request, pictureName, apiKey, threshold } = store.get();
    // The page requests all boxes and hides some; code requests those that the page shows.
    const fields = request.classes ? { ...request, confidence: threshold } : request;
    return snippetsOf(fields, BASE_URL, pictureName, apiKey !== "");
  };
  for (const language of COPIES) {
    const button = byId(`copy-${language}`);
    const label = button.textContent;
    button.addEventListener("click", () => copy(button, label, code()[language]));
  }
  byId("save-json").addEventListener("click", () => {
    save(new Blob([JSON.stringify(store.get().answer, null, 2)], { type: "application/json" }), "answer.json");
  });
  byId("save-picture").addEventListener("click", () => savePicture(store));
  store.watch(["request", "answer"], ({ request, answer }) => {
    for (const language of COPIES) byId(`copy-${language}`).disabled = request === null;
    for (const id of ["save-json", "save-picture"]) byId(id).disabled = answer === null;
  });
}

async function copy(button, label, text) {
  byId("code").textContent = text;
  const copied = await isCopied(text);
  if (!copied) byId("code").closest("details").open = true;
  button.textContent = copied ? "Copied" : "Shown below";
  byId("status").textContent = copied ? "Copied." : "The code is shown below.";
  setTimeout(() => (button.textContent = label), 1500);
}

// Pages over plain HTTP have no clipboard, and users can deny it to others.
async function isCopied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** The service draws the boxes that the page shows; the model does not run again. */
async function savePicture(store) {
  const state = store.get();
  const { width, height } = state.answer.image;
  const sides = [width, height, width, height];
  const entities = state.items
    .map((item) => ({ phrase: item.name, boxes: visibleBoxes(item, state).map((box) => drawn(box, sides)) }))
    .filter((entity) => entity.boxes.length > 0);
  try {
    const picture = await clientOf(state).annotate(state.picture, { entities, show_scores: true });
    save(picture, "annotated.png");
  } catch (error) {
    store.set({ message: messageOf(error) });
  }
}

function drawn({ shapes, confidence }, sides) {
  const [, edges] = shapes.at(-1);
  return { xyxy: edges.map((edge, side) => edge * sides[side]), score: confidence };
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
