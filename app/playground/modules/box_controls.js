// The slider that hides boxes, and the choice between refined and coarse boxes.
import { byId, percent } from "./dom.js";

export function mountBoxControls(store) {
  byId("threshold").addEventListener("input", () => store.set({ threshold: Number(byId("threshold").value) / 100 }));
  for (const radio of document.getElementsByName("kind")) {
    radio.addEventListener("change", () => store.set({ kind: radio.value }));
  }
  store.watch(["threshold"], ({ threshold }) => {
    byId("threshold").value = Math.round(threshold * 100);
    byId("threshold-value").textContent = percent(threshold);
  });
  // The answer to a class list has boxes of absent classes too, so it starts with the checkpoint's threshold.
  let wasDetection = false;
  store.watch(["request"], ({ request, model }) => {
    const isDetection = Boolean(request?.classes);
    if (isDetection !== wasDetection) store.set({ threshold: isDetection ? (model?.default_threshold ?? 0) : 0 });
    wasDetection = isDetection;
  });
}
