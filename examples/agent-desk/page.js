import { Desk, ask } from "./desk.js";
import { WORDS } from "./words.js";

const $ = (id) => document.getElementById(id);
const make = (tag, text, kind) => Object.assign(document.createElement(tag), { textContent: text ?? "", className: kind ?? "" });
const place = (source) => [source.file, ...source.headings].join(" › ");

let language = navigator.language.startsWith("zh") ? "zh" : "en";
let state = "waiting";
let desk = null;
/** What is shown; told again whole when the language changes. */
let told = [];
const word = (name) => WORDS[language][name];

function speak(to) {
  language = to;
  document.documentElement.lang = to;
  for (const one of document.querySelectorAll("[data-word]")) one.textContent = word(one.dataset.word);
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", word(one.dataset.label));
  for (const one of document.querySelectorAll("[data-hint]")) one.placeholder = word(one.dataset.hint);
  for (const one of document.querySelectorAll("[data-language]")) one.setAttribute("aria-pressed", one.dataset.language === to);
  enter(state);
  redraw();
}

function enter(to) {
  state = to;
  $("status").textContent = word(to);
  $("lamp").className = to === "following" ? "open" : to === "over" || to === "refused" ? "over" : "";
}

function clear() {
  for (const id of ["lines", "warnings", "suggestions", "slots", "summary", "choices", "reason", "topics", "position"]) $(id).replaceChildren();
  $("say").textContent = word("noScript");
  $("known").hidden = $("after").hidden = true;
  none();
}

function none() {
  const list = $("suggestions");
  list.querySelector(".empty")?.remove();
  if (!list.children.length) list.append(make("li", word("none"), "empty"));
}

function redraw() {
  clear();
  told.forEach(show);
}

function words({ by, track, text, final }) {
  const lines = $("lines");
  // Interim words give way to what was understood in the end.
  const waiting = [...lines.querySelectorAll(".partial")].find((line) => line.dataset.track === String(track));
  if (!text) return waiting?.remove();
  const line = waiting ?? lines.appendChild(document.createElement("li"));
  const below = lines.scrollHeight - lines.scrollTop - lines.clientHeight;
  line.dataset.track = track;
  line.className = `${by}${final ? "" : " partial"}`;
  line.replaceChildren(make("small", word(track === 1 ? "machine" : by)), text);
  // Whoever reads back is left where they are.
  if (below < 80) lines.scrollTop = lines.scrollHeight;
}

function suggest({ id, title, text, source }) {
  const item = make("li");
  item.id = `suggestion-${id}`;
  const used = make("button", word("used"));
  const not = make("button", word("notHelpful"));
  const rate = (verdict) => desk?.rate(id, verdict).catch(({ message }) => ($("status").textContent = message));
  used.onclick = () => rate("used");
  not.onclick = () => rate("not_helpful");
  const row = make("div", "", "row");
  row.append(used, not);
  item.append(make("strong", title), make("p", text), make("small", place(source)), row);
  $("suggestions").prepend(item);
  none();
}

