// Sound that may still be needed: all since the last final, so that a lost connection costs no word.
// Positions are samples since the session's start.

export const RATE = 16000;
export const LONGEST_SECONDS = 600; // 19 MB; a server that is behind may take long to its next final

export class Backlog {
  constructor(start = 0) {
    this.pieces = []; // { start, end, pcm }, oldest first
    this.captured = start; // the position after the newest sample
    this.sent = start; // the next sample to send
    this.first = start; // the oldest sample that is kept
    this.clock = []; // { end, at } of the last two minutes, for measuring
  }

  push(pcm, at) {
    const piece = { start: this.captured, end: this.captured + pcm.length, pcm };
    this.pieces.push(piece);
    this.captured = piece.end;
    this.clock.push({ end: piece.end, at });
    if (this.clock.length > 1200) this.clock.shift();
  }

  // The next piece to send, or undefined.
  next() {
    const piece = this.pieces.find((one) => one.end > this.sent);
    if (!piece) return undefined;
    const pcm = piece.pcm.subarray(Math.max(0, this.sent - piece.start));
    this.sent = piece.end;
    return pcm;
  }

  // Everything before `sample` is in finals.
  forget(sample) {
    while (this.pieces.length && this.pieces[0].end <= sample) this.pieces.shift();
    this.first = Math.max(this.first, Math.min(sample, this.captured));
  }

  // Drops what is older than the limit; returns how many samples were lost by it.
  trim() {
    const oldest = this.captured - LONGEST_SECONDS * RATE;
    if (this.first >= oldest) return 0;
    const before = this.first;
    this.forget(oldest);
    return this.first - before;
  }

  get keptSeconds() {
    return (this.captured - this.first) / RATE;
  }

  // When sample `position` was heard, in performance.now() milliseconds; undefined if long ago.
  heardAt(position) {
    const piece = this.clock.find((one) => one.end >= position);
    return piece && piece.at - ((piece.end - position) * 1000) / RATE;
  }
}
