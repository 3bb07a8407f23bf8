/**
 * What a client keeps of a session, so that it can go on at another server: audio and wishes since
 * the last acknowledged sample (at most 60 s), and what was received. No transport is known here.
 */
import { clone, create } from "@bufbuild/protobuf";
import {
  ControlAction,
  NoticeKind,
  RecognitionConfigSchema,
  ResumePointSchema,
  StreamingRecognizeRequestSchema,
} from "./protos.js";
import type {
  RecognitionConfig,
  RecognitionFinal,
  RecognitionPartial,
  StreamingRecognizeRequest,
  StreamingRecognizeResponse,
} from "./protos.js";

/** A wish between two chunks of audio. */
export type Control = "flush" | "keepAlive" | "cancelSegment";

/** LINEAR16 mono, or a wish. */
export type Item = Uint8Array | Int16Array | Control;

/** What `stream` yields. */
export type CaptionEvent =
  | { kind: "started"; sessionId: string; requestId: string }
  | { kind: "partial"; partial: RecognitionPartial }
  | { kind: "final"; final: RecognitionFinal; text: string }
  | { kind: "speech"; speech: "begin" | "end"; offsetS: number }
  | { kind: "notice"; notice: string; message: string }
  | { kind: "reconnecting"; reason: string; message: string }
  | { kind: "recovered"; resentS: number }
  | { kind: "summary"; samplesReceived: bigint; samplesInFinals: bigint; numSegments: number };

const KEPT_S = 60;
const ACTIONS = {
  flush: ControlAction.FLUSH,
  keepAlive: ControlAction.KEEP_ALIVE,
  cancelSegment: ControlAction.CANCEL_SEGMENT,
} as const;

interface Entry {
  /** The session's sample at which it begins. */
  start: number;
  item: Uint8Array | Control;
}

const samplesOf = (item: Uint8Array | Control): number =>
  typeof item === "string" ? 0 : item.byteLength / 2;

/** One session, over any number of connections. */
export class SessionLog {
  isFinished = false;
  sessionId = "";
  private readonly rate: number;
  private entries: Entry[] = [];
  private connection = 0;
  private cursor = 0;
  private cancels: number[] = [];
  private received = 0;
  private acked = 0;
  private safe = 0;
  private base = 0;
  private processed = 0;
  private nextIndex = 0;
  private stable = "";
  private revision = 0;
  private revisionsBefore = 0;
  private inFinals = 0n;

  constructor(private readonly config: RecognitionConfig) {
    this.rate = config.sampleRateHertz;
  }

  /** Remembers a chunk or a wish that is about to be sent. */
  add(item: Item): void {
    const kept =
      item instanceof Int16Array
        ? new Uint8Array(item.buffer, item.byteOffset, item.byteLength).slice()
        : item;
    if (typeof kept !== "string" && kept.byteLength % 2) {
      throw new RangeError(`a chunk of ${kept.byteLength} bytes is not whole 16-bit samples`);
    }
    this.entries.push({ start: this.received, item: kept });
    this.received += samplesOf(kept);
    this.forget();
  }

  /** The first message of the next connection, and its number; earlier ones are over. */
  begin(): [StreamingRecognizeRequest, number] {
    const config = clone(RecognitionConfigSchema, this.config);
    if (this.sessionId) {
      config.resume = create(ResumePointSchema, {
        sessionId: this.sessionId,
        sampleOffset: BigInt(this.base),
        nextSegmentIndex: this.nextIndex,
        committedText: this.stable,
      });
    }
    this.connection += 1;
    this.cursor = 0;
    this.cancels = [];
    this.revisionsBefore = this.revision;
    this.processed = this.base;
    const request = create(StreamingRecognizeRequestSchema, {
      request: { case: "config", value: config },
    });
    return [request, this.connection];
  }

