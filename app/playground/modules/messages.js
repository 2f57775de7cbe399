// Errors in words, with what to do about them.

const ADVICE = {
  unauthorized: ["This service needs an API key.", "Type the key under “API key” at the top, then run again."],
  rate_limited: ["This key has used up its requests of this minute.", "Wait until the next minute, then run again."],
  overloaded: ["The service is full.", "Wait a moment, then run again."],
  unavailable: ["The service is starting or stopping.", "Wait a moment, then run again."],
  deadline_exceeded: ["The answer took too long.", "Run again, or choose a shorter task such as a brief caption."],
  timeout: ["The answer took too long.", "Run again, or choose a shorter task such as a brief caption."],
  request_timeout: ["The upload was too slow.", "Check the connection, or choose a smaller picture."],
  payload_too_large: ["The file is too large for this service.", "Choose a smaller picture."],
  image_too_large: ["The picture has too many pixels for this service.", "Choose a smaller picture."],
  unsupported_image_format: ["This format is not accepted.", "Save the picture as JPEG or PNG, and open that file."],
  invalid_image: ["The file is not a picture, or it is damaged.", "Choose another file."],
  invalid_request: ["Something in the request is wrong.", "Correct it, then run again."],
  engine_failure: ["The model failed on this request.", "Try another picture or another text."],
  internal_error: ["The service failed on this request.", "Give the request id to the operator of the service."],
  connection_failed: ["The service cannot be reached.", "Check the network and whether the service runs, then run again."],
  incomplete_answer: ["The connection ended before the answer.", "Run again."],
};
const OTHER = ["The request failed.", "Run again. If it fails again, give the details below to the operator."];

/** Returns `{title, advice, detail}` of an error; the detail is the service's own sentence. */
export function messageOf(error) {
  const [title, advice] = ADVICE[error.code] ?? OTHER;
  const id = error.requestId ? ` (request id ${error.requestId})` : "";
  return { title, advice, detail: `${error.message}${id}`, code: error.code ?? null };
}
