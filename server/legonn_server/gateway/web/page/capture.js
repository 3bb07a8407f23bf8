// In the audio thread: the microphone's samples become 16 kHz PCM in pieces of 100 ms.

import { Resampler, toPcm } from "./resample.js";

const PIECE = 1600;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate);
    this.waiting = new Float32Array(PIECE * 2);
    this.length = 0;
    this.isOpen = true;
    this.port.onmessage = () => {
      this.take(this.resampler.flush());
      this.send(this.length);
      this.isOpen = false;
      this.port.postMessage({ isLast: true });
    };
  }

  process(inputs) {
    const channels = inputs[0];
    if (this.isOpen && channels.length) this.take(this.resampler.feed(mixed(channels)));
    return this.isOpen;
  }

  take(samples) {
    for (let start = 0; start < samples.length; ) {
      const room = Math.min(PIECE - this.length, samples.length - start);
      this.waiting.set(samples.subarray(start, start + room), this.length);
      this.length += room;
      start += room;
      if (this.length === PIECE) this.send(PIECE);
    }
  }

  send(count) {
    if (!count) return;
    const pcm = toPcm(this.waiting.subarray(0, count));
    this.length = 0;
    this.port.postMessage({ pcm, at: currentTime }, [pcm.buffer]);
  }
}

function mixed(channels) {
  if (channels.length === 1) return channels[0];
  const mono = new Float32Array(channels[0].length);
  for (const channel of channels) for (let i = 0; i < mono.length; i += 1) mono[i] += channel[i];
  return mono.map((sample) => sample / channels.length);
}

registerProcessor("legonn-capture", Capture);
