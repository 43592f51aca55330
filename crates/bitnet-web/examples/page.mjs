// The page in Chromium without a window: node page.mjs FOLDER [--model FILE] [--prompt TEXT] [--tokens N] [--shots FOLDER]
//   [--chromium PROGRAM]
// Serves what `cargo xtask web` wrote, loads the built-in model or a file, writes greedily and prints the text, the tokens
// and their speed as JSON. With --shots it leaves pictures of the page, as on a desk and on a phone, in both schemes.
// Needs node 22 or later.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { positionals: [folder], values: given } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: "string" }, prompt: { type: "string", default: "One morning Tom found a red key by the well. " },
    tokens: { type: "string", default: "200" }, shots: { type: "string" }, chromium: { type: "string", default: "chromium" },
  },
});
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
const server = createServer(async (asked, answer) => {
  const name = new URL(asked.url, "http://x").pathname.replace(/\/$/, "/index.html");
  try {
    const bytes = await readFile(join(folder, name));
    answer.writeHead(200, { "content-type": TYPES[extname(name)] ?? "application/octet-stream" }).end(bytes);
  } catch {
    answer.writeHead(404).end();
  }
}).listen(0, "127.0.0.1");
await new Promise((listening) => server.once("listening", listening));

const profile = await mkdtemp(join(tmpdir(), "page-"));
const browser = spawn(given.chromium, [
  "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0", `--user-data-dir=${profile}`,
  "about:blank",
], { stdio: ["ignore", "ignore", "pipe"] });
const address = await new Promise((found) => browser.stderr.on("data", (line) => {
  const match = /DevTools listening on (\S+)/.exec(line);
  if (match) found(match[1]);
}));
const socket = new WebSocket(address);
await new Promise((open) => socket.onopen = open);

const waiting = new Map();
socket.onmessage = ({ data }) => {
  const { id, result, error } = JSON.parse(data);
  const wait = waiting.get(id);
  waiting.delete(id);
  if (error) wait?.reject(new Error(error.message)); else wait?.resolve(result);
};
let count = 0, sessionId;
const call = (method, params = {}) => new Promise((resolve, reject) => {
  waiting.set(++count, { resolve, reject });
  socket.send(JSON.stringify({ id: count, method, params, sessionId }));
});
const evaluate = async (expression) => {
  const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
};
const until = async (expression, what) => {
  for (const begin = Date.now(); Date.now() - begin < 300_000; await new Promise((later) => setTimeout(later, 100))) {
    if (await evaluate(expression)) return;
    const failed = await evaluate(`document.getElementById("error")?.textContent`);
    if (failed) throw new Error(failed);
  }
  throw new Error(`not within five minutes: ${what}`);
};
const size = (width, height, mobile) => call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile });
const shoot = async (name) => {
  if (!given.shots) return;
  const { data } = await call("Page.captureScreenshot", { format: "png" });
  await writeFile(join(given.shots, `${name}.png`), Buffer.from(data, "base64"));
};

try {
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  ({ sessionId } = await call("Target.attachToTarget", { targetId, flatten: true }));
  await call("Page.enable");
  await call("DOM.enable");
  await size(1200, 1000, false);
  await call("Page.navigate", { url: `http://127.0.0.1:${server.address().port}/` });
  const loaded = (name) => until(`document.getElementById("about")?.textContent.startsWith(${JSON.stringify(name)})`, `${name} is loaded`);
  await loaded("stories.gguf");
  if (given.model) {
    const { root } = await call("DOM.getDocument");
    const { nodeId } = await call("DOM.querySelector", { nodeId: root.nodeId, selector: "#file" });
    await call("DOM.setFileInputFiles", { nodeId, files: [resolve(given.model)] });
    await loaded(given.model.split("/").pop());
  }
  await evaluate(`for (const [id, value] of Object.entries({ prompt: ${JSON.stringify(given.prompt)}, max_tokens: ${Number(given.tokens)},
    temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1 })) document.getElementById(id).value = value;
    document.getElementById("prompt").focus()`);
  // By the keyboard, as a reader would.
  const key = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, modifiers: 2 };
  await call("Input.dispatchKeyEvent", { type: "keyDown", ...key });
  await call("Input.dispatchKeyEvent", { type: "keyUp", ...key });
  await until("bitnet.last !== undefined", "a text is written");
  const { tokens, text, clock, why } = await evaluate("bitnet.last");
  await shoot("desktop");
  await call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: "dark" }] });
  await shoot("desktop-dark");
  await size(390, 844, true);
  await shoot("phone-dark");
  await call("Emulation.setEmulatedMedia", { features: [] });
  await shoot("phone");
  const wide = await evaluate("document.documentElement.scrollWidth - innerWidth");
  const about = await evaluate(`document.getElementById("about").textContent + " " + document.getElementById("kernel").textContent`);
  console.log(JSON.stringify({
    about, why, text, tokens, overflow: wide, reading: 1e3 * clock.read / clock.reading, writing: 1e3 * clock.written / clock.writing,
  }));
} finally {
  browser.kill();
  server.close();
}
process.exit(0);
