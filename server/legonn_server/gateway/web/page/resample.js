// Any sample rate to 16 kHz, chunk by chunk: a windowed-sinc low-pass read at fractional positions.
// However the input is cut, the output is the same.

const HALF_WIDTH = 16; // zero crossings of the filter on each side
const STEPS = 512; // tabulated positions between two crossings; linear between them

function windowedSinc() {
  const table = new Float32Array(HALF_WIDTH * STEPS + 2);
  for (let i = 0; i < table.length; i += 1) {
    const x = i / STEPS;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
    const window = x >= HALF_WIDTH ? 0 : 0.5 + 0.5 * Math.cos((Math.PI * x) / HALF_WIDTH);
    table[i] = sinc * window;
  }
  return table;
}

export class Resampler {
  constructor(fromRate, toRate = 16000) {
    this.step = fromRate / toRate;
    this.scale = Math.min(1, (toRate / fromRate) * 0.95); // keep what 16 kHz can carry, no aliases
    this.reach = Math.ceil(HALF_WIDTH / this.scale);
    this.table = windowedSinc();
    this.history = new Float32Array(this.reach); // silence before the first sample
    this.position = this.reach; // of the next output sample in `history`
    this.isPlain = fromRate === toRate;
  }

  // Takes Float32Array input, gives all output that it settles.
  feed(input) {
    if (this.isPlain) return input.slice();
    const data = new Float32Array(this.history.length + input.length);
    data.set(this.history);
    data.set(input, this.history.length);
    const count = Math.max(0, Math.ceil((data.length - this.reach - this.position) / this.step));
    const output = new Float32Array(count);
    for (let i = 0; i < count; i += 1) output[i] = this.read(data, this.position + i * this.step);
    this.position += count * this.step;
    const kept = Math.max(0, Math.floor(this.position) - this.reach);
    this.history = data.slice(kept);
    this.position -= kept;
    return output;
  }

  // What is still held back, as if silence followed.
  flush() {
    return this.isPlain ? new Float32Array(0) : this.feed(new Float32Array(this.reach));
  }

  read(data, position) {
    const first = Math.max(0, Math.ceil(position - this.reach));
    const last = Math.min(data.length - 1, Math.floor(position + this.reach));
    let sum = 0;
    for (let i = first; i <= last; i += 1) {
      const x = Math.abs(i - position) * this.scale * STEPS;
      const low = Math.floor(x);
      if (low < this.table.length - 1) {
        const value = this.table[low] + (this.table[low + 1] - this.table[low]) * (x - low);
        sum += data[i] * value;
      }
    }
    return sum * this.scale;
  }
}

// Float samples as 16-bit PCM; what was 16-bit PCM before comes out as it was.
export function toPcm(samples) {
  const pcm = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i += 1) {
    pcm[i] = Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32768)));
  }
  return pcm;
}
