// The two tabs, as the ARIA pattern describes them: arrow keys, Home and End move, one tab stop.
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
      const position = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[event.key];
      if (position === undefined) return;
      event.preventDefault(); // Home and End scroll the page
      const next = NAMES.at(position % NAMES.length);
      show(next);
      byId(`tab-${next}`).focus();
    });
  });
}
