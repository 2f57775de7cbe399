// Loads files that belong to the page.

/** Returns the file as a Blob, or null if it cannot be loaded. */
export async function loadFile(url) {
  try {
    const response = await fetch(url);
    return response.ok ? await response.blob() : null;
  } catch {
    return null; // no connection
  }
}
