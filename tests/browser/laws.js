const done = arguments[0];
const broken = [];
let numCases = 0;
const check = (is, what) => { numCases += 1; if (!is) broken.push(what); };
let seed = 1;
const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;

Promise.all([import("/rollup.js"), import("/resample.js"), import("/backlog.js")]).then(([rollup, resample, { Backlog }]) => {
  for (let round = 0; round < 60; round += 1) {
    const words = Array.from({ length: 40 }, (_, index) => ({ text: "x".repeat(1 + Math.floor(random() * 60 ** random())), index }));
    const texts = (lines) => lines.map((line) => line.map((one) => one.text).join(" "));
    const whole = texts(rollup.linesOf(words));
    check(whole.every((line) => line.length <= 42 && line.length > 0), "a line is too long");
    check(whole.join("").replaceAll(" ", "") === words.map((one) => one.text).join(""), "a word is lost");
    const part = texts(rollup.linesOf(words.slice(0, 17)));
    check(part.slice(0, -1).every((line, n) => line === whole[n]) && whole[part.length - 1].startsWith(part.at(-1)), "a line moved");
    const roll = new rollup.RollUp();
    let now = 0, last = 0;
    for (let count = 1; count <= whole.length; count += 1) {
      now += random() * 4;
      roll.advance(whole.slice(0, count).map((line) => line.length), now);
      check(roll.top >= last && count - roll.end <= 2, "captions fell behind");
      last = roll.top;
    }
  }
  for (const rate of [8000, 22050, 44100, 48000, 96000]) {
    const tone = Float32Array.from({ length: rate }, (_, n) => 0.5 * Math.sin((2 * Math.PI * 440 * n) / rate));
    const one = new resample.Resampler(rate);
    const whole = [...one.feed(tone), ...one.flush()];
    const cut = new resample.Resampler(rate);
    const pieces = [];
    for (let start = 0; start < rate; ) {
      const size = 1 + Math.floor(random() * 700);
      pieces.push(...cut.feed(tone.subarray(start, start + size)));
      start += size;
    }
    pieces.push(...cut.flush());
    check(pieces.length === whole.length && pieces.every((x, n) => Math.abs(x - whole[n]) < 1e-5), `cut at ${rate}`);
    check(Math.abs(whole.length - 16000) <= 2, `length at ${rate}: ${whole.length}`);
    const error = Math.max(...whole.slice(200, 15800).map((x, n) => Math.abs(x - 0.5 * Math.sin((2 * Math.PI * 440 * (n + 200)) / 16000))));
    check(error < 0.01, `tone at ${rate}: ${error}`);
  }
  const high = Float32Array.from({ length: 48000 }, (_, n) => Math.sin((2 * Math.PI * 12000 * n) / 48000));
  check(Math.max(...new resample.Resampler(48000).feed(high).slice(200)) < 0.02, "12 kHz comes back as an alias");
  const kept = new Backlog(100);
  const second = new Int16Array(16000);
  for (let n = 0; n < 599; n += 1) kept.push(second, n * 1000);
  check(kept.trim() === 0 && kept.next().length === 16000 && kept.sent === 16100, "sound was dropped that may be needed");
  for (let n = 599; n < 602; n += 1) kept.push(second, n * 1000);
  check(kept.trim() > 0 && kept.first === 100 + 2 * 16000 && kept.sent < kept.first, "a gap was not seen");
  done({ broken, numCases });
}, (error) => done({ broken: [String(error)], numCases }));
