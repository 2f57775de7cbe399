// Builds the page: a store, its parts, and the functions that connect them.
import { mountAnswer } from "./answer_text.js";
import { mountBoxControls } from "./box_controls.js";
import { mountBoxList } from "./box_list.js";
import { mountCamera } from "./camera.js";
import { mountDetails } from "./details.js";
import { byId } from "./dom.js";
import { mountExamples } from "./examples.js";
import { mountExports } from "./exports.js";
import { reportActive, showActive } from "./links.js";
import { mountKey, mountMessage } from "./message_box.js";
import { messageOf } from "./messages.js";
import { mountNotice } from "./notice.js";
import { mountPictureSources } from "./picture_sources.js";
import { mountPublished } from "./published.js";
import { mountRegion } from "./region.js";
import { mountForm } from "./request_form.js";
import { clientOf, createRunner } from "./runner.js";
import { Stage } from "./stage.js";
import { createStore, INITIAL } from "./store.js";
import { mountTabs } from "./tabs.js";

const store = createStore(INITIAL);
const stage = new Stage(byId("stage"));
const { run, cancel } = createRunner(store);

mountRegion(store, stage);
mountForm(store, run);
mountAnswer(store);
mountBoxList(store);
mountBoxControls(store);
mountDetails(store);
mountExports(store);
mountMessage(store);
mountNotice(store);
mountKey(store, run);
mountPictureSources(usePicture);
mountCamera(usePicture);
mountExamples(
  (blob, name) => usePicture(blob, name, "brief_caption"),
  () => store.set({ message: messageOf({ code: "connection_failed", message: "the example cannot be loaded" }) }),
);
const showPublished = mountPublished();
mountTabs((name) => name === "published" && showPublished());
byId("cancel").addEventListener("click", cancel);
reportActive(byId("panel-try"), store);

store.watch(["items", "threshold", "kind"], (state) => {
  stage.draw(state.items, state);
});
store.watch(["active", "items", "threshold", "kind", "answer", "streamedText"], ({ active }) => {
  for (const id of ["stage", "answer", "boxes"]) showActive(byId(id), active);
});
store.watch(["answer"], ({ answer }) => answer && stage.adapt(answer.image));

// The page works without it; only the name of the model and its notice are missing then.
clientOf(INITIAL)
  .version()
  .then(({ model }) => store.set({ model }))
  .catch(() => {});

/** Shows a picture and sends it at once. */
async function usePicture(blob, name, task = store.get().task) {
  cancel();
  const previous = store.get().pictureUrl;
  if (previous !== null) URL.revokeObjectURL(previous);
  const pictureUrl = URL.createObjectURL(blob);
  // The answer and the region belong to the picture before.
  store.set({ task, picture: blob, pictureUrl, pictureName: name, region: null, items: [], answer: null, streamedText: "", request: null, message: null });
  await stage.showPicture(pictureUrl, "Your picture");
  if (task !== "referring_expression_generation") run();
}
