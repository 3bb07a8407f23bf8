// The page: buttons, sources, session and view brought together.

import { RATE } from "./backlog.js";
import { Delays } from "./delay.js";
import * as files from "./files.js";
import { LINE_CHARACTERS } from "./rollup.js";
import { Session } from "./session.js";
import { microphoneProblem, openMicrophone, playRecording } from "./sources.js";
import { Text } from "./text.js";
import { TextPane } from "./translate.js";
import { View } from "./view.js";

const element = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const isOverlay = parameters.get("overlay") === "1";
const NUM_STUDS = 12;
const NARROW_CHARACTERS = 28;
const SPOKEN_KEPT = 3; // finals that a screen reader finds in the live region

const page = { text: new Text(), delays: new Delays(), session: null, source: null, level: 0 };
const view = new View(
  { lines: element("lines"), rollup: element("rollup"), transcript: element("transcript"), hint: element("hint") },
  () => requestAnimationFrame(measure),
);

// --- what is seen

const STATES = {
  idle: () => "Ready",
  connecting: (detail) => (detail ? `Waiting: ${detail}` : "Connecting…"),
  live: () => "Live",
  reconnecting: () => `Reconnecting · ${5 * Math.round(page.session.backlog.keptSeconds / 5)} s of speech kept`,
  recovered: (detail) => `Live · ${detail}`,
  finishing: () => "Finishing…",
  ended: () => "Stopped",
  failed: () => "Stopped",
};

function showState({ state, text }) {
  const words = STATES[state](text);
  element("state").dataset.state = state;
  if (element("state-text").textContent !== words) element("state-text").textContent = words;
  clearTimeout(page.calming);
  if (state === "recovered") page.calming = setTimeout(() => page.session?.state === "recovered" && page.session.become("live"), 12000);
  if (state === "failed") tell(text);
  if (state === "ended" || state === "failed") finished();
}

function tell(sentence) {
  element("notice").textContent = sentence;
  element("notice").hidden = !sentence;
}

function take(answer) {
  const segment = page.text.take(answer);
  if (!segment) return;
  view.show(segment);
  if (answer.final && segment.final?.text) {
    speak(segment.final.text);
    for (const kind of ["srt", "vtt", "txt", "json"]) element(`save-${kind}`).disabled = false;
    element("clear").disabled = false;
  }
}

// Finals only: a screen reader that read drafts would never come to an end.
function speak(sentence) {
  const line = document.createElement("p");
  line.textContent = sentence;
  element("live").append(line);
  while (element("live").children.length > SPOKEN_KEPT) element("live").firstElementChild.remove();
}

function measure() {
  const { backlog } = page; // of the last session, too: its last words are drawn when it has ended
  if (!backlog) return;
  const now = performance.now();
  for (const segment of page.text.segments.values()) {
    page.delays.see(segment, view.numVisible(segment), now, (sample) => backlog.heardAt(sample));
  }
  const { median } = page.delays;
  element("delay-value").textContent = median === undefined ? "—" : `${Math.max(0, median).toFixed(1)} s`;
}

function showLevel() {
  const lit = Math.round(Math.min(1, Math.max(0, 1 + Math.log10(page.level + 1e-5) / 2.6)) * NUM_STUDS);
  for (const [number, stud] of [...element("studs").children].entries()) stud.classList.toggle("lit", number < lit);
}

// --- what is heard

function hear(pcm, at) {
  let sum = 0;
  for (const sample of pcm) sum += sample * sample;
  page.level = Math.sqrt(sum / Math.max(1, pcm.length)) / 32768;
  showLevel();
  if (page.session) page.session.push(pcm, at);
  else page.early.push([pcm, at]);
}

async function start(open) {
  if (page.isStarting) return;
  if (page.session) await stop();
  page.isStarting = true;
  tell("");
  page.early = [];
  try {
    page.source = await open();
    begin();
  } catch (error) {
    tell(error.message);
  }
  page.isStarting = false;
}

function begin() {
  const route = JSON.parse(element("route").value || "{}");
  const session = new Session(
    {
      encoding: "AUDIO_ENCODING_LINEAR16",
      sampleRateHertz: RATE,
      languageCode: route.sourceLanguageCode,
      task: route.task,
      targetLanguageCode: route.targetLanguageCode,
      model: route.model,
      interimResults: true,
      enableWordOffsets: true,
      enableWordConfidence: true,
    },
    page.from ?? { samples: 0, segments: 0 },
  );
  page.session = session;
  page.backlog = session.backlog;
  session.addEventListener("state", ({ detail }) => showState(detail));
  session.addEventListener("answer", ({ detail }) => take(detail));
  session.addEventListener("abandoned", ({ detail }) => {
    const segment = page.text.abandon(detail);
    if (segment) view.show(segment);
  });
  session.addEventListener("gap", () => tell("More than ten minutes of speech wait for the server: the oldest of it is lost."));
  for (const [pcm, at] of page.early) session.push(pcm, at);
  element("start-text").textContent = "Stop";
  element("route").disabled = true;
  document.body.classList.add("running");
  showState({ state: "connecting" });
}

