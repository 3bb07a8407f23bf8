// One captioning session over the socket `legonn.captions.v1`, whatever happens to the connection:
// docs/captions-protocol.md. Sound is kept until its final is in; after a loss the session is taken
// up at the last final, with what was committed since, so nothing is lost, doubled or taken back.

import { Backlog, RATE } from "./backlog.js";

const PROTOCOL = "legonn.captions.v1";
const MOST_BUFFERED = 64 * 1024; // bytes in the socket before sound is held back
const QUIET_SECONDS = 30; // sound without a final after which one is asked for
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 4000;

export class Session extends EventTarget {
  // `from` is where an earlier session of the page ended: { samples, segments }.
  constructor(config, from = { samples: 0, segments: 0 }) {
    super();
    this.config = config;
    this.backlog = new Backlog(from.samples);
    this.state = "connecting";
    this.id = "";
    this.next = from.segments; // index of the next final
    this.committed = ""; // stable text of the open segment
    this.shift = from; // what positions and numbers of the server's session are short of
    this.wordsRecovered = 0;
    this.recoverUntil = 0;
    this.pauses = 0;
    this.flushedAt = 0;
    this.isEnding = false;
    this.connect();
    this.timer = setInterval(() => this.tick(), 100);
  }

  push(pcm, at) {
    this.backlog.push(pcm, at);
    this.pump();
  }

  // No more sound: finals for what was heard, then the end.
  end() {
    this.isEnding = true;
    if (this.state === "live" || this.state === "recovered") this.become("finishing");
    this.pump();
  }

  // Leave at once.
  abandon() {
    this.stop("ended");
  }

