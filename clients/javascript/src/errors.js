// Errors as classes, one for each thing that a caller can do about it.

/** Base of all errors of this package, except a call's own `signal`, whose reason is thrown as it is. */
export class Kosmos2Error extends Error {
  constructor(message, { code, status = null, requestId = null, fields = [], retryAfterS = null, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    /** Stable name of the kind of error, as in docs/errors.md. */
    this.code = code;
    /** HTTP status, or null if there was no response. */
    this.status = status;
    /** The id under which the service logged the request, or null. */
    this.requestId = requestId;
    /** The wrong fields: `{field, message}`. */
    this.fields = fields;
    /** Seconds after which the service expects to accept the request, or null. */
    this.retryAfterS = retryAfterS;
  }
}

/** No response, or a response that ended too early. */
export class ConnectionError extends Kosmos2Error {}

/** The answer is complete, but another program sent it: it is not JSON, or lacks a field. */
export class InvalidAnswerError extends Kosmos2Error {}

/** The answer was not complete after `timeoutMs`, or after the deadline of the service (504). */
export class TimeoutError extends Kosmos2Error {}

/** The request is wrong: correct it before sending it again. */
export class InvalidRequestError extends Kosmos2Error {}

/** The API key is missing or unknown. */
export class AuthenticationError extends Kosmos2Error {}

/** The key has used up its requests per minute. */
export class RateLimitedError extends Kosmos2Error {}

/** The service is full, starting or stopping: try again later. */
export class UnavailableError extends Kosmos2Error {}

/** The service failed on this request. */
export class ServerError extends Kosmos2Error {}

const CLASSES = { 401: AuthenticationError, 429: RateLimitedError, 502: UnavailableError, 503: UnavailableError, 504: TimeoutError };

/** Returns the error of a problem (RFC 9457), as a response or as the last event of a stream. */
export function errorOfProblem(problem, status = problem.status, retryAfterS = null) {
  const Class = CLASSES[status] ?? (status < 500 ? InvalidRequestError : ServerError);
  return new Class(problem.detail ?? `status ${status}`, {
    code: problem.code ?? "unexpected_response",
    status,
    requestId: problem.request_id ?? null,
    fields: problem.errors ?? [],
    retryAfterS,
  });
}

/** Returns the error of a response whose status is not 2xx. A proxy's own error page has no problem. */
export async function errorOfResponse(response) {
  const text = await response.text().catch(() => "");
  let problem = {};
  try {
    problem = JSON.parse(text) ?? {};
  } catch {
    // Not JSON: the status is enough.
  }
  return errorOfProblem(problem, response.status, secondsOf(response.headers.get("Retry-After")));
}

/** Returns the error of a response whose body ended too early. */
export function cutShort(cause) {
  return new ConnectionError("the connection ended before the answer", { code: "incomplete_answer", cause });
}

// The header has seconds or a date.
function secondsOf(header) {
  if (header === null) return null;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}
