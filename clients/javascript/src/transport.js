// Sends requests, and repeats them when the service requests it.
import { ConnectionError, cutShort, errorOfResponse, Kosmos2Error } from "./errors.js";

const RETRIED_STATUSES = new Set([429, 502, 503]);
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

export class Transport {
  #baseUrl;
  #headers;
  #maxRetries;
  #fetch;

  constructor(baseUrl, { apiKey, maxRetries, fetch }) {
    this.#baseUrl = checkedAddress(String(baseUrl)).replace(/\/+$/, "");
    this.#headers = apiKey ? { Authorization: `Bearer ${checkedKey(apiKey)}` } : {};
    this.#maxRetries = maxRetries;
    this.#fetch = fetch;
  }

  /**
   * Returns what `read` returns for a response with status 2xx. All requests can be repeated: the service
   * keeps no state. `read` is part of each attempt, so that an answer that is cut short is requested again.
   */
  async send(path, { accept, body, deadline, onRetry, read }) {
    const headers = { ...this.#headers, Accept: accept };
    const request = { method: body ? "POST" : "GET", headers, body, signal: deadline.signal };
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.#try(path, request, read);
      if (!(outcome instanceof Kosmos2Error)) return outcome;
      const waitMs = waitOf(outcome, attempt);
      const isLast = attempt > this.#maxRetries || !isTransient(outcome);
      // Waiting would only turn a clear error into a timeout.
      if (isLast || waitMs >= deadline.leftMs) throw outcome;
      onRetry?.({ error: outcome, attempt, waitMs });
      await deadline.pause(waitMs);
    }
  }

  async #try(path, request, read) {
    let response;
    try {
      response = await this.#fetch(`${this.#baseUrl}${path}`, request);
      if (response.ok) return await read(response);
      const error = await errorOfResponse(response);
      request.signal.throwIfAborted(); // the body of the error may be incomplete for this reason
      return error;
    } catch (cause) {
      request.signal.throwIfAborted();
      if (cause instanceof Kosmos2Error) return cause;
      if (response) return cutShort(cause);
      return new ConnectionError("the service cannot be reached", { code: "connection_failed", cause });
    }
  }
}

// `fetch` throws the same error for a wrong address or header as for a lost connection, which would be tried again.
function checkedAddress(address) {
  const isInPage = globalThis.location !== undefined;
  if (/^https?:\/\//i.test(address) || (isInPage && !/^[^/]*:/.test(address))) return address;
  throw new TypeError(`the address of a service starts with http: or https:, not ${JSON.stringify(address)}`);
}

function checkedKey(key) {
  if (!/^[ -~]*$/.test(key.trim())) throw new TypeError("an API key has printable ASCII characters only");
  return key.trim();
}

function isTransient(error) {
  return error.status === null || RETRIED_STATUSES.has(error.status);
}

// The service's own estimate is a lower limit. The random part keeps clients from returning together.
function waitOf(error, attempt) {
  const backoff = FIRST_WAIT_MS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
  return Math.max((error.retryAfterS ?? 0) * 1000, Math.min(backoff, LONGEST_WAIT_MS));
}