const shows = {
  "assist.words": words,
  "assist.suggestion": suggest,
  "assist.withdrawn": ({ id }) => {
    $(`suggestion-${id}`)?.remove();
    none();
  },
  "assist.feedback": ({ id, verdict }) => {
    const item = $(`suggestion-${id}`);
    if (verdict !== "used" || !item) return;
    item.classList.add("used");
    item.querySelector("button").setAttribute("aria-pressed", "true");
  },
  "assist.step": ({ say, position, of }) => {
    $("say").textContent = say;
    $("position").textContent = `${position}/${of}`;
  },
  "assist.script_done": () => {
    $("say").textContent = word("scriptDone");
    $("position").textContent = "";
  },
  "assist.warning": ({ rule, name, quote, fatal }) => {
    const item = make("li");
    item.append(make("strong", name ?? rule), ` ${quote ? `“${quote}”` : ""}${fatal ? ` (${word("fatal")})` : ""}`);
    $("warnings").append(item);
  },
  "assist.slot": ({ name, value }) => {
    $("known").hidden = false;
    const known = [...$("slots").querySelectorAll("dt")].find((one) => one.textContent === name);
    if (known) known.nextElementSibling.textContent = value;
    else $("slots").append(make("dt", name), make("dd", value));
  },
  "assist.summary": ({ reason, topics, lines }) => {
    $("after").hidden = false;
    $("reason").textContent = reason ? `“${reason}”` : "";
    $("topics").textContent = topics.length ? `${word("about")}: ${topics.join(", ")}` : "";
    $("summary").replaceChildren(...lines.map(({ by, text }) => make("li", `${word(by)}: ${text}`)));
  },
  "assist.disposition": ({ choices }) => {
    const buttons = choices.map(({ id, name }) => {
      const button = make("button", `${word("file")} ${name}`);
      button.dataset.id = id;
      button.onclick = () => desk?.file(id).then(() => filed({ id, name }), ({ message }) => ($("status").textContent = message));
      return button;
    });
    $("choices").replaceChildren(...buttons);
  },
  "assist.filed": filed,
};

function filed({ id, name }) {
  for (const button of $("choices").children) {
    const chosen = button.dataset.id === id;
    button.setAttribute("aria-pressed", chosen);
    button.textContent = `${word(chosen ? "filed" : "file")} ${chosen ? name : button.textContent.replace(`${word("file")} `, "").replace(`${word("filed")} `, "")}`;
  }
}

function show(event) {
  shows[event.type]?.(event);
}

function follow(call) {
  desk?.close();
  desk = null;
  told = [];
  clear();
  if (!call) return enter("waiting");
  desk = new Desk({ token: $("token").value, call });
  desk.addEventListener("told", ({ detail }) => {
    // Interim words are shown and forgotten.
    if (detail.type !== "assist.words" || detail.final) told.push(detail);
    show(detail);
  });
  desk.addEventListener("state", ({ detail }) => enter(detail));
}

/** Which calls there are; the newest is followed of itself while none is. */
async function look() {
  const list = $("calls");
  const response = await ask({ token: $("token").value }, "/v1/assist?over=true").catch(() => null);
  if (!response?.ok) {
    if (!desk) enter(response ? "refused" : "lost");
    return;
  }
  if (!desk && state !== "waiting") enter("waiting");
  const { calls } = await response.json();
  const shown = desk?.call ?? "";
  const options = calls.slice(0, 50).map(({ call, assist, began_at, over }) => {
    const option = make("option", `${new Date(began_at).toLocaleTimeString()} · ${assist} · ${call.slice(0, 8)}${over ? ` · ${word("over")}` : ""}`);
    return Object.assign(option, { value: call });
  });
  list.replaceChildren(Object.assign(make("option", word("nobody")), { value: "" }), ...options);
  list.value = shown;
  const newest = calls.find(({ over }) => !over);
  const free = !desk || state === "over";
  if (newest && free && newest.call !== shown) {
    list.value = newest.call;
    follow(newest.call);
  }
}

$("calls").onchange = ({ target }) => follow(target.value);
$("token").onchange = () => look();
$("ask").onsubmit = async (event) => {
  event.preventDefault();
  const question = $("question").value.trim();
  if (!question) return;
  const response = await ask({ token: $("token").value }, `/v1/knowledge/search?limit=3&q=${encodeURIComponent(question)}`).catch(() => null);
  const answers = response?.ok ? (await response.json()).answers : [];
  const items = answers.map(({ title, text, source }) => {
    const item = make("li");
    item.append(make("strong", title), make("p", text), make("small", place(source)));
    return item;
  });
  $("answers").replaceChildren(...(items.length ? items : [make("li", word("nothing"), "empty")]));
};
for (const button of document.querySelectorAll("[data-language]")) button.onclick = () => speak(button.dataset.language);

speak(language);
look();
setInterval(look, 2_000);
