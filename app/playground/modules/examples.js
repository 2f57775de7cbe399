// The scenes of the embedded checkpoint, one click away.
import { byId, element } from "./dom.js";
import { loadFile } from "./files.js";

const SCENES = {
  "two_red_circles_and_blue_square.jpg": "Two red circles and a blue square",
  "six_shapes.jpg": "Six shapes",
  "blue_square_and_yellow_star.png": "A blue square and a yellow star",
  "green_triangle_above_orange_heart.png": "A green triangle above an orange heart",
  "red_circle.png": "A red circle",
};

/** Calls `use(blob, name)` for the chosen scene, or `onLost()` if it cannot be loaded. */
export function mountExamples(use, onLost) {
  byId("examples").append(...Object.entries(SCENES).map(([name, title]) => example(name, title, use, onLost)));
}

function example(name, title, use, onLost) {
  const url = `./playground/scenes/${name}`;
  const picture = element("img", { src: url, alt: title, width: 96, height: 96 });
  const button = element("button", { type: "button" }, picture);
  button.addEventListener("click", async () => {
    const blob = await loadFile(url);
    if (blob === null) onLost();
    else use(blob, name);
  });
  return element("li", {}, button);
}
