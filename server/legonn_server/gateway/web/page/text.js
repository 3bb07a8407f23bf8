// What has been said, as segments: committed text only grows, the tail is replaced, finals stay.

import { seconds } from "./session.js";

export class Text {
  constructor() {
    this.segments = new Map(); // index -> { index, solid, tail, final }
    this.numBroken = 0; // answers that would have taken committed text back; there must be none
  }

  // Takes an answer; returns the segment that it changed, or undefined.
  take({ partial, final }) {
    if (partial) return this.grow(partial.segmentIndex, partial.stableText, partial.tailText, partial);
    if (!final) return undefined;
    const best = final.alternatives[0];
    const segment = this.grow(final.segmentIndex, best.text, "", final);
    segment.final = {
      text: segment.solid,
      start: final.startSample / 16000,
      end: final.endSample / 16000,
      confidence: best.confidence,
      encoder: final.encoder,
      decoder: final.decoder,
      reason: final.reason,
      words: (best.words ?? []).map((word) => ({
        text: word.text,
        start: seconds(word.startOffset) + final.shiftSeconds,
        end: seconds(word.endOffset) + final.shiftSeconds,
        confidence: word.confidence,
      })),
    };
    return segment;
  }

  grow(index, solid, tail, { endOffset, shiftSeconds }) {
    const found = this.segments.get(index) ?? { index, solid: "", tail: "", final: null };
    this.segments.set(index, found);
    if (found.final) return found; // said twice: the first one stands
    if (solid.startsWith(found.solid)) found.solid = solid;
    else this.numBroken += 1;
    found.tail = tail;
    found.at = seconds(endOffset) + (shiftSeconds ?? 0);
    return found;
  }

  // The rest of a segment will never come: what was committed stays, the draft goes.
  abandon(index) {
    const segment = this.segments.get(index);
    if (segment) segment.tail = "";
    return segment;
  }

  get finals() {
    return [...this.segments.values()].map((one) => one.final).filter((one) => one?.text);
  }

  get plain() {
    return this.finals.map((one) => one.text).join("\n");
  }
}

// The words of a segment, in order: { text, isSolid, index }. A word that is half committed is a draft.
export function wordsOf(segment) {
  const words = [];
  for (const match of (segment.solid + segment.tail).matchAll(/\S+/g)) {
    const isSolid = match.index + match[0].length <= segment.solid.length;
    words.push({ text: match[0], isSolid, index: words.length });
  }
  return words;
}
