// Finals as files. SubRip and WebVTT are written by the server, whose shaper `legonn captions` has too;
// text and JSON are written here, so that nothing is lost with the server.

export async function captions(kind, finals) {
  const segments = finals.map(({ text, start, end, words }) => ({
    text,
    start,
    end,
    words: words.map((word) => ({ text: word.text, start: word.start, end: word.end })),
  }));
  let answer;
  try {
    answer = await fetch("v1/captions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ format: kind, segments }),
    });
  } catch {
    throw new Error("The server is not there, and it writes SRT and VTT. TXT and JSON can be saved without it.");
  }
  if (answer.ok) return answer.text();
  const { error } = await answer.json();
  throw new Error(`The captions could not be written: ${error.message}.`);
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
