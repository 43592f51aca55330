// The model, off the page's own thread. Messages in: { load }, { write }, { stop }; out: see `tell`.
import init, { Model } from "./bitnet_web.js";

/** The smallest module with an instruction: an engine that lacks the instruction refuses it. */
const having = (...code) => WebAssembly.validate(Uint8Array.from([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, code.length + 4, 1, code.length + 2, 0, ...code, 11,
]));
// v128.const, i32x4.splat … drop
const zero = [65, 0, 253, 17];
const builds = [
  ["bitnet_relaxed.wasm.gz", having(...zero, ...zero, ...zero, 253, 147, 2, 26)],
  ["bitnet_simd128.wasm.gz", having(...zero, 26)],
];

const tell = (kind, content = {}) => postMessage({ kind, ...content });
let model, stopped, busy = Promise.resolve();

async function start() {
  const build = builds.find(([, supported]) => supported);
  if (!build) throw new Error("this browser has no WebAssembly SIMD: use one of the last three years");
  const answer = await fetch(new URL(build[0], import.meta.url));
  if (!answer.ok) throw new Error(`${build[0]}: ${answer.status} ${answer.statusText}`);
  let module = await answer.arrayBuffer();
  // Some servers say that it is packed, and the browser has unpacked it.
  if (new Uint8Array(module)[0] === 31) {
    const unpacked = new Blob([module]).stream().pipeThrough(new DecompressionStream("gzip"));
    module = await new Response(unpacked).arrayBuffer();
  }
  await init({ module_or_path: module });
}
const ready = start();

/** The bytes of a file or an address, with the progress told. */
async function bytesOf(source) {
  if (source instanceof Blob) {
    tell("progress", { done: 0, all: source.size });
    return new Uint8Array(await source.arrayBuffer());
  }
  const answer = await fetch(source).catch(() => {
    throw new Error(`${source} could not be fetched: its server must allow other pages to read it (CORS); download it and open the file instead`);
  });
  if (!answer.ok) throw new Error(`${source}: ${answer.status} ${answer.statusText}`);
  const all = Number(answer.headers.get("content-length")) || 0;
  const parts = [];
  let done = 0;
  for (const reader = answer.body.getReader(); ;) {
    const part = await reader.read();
    if (part.done) break;
    parts.push(part.value);
    done += part.value.length;
    tell("progress", { done, all });
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function load({ source, name, context }) {
  await ready;
  const bytes = await bytesOf(source);
  tell("progress", { done: 0, all: 0 });
  const begin = performance.now();
  const next = new Model(name, bytes, context);
  model?.free();
  model = next;
  tell("loaded", { name, seconds: (performance.now() - begin) / 1000, about: JSON.parse(model.about()) });
}

/** Lets messages in: a stop among them. */
const breathe = () => new Promise((resolve) => {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => { channel.port1.close(); resolve(); };
  channel.port2.postMessage(0);
});

async function write({ request }) {
  if (!model) throw new Error("no model is loaded");
  stopped = false;
  const clock = { read: 0, reading: 0, written: 0, writing: 0 };
  const tokens = [];
  let text = "", told = performance.now(), why;
  model.begin(JSON.stringify(request));
  for (let writing = false, context = 0; ;) {
    const begin = performance.now();
    const step = JSON.parse(model.step());
    const now = performance.now();
    if (writing) clock.writing += now - begin; else [clock.reading, clock.read] = [clock.reading + now - begin, clock.read + step.read];
    if (writing && step.token !== null) clock.written += 1;
    if (step.token !== null) tokens.push(step.token);
    writing ||= step.left === 0;
    text += step.text;
    context = step.context;
    why = step.why ?? (stopped ? "your request" : null);
    if (why !== null || now - told > 50) {
      tell("text", { text, clock, context, left: step.left });
      [text, told] = ["", now];
      await breathe();
    }
    if (why !== null || stopped) break;
  }
  tell("written", { why: why ?? "your request", clock, tokens });
}

const actions = { load, write };
onmessage = ({ data: { kind, ...content } }) => {
  if (kind === "stop") { stopped = true; return; }
  busy = busy.then(() => actions[kind](content)).catch((error) => {
    tell("error", { during: kind, message: error instanceof Error ? error.message : String(error) });
  });
};
ready.then(() => tell("ready"), (error) => tell("error", { during: "start", message: error.message }));
