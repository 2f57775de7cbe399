// Accepts a picture in every form that a caller may have it in.

/**
 * Returns the picture's file as a Blob.
 *
 * @param picture Blob or File; ArrayBuffer, typed array or Buffer; data URI; in Node also a path or a file URL.
 */
export async function toBlob(picture) {
  if (picture instanceof Blob) return picture;
  if (picture instanceof ArrayBuffer || ArrayBuffer.isView(picture)) return new Blob([picture]);
  if (typeof picture !== "string" && !(picture instanceof URL)) {
    throw new TypeError("a picture is a Blob, a File, bytes, a data URI or, in Node, a path");
  }
  const text = String(picture);
  if (/^data:/i.test(text)) return blobOfDataUri(text);
  if (/^https?:/i.test(text)) throw new TypeError("pictures are not fetched from addresses: pass the file");
  if (globalThis.process?.versions?.node === undefined) throw new TypeError("a browser cannot read a path: pass the File");
  // An expression rather than a name, so that bundlers for browsers ignore it.
  const files = "node:fs/promises";
  const { readFile } = await import(/* webpackIgnore: true */ /* @vite-ignore */ files);
  return new Blob([await readFile(/^file:\/\//i.test(text) ? new URL(text) : picture)]);
}

// Not `fetch`, which a page's Content-Security-Policy may deny for data URIs.
function blobOfDataUri(uri) {
  const comma = uri.indexOf(",");
  const head = uri.slice(5, comma);
  const type = head.split(";")[0];
  try {
    const content = decodeURIComponent(uri.slice(comma + 1));
    if (!/;base64$/i.test(head)) return new Blob([content], { type });
    return new Blob([Uint8Array.from(atob(content), (character) => character.charCodeAt(0))], { type });
  } catch (cause) {
    throw new TypeError("the data URI is malformed: its content is neither base64 nor percent-encoded text", { cause });
  }
}
