// The time limit of a call, combined with the caller's own signal.
import { TimeoutError } from "./errors.js";

// A longer timer of JavaScript, 24.8 days, fires at once.
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Aborts `signal` after `timeoutMs`, or when the caller's signal aborts. Call `end` when the call is over.
 * A limit that is longer than the longest timer is no limit.
 */
export class Deadline {
  #controller = new AbortController();
  #endsAt;
  #timer;
  #caller;
  #follow = () => this.#controller.abort(this.#caller.reason);

  constructor(timeoutMs, caller) {
    const late = new TimeoutError(`no complete answer within ${timeoutMs} ms`, { code: "timeout" });
    this.#endsAt = Date.now() + timeoutMs;
    if (timeoutMs <= MAX_TIMER_MS) this.#timer = setTimeout(() => this.#controller.abort(late), timeoutMs);
    this.#caller = caller;
    if (caller?.aborted) this.#follow();
    caller?.addEventListener("abort", this.#follow);
  }

  get signal() {
    return this.#controller.signal;
  }

  get leftMs() {
    return this.#endsAt - Date.now();
  }

  end() {
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener("abort", this.#follow);
  }

  /** Resolves after `ms`, at most 24.8 days, or rejects as soon as the signal aborts. */
  async pause(ms) {
    this.signal.throwIfAborted();
    await new Promise((resolve, reject) => {
      const stop = () => {
        clearTimeout(timer);
        reject(this.signal.reason);
      };
      const timer = setTimeout(() => {
        this.signal.removeEventListener("abort", stop);
        resolve();
      }, Math.min(ms, MAX_TIMER_MS));
      this.signal.addEventListener("abort", stop, { once: true });
    });
  }
}
