/** The client for Node: gRPC, with all services of the server. */
import * as grpc from "@grpc/grpc-js";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import { connectionLost, LegonnError, retryOf } from "./errors.js";
import type { Retry } from "./errors.js";
import { ErrorReason, ModuleService, SpeechService, TranslationService } from "./protos.js";
import type {
  Module,
  RouteTable,
  StreamingRecognizeRequest,
  StreamingRecognizeResponse,
} from "./protos.js";
import { Arrivals } from "./queue.js";
import { stream } from "./stream.js";
import type { Connection, StreamOptions, Transport } from "./stream.js";
import type { CaptionEvent, Item } from "./session.js";

export { LegonnError } from "./errors.js";
export type { CaptionEvent, Control, Item } from "./session.js";
export type { StreamOptions } from "./stream.js";

/** How a client reaches its server. */
export interface ClientOptions {
  /** Deadline of each unary call; default 60 s. Streams have none. */
  timeoutMs?: number;
  /** Default: plain text, as a server on loopback speaks; `grpc.credentials.createSsl(…)` for TLS. */
  credentials?: grpc.ChannelCredentials;
  /** A key or token, where the server asks who is calling; sent with every call. */
  key?: string;
}

/** One channel to a legonn server. */
export class Client implements Transport {
  private readonly client: grpc.Client;
  private readonly timeoutMs: number;
  private readonly metadata = new grpc.Metadata();

  /** @param address host:port, or several divided by commas, which are tried in their order. */
  constructor(address = "127.0.0.1:50051", options: ClientOptions = {}) {
    const target = address.includes(",") ? `ipv4:${address}` : address;
    this.client = new grpc.Client(target, options.credentials ?? grpc.credentials.createInsecure(), {
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 2_000,
      "grpc.keepalive_time_ms": 20_000,
      "grpc.keepalive_timeout_ms": 10_000,
    });
    this.timeoutMs = options.timeoutMs ?? 60_000;
    if (options.key) this.metadata.set("authorization", `Bearer ${options.key}`);
  }

  /** Sends audio as it comes and yields what the server says; a lost server is replaced. */
  stream(
    chunks: AsyncIterable<Item> | Iterable<Item>,
    options: StreamOptions = {},
  ): AsyncGenerator<CaptionEvent, void, void> {
    return stream(this, chunks, options);
  }

  /** Translates texts with their order kept; throws if one of them fails. */
  async translate(
    texts: string[],
    options: { source: string; target?: string },
  ): Promise<string[]> {
    const response = await this.call(TranslationService.method.translate, {
      config: {
        sourceLanguageCode: options.source,
        targetLanguageCode: options.target ?? "en",
      },
      texts,
    });
    return response.items.map(({ result }) => {
      if (result.case === "translation") return result.value.alternatives[0]?.text ?? "";
      const reason = result.value ? (ErrorReason[result.value.reason] ?? "UNKNOWN") : "UNKNOWN";
      throw new LegonnError(result.value?.message ?? "no result", reason, "never");
    });
  }

  /** All modules that the server knows, by name. */
  async modules(): Promise<Module[]> {
    const found: Module[] = [];
    let pageToken = "";
    do {
      const page = await this.call(ModuleService.method.listModules, { pageToken });
      found.push(...page.modules);
      pageToken = page.nextPageToken;
    } while (pageToken);
    return found;
  }

  /** Which modules serve which languages. */
  async routes(): Promise<RouteTable | undefined> {
    return (await this.call(ModuleService.method.getRoutes, {})).table;
  }

  /** Any unary call of the contract: `client.call(ModuleService.method.loadModule, {…})`. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { methodKind: "unary"; input: I; output: O },
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    const message = create(method.input, request);
    return new Promise((done, failed) => {
      this.client.makeUnaryRequest(
        pathOf(method),
        (value: MessageShape<I>) => Buffer.from(toBinary(method.input, value)),
        (bytes: Buffer) => fromBinary(method.output, bytes),
        message,
        this.metadata,
        { deadline: Date.now() + this.timeoutMs },
        (error, response) => {
          if (error) failed(asOurs(error));
          else if (response) done(response);
          else failed(connectionLost("the server answered with nothing"));
        },
      );
    });
  }

  /** One connection of a session. */
  connect(): Connection {
    const method = SpeechService.method.streamingRecognize;
    const call = this.client.makeBidiStreamRequest(
      pathOf(method),
      (value: StreamingRecognizeRequest) => Buffer.from(toBinary(method.input, value)),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      this.metadata,
    );
    const arrivals = new Arrivals<StreamingRecognizeResponse>();
    call.on("data", (response: StreamingRecognizeResponse) => arrivals.push(response));
    call.on("error", (error: grpc.ServiceError) => arrivals.end({ error: asOurs(error) }));
    call.on("end", () => arrivals.end());
    return {
      send: (request) =>
        new Promise((done) => {
          // A call that ends while its buffer is full never drains.
          if (call.write(request)) return done();
          call.once("drain", done);
          call.once("close", done);
          call.once("error", () => done());
        }),
      end: () => call.end(),
      responses: () => arrivals,
      cancel: () => call.cancel(),
    };
  }

  /** Ends all calls and the connection. */
  close(): void {
    this.client.close();
  }
}

const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

const BY_CODE: Partial<Record<grpc.status, Retry>> = {
  [grpc.status.UNAVAILABLE]: "same",
  [grpc.status.RESOURCE_EXHAUSTED]: "later",
};

/** Rebuilds the server's error from the details of a failed call. */
function asOurs(error: grpc.ServiceError): LegonnError {
  const packed = error.metadata.get("grpc-status-details-bin")[0];
  let reason = grpc.status[error.code] ?? "UNKNOWN";
  let retry = BY_CODE[error.code] ?? "never";
  let retryAfterMs = 0;
  if (packed instanceof Uint8Array) {
    for (const detail of fromBinary(StatusSchema, packed).details) {
      const info = anyUnpack(detail, ErrorInfoSchema);
      if (info) {
        reason = info.reason;
        retry = retryOf(info.metadata["retry"]);
      }
      const wish = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
      if (wish) retryAfterMs = Number(wish.seconds) * 1000 + wish.nanos / 1e6;
    }
  }
  return new LegonnError(error.details || error.message, reason, retry, retryAfterMs);
}
