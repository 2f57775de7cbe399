// Shows a picture, or a blank grid in its place, with boxes on it.
import { element } from "./dom.js";
import { colourOf, visibleBoxes } from "./items.js";

/** Share of the height above a box that its label needs on a small screen. */
const ROOM_FOR_LABEL = 0.1;

/** The least ratio of width to height with which a picture is shown as a whole; others scroll. */
const LEAST_RATIO = 0.2;

/** How to turn a picture whose EXIF orientation the browser ignores, as Chromium does in WebP. */
const TURNS = { 5: "rotate(90deg) scaleY(-1)", 6: "rotate(90deg)", 7: "rotate(-90deg) scaleY(-1)", 8: "rotate(-90deg)" };

export class Stage {
  #container;
  #sheet = null;
  #layer = element("div", { ariaHidden: "true" });

  constructor(container) {
    this.#container = container;
  }

  /** The element that has the size of the picture, or null. */
  get sheet() {
    return this.#sheet;
  }

  /** Shows a picture; resolves when it is visible, or when this browser turns out not to know its format. */
  async showPicture(url, name) {
    const image = element("img", { src: url, alt: name, draggable: false });
    const isKnown = await image.decode().then(() => true, () => false);
    if (isKnown) this.#place(element("div", { className: "sheet" }, image), image.naturalWidth / image.naturalHeight);
    else this.showBlank(4 / 3);
    return isKnown;
  }

  /** Shows a blank grid with the given ratio of width to height. */
  showBlank(ratio) {
    this.#place(element("div", { className: "sheet blank" }), ratio);
  }

  /** Gives a blank grid the size of its picture, and turns a picture as the service has turned it. */
  adapt({ width, height, exif_orientation: orientation }) {
    const image = this.#sheet.querySelector("img");
    const isUnturned = image !== null && orientation in TURNS && image.naturalWidth > image.naturalHeight !== width > height;
    if (image === null || isUnturned) this.#setRatio(width / height);
    if (isUnturned) image.style.transform = `translate(-50%, -50%) ${TURNS[orientation]}`;
    image?.classList.toggle("turned", isUnturned);
  }

  /** Draws the boxes that the slider does not hide, small ones above large ones. */
  draw(items, view) {
    const boxes = items.flatMap((item, index) =>
      visibleBoxes(item, view).flatMap(({ shapes }) => shapes.map(([kind, edges]) => boxElement(item, index, kind, edges))),
    );
    boxes.sort((one, other) => other.area - one.area);
    this.#layer.replaceChildren(...boxes.map((box) => box.part));
  }

  #place(sheet, ratio) {
    this.#setRatio(ratio);
    this.#container.classList.add("filled");
    sheet.append(this.#layer);
    this.#layer.replaceChildren();
    this.#container.replaceChildren(sheet);
    this.#sheet = sheet;
  }

  #setRatio(ratio) {
    this.#container.style.setProperty("--ratio", ratio);
    this.#container.classList.toggle("tall", ratio < LEAST_RATIO);
  }
}

function boxElement(item, index, kind, edges) {
  const label = edges[1] > ROOM_FOR_LABEL ? " labelled-above" : "";
  const part = element("div", { className: `box ${kind}${item.isSent ? " sent" : ""}${label}`, data: { item: index } });
  setCorners(part, edges);
  part.style.setProperty("--colour", colourOf(index));
  part.append(element("b", {}, String(index + 1), element("span", {}, ` ${item.name}`)));
  return { part, area: (edges[2] - edges[0]) * (edges[3] - edges[1]) };
}

/** Places an element of the sheet at corners given as fractions. */
export function setCorners(part, edges) {
  ["--x0", "--y0", "--x1", "--y1"].forEach((name, side) => part.style.setProperty(name, edges[side]));
}
