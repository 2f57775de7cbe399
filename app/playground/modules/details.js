// Timings, tokens, markup and JSON of the answer.
import { byId, element } from "./dom.js";

const seconds = (value) => `${value.toFixed(value < 0.1 ? 3 : 2)} s`;

export function mountDetails(store) {
  store.watch(["answer", "firstBoxMs"], ({ answer, firstBoxMs }) => {
    byId("markup").textContent = answer?.markup ?? "There is no markup.";
    byId("json").textContent = answer === null ? "There is no answer yet." : JSON.stringify(answer, null, 2);
    const facts = answer === null ? [["No answer yet", ""]] : factsOf(answer, firstBoxMs);
    byId("timings").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  });
}

function factsOf(answer, firstBoxMs) {
  const { usage, timings, image } = answer;
  const measured = timings
    ? [
        ["Waited for a slot", seconds(timings.queue_s)],
        ["Decoded the picture", seconds(timings.preprocess_s)],
        ["First token", seconds(timings.time_to_first_token_s)],
        ["Whole answer", seconds(timings.total_s)],
      ]
    : [["Whole answer", seconds(answer.time)]];
  return [
    ...measured,
    ...(firstBoxMs === null ? [] : [["First box in this page", seconds(firstBoxMs / 1000)]]),
    ["Prompt tokens", String(usage.prompt_tokens)],
    ["Of these, reused", String(usage.cached_tokens)],
    ["Generated tokens", String(usage.completion_tokens)],
    ["Picture", `${image.width} × ${image.height}`],
    ["Model", answer.model],
  ];
}
