// Two lines of at most 42 characters that roll up no faster than they can be read.

export const LINE_CHARACTERS = 42;
export const LINES = 2;
const CHARACTERS_A_SECOND = 20;
const SHORTEST_SECONDS = 1;
const MOST_BEHIND = 2; // lines waiting to be shown before reading speed gives way to being live

// Greedy lines of words; each segment begins a line. Committed words never change line, because a
// line depends only on the words before its end.
export function linesOf(words, characters = LINE_CHARACTERS) {
  const lines = [];
  let length = 0;
  for (const word of words) {
    for (const [number, text] of pieces(word.text, characters).entries()) {
      const isNew = !lines.length || (word.index === 0 && number === 0) || length + 1 + text.length > characters;
      if (isNew) {
        lines.push([]);
        length = -1;
      }
      lines.at(-1).push({ ...word, text });
      length += 1 + text.length;
    }
  }
  return lines;
}

function pieces(text, characters) {
  return text.match(new RegExp(`.{1,${characters}}`, "gu")) ?? [];
}

// Which line is the upper one.
export class RollUp {
  constructor() {
    this.top = 0;
    this.shownAt = []; // seconds at which each line became visible
  }

  // Takes the lengths of all lines and the time; gives seconds until it wants to be asked again, or 0.
  advance(lengths, now) {
    const wanted = Math.max(0, lengths.length - LINES);
    this.top = Math.min(this.top, wanted); // a draft line may vanish
    this.see(lengths.length, now);
    while (this.top < wanted) {
      const rest = this.shownAt[this.top] + dwell(lengths[this.top]) - now;
      if (rest > 0 && wanted - this.top <= MOST_BEHIND) return rest;
      this.top += 1;
      this.see(lengths.length, now);
    }
    return 0;
  }

  see(count, now) {
    const visible = Math.min(count, this.top + LINES);
    while (this.shownAt.length < visible) this.shownAt.push(now);
  }

  // The number of the first line that is not visible yet.
  get end() {
    return this.top + LINES;
  }
}

function dwell(length) {
  return Math.max(SHORTEST_SECONDS, length / CHARACTERS_A_SECOND);
}
