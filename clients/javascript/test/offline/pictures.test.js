// Pictures in the forms that a caller may have them in.
import assert from "node:assert/strict";
import { test } from "node:test";
import { toBlob } from "../../src/pictures.js";

const bytesOf = async (picture) => (await toBlob(picture)).arrayBuffer();

test("a path, a file URL and its string are the same picture", async () => {
  const url = new URL(import.meta.url);
  const expected = await bytesOf(url);
  assert.ok(expected.byteLength > 100);
  assert.deepEqual(await bytesOf(url.href), expected);
  assert.deepEqual(await bytesOf(import.meta.filename ?? url.pathname), expected);
});

for (const uri of ["data:image/png;base64,@@@", "data:image/png,%FF"]) {
  test(`${uri} is named as the fault`, async () => {
    await assert.rejects(toBlob(uri), /^TypeError: the data URI is malformed/);
  });
}
