// Finals as files: SubRip, WebVTT, plain text, JSON.

import { LINE_CHARACTERS, LINES } from "./rollup.js";

const LONGEST_CUE = 6;
const SHORTEST_CUE = 1;
const CHARACTERS_A_SECOND = 17;
const GAP = 0.04; // between cues, so that players show that the text has changed

// Cues { start, end, lines }: whole words, full lines, time to read where there is time.
export function cuesOf(finals) {
  const cues = [];
  for (const final of finals) {
    let cue = null;
    for (const word of final.words) {
      if (!cue || word.end - cue.start > LONGEST_CUE || !place(cue.lines, word.text)) {
        cue = { start: word.start, end: word.end, lines: [word.text] };
        cues.push(cue);
      }
      cue.end = Math.max(cue.end, word.end);
    }
  }
  for (const [number, cue] of cues.entries()) {
    const following = cues[number + 1]?.start ?? Infinity;
    const length = cue.lines.join(" ").length;
    const wanted = cue.start + Math.max(SHORTEST_CUE, length / CHARACTERS_A_SECOND);
    cue.end = Math.min(Math.max(cue.end, wanted), following - GAP, cue.start + LONGEST_CUE);
    cue.end = Math.max(cue.end, cue.start + 0.001);
  }
  return cues;
}

function place(lines, word) {
  if (lines.at(-1).length + 1 + word.length <= LINE_CHARACTERS) {
    lines[lines.length - 1] += ` ${word}`;
    return true;
  }
  if (lines.length === LINES) return false;
  lines.push(word);
  return true;
}

export function srt(finals) {
  return cuesOf(finals)
    .map(({ start, end, lines }, number) => `${number + 1}\n${stamp(start, ",")} --> ${stamp(end, ",")}\n${lines.join("\n")}\n`)
    .join("\n");
}

export function vtt(finals) {
  const blocks = cuesOf(finals).map(
    ({ start, end, lines }) => `${stamp(start, ".")} --> ${stamp(end, ".")}\n${escaped(lines.join("\n"))}\n`,
  );
  return ["WEBVTT\n", ...blocks].join("\n");
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function stamp(seconds, mark) {
  const whole = Math.round(seconds * 1000);
  const parts = [whole / 3600000, (whole / 60000) % 60, (whole / 1000) % 60].map((part) => String(Math.floor(part)).padStart(2, "0"));
  return `${parts.join(":")}${mark}${String(whole % 1000).padStart(3, "0")}`;
}

export function json(finals, delays) {
  return `${JSON.stringify({ segments: finals, delays }, null, 1)}\n`;
}

export function save(name, kind, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
