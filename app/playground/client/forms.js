// Writes the body of a request as a form.

/** Returns a form with the picture and the fields; lists and objects become JSON, missing values are left out. */
export function formOf(blob, fields) {
  const form = new FormData();
  form.append("image", blob);
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue;
    form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return form;
}