  /** The next message of a connection; undefined if there is none yet or the connection is over. */
  take(connection: number): StreamingRecognizeRequest | undefined {
    const entry = connection === this.connection ? this.entries[this.cursor] : undefined;
    if (!entry) return undefined;
    this.cursor += 1;
    if (entry.item === "cancelSegment") this.cancels.push(entry.start);
    const request =
      typeof entry.item === "string"
        ? ({ case: "control", value: { action: ACTIONS[entry.item] } } as const)
        : ({
            case: "audio",
            value: { content: entry.item, sampleOffset: BigInt(entry.start) },
          } as const);
    return create(StreamingRecognizeRequestSchema, { request });
  }

  /** Whether a connection has nothing more to send, now or later. */
  isOver(connection: number): boolean {
    const isSent = this.isFinished && this.cursor >= this.entries.length;
    return connection !== this.connection || isSent;
  }

  /** Whether another connection can take the session up without losing a word. */
  canGoOn(): boolean {
    return this.base <= this.safe;
  }

  /** A message of the server as the session's next event; undefined for what is known already. */
  receive(response: StreamingRecognizeResponse): CaptionEvent | undefined {
    const heard = response.audioProcessed;
    if (heard) {
      const samples = Math.floor((Number(heard.seconds) + heard.nanos / 1e9) * this.rate);
      this.processed = Math.max(this.processed, samples);
    }
    const event = this.event(response);
    this.forget();
    return event;
  }

  private event(response: StreamingRecognizeResponse): CaptionEvent | undefined {
    const { case: kind, value } = response.event;
    switch (kind) {
      case "started": {
        if (this.sessionId) {
          return { kind: "recovered", resentS: (this.received - this.base) / this.rate };
        }
        this.sessionId = value.sessionId;
        return { kind: "started", sessionId: value.sessionId, requestId: value.requestId };
      }
      case "partial":
        this.stable = value.stableText;
        this.revision = this.revisionsBefore + value.revision;
        value.revision = this.revision;
        return { kind: "partial", partial: value };
      case "final":
        return this.final(value);
      case "speechEvent": {
        const offset = value.offset;
        const offsetS = offset ? Number(offset.seconds) + offset.nanos / 1e9 : 0;
        return { kind: "speech", speech: value.kind === 1 ? "begin" : "end", offsetS };
      }
      case "notice":
        if (value.kind === NoticeKind.CANCELLED) this.settle(this.cancels.shift() ?? this.acked);
        return { kind: "notice", notice: NoticeKind[value.kind] ?? "", message: value.message };
      case "summary":
        return {
          kind: "summary",
          samplesReceived: BigInt(this.received),
          samplesInFinals: this.inFinals,
          numSegments: this.nextIndex,
        };
      default:
        return undefined; // a kind that this version does not know
    }
  }

  private final(final: RecognitionFinal): CaptionEvent | undefined {
    if (final.segmentIndex < this.nextIndex) return undefined;
    this.nextIndex = final.segmentIndex + 1;
    this.inFinals += final.endSample - final.startSample;
    this.settle(Number(final.endSample));
    return { kind: "final", final, text: final.alternatives[0]?.text ?? "" };
  }

  private settle(sample: number): void {
    this.acked = Math.max(this.acked, sample);
    this.stable = "";
    this.revision = this.revisionsBefore = 0;
  }

  /** Drops what no server will be asked to hear again. */
  private forget(): void {
    const kept = KEPT_S * this.rate;
    // Audio that was heard so long ago without a final is none that was said.
    this.safe = Math.max(this.safe, this.acked, this.processed - kept);
    this.base = Math.max(this.safe, this.base, this.received - kept);
    for (;;) {
      const first = this.entries[0];
      if (!this.cursor || !first || first.start + samplesOf(first.item) > this.base) break;
      this.entries.shift();
      this.cursor -= 1;
    }
    const first = this.entries[0];
    if (this.cursor && first && first.start < this.base && typeof first.item !== "string") {
      const item = first.item.subarray((this.base - first.start) * 2);
      this.entries[0] = { start: this.base, item };
    }
  }
}
