// Send a picture from JavaScript: node docs/examples/ground.mjs URL PICTURE
// The same code runs in a browser with the file of an <input type="file">.
import { readFile } from "node:fs/promises";

async function ground(url, picture, fields) {
  const body = new FormData();
  body.append("image", picture);
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  const response = await fetch(`${url}/v1/ground`, { method: "POST", body });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.code}: ${answer.detail}`);
  return answer;
}

// Spans count code points, but JavaScript's strings count UTF-16 units.
const slice = (text, [start, end]) => Array.from(text).slice(start, end).join("");

const [url, path] = process.argv.slice(2);
const picture = new Blob([await readFile(path)]);
const caption = await ground(url, picture, { task: "brief_caption" });
console.log(caption.answer);
for (const entity of caption.entities) {
  console.log(slice(caption.text, entity.span), entity.boxes.map((box) => box.xyxy_refined));
}
