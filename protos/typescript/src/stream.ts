/** One captioning session over a transport: audio in, events out, resumed where a server is lost. */
import { create } from "@bufbuild/protobuf";
import { connectionLost, LegonnError } from "./errors.js";
import { AudioEncoding, RecognitionConfigSchema } from "./protos.js";
import type { StreamingRecognizeRequest, StreamingRecognizeResponse } from "./protos.js";
import { SessionLog } from "./session.js";
import type { CaptionEvent, Item } from "./session.js";

/** One connection of a session; made by a transport. */
export interface Connection {
  /** Sends a message; resolves when more may be sent. */
  send(request: StreamingRecognizeRequest): Promise<void>;
  /** No more messages. */
  end(): void;
  /** What the server says; throws `LegonnError` when the connection fails. */
  responses(): AsyncIterable<StreamingRecognizeResponse>;
  /** Ends the connection, whatever its state. */
  cancel(): void;
}

/** Opens connections; `node.ts` has one for gRPC, `browser.ts` one for WebSockets. */
export interface Transport {
  connect(): Connection;
}

/** What is asked of a session; the defaults are the server's. */
export interface StreamOptions {
  /** Of the audio, in Hz; default 16000. */
  sampleRateHertz?: number;
  /** BCP-47 code of the spoken language; default "en". */
  language?: string;
  /** BCP-47 code of the text; default the spoken language. */
  targetLanguage?: string;
  /** Name of a route. */
  model?: string;
  /** Whether partials are wanted; default true. */
  interimResults?: boolean;
  /** Readings a final at most, 1 to 10. */
  maxAlternatives?: number;
  /** Phrases that are likely to be said, with how much likelier (0 to 20). */
  phrases?: Record<string, number>;
  /** How long an accepted session looks for a server to go on with; default 30 s. */
  resumeForMs?: number;
  /** Tries until a server accepts; default 4. */
  attempts?: number;
  /** Ends the session from outside. */
  signal?: AbortSignal;
  /** For tests: a number in [0, 1). */
  dice?: () => number;
  /** For tests: waits. */
  sleep?: (ms: number) => Promise<void>;
}

const STEADY_MS = 5_000;
const wait = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/**
 * Sends audio as it comes and yields what the server says, until the summary.
 *
 * @param chunks LINEAR16 mono, and wishes between the chunks; its end ends the audio.
 */
export async function* stream(
  transport: Transport,
  chunks: AsyncIterable<Item> | Iterable<Item>,
  options: StreamOptions = {},
): AsyncGenerator<CaptionEvent, void, void> {
  const log = new SessionLog(configOf(options));
  const source = new Source(log, chunks);
  const patience = new Patience(options);
  try {
    for (;;) {
      const connection = transport.connect();
      const abort = (): void => connection.cancel();
      options.signal?.addEventListener("abort", abort, { once: true });
      let isAccepted = false;
      const [config, number] = log.begin();
      const sending = source.feed(connection, config, number);
      try {
        for await (const response of connection.responses()) {
          if (!isAccepted) patience.accepted();
          isAccepted = true;
          const event = log.receive(response);
          if (event?.kind === "final") patience.progressed();
          if (event) yield event;
          if (event?.kind === "summary") return;
        }
        throw source.error ?? connectionLost("the server ended the stream without a summary");
      } catch (raised) {
        options.signal?.throwIfAborted();
        if (source.error) throw source.error;
        if (!(raised instanceof LegonnError)) throw raised;
        const pause = patience.pauseMs(raised, isAccepted);
        if (pause === undefined || !log.canGoOn()) throw raised;
        if (isAccepted) {
          yield { kind: "reconnecting", reason: raised.reason, message: raised.message };
        }
        await (options.sleep ?? wait)(pause);
      } finally {
        options.signal?.removeEventListener("abort", abort);
        connection.cancel();
        source.stop(number);
        await sending;
      }
    }
  } finally {
    source.close();
  }
}

function configOf(options: StreamOptions) {
  return create(RecognitionConfigSchema, {
    encoding: AudioEncoding.LINEAR16,
    sampleRateHertz: options.sampleRateHertz ?? 16_000,
    channelCount: 1,
    languageCode: options.language ?? "en",
    targetLanguageCode: options.targetLanguage ?? "",
    model: options.model ?? "",
    interimResults: options.interimResults ?? true,
    maxAlternatives: options.maxAlternatives ?? 1,
    enableWordOffsets: true,
    enableWordConfidence: true,
    phrases: Object.entries(options.phrases ?? {}).map(([text, boost]) => ({ text, boost })),
  });
}

/** Takes the caller's chunks one by one, whichever connection asks for them. */
class Source {
  error: unknown;
  private readonly iterator: AsyncIterator<Item> | Iterator<Item>;
  private pulling: Promise<void> | undefined;
  private stopped = 0;
  private wake: () => void = () => {};

  constructor(
    private readonly log: SessionLog,
    chunks: AsyncIterable<Item> | Iterable<Item>,
  ) {
    this.iterator =
      Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  /** Sends the config and then all items, until the connection is stopped. */
  async feed(
    connection: Connection,
    config: StreamingRecognizeRequest,
    number: number,
  ): Promise<void> {
    try {
      await connection.send(config);
      while (this.stopped < number) {
        const request = this.log.take(number);
        if (request) {
          await connection.send(request);
        } else if (this.log.isOver(number)) {
          if (this.error) connection.cancel();
          else connection.end();
          return;
        } else {
          // What a lost connection waited for is kept in the log, for the next to send.
          const stopped = new Promise<void>((done) => (this.wake = done));
          await Promise.race([(this.pulling ??= this.pull()), stopped]);
        }
      }
    } catch {
      connection.cancel(); // the responses say why
    }
  }

  /** The connection is over: nothing more is sent with it. */
  stop(number: number): void {
    this.stopped = number;
    this.wake();
  }

  /** The session is over: the caller's iterator may clean up. */
  close(): void {
    void Promise.resolve(this.iterator.return?.()).catch(() => {});
  }

  private async pull(): Promise<void> {
    try {
      const found = await this.iterator.next();
      if (found.done) this.log.isFinished = true;
      else this.log.add(found.value);
    } catch (error) {
      this.error = error;
      this.log.isFinished = true;
    } finally {
      this.pulling = undefined;
    }
  }
}

/** How long to wait before the next try: full jitter under a bound that doubles. */
class Patience {
  private failures = 0;
  private since = 0;
  private acceptedAt = 0;
  private isOpen = false;

  constructor(private readonly options: StreamOptions) {}

  accepted(): void {
    this.isOpen = true;
    this.acceptedAt = performance.now();
  }

  progressed(): void {
    this.failures = 0;
  }

  pauseMs(error: LegonnError, wasAccepted: boolean): number | undefined {
    if (error.retry === "never" || (error.retry === "later" && wasAccepted)) return undefined;
    const now = performance.now();
    if (wasAccepted && now - this.acceptedAt >= STEADY_MS) this.failures = 0;
    if (!this.failures) this.since = now;
    this.failures += 1;
    const bound = Math.min(3_000, 100 * 2 ** Math.min(this.failures - 1, 10));
    const pause = (this.options.dice ?? Math.random)() * bound + error.retryAfterMs;
    if (!this.isOpen) return this.failures < (this.options.attempts ?? 4) ? pause : undefined;
    const until = this.since + (this.options.resumeForMs ?? 30_000);
    return now + pause <= until ? pause : undefined;
  }
}