async function stop() {
  const { source, session } = page;
  if (!source || !session) return;
  page.source = null;
  await source.stop();
  session.end();
  page.level = 0;
  showLevel();
  if (session.state !== "ended" && session.state !== "failed") {
    await new Promise((resolve) => session.addEventListener("state", ({ detail }) => ["ended", "failed"].includes(detail.state) && resolve()));
  }
}

function finished() {
  page.source?.stop();
  page.source = null;
  if (page.session) page.from = { samples: page.session.backlog.captured, segments: page.session.next };
  page.session = null;
  element("start-text").textContent = "Start captions";
  element("route").disabled = false;
  document.body.classList.remove("running");
}

const openFile = (bytes) => () => playRecording(bytes, hear, stop);

async function openClip() {
  const answer = await fetch("jfk.flac");
  if (!answer.ok) throw new Error("The clip is not there.");
  return openFile(await answer.arrayBuffer())();
}

// --- what can be pressed

element("start").addEventListener("click", () => (page.session ? stop() : start(() => openMicrophone(hear))));
element("clip").addEventListener("click", () => start(openClip));
element("open").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) start(openFile(await file.arrayBuffer()));
});
element("clear").addEventListener("click", () => {
  page.text = new Text();
  view.clear();
  element("live").replaceChildren();
  for (const kind of ["srt", "vtt", "txt", "json"]) element(`save-${kind}`).disabled = true;
  element("clear").disabled = true;
});
element("doubt").addEventListener("change", ({ target }) => document.body.classList.toggle("show-doubt", target.checked));
for (const choice of document.getElementsByName("mode")) {
  choice.addEventListener("change", () => view.setMode(choice.value));
}
const SAVES = {
  srt: ["application/x-subrip", () => files.captions("srt", page.text.finals)],
  vtt: ["text/vtt", () => files.captions("vtt", page.text.finals)],
  txt: ["text/plain", () => `${page.text.plain}\n`],
  json: ["application/json", () => files.json(page.text.finals, page.delays.measured)],
};
for (const [kind, [type, write]] of Object.entries(SAVES)) {
  element(`save-${kind}`).addEventListener("click", async () => {
    try {
      files.save(`captions.${kind}`, type, await write());
    } catch (error) {
      tell(error.message);
    }
  });
}
document.addEventListener("keydown", ({ key }) => key === "Escape" && page.session && stop());
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.add("is-dropping");
  });
}
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("is-dropping"));
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("is-dropping");
  const [file] = event.dataTransfer.files;
  if (file) start(openFile(await file.arrayBuffer()));
});
window.addEventListener("beforeunload", (event) => page.session && !isOverlay && event.preventDefault());

// --- what the server has

const nameOf = (code) => new Intl.DisplayNames(["en"], { type: "language" }).of(code);

function fill(select, routes) {
  select.replaceChildren(
    ...routes.map((route) => {
      const { sourceLanguageCode: from, targetLanguageCode: to, model } = route;
      const languages = from === to ? nameOf(from) : `${nameOf(from)} → ${nameOf(to)}`;
      return new Option(model ? `${languages} · ${model}` : languages, JSON.stringify(route));
    }),
  );
  select.disabled = routes.length === 0;
}

async function learnRoutes() {
  try {
    const { table } = await (await fetch("v1/routes")).json();
    const ofModality = (name) => table.routes.filter((route) => route.modality === name);
    fill(element("route"), ofModality("MODALITY_SPEECH"));
    fill(element("text-route"), ofModality("MODALITY_TEXT"));
    const modules = new Set(table.routes.flatMap((route) => [route.encoder, route.decoder]));
    element("modules").textContent = modules.size ? `Modules: ${[...modules].sort().join(", ")}.` : "The modules are loading…";
    if (modules.size) return;
  } catch {
    element("modules").textContent = "The server does not answer.";
  }
  setTimeout(learnRoutes, 1500);
}

const narrow = matchMedia("(max-width: 30rem)");
const fit = () => view.setCharacters(narrow.matches ? NARROW_CHARACTERS : LINE_CHARACTERS);
narrow.addEventListener("change", fit);
fit();
for (let i = 0; i < NUM_STUDS; i += 1) element("studs").append(document.createElement("i"));
new TextPane({ source: element("source"), target: element("target"), route: element("text-route") });
if (microphoneProblem()) {
  element("start").disabled = true;
  tell(microphoneProblem());
}
await learnRoutes();
if (isOverlay) {
  document.documentElement.classList.add("overlay");
  start(parameters.get("source") === "clip" ? openClip : () => openMicrophone(hear));
}
document.documentElement.dataset.ready = "true";
