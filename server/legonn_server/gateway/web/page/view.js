// Segments on the screen: two lines that roll up, or a transcript. A word keeps its element from
// draft to final; being committed only changes its class, so nothing moves and nothing is rewritten.

import { LINES, LINE_CHARACTERS, RollUp, linesOf } from "./rollup.js";
import { wordsOf } from "./text.js";

const REST_SECONDS = 8;
const UNSURE = 0.85; // confidence below which a word is marked, and marked strongly
const DOUBTFUL = 0.6;

// Makes the children of `parent` show `words`; elements whose text is right are left alone.
function showWords(parent, words) {
  for (const [number, word] of words.entries()) {
    let element = parent.children[number];
    if (!element) {
      element = document.createElement("span");
      if (number) parent.append(" ");
      parent.append(element);
    }
    if (element.textContent !== word.text) element.textContent = word.text;
    const name = className(word);
    if (element.className !== name) element.className = name;
  }
  while (parent.children.length > words.length) {
    parent.lastElementChild.remove();
    parent.lastChild?.remove(); // the space before it
  }
}

function className({ isSolid, confidence }) {
  if (!isSolid) return "word";
  if (confidence === undefined || confidence >= UNSURE) return "word solid";
  return confidence >= DOUBTFUL ? "word solid unsure" : "word solid doubtful";
}

// The words of a segment with the confidences of its final.
function rated(segment) {
  const words = wordsOf(segment);
  const found = segment.final?.words ?? [];
  if (found.length === words.length) {
    for (const word of words) word.confidence = found[word.index].confidence;
  }
  return words;
}

export class View {
  constructor(elements, onRendered) {
    this.elements = elements;
    this.onRendered = onRendered;
    this.mode = "captions";
    this.characters = LINE_CHARACTERS;
    this.clear();
  }

  clear() {
    clearTimeout(this.timer);
    clearTimeout(this.resting);
    this.segments = new Map(); // index -> { segment, lines, paragraph }
    this.rollUp = new RollUp();
    this.rows = new Map(); // line number -> element
    this.elements.lines.replaceChildren();
    this.elements.transcript.replaceChildren();
    this.elements.hint.hidden = false;
  }

  setMode(mode) {
    this.mode = mode;
    this.elements.rollup.hidden = mode !== "captions";
    this.elements.transcript.hidden = mode !== "transcript";
    this.elements.transcript.scrollTop = this.elements.transcript.scrollHeight;
    this.render();
  }

  // A narrow screen gets shorter lines rather than letters too small to read.
  setCharacters(characters) {
    this.characters = characters;
    this.elements.rollup.style.setProperty("--characters", characters);
    for (const known of this.segments.values()) known.lines = linesOf(rated(known.segment), characters);
    this.rollUp = new RollUp();
    this.rollUp.top = Infinity;
    this.rows.clear();
    this.elements.lines.replaceChildren();
    this.render();
  }

  show(segment) {
    const known = this.segments.get(segment.index) ?? { lines: [], paragraph: null };
    known.segment = segment;
    const words = rated(segment);
    known.lines = linesOf(words, this.characters);
    this.segments.set(segment.index, known);
    if (words.length) this.elements.hint.hidden = true;
    this.write(known, words);
    this.render();
    this.elements.rollup.classList.remove("rested");
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.elements.rollup.classList.add("rested"), REST_SECONDS * 1000);
  }

  // The transcript's paragraph of a segment.
  write(known, words) {
    const { transcript } = this.elements;
    const isAtEnd = transcript.scrollHeight - transcript.scrollTop - transcript.clientHeight < 40;
    if (!known.paragraph && words.length) {
      known.paragraph = document.createElement("p");
      known.paragraph.append(document.createElement("time"), document.createElement("span"));
      transcript.append(known.paragraph);
    }
    if (!known.paragraph) return;
    const start = known.segment.final?.words[0]?.start ?? known.started ?? known.segment.at;
    known.started ??= start;
    known.paragraph.children[0].textContent = clock(start);
    showWords(known.paragraph.children[1], words);
    if (!words.length) {
      known.paragraph.remove();
      known.paragraph = null;
    }
    if (isAtEnd) transcript.scrollTop = transcript.scrollHeight;
  }

  // Draws the two lines, and again when the next one may roll in.
  render() {
    clearTimeout(this.timer);
    const lines = [...this.segments.values()].flatMap((one) => one.lines);
    const lengths = lines.map((line) => line.reduce((sum, word) => sum + word.text.length + 1, -1));
    const before = this.rollUp.top;
    const rest = this.rollUp.advance(lengths, performance.now() / 1000);
    const { top, end } = this.rollUp;
    for (const [number, row] of this.rows) {
      if (number < top - 1 || number >= Math.min(end, lines.length)) {
        row.remove();
        this.rows.delete(number);
      }
    }
    for (let number = Math.max(0, top - 1); number < Math.min(end, lines.length); number += 1) {
      let row = this.rows.get(number);
      if (!row) {
        row = document.createElement("div");
        row.className = "line";
        this.elements.lines.append(row);
        this.rows.set(number, row);
      }
      const isNew = !row.children.length;
      showWords(row, lines[number]);
      // Fewer than two lines stand on the lower one, where the eye will stay.
      const place = number - top + Math.max(0, LINES - lines.length);
      if (isNew && top > before) row.style.setProperty("--row", place + 1); // rolls in from below
      const [width, room] = [row.offsetWidth, this.elements.lines.clientWidth];
      row.style.setProperty("--fit", width > room && room ? room / width : 1);
      row.style.setProperty("--row", place);
      row.classList.toggle("gone", number < top);
    }
    if (rest) this.timer = setTimeout(() => this.render(), rest * 1000);
    this.onRendered();
  }

  // How many words of a segment can be seen in this mode.
  numVisible(segment) {
    if (this.mode === "transcript") return wordsOf(segment).length;
    let number = 0;
    let visible = 0;
    for (const [index, { lines }] of this.segments) {
      for (const line of lines) {
        if (index === segment.index && number < this.rollUp.end) visible = line.at(-1).index + 1;
        number += 1;
      }
    }
    return visible;
  }
}

export function clock(position) {
  const whole = Math.max(0, Math.floor(position ?? 0));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
