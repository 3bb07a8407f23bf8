/** Every way in which a server says no, as one typed error. */

/** Whether the same call can succeed: never, at once elsewhere, or after a pause. */
export type Retry = "never" | "same" | "later";

/** A failed call; `reason` is the stable word of `legonn.v1.ErrorReason`, without its prefix. */
export class LegonnError extends Error {
  override readonly name = "LegonnError";

  constructor(
    message: string,
    /** Such as BAD_AUDIO, NO_ROUTE, CAPACITY; UNKNOWN when no legonn server said why. */
    readonly reason: string,
    /** What a client may do. */
    readonly retry: Retry,
    /** How long the server asks to wait, in milliseconds; 0 if it does not say. */
    readonly retryAfterMs = 0,
  ) {
    super(message);
  }
}

/** The server is gone or cannot be reached: another one, or this one soon, may answer. */
export function connectionLost(message: string): LegonnError {
  return new LegonnError(message, "UNAVAILABLE", "same");
}

/** Reads what `ErrorInfo.metadata.retry` holds. */
export function retryOf(word: string | undefined): Retry {
  return word === "same" || word === "later" ? word : "never";
}
