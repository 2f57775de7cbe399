// Compiled, never run: what a TypeScript program may write, and what the compiler must reject.
import { InvalidAnswerError, Kosmos2, UnavailableError, type Answer, type GroundEvent } from "@kosmos2/client";

const client = new Kosmos2(new URL("http://127.0.0.1:8000"), { apiKey: "key", maxSide: 0 });

export async function caption(picture: File): Promise<Answer> {
  return client.ground(picture, { task: "brief_caption", max_new_tokens: 64 }, { signal: AbortSignal.timeout(1000) });
}

export async function firstEntity(events: AsyncIterable<GroundEvent>): Promise<string | null> {
  for await (const event of events) {
    if (event.type === "entity") return event.entity.phrase;
    // @ts-expect-error a token has no entity
    if (event.type === "token") console.log(event.entity);
  }
  return null;
}

export function isOtherProgram(error: unknown): boolean {
  return error instanceof InvalidAnswerError && error.code === "unexpected_response";
}

export function seconds(error: unknown): number {
  return error instanceof UnavailableError ? (error.retryAfterS ?? 1) : 0;
}

// @ts-expect-error there is no such task
client.ground("a.jpg", { task: "dance" });
// @ts-expect-error classes are required
client.detect("a.jpg", {});
client.detect("a.jpg", { classes: ["dog"], tiles: { width: 300, height: 300, overlap: 0.2 } });
client.annotate("a.jpg", { task: "brief_caption" }, { mediaType: "image/webp" }).then((blob: Blob) => blob.size);
