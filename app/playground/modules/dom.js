// Creates elements. Texts are never parsed as HTML.

export const byId = (id) => document.getElementById(id);

/** Returns a new element with properties, `data` attributes and children (elements or texts). */
export function element(tag, { data = {}, ...properties } = {}, ...children) {
  const created = Object.assign(document.createElement(tag), properties);
  Object.assign(created.dataset, data);
  created.append(...children);
  return created;
}

/** Returns words for screen readers only. */
export const unseen = (words) => element("span", { className: "hidden" }, words);

/** Returns a fraction in percent, for people. */
export const percent = (fraction) => `${Math.round(fraction * 100)} %`;
