// The types of the package. Those of the wire are generated from the service's OpenAPI document.
import type { components, paths } from "./openapi.js";

type Schemas = components["schemas"];
type JsonBody<Path extends keyof paths> = paths[Path] extends {
  post: { requestBody: { content: { "application/json": infer Body } } };
}
  ? Omit<Body, "image" | "stream">
  : never;
type Optional<Fields, Required extends keyof Fields> = Partial<Fields> & Pick<Fields, Required>;

/** A picture. In Node, a string that is no data URI is a path. */
export type Picture = Blob | ArrayBuffer | ArrayBufferView | string | URL;
export type GroundFields = Optional<JsonBody<"/v1/ground">, "task">;
export type DetectFields = Optional<JsonBody<"/v1/detect">, "classes">;
export type AnnotateFields = Partial<JsonBody<"/v1/annotate">>;

/** An answer. Spans and `answer_start` are string indices: `text.slice(...span)` is the phrase. */
export type Answer = Schemas["AnswerBody"];
export type Entity = Schemas["EntityBody"];
export type Box = Schemas["BoxBody"];
export type Detections = Schemas["DetectionsBody"];
export type Prediction = Schemas["PredictionBody"];
export type Task = Schemas["TaskBody"];
export type Version = Schemas["VersionBody"];
export type FieldProblem = Schemas["FieldProblem"];

export interface TokenEvent {
  type: "token";
  /** Never changes later; all texts joined are `answer` of the last event. */
  text: string;
}
export interface EntityEvent {
  type: "entity";
  /** Index in `entities` of the last event's answer. */
  index: number;
  entity: Omit<Entity, "span">;
  /** String indices of the phrase in the texts so far; null for a phrase of the prompt. */
  answerSpan: [number, number] | null;
}
export interface DoneEvent {
  type: "done";
  answer: Answer;
}
export type GroundEvent = TokenEvent | EntityEvent | DoneEvent;

export interface ClassEvent {
  type: "class";
  result: Schemas["ClassBody"] & { predictions: Prediction[] };
}
export type DetectEvent = ClassEvent | { type: "done"; answer: Detections };

export interface Retry {
  error: Kosmos2Error;
  /** 1 for the first attempt. */
  attempt: number;
  waitMs: number;
}
export interface CallOptions {
  /** Ends the call with the signal's reason. */
  signal?: AbortSignal;
  /** Covers the whole call with its retries. Above 2³¹ − 1, such as `Infinity`: no limit. */
  timeoutMs?: number;
  /** Called before each wait. */
  onRetry?: (retry: Retry) => void;
}
export interface UploadOptions extends CallOptions {
  /** Browsers shrink larger pictures before the upload, and turn them upright. 0: send them as they are. */
  maxSide?: number;
}
export interface AnnotateOptions extends UploadOptions {
  mediaType?: "image/png" | "image/jpeg" | "image/webp";
}
export interface ClientOptions {
  apiKey?: string;
  /** Default: 120,000. */
  timeoutMs?: number;
  /** Attempts after the first one, for 429, 502, 503 and lost connections. Default: 2. */
  maxRetries?: number;
  /** Default: 1024; 0 with tiles, and for `annotate`. */
  maxSide?: number;
  fetch?: typeof fetch;
}

export class Kosmos2 {
  constructor(baseUrl: string | URL, options?: ClientOptions);
  ground(picture: Picture, fields: GroundFields, options?: UploadOptions): Promise<Answer>;
  groundStream(picture: Picture, fields: GroundFields, options?: UploadOptions): AsyncGenerator<GroundEvent, void>;
  detect(picture: Picture, fields: DetectFields, options?: UploadOptions): Promise<Detections>;
  detectStream(picture: Picture, fields: DetectFields, options?: UploadOptions): AsyncGenerator<DetectEvent, void>;
  annotate(picture: Picture, fields: AnnotateFields, options?: AnnotateOptions): Promise<Blob>;
  tasks(options?: CallOptions): Promise<Task[]>;
  version(options?: CallOptions): Promise<Version>;
}

/** Base of all errors of this package. */
export class Kosmos2Error extends Error {
  readonly code: string;
  readonly status: number | null;
  readonly requestId: string | null;
  readonly fields: FieldProblem[];
  readonly retryAfterS: number | null;
}
export class ConnectionError extends Kosmos2Error {}
/** The answer is complete, but another program sent it. */
export class InvalidAnswerError extends Kosmos2Error {}
export class TimeoutError extends Kosmos2Error {}
export class InvalidRequestError extends Kosmos2Error {}
export class AuthenticationError extends Kosmos2Error {}
export class RateLimitedError extends Kosmos2Error {}
export class UnavailableError extends Kosmos2Error {}
export class ServerError extends Kosmos2Error {}
