// The same request as code: curl, Python, JavaScript. The key of the user is never part of it.

const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
const formValue = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
const routeOf = (fields) => (fields.classes ? "/v1/detect" : "/v1/ground");

/** Returns the code in each language for the fields of a request. */
export function snippetsOf(fields, baseUrl, name, hasKey) {
  const url = baseUrl.replace(/\/$/, "");
  return { curl: curl(fields, url, name, hasKey), python: python(fields, url, name, hasKey), javascript: javascript(fields, url, name, hasKey) };
}

// In names without quotes, curl ends the name at a comma or a semicolon.
const curlFile = (name) => (/[,;"]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name);

function curl(fields, url, name, hasKey) {
  const form = Object.entries(fields).map(([field, value]) => `--form-string ${shell(`${field}=${formValue(value)}`)}`);
  const key = hasKey ? [`-H "Authorization: Bearer $KOSMOS2_API_KEY"`] : [];
  return ["curl", ...key, `-F ${shell(`image=@${curlFile(name)}`)}`, ...form, shell(url + routeOf(fields))].join(" \\\n  ");
}

function python(fields, url, name, hasKey) {
  const data = Object.entries(fields).map(([field, value]) => `    ${JSON.stringify(field)}: ${pythonString(formValue(value))},\n`);
  const key = hasKey ? `headers = {"Authorization": f"Bearer {os.environ['KOSMOS2_API_KEY']}"}\n` : "";
  return (
    `${hasKey ? "import os\n\n" : ""}import httpx\n\n${key}data = {\n${data.join("")}}\n` +
    `with open(${pythonString(name)}, "rb") as picture:\n` +
    `    response = httpx.post(\n        ${pythonString(url + routeOf(fields))},\n        files={"image": picture},\n        data=data,\n` +
    `${hasKey ? "        headers=headers,\n" : ""}        timeout=120,\n    )\nresponse.raise_for_status()\nprint(response.json())\n`
  );
}

// JSON's strings are Python's, except for characters that JSON does not escape and Python accepts too.
const pythonString = (text) => JSON.stringify(text);

function javascript(fields, url, name, hasKey) {
  const options = hasKey ? `, { apiKey: process.env.KOSMOS2_API_KEY }` : "";
  const method = fields.classes ? "detect" : "ground";
  return (
    `import { Kosmos2 } from "@kosmos2/client";\n\n` +
    `const client = new Kosmos2(${JSON.stringify(url)}${options});\n` +
    `const fields = ${JSON.stringify(fields, null, 2)};\n` +
    `console.log(await client.${method}(${JSON.stringify(name)}, fields));\n`
  );
}
