/**
 * Live captions from a legonn server. Take a client from `legonn/node` (gRPC) or `legonn/browser`
 * (WebSocket and HTTP); both yield the same events.
 */
export { LegonnError } from "./errors.js";
export type { Retry } from "./errors.js";
export { stream } from "./stream.js";
export type { Connection, StreamOptions, Transport } from "./stream.js";
export { SessionLog } from "./session.js";
export type { CaptionEvent, Control, Item } from "./session.js";
