// Takes pictures from the file dialog, from the clipboard and from a drop anywhere on the page.
import { byId } from "./dom.js";

/** Calls `use(blob, name)` for each picture of the user. */
export function mountPictureSources(use) {
  for (const input of [byId("file"), byId("capture")]) {
    input.addEventListener("change", () => {
      take(input.files, use);
      input.value = ""; // the same file can be chosen again
    });
  }
  document.addEventListener("paste", ({ target, clipboardData }) => {
    // Documents and tables are copied as text and as a picture: a field takes the text.
    const isText = target.matches("[type=text], [type=password]") && clipboardData.types.includes("text/plain");
    if (!isText) take(clipboardData.files, use);
  });
  mountDrop(use);
}

function mountDrop(use) {
  const stage = byId("stage");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && stage.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // a browser would leave the page and open the file
    stage.classList.remove("over");
    take(event.dataTransfer?.files, use);
  });
}

function take(files, use) {
  const [file] = files ?? [];
  if (file) use(file, file.name);
}
