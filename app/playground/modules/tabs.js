// The two tabs, as the ARIA pattern describes them: arrow keys move, one tab stop.
import { byId } from "./dom.js";

const NAMES = ["try", "published"];

/** Calls `onShow(name)` whenever a tab is chosen. */
export function mountTabs(onShow) {
  const show = (name) => {
    for (const other of NAMES) {
      const isShown = other === name;
      byId(`panel-${other}`).hidden = !isShown;
      byId(`tab-${other}`).setAttribute("aria-selected", isShown);
      byId(`tab-${other}`).tabIndex = isShown ? 0 : -1;
    }
    onShow(name);
  };
  NAMES.forEach((name, index) => {
    byId(`tab-${name}`).addEventListener("click", () => show(name));
    byId(`tab-${name}`).addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step === undefined) return;
      const next = NAMES[(index + step + NAMES.length) % NAMES.length];
      show(next);
      byId(`tab-${next}`).focus();
    });
  });
}
