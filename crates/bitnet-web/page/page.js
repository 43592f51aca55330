// The page: what a reader does goes to the worker, what the worker tells is shown.
const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const short = (value) => value < 10 ? value.toFixed(1) : number.format(Math.round(value));
const size = (bytes) => bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
const SETTINGS = ["max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed"];
const BUILT_IN = { source: new URL("stories.gguf", import.meta.url).href, name: "stories.gguf" };

let worker, about, messages = [], answer, last;
// For tests: what was written last.
globalThis.bitnet = { get last() { return last; } };

function start(first) {
  worker?.terminate();
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => told[data.kind](data);
  worker.onerror = (event) => told.error({ during: "start", message: event.message || "the worker did not start" });
  load(first);
}

function fail(message) {
  at("error").textContent = message;
  at("error").hidden = !message;
}

function idle(status = "") {
  answer = undefined;
  at("progress").hidden = true;
  at("write").disabled = !about;
  at("stop").disabled = true;
  at("status").textContent = status;
}

function load({ source, name }) {
  fail("");
  at("write").disabled = true;
  at("status").textContent = `Loading ${name} …`;
  worker.postMessage({ kind: "load", source, name, context: Math.max(1, at("length").valueAsNumber || 2048) });
}

function turn(who, bold = false) {
  const turn = document.createElement("div");
  turn.className = "turn";
  if (who) {
    const name = document.createElement("span");
    name.className = "who";
    name.textContent = who;
    turn.append(name);
  }
  const text = document.createElement(bold ? "b" : "span");
  turn.append(text);
  at("transcript").append(turn);
  return text;
}

function follow() {
  const box = at("transcript");
  if (box.scrollHeight - box.scrollTop - box.clientHeight < 120) box.scrollTop = box.scrollHeight;
}

function clear() {
  at("transcript").replaceChildren();
  messages = [];
}

function write() {
  const text = at("prompt").value;
  if (!about || answer || (about.chat && !text.trim())) return;
  fail("");
  const request = Object.fromEntries(SETTINGS.map((name) => [name, at(name).valueAsNumber]));
  const wrong = SETTINGS.find((name) => !at(name).checkValidity() || Number.isNaN(request[name]));
  if (wrong) {
    at("settings").open = true;
    at(wrong).focus();
    return fail(`${at(wrong).parentElement.firstChild.textContent}: ${at(wrong).validationMessage || "write a number"}`);
  }
  if (about.chat) {
    const system = at("system").value;
    messages.push({ role: "user", content: text });
    turn("You").textContent = text;
    request.messages = system ? [{ role: "system", content: system }, ...messages] : messages;
    at("prompt").value = "";
    answer = turn("Model");
  } else {
    at("transcript").replaceChildren();
    turn("", true).textContent = text;
    answer = document.createElement("span");
    at("transcript").lastChild.append(answer);
    request.prompt = text;
  }
  at("write").disabled = true;
  at("stop").disabled = false;
  at("status").textContent = "Reading …";
  worker.postMessage({ kind: "write", request });
}

const told = {
  ready() {},
  progress({ done, all }) {
    at("progress").hidden = false;
    if (all) at("progress").value = done / all; else at("progress").removeAttribute("value");
  },
  loaded({ name, seconds, about: found }) {
    about = found;
    clear();
    at("about").textContent = `${name}: ${about.shape}, loaded in ${seconds.toFixed(seconds < 1 ? 2 : 1)} s.`;
    at("memory").textContent = size(about.weights);
    at("kernel").textContent = `weights; ${about.kernel}`;
    at("context").textContent = "0";
    at("of").textContent = `of ${number.format(about.context)} tokens`;
    at("speed").textContent = at("reading").textContent = "–";
    at("prompt-label").textContent = about.chat ? "Your message" : "Text to continue";
    at("system-label").hidden = !about.chat;
    at("prompt").placeholder = "";
    if (name === BUILT_IN.name) at("prompt").value = "One morning Tom found a red key by the well. ";
    for (const [setting, value] of Object.entries(about.defaults)) if (value !== null) at(setting).value = +value.toPrecision(6);
    idle(about.warnings.join(" "));
  },
  text({ text, clock, context, left }) {
    answer?.append(text);
    follow();
    if (clock.reading) at("reading").textContent = short(1000 * clock.read / clock.reading);
    if (clock.writing) at("speed").textContent = short(1000 * clock.written / clock.writing);
    at("context").textContent = number.format(context);
    at("status").textContent = left ? `Reading: ${number.format(left)} tokens are left …` : "Writing …";
  },
  written({ why, clock, tokens }) {
    last = { why, clock, tokens, text: answer.textContent };
    if (about.chat) messages.push({ role: "assistant", content: answer.textContent });
    idle(`${number.format(tokens.length)} tokens; it stopped at ${why}.`);
  },
  error({ during, message }) {
    // A message without its answer is no part of the conversation.
    if (during === "write" && about?.chat) messages.pop();
    idle();
    fail(message);
    // A module that has stopped in the middle of its work is not used again.
    if (during !== "start" && /unreachable|panicked|memory access|out of memory/i.test(message)) {
      about = undefined;
      at("write").disabled = true;
      fail(`The model stopped (${message}). It is gone from memory; the built-in one is loaded again.`);
      const text = at("error").textContent;
      start(BUILT_IN);
      fail(text);
    }
  },
};

at("form").onsubmit = (event) => { event.preventDefault(); write(); };
at("stop").onclick = () => worker.postMessage({ kind: "stop" });
at("clear").onclick = () => { if (!answer) clear(); };
at("builtin").onclick = () => load(BUILT_IN);
at("file").onchange = ({ target }) => { const [file] = target.files; if (file) load({ source: file, name: file.name }); target.value = ""; };
at("from-url").onsubmit = (event) => {
  event.preventDefault();
  const url = at("url").value;
  load({ source: url, name: decodeURIComponent(new URL(url).pathname.split("/").pop()) || url });
};
onkeydown = (event) => {
  if (event.key === "Escape") worker.postMessage({ kind: "stop" });
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); write(); }
};
ondragover = (event) => { event.preventDefault(); document.body.classList.add("over"); };
ondragleave = () => document.body.classList.remove("over");
ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) load({ source: file, name: file.name });
};

start(BUILT_IN);
