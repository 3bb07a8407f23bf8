/** The client for browsers (and Node): the captions socket and HTTP of the gateway, no gRPC. */
import { fromJson, toJson } from "@bufbuild/protobuf";
import type { JsonValue } from "@bufbuild/protobuf";
import { connectionLost, LegonnError, retryOf } from "./errors.js";
import { StreamingRecognizeRequestSchema, StreamingRecognizeResponseSchema } from "./protos.js";
import type { StreamingRecognizeRequest, StreamingRecognizeResponse } from "./protos.js";
import { Arrivals } from "./queue.js";
import { stream } from "./stream.js";
import type { Connection, StreamOptions, Transport } from "./stream.js";
import type { CaptionEvent, Item } from "./session.js";

export { LegonnError } from "./errors.js";
export type { CaptionEvent, Control, Item } from "./session.js";
export type { StreamOptions } from "./stream.js";

/** The sub-protocol; docs/captions-protocol.md describes it. */
export const PROTOCOL = "legonn.captions.v1";

const MAX_BUFFERED = 64_000;
const CODES: Record<number, string> = { 1012: "DRAINING", 1013: "CAPACITY" };

interface ErrorMessage {
  error: {
    message?: string;
    status?: string;
    details?: { reason?: string; metadata?: { retry?: string }; retryDelay?: string }[];
  };
}

/** Captions over `ws://HOST:PORT/v1/captions`. */
export class Client implements Transport {
  private turn = -1;
  private readonly origins: string[];

  /**
   * @param origins One gateway or several, such as "http://127.0.0.1:8080"; the next one is asked
   *   when one is lost.
   * @param socket For Node before version 22, or tests: the WebSocket class to use.
   */
  constructor(
    origins: string | string[],
    private readonly socket: typeof WebSocket = globalThis.WebSocket,
  ) {
    this.origins = typeof origins === "string" ? [origins] : origins;
  }

  /** Sends audio as it comes and yields what the server says; a lost server is replaced. */
  stream(
    chunks: AsyncIterable<Item> | Iterable<Item>,
    options: StreamOptions = {},
  ): AsyncGenerator<CaptionEvent, void, void> {
    return stream(this, chunks, options);
  }

  /** One connection of a session. */
  connect(): Connection {
    this.turn = (this.turn + 1) % this.origins.length;
    const url = new URL("/v1/captions", this.origins[this.turn]);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new this.socket(url, [PROTOCOL]);
    const arrivals = new Arrivals<StreamingRecognizeResponse>();
    const opened = new Promise<void>((done) => {
      socket.addEventListener("open", () => done());
      socket.addEventListener("close", () => done());
    });
    socket.addEventListener("message", ({ data }: MessageEvent<string>) => {
      const message = JSON.parse(data) as JsonValue | ErrorMessage;
      if (message && typeof message === "object" && "error" in message) {
        arrivals.end({ error: asOurs(message as ErrorMessage) });
      } else {
        const known = { ignoreUnknownFields: true };
        arrivals.push(fromJson(StreamingRecognizeResponseSchema, message as JsonValue, known));
      }
    });
    socket.addEventListener("close", ({ code, reason }: CloseEvent) => {
      if (code === 1000) return arrivals.end();
      const word = CODES[code];
      const lost = word
        ? new LegonnError(reason || word, word, code === 1013 ? "later" : "same")
        : connectionLost(reason || "the connection was lost");
      arrivals.end({ error: lost });
    });
    return {
      send: async (request) => {
        await opened;
        if (socket.readyState !== socket.OPEN) throw connectionLost("the connection was lost");
        socket.send(framed(request));
        while (socket.bufferedAmount > MAX_BUFFERED && socket.readyState === socket.OPEN) {
          await new Promise((done) => setTimeout(done, 20));
        }
      },
      end: () => socket.readyState === socket.OPEN && socket.send('{"end": {}}'),
      responses: () => arrivals,
      cancel: () => {
        arrivals.end({ error: connectionLost("the connection was closed here") });
        socket.close();
      },
    };
  }
}

/** Audio goes as bytes, the rest as JSON. */
function framed(request: StreamingRecognizeRequest): string | Uint8Array<ArrayBuffer> {
  if (request.request.case === "audio") return new Uint8Array(request.request.value.content);
  return JSON.stringify(toJson(StreamingRecognizeRequestSchema, request));
}

function asOurs({ error }: ErrorMessage): LegonnError {
  const info = error.details?.find((detail) => detail.reason);
  const delay = error.details?.find((detail) => detail.retryDelay)?.retryDelay ?? "0s";
  return new LegonnError(
    error.message ?? "",
    info?.reason ?? error.status ?? "UNKNOWN",
    retryOf(info?.metadata?.retry),
    Number.parseFloat(delay) * 1000,
  );
}