  become(state, detail = "") {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, text: detail } }));
  }

  connect() {
    const url = new URL("v1/captions", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, PROTOCOL);
    this.socket = socket;
    this.hasEnded = false;
    this.isAccepted = false;
    this.refusal = null;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket === this.socket && this.begin();
    socket.onmessage = ({ data }) => socket === this.socket && this.take(JSON.parse(data));
    socket.onclose = () => socket === this.socket && this.lost();
  }

  begin() {
    const lost = this.backlog.first - this.resumeSample();
    const config = { ...this.config };
    if (this.id && lost <= 0) {
      config.resume = {
        sessionId: this.id,
        sampleOffset: String(this.resumeSample() - this.shift.samples),
        nextSegmentIndex: this.next - this.shift.segments,
        committedText: this.committed,
      };
    } else if (this.backlog.first) {
      // The gap is longer than what is kept: begin anew where sound is, and say so.
      this.shift = { samples: this.backlog.first, segments: this.next + (this.committed ? 1 : 0) };
      if (this.committed) this.dispatchEvent(new CustomEvent("abandoned", { detail: this.next }));
      this.next = this.shift.segments;
      this.committed = "";
    }
    this.socket.send(JSON.stringify({ config }));
    this.backlog.sent = Math.max(this.backlog.first, this.resumeSample());
    this.pump();
  }

  resumeSample() {
    return Math.max(this.acknowledged ?? 0, this.shift.samples);
  }

  pump() {
    if (this.socket.readyState !== WebSocket.OPEN || this.hasEnded) return;
    while (this.socket.bufferedAmount < MOST_BUFFERED) {
      const pcm = this.backlog.next();
      if (!pcm) break;
      this.socket.send(pcm);
    }
    if (this.isEnding && this.backlog.sent >= this.backlog.captured) {
      this.hasEnded = true;
      this.socket.send('{"end": {}}');
    }
  }

  tick() {
    this.pump();
    const { backlog } = this;
    const isOpen = this.isAccepted && this.socket.readyState === WebSocket.OPEN;
    if (isOpen && !this.hasEnded && !this.committed) {
      // Long silence has no final that would say that its sound may be forgotten: ask for one.
      const since = Math.max(this.flushedAt, backlog.first);
      if (backlog.sent - since > QUIET_SECONDS * RATE) {
        this.flushedAt = backlog.sent;
        this.socket.send('{"control": {"action": "CONTROL_ACTION_FLUSH"}}');
      }
    }
    const lost = backlog.trim();
    if (lost) this.dispatchEvent(new CustomEvent("gap", { detail: lost / RATE }));
    // Positions would no longer be those of the server: begin anew where sound is.
    if (backlog.sent < backlog.first && this.socket.readyState === WebSocket.OPEN) this.socket.close();
    if (this.state === "reconnecting") this.become("reconnecting");
  }

  take(answer) {
    if (answer.error) {
      this.refusal = answer.error;
      return;
    }
    const event = this.placed(answer);
    if (event.started) this.accepted(event.started);
    if (event.partial) this.committed = event.partial.stableText;
    if (event.final) {
      this.committed = "";
      this.next = event.final.segmentIndex + 1;
      this.acknowledged = Number(event.final.endSample);
      this.backlog.forget(this.acknowledged);
    }
    this.dispatchEvent(new CustomEvent("answer", { detail: event }));
    this.countRecovered(event);
    if (event.summary) this.stop("ended");
  }

  // An answer with positions and numbers since this page's first sample.
  placed(answer) {
    const { samples, segments } = this.shift;
    const event = { ...answer };
    for (const kind of ["partial", "final"]) {
      if (!event[kind]) continue;
      const one = structuredClone(event[kind]);
      one.segmentIndex += segments;
      one.shiftSeconds = samples / RATE;
      if (kind === "final") {
        one.startSample = Number(one.startSample) + samples;
        one.endSample = Number(one.endSample) + samples;
      }
      event[kind] = one;
    }
    return event;
  }

  accepted(started) {
    this.id = started.sessionId;
    this.isAccepted = true;
    this.pauses = 0;
    if (this.state === "reconnecting") {
      this.recoverUntil = this.backlog.captured;
      this.wordsRecovered = 0;
      this.become("recovered", "catching up");
    } else {
      this.become(this.isEnding ? "finishing" : "live");
    }
  }

  // Words that were said while there was no connection, or not yet final when it broke.
  countRecovered({ partial, final }) {
    if (!this.recoverUntil) return;
    const until = this.recoverUntil / RATE;
    if (final) {
      const words = final.alternatives[0].words ?? [];
      const ended = words.filter((word) => seconds(word.endOffset) + final.shiftSeconds <= until);
      this.wordsRecovered += ended.length;
    }
    const position = final ? final.endSample / RATE : partial && seconds(partial.endOffset) + partial.shiftSeconds;
    const isThere = position >= until - 1 || (final && this.isEnding);
    if (final || isThere) {
      const open = partial ? (partial.stableText + partial.tailText).split(/\s+/).filter(Boolean).length : 0;
      const count = this.wordsRecovered + open;
      this.become("recovered", `${count} ${count === 1 ? "word" : "words"} recovered`);
    }
    if (isThere) this.recoverUntil = 0;
  }

  lost() {
    if (this.state === "ended" || this.state === "failed") return;
    const retry = this.refusal?.details?.find((one) => one.reason)?.metadata?.retry;
    if (this.refusal && retry === "never") {
      this.stop("failed", sentence(this.refusal.message));
      return;
    }
    const text = this.refusal?.message ?? "";
    this.become(this.id ? "reconnecting" : "connecting", text);
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.pauses) * (0.5 + Math.random() / 2);
    this.pauses += 1;
    this.retry = setTimeout(() => this.connect(), retry === "later" ? Math.max(1000, pause) : pause);
  }

  stop(state, detail) {
    clearInterval(this.timer);
    clearTimeout(this.retry);
    this.become(state, detail);
    this.socket.close();
  }
}

export function seconds(duration) {
  return Number.parseFloat(duration ?? "0");
}

function sentence(text) {
  return text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "The server refused.";
}
