// From the end of a spoken word to the word on the page: measured for every word, never guessed.

import { wordsOf } from "./text.js";

const RATE = 16000;
const NEWEST = 30;

export class Delays {
  constructor() {
    this.seen = new Map(); // segment index -> [{ text, at, solidAt }]
    this.measured = []; // { text, end, shown, committed } in seconds, in order
    this.done = new Set();
  }

  // What of a segment is on the page at `now` (performance.now()); call after it was drawn.
  see(segment, numVisible, now, heardAt) {
    if (this.done.has(segment.index)) return;
    const seen = this.seen.get(segment.index) ?? [];
    this.seen.set(segment.index, seen);
    const words = wordsOf(segment);
    for (const word of words.slice(0, numVisible)) {
      if (seen[word.index]?.text !== word.text) seen[word.index] = { text: word.text, at: now };
      if (word.isSolid) seen[word.index].solidAt ??= now;
    }
    seen.length = Math.min(seen.length, words.length);
    if (segment.final && numVisible >= words.length) this.finish(segment, seen, heardAt);
  }

  finish(segment, seen, heardAt) {
    this.done.add(segment.index);
    this.seen.delete(segment.index);
    const { words } = segment.final;
    if (words.length !== seen.length) return; // a word with a blank in it: no times to compare
    for (const [number, word] of words.entries()) {
      const heard = heardAt(Math.round(word.end * RATE));
      if (heard === undefined) continue;
      const { at, solidAt } = seen[number];
      this.measured.push({
        text: word.text,
        end: word.end,
        shown: (at - heard) / 1000,
        committed: (solidAt - heard) / 1000,
      });
    }
  }

  // Seconds; undefined before the first word.
  get median() {
    const newest = this.measured.slice(-NEWEST).map((one) => one.shown).sort((a, b) => a - b);
    return newest[Math.floor(newest.length / 2)];
  }
}
