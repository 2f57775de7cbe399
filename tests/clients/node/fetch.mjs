// Uploads a picture with Node's own fetch and FormData:
//     node fetch.mjs KIND URL PICTURE NAME=VALUE...
// KIND is "blob" (untyped), "typed" (blobs with a type, also for the fields, which then have the
// file name "blob") or "file". Prints the status, then the body.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

const [kind, url, path, ...fields] = process.argv.slice(2);
const bytes = await readFile(path);
const pictures = {
  blob: () => new Blob([bytes]),
  typed: () => new Blob([bytes], { type: "image/png" }),
  file: () => new File([bytes], basename(path)),
};
if (globalThis.File === undefined) globalThis.File = (await import("node:buffer")).File;

const form = new FormData();
form.append("image", pictures[kind]());
for (const field of fields) {
  const [name, value] = field.split("=");
  form.append(name, kind === "typed" ? new Blob([value], { type: "text/plain" }) : value);
}
const response = await fetch(`${url}/v1/ground`, { method: "POST", body: form });
console.log(response.status);
for await (const chunk of response.body) process.stdout.write(chunk);
