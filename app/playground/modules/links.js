// Links phrases, boxes and list entries: what belongs to the same item lights up together.

/** Reports hover, focus and clicks on elements with `data-item` inside `root` to the store. */
export function reportActive(root, store) {
  const itemOf = (target) => target.closest?.("[data-item]")?.dataset.item ?? null;
  // Without a pointer on an item, the one with the keyboard focus stays lit.
  const release = () => {
    const focused = root.querySelector("[data-item]:focus-visible")?.dataset.item;
    store.set({ active: focused === undefined ? store.get().pinned : Number(focused) });
  };
  const activate = (event) => {
    const item = itemOf(event.target);
    if (item === null) release();
    else store.set({ active: Number(item) });
  };
  const pin = (event) => {
    const item = itemOf(event.target);
    if (item === null || (event.type === "keydown" && !["Enter", " "].includes(event.key))) return;
    if (event.type === "keydown") event.preventDefault();
    const pinned = store.get().pinned === Number(item) ? null : Number(item);
    store.set({ pinned, active: pinned ?? Number(item) });
  };
  root.addEventListener("pointerover", activate);
  root.addEventListener("pointerleave", release);
  root.addEventListener("focusin", activate);
  root.addEventListener("focusout", release);
  root.addEventListener("click", pin);
  // Buttons turn keys into clicks themselves.
  root.addEventListener("keydown", (event) => event.target.matches("span[data-item]") && pin(event));
}

/** Marks the elements of the active item inside `root`, and scrolls `root` to the first one if none is in sight. */
export function showActive(root, active) {
  root.classList.toggle("has-active", active !== null);
  const parts = [...root.querySelectorAll("[data-item]")];
  const marked = parts.filter((part) => part.classList.toggle("active", Number(part.dataset.item) === active));
  const { top, height } = root.getBoundingClientRect();
  const offsets = marked.map((part) => {
    const box = part.getBoundingClientRect();
    return box.top + box.height / 2 - top;
  });
  const isInSight = offsets.some((offset) => offset > 0 && offset < height);
  // Not `scrollIntoView`, which would scroll the page as well.
  if (marked.length > 0 && !isInSight) root.scrollTop += offsets[0] - height / 2;
}
