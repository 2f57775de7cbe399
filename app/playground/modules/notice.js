// Names the model that answers, and warns of the embedded one.
import { byId, element } from "./dom.js";

export function mountNotice(store) {
  store.watch(["model"], ({ model }) => {
    byId("model").textContent = model ? `${model.name} on ${model.device}` : "";
    byId("notice").hidden = !model?.notice;
    byId("notice").replaceChildren(...withCode(model?.notice ?? ""));
  });
}

// Backticks mark commands, as in the answers of the service.
function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 === 0 ? part : element("code", {}, part)));
}
