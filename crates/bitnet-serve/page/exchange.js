// Conversations as they are kept, exported and imported. A file that is imported may be anybody's: only what is known is taken
// from it, with its type checked; what is wrong is an error that names the place.

const FORMAT = "bitnet-conversations";
const VERSION = 1;
const MAX_TEXT = 4_000_000;

const NUMBERS = [
  "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed", "max_tokens",
];
const FINISHES = ["stop", "length", "stopped", "error"];

export function newConversation(kind, models, settings = {}) {
  const now = Date.now();
  const base = { id: newId(), kind, title: "", created: now, changed: now, models, settings };
  return kind === "pad" ? { ...base, text: "", marks: [], answers: [] } : { ...base, turns: [] };
}

/** Not `randomUUID`, which plain HTTP from another machine does not have. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The name in the list. */
export function titleOf({ title, kind, text, turns }) {
  if (title) return title;
  const first = kind === "pad" ? text : turns.find((turn) => turn.role === "user")?.content;
  const line = first?.trim().replace(/\s+/g, " ") ?? "";
  if (!line) return kind === "pad" ? "New pad" : "New chat";
  return line.length > 60 ? `${line.slice(0, 58).trimEnd()}…` : line;
}

export function exportText(conversations) {
  return `${JSON.stringify({ format: FORMAT, version: VERSION, conversations }, null, 1)}\n`;
}

/** The conversations of a file, under new ids. A file of `messages`, as the API takes them, is one conversation. */
export function importText(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON. Choose one that was exported here.");
  }
  if (Array.isArray(file?.messages)) return [fromMessages(file)];
  if (file?.format !== FORMAT || !Array.isArray(file.conversations)) {
    throw new Error("This file holds no conversations: neither an export of this page nor a list of “messages”.");
  }
  if (file.version > VERSION) throw new Error(`This file is of version ${Number(file.version)}; this page reads version ${VERSION}.`);
  return file.conversations.map((value, i) => readConversation(value, `conversations[${i}]`));
}

function wrong(place, expected) {
  return new Error(`The file is damaged: ${place} is not ${expected}.`);
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function object(value, place) {
  if (!isObject(value)) throw wrong(place, "an object");
  return value;
}

function string(value, place, limit = MAX_TEXT) {
  if (typeof value !== "string") throw wrong(place, "a text");
  if (value.length > limit) throw wrong(place, `a text of at most ${limit} characters`);
  return value;
}

function list(value, place) {
  if (!Array.isArray(value)) throw wrong(place, "a list");
  return value;
}

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

function readConversation(value, place) {
  const from = object(value, place);
  const kind = from.kind === "pad" ? "pad" : "chat";
  const models = list(from.models ?? [], `${place}.models`).slice(0, 2).map((id, i) => string(id, `${place}.models[${i}]`, 500));
  const conversation = newConversation(kind, models, readSettings(from.settings ?? {}, `${place}.settings`));
  conversation.title = string(from.title ?? "", `${place}.title`, 500);
  conversation.created = number(from.created) ?? conversation.created;
  conversation.changed = number(from.changed) ?? conversation.changed;
  if (kind === "pad") {
    conversation.text = string(from.text ?? "", `${place}.text`);
    conversation.marks = list(from.marks ?? [], `${place}.marks`).map((mark, i) => readMark(mark, conversation.text, `${place}.marks[${i}]`));
    conversation.answers = readAnswers(from.answers ?? [], `${place}.answers`);
  } else {
    conversation.turns = list(from.turns, `${place}.turns`).map((turn, i) => readTurn(turn, `${place}.turns[${i}]`));
  }
  return conversation;
}

function readSettings(value, place) {
  const from = object(value, place);
  const settings = {};
  for (const name of NUMBERS) if (number(from[name]) !== null) settings[name] = from[name];
  if (from.system !== undefined) settings.system = string(from.system, `${place}.system`);
  if (from.together === true) settings.together = true;
  if (from.stop !== undefined) settings.stop = list(from.stop, `${place}.stop`).slice(0, 4).map((text) => string(text, `${place}.stop`, 1000));
  return settings;
}

function readTurn(value, place) {
  const from = object(value, place);
  if (from.role === "user") return { role: "user", content: string(from.content, `${place}.content`) };
  if (from.role !== "assistant") throw wrong(`${place}.role`, "“user” or “assistant”");
  const answers = readAnswers(from.answers, `${place}.answers`);
  if (!answers.length) throw wrong(`${place}.answers`, "one answer or two");
  return { role: "assistant", answers };
}

const readAnswers = (value, place) => list(value, place).slice(0, 2).map((answer, i) => readAnswer(answer, `${place}[${i}]`));

function readAnswer(value, place) {
  const from = object(value, place);
  const text = string(from.text, `${place}.text`);
  const stats = isObject(from.stats) ? from.stats : {};
  return {
    model: string(from.model ?? "", `${place}.model`, 500),
    text,
    tokens: readTokenList(from.tokens ?? [], `${place}.tokens`),
    start: Math.max(0, Math.min(text.length, Math.trunc(number(from.start) ?? 0))),
    finish: FINISHES.includes(from.finish) && from.finish !== "error" ? from.finish : "stopped",
    error: null,
    stats: Object.fromEntries(Object.entries(stats).filter(([name, value]) => STATS.includes(name) && number(value) !== null)),
  };
}

const STATS = ["first", "time", "prompt", "cached", "completion", "fresh", "rate"];

function readMark(value, text, place) {
  const from = object(value, place);
  const [start, end] = [number(from.from), number(from.to)];
  if (start === null || end === null || start < 0 || end < start || end > text.length) throw wrong(place, "a part of the text");
  return { from: start, to: end, tokens: readTokenList(from.tokens ?? [], `${place}.tokens`), model: string(from.model ?? "", place, 500) };
}

function readTokenList(value, place) {
  return list(value, place).map((token, i) => {
    const from = object(token, `${place}[${i}]`);
    const pair = (other, k) => {
      const [text, p] = list(other, `${place}[${i}].top[${k}]`);
      return [string(text, `${place}[${i}].top[${k}]`, 1000), Math.min(0, number(p) ?? -100)];
    };
    const n = number(from.n);
    if (n === null || n < 0 || n > 1000) throw wrong(`${place}[${i}].n`, "a number of bytes");
    return {
      t: string(from.t, `${place}[${i}].t`, 1000),
      n: Math.trunc(n),
      p: Math.min(0, number(from.p) ?? -100),
      top: list(from.top ?? [], `${place}[${i}].top`).slice(0, 20).map(pair),
    };
  });
}

/** `{ messages: [{ role, content }] }`: a system prompt at the head, then users and assistants. */
function fromMessages(file) {
  const conversation = newConversation("chat", typeof file.model === "string" ? [file.model.slice(0, 500)] : []);
  file.messages.forEach((message, i) => {
    const place = `messages[${i}]`;
    const from = object(message, place);
    const content = string(from.content, `${place}.content`);
    if (from.role === "system" && i === 0) conversation.settings.system = content;
    else if (from.role === "user") conversation.turns.push({ role: "user", content });
    else if (from.role === "assistant") {
      const model = conversation.models[0] ?? "";
      conversation.turns.push({ role: "assistant", answers: [readAnswer({ model, text: content, finish: "stop" }, place)] });
    } else throw wrong(`${place}.role`, "“user” or “assistant”, or “system” at the head");
  });
  return conversation;
}
