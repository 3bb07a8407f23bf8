// Where sound comes from: the microphone or a recording. Both give 16 kHz PCM in pieces of 100 ms,
// each with the moment (performance.now()) at which its last sample was heard.

import { toPcm } from "./resample.js";

export const RATE = 16000;
const PIECE = RATE / 10;

export class SourceError extends Error {}

// Why this browser gives no microphone here; empty if it may.
export function microphoneProblem() {
  if (window.isSecureContext && navigator.mediaDevices?.getUserMedia) return "";
  if (window.isSecureContext) return "This browser has no microphone for web pages.";
  return (
    "No microphone here: browsers give it only to pages from https:// or from the computer itself. " +
    `Open http://localhost:${location.port || 80} on the machine that runs the server, or put https ` +
    "before it. Files and the clip work here."
  );
}

// The clock of an audio context on the page's clock. Messages are only ever late, so the earliest
// one is the truest.
class ContextClock {
  constructor() {
    this.offset = Infinity;
  }

  when(contextSeconds) {
    this.offset = Math.min(this.offset, performance.now() - contextSeconds * 1000);
    return this.offset + contextSeconds * 1000;
  }
}

export async function openMicrophone(onPcm) {
  const problem = microphoneProblem();
  if (problem) throw new SourceError(problem);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      // Made for calls, echo and noise filters cut the beginnings of words.
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true },
    });
  } catch (error) {
    throw new SourceError(refusal(error));
  }
  const context = new AudioContext({ latencyHint: "interactive" });
  await context.audioWorklet.addModule("capture.js");
  const node = new AudioWorkletNode(context, "legonn-capture", { numberOfOutputs: 0 });
  const clock = new ContextClock();
  let finished;
  const isFinished = new Promise((resolve) => (finished = resolve));
  node.port.onmessage = ({ data }) =>
    data.isLast ? finished() : onPcm(data.pcm, clock.when(data.at));
  context.createMediaStreamSource(stream).connect(node);
  await context.resume();
  return {
    isLive: true,
    async stop() {
      node.port.postMessage("stop");
      await Promise.race([isFinished, new Promise((resolve) => setTimeout(resolve, 500))]);
      for (const track of stream.getTracks()) track.stop();
      await context.close();
    },
  };
}

function refusal(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "The microphone was not allowed. Allow it in the address bar, then press Start again.";
    case "NotFoundError":
      return "There is no microphone. Plug one in, or open a file.";
    default:
      return `The microphone cannot be used: ${error.message || error.name}. Another program may hold it.`;
  }
}

// Plays a recording aloud and gives what is heard, as it is heard.
export async function playRecording(bytes, onPcm, onEnd) {
  const context = new AudioContext({ sampleRate: RATE });
  let buffer;
  try {
    buffer = await context.decodeAudioData(bytes);
  } catch {
    await context.close();
    throw new SourceError("This file cannot be read: no audio that this browser knows is in it.");
  }
  const pcm = toPcm(mixed(buffer));
  const player = context.createBufferSource();
  player.buffer = buffer;
  player.connect(context.destination);
  await context.resume();
  const clock = new ContextClock();
  const start = context.currentTime;
  player.start(start);
  let given = 0;
  const give = (heard) => {
    const now = clock.when(context.currentTime);
    while (given + PIECE <= heard || (given < heard && heard === pcm.length)) {
      const end = Math.min(given + PIECE, heard);
      const at = now - (context.currentTime - start - end / RATE) * 1000;
      onPcm(pcm.slice(given, end), at);
      given = end;
    }
  };
  const timer = setInterval(() => {
    give(Math.max(0, Math.min(pcm.length, Math.floor((context.currentTime - start) * RATE))));
    if (given === pcm.length) close().then(onEnd);
  }, 50);
  let isClosed = false;
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    clearInterval(timer);
    await context.close();
  };
  return { isLive: false, stop: close };
}

function mixed(buffer) {
  const mono = buffer.getChannelData(0).slice();
  for (let channel = 1; channel < buffer.numberOfChannels; channel += 1) {
    const data = buffer.getChannelData(channel);
    for (let i = 0; i < mono.length; i += 1) mono[i] += data[i];
  }
  return mono.map((sample) => sample / buffer.numberOfChannels);
}
