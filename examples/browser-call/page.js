// What the page shows, and what its buttons do.

import { Call } from "./call.js";
import { WORDS } from "./words.js";

const at = (id) => document.getElementById(id);
const KEYS = "123456789*0#";

let language = navigator.language.startsWith("zh") ? "zh" : "en";
let call = null;
let trouble = null;
let since = 0;
let audio = null;

function translate() {
  const words = WORDS[language];
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = words[element.dataset.word];
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = words[element.dataset.hint];
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  show();
}

function show() {
  const words = WORDS[language];
  const state = call?.state ?? "idle";
  const busy = ["connecting", "ringing", "connected"].includes(state);
  at("status").textContent = words[state];
  at("lamp").className = { connecting: "waiting", ringing: "waiting", connected: "open", ended: "over" }[state] ?? "";
  at("call").disabled = at("to").disabled = busy;
  at("talk").hidden = !busy;
  at("trouble").hidden = true;
  const said = trouble ? (words.errors[trouble.code] ?? words.otherwise) : words.causes[call?.cause];
  if (said && !busy) {
    at("trouble").textContent = said;
    at("trouble").hidden = false;
  }
}

/** Moves a meter with the sound of a stream until its call is over. */
function meter(element, stream, owner) {
  const analyser = audio.createAnalyser();
  analyser.fftSize = 1024;
  audio.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const draw = () => {
    if (owner.state === "ended") return void (element.value = 0);
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    // From -60 dB to full scale.
    element.value = Math.max(0, 1 + Math.log10(power + 1e-9) / 6);
    requestAnimationFrame(draw);
  };
  draw();
}

/** Writes one side's words down; interim ones are replaced by those that follow. */
function write(side, text, partial, note = "") {
  const lines = at("lines");
  let line = lines.querySelector(`li.partial.${side}`);
  if (!line) {
    line = document.createElement("li");
    lines.append(line);
  }
  line.className = partial ? `${side} partial` : side;
  line.textContent = text;
  if (note) {
    const small = document.createElement("small");
    small.textContent = note;
    line.append(small);
  }
  at("words").hidden = false;
  lines.scrollTop = lines.scrollHeight;
}

function heard({ detail: event }) {
  const side = event.side === "caller" ? "mine" : "theirs";
  if (event.type === "speech.partial" && event.text) write(side, event.text, true);
  if (event.type === "speech.final" && event.text) write(side, event.text, false);
  if (event.type === "dtmf") write(side, event.key, false);
}

async function place() {
  trouble = null;
  at("lines").replaceChildren();
  at("words").hidden = true;
  at("mute").setAttribute("aria-pressed", "false");
  // Browsers let pages make sound after a click only.
  audio ??= new AudioContext();
  await audio.resume();
  const mine = (call = new Call({ token: at("token").value.trim() }));
  mine.addEventListener("state", () => {
    if (mine !== call) return;
    if (mine.state === "connected") since = performance.now();
    show();
  });
  mine.addEventListener("heard", (event) => mine === call && heard(event));
  try {
    await mine.start(at("to").value.trim());
    at("sound").srcObject = mine.sound;
    meter(at("mine"), mine.microphone, mine);
    meter(at("theirs"), mine.sound, mine);
  } catch (error) {
    if (mine === call) trouble = error;
    show();
  }
}

function press(key) {
  // A machine may ask before it answers.
  if (call?.state === "connected" || call?.state === "ringing") call.press(key);
}

for (const key of KEYS) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = key;
  button.dataset.key = key;
  button.addEventListener("click", () => press(key));
  at("pad").append(button);
}
for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    language = button.dataset.language;
    translate();
  });
}
at("dial").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!call || call.state === "ended") place();
});
at("mute").addEventListener("click", () => {
  const muted = at("mute").getAttribute("aria-pressed") !== "true";
  at("mute").setAttribute("aria-pressed", String(muted));
  call?.mute(muted);
});
at("keys").addEventListener("click", () => {
  at("pad").hidden = !at("pad").hidden;
  at("keys").setAttribute("aria-expanded", String(!at("pad").hidden));
});
at("hangup").addEventListener("click", () => call?.end());
addEventListener("keydown", (event) => {
  if (event.target.tagName !== "INPUT" && KEYS.includes(event.key)) press(event.key);
});
addEventListener("pagehide", () => {
  if (call && call.state !== "ended") call.leave();
});
setInterval(() => {
  if (call?.state !== "connected") return;
  const seconds = Math.floor((performance.now() - since) / 1000);
  at("clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}, 250);
translate();
