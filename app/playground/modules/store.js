// The state of the page, and the parts that listen to it.

/** Returns a store. A listener gets the whole state and the set of names that changed. */
export function createStore(initial) {
  let state = initial;
  const listeners = [];
  return {
    get: () => state,
    set(changes) {
      state = { ...state, ...changes };
      const names = new Set(Object.keys(changes));
      for (const listener of listeners) listener(state, names);
    },
    /** Calls `listener` once now, and whenever one of the names changes. */
    watch(names, listener) {
      listeners.push((next, changed) => names.some((name) => changed.has(name)) && listener(next, changed));
      listener(state, new Set(names));
    },
  };
}

export const INITIAL = {
  /** Blob of the user, with an address for `<img>`. */
  picture: null,
  pictureUrl: null,
  pictureName: "picture.jpg",
  task: "brief_caption",
  /** Corners as fractions of width and height, or null. */
  region: null,
  isRunning: false,
  progress: "",
  message: null,
  /** Fields of the request that the answer belongs to. */
  request: null,
  promptText: "",
  streamedText: "",
  /** Phrases or classes with their boxes; see items.js. */
  items: [],
  /** The whole answer, as the service returned it. */
  answer: null,
  firstBoxMs: null,
  /** Index of the item under the pointer or the keyboard focus, or null. */
  active: null,
  pinned: null,
  threshold: 0,
  kind: "refined",
  apiKey: "",
  model: null,
};
