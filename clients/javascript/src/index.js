// The public names of the package.
export { Kosmos2 } from "./client.js";
export {
  AuthenticationError,
  ConnectionError,
  InvalidAnswerError,
  InvalidRequestError,
  Kosmos2Error,
  RateLimitedError,
  ServerError,
  TimeoutError,
  UnavailableError,
} from "./errors.js";
