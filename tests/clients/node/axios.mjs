// Uploads a picture with axios:
//     node axios.mjs KIND URL PICTURE NAME=VALUE...
// KIND is "blob" (FormData of the platform) or "stream" (the package form-data and a file stream,
// sent in chunks). Prints the status, then the body.
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import axios from "axios";
import FormDataPackage from "form-data";

const [kind, url, path, ...fields] = process.argv.slice(2);
const form = kind === "blob" ? new FormData() : new FormDataPackage();
form.append("image", kind === "blob" ? new Blob([await readFile(path)]) : createReadStream(path));
for (const field of fields) form.append(...field.split("="));
const options = { responseType: "stream", validateStatus: null };
const response = await axios.post(`${url}/v1/ground`, form, options);
console.log(response.status);
response.data.pipe(process.stdout);
