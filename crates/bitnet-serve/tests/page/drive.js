// Drives the page in Chromium against a running server, and looks for what a reader would stumble over: what does not work,
// what no keyboard reaches, what axe-core finds, what a model or a file could do to the page.
//
//   bitnet serve float=runs/quickstart/float ternary=runs/quickstart/ternary smol=SmolLM2-135M-Instruct.gguf --port 8080
//   cd crates/bitnet-serve/tests/page && npm install
//   node drive.js http://127.0.0.1:8080 --chat smol --twins float,ternary [--chat-twins smol,other] [--shots FOLDER]
//
// CHROMIUM names the browser where it is not /usr/bin/chromium. Without --chat what needs a chat template is left out, and said
// so. It ends with 1 if anything is wrong.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { chat: { type: "string" }, twins: { type: "string" }, "chat-twins": { type: "string" }, shots: { type: "string" }, only: { type: "string" } },
});
const [base] = positionals;
if (!base) throw new Error("usage: node drive.js URL [--chat MODEL] [--twins A,B] [--chat-twins A,B] [--shots FOLDER] [--only WORD]");
if (values.shots) mkdirSync(values.shots, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const PHONE = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const DARK = { colorScheme: "dark" };
const ANSWERED = { timeout: 120_000 };

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
let failed = 0;

/** Runs `work` on a fresh page; whatever the page logs as an error, or asks of another host, is a failure. */
async function check(name, work, options = {}) {
  if (values.only && !name.includes(values.only)) return;
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, bypassCSP: false, ...options });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const problems = [];
  page.on("pageerror", (error) => problems.push(`error: ${error.stack}`));
  page.on("console", (message) => {
    const expected = options.expectFailures && message.text().startsWith("Failed to load resource");
    if (message.type() === "error" && !expected) problems.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith("blob:")) problems.push(`asked of ${request.url()}`);
  });
  try {
    await options.before?.(page);
    await page.goto(base);
    if (!options.noModels) await page.waitForSelector("#model option", { state: "attached" });
    await work(page);
    assert.deepEqual(problems, []);
    console.log(`ok      ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}\n${error.stack}\n${problems.join("\n")}`);
    await shot(page, `failed-${name.replace(/\W+/g, "-")}`).catch(() => {});
  }
  await context.close();
}

const skip = (name, why) => console.log(`SKIPPED ${name}: ${why}`);

async function shot(page, name, options = {}) {
  if (values.shots) await page.screenshot({ path: `${values.shots}/${name}.png`, ...options });
}

/** Fails with what axe-core finds. */
async function accessible(page, where) {
  // The page's own policy forbids the script; the debugger's evaluation is not under it.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)).join(" | ")}`);
  assert.deepEqual(found, [], where);
}

const ready = (page) => page.waitForSelector("#send:not([hidden])", ANSWERED);

async function send(page, text) {
  await page.fill("#field", text);
  await page.press("#field", "Enter");
}

/** Sends and waits for the answer's end. */
async function ask(page, text) {
  const before = await page.locator(".turn").count();
  await send(page, text);
  await page.waitForFunction((n) => document.querySelectorAll(".turn").length >= n + 2, before);
  await ready(page);
}

const answers = (page) => page.locator(".turn.assistant .body");

/** What the server would send: a stream of these chunks of text. */
function stream(texts, { end = "data: [DONE]\n\n", error } = {}) {
  const chunk = (delta, finish = null) => `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  const body = texts.map((content) => chunk({ content })).join("");
  const failure = error ? `data: ${JSON.stringify({ error })}\n\n` : chunk({}, "stop");
  return { status: 200, contentType: "text/event-stream", body: body + failure + end };
}

const refusal = (status, code, message, headers = {}) => ({
  status,
  headers,
  contentType: "application/json",
  body: JSON.stringify({ error: { message, type: "invalid_request_error", param: null, code } }),
});

/** A server whose model has a template, whatever runs; chats are answered by `answer(body, n)`. */
function pretend(answer) {
  let n = 0;
  return async (page) => {
    const model = (id, ternary) => ({ id, meta: { chat_template: true, context_length: 2048, ternary, weight_bytes: ternary ? 293e3 : 3.48e6 } });
    await page.route("**/v1/models", (route) => route.fulfill({ json: { data: [model("float", false), model("ternary", true)] } }));
    await page.route("**/v1/chat/completions", async (route) => {
      const reply = answer(route.request().postDataJSON(), n++, route.request());
      if (reply === "gone") await route.abort("connectionrefused");
      else await route.fulfill(reply);
    });
  };
}

const [twinA, twinB] = values.twins?.split(",") ?? [];

// ---- a chat

if (values.chat) {
  await check("a chat: stream, turn, stop, again, edit, continue, reload", async (page) => {
    await page.selectOption("#model", values.chat);
    await accessible(page, "welcome");
    await shot(page, "welcome");
    await ask(page, "Name three colours, as a list.");
    assert.ok((await answers(page).last().innerText()).length > 3);
    assert.match(await page.locator(".stats").last().innerText(), /tokens?\s+[\d.]+ tokens\/s\s+first token after/);
    assert.match(await page.locator("#context").innerText(), /Context: [\d,]+ of [\d,]+ tokens/);
    assert.match(await page.locator("#status").textContent(), /Answer complete|^$/);
    await ask(page, "Which of them is the warmest?");
    await accessible(page, "two turns");
    await shot(page, "chat");
    await send(page, "Tell a very long story about a lighthouse.");
    await page.waitForFunction(() => [...document.querySelectorAll(".turn.assistant .body")].at(-1).innerText.length > 20, null, ANSWERED);
    await page.press("#field", "Escape");
    await ready(page);
    const stopped = await answers(page).last().innerText();
    assert.match(await page.locator(".end").last().innerText(), /Stopped/);
    await page.getByRole("button", { name: "Continue this answer" }).click();
    await page.waitForFunction((n) => [...document.querySelectorAll(".turn.assistant .body")].at(-1).innerText.length > n + 20, stopped.length, ANSWERED);
    await ready(page);
    assert.ok((await answers(page).last().innerText()).startsWith(stopped.slice(0, 20)));
    await page.getByRole("button", { name: "Edit this message" }).first().click();
    await page.getByRole("textbox", { name: "Your message" }).fill("Say yes.");
    await page.keyboard.press("Control+Enter");
    await page.waitForFunction(() => document.querySelectorAll(".turn").length === 2);
    await ready(page);
    await page.locator("#toast button").click();
    assert.equal(await page.locator(".turn").count(), 6);
    await page.getByRole("button", { name: "Answer again" }).last().click();
    await page.waitForSelector("#stop:not([hidden])");
    await page.keyboard.press("Escape");
    await ready(page);
    await page.waitForTimeout(700);
    await page.reload();
    await page.getByRole("button", { name: "Name three colours, as a list.", exact: true }).click();
    assert.equal(await page.locator(".turn").count(), 6);
  });

  await check("probabilities of a chat, by mouse and by keyboard", async (page) => {
    await page.selectOption("#model", values.chat);
    await page.click("#odds");
    await ask(page, "What is the capital of France?");
    const token = page.locator(".token").nth(1);
    await token.hover();
    assert.match(await page.locator("#card").innerText(), /%/);
    await shot(page, "probabilities");
    await accessible(page, "probabilities");
    await page.locator(".token").first().focus();
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.evaluate(() => document.activeElement.dataset.i), "1");
    await page.waitForFunction(() => document.getElementById("status").textContent.includes("%"));
    const stops = await page.locator('.token[tabindex="0"]').count();
    assert.equal(stops, 1, "one stop of the Tab key for all tokens");
  });
} else {
  skip("a chat", "no --chat MODEL");
}

// ---- twins

if (twinB) {
  await check("a pad: written, marked, another, taken back, edited", async (page) => {
    await page.click("#new-pad");
    await page.selectOption("#model", twinB);
    await page.fill("#pad-text", "One morning Tom found ");
    await page.press("#pad-text", "Control+Enter");
    await page.waitForSelector(".pad .written");
    await page.getByRole("button", { name: "Take back" }).and(page.locator(":enabled")).waitFor(ANSWERED);
    const text = await page.inputValue("#pad-text");
    assert.equal(text, "One morning Tom found " + (await page.locator(".pad .written").textContent()));
    await shot(page, "pad");
    await accessible(page, "pad");
    await page.getByRole("button", { name: "Try another" }).click();
    await page.getByRole("button", { name: "Take back" }).and(page.locator(":enabled")).waitFor(ANSWERED);
    await page.getByRole("button", { name: "Take back" }).click();
    assert.equal(await page.inputValue("#pad-text"), "One morning Tom found ");
    await page.locator("#toast button").click();
    assert.ok((await page.inputValue("#pad-text")).length > 22);
    const seen = await page.evaluate(() => {
      const [a, b] = [document.querySelector(".pad textarea"), document.querySelector(".pad .behind")];
      return [a.clientWidth - b.clientWidth, Math.abs(a.clientHeight - b.scrollHeight) < 400, getComputedStyle(a).font === getComputedStyle(b).font];
    });
    assert.deepEqual(seen, [0, true, true], "the marks lie behind the text");
  });

  await check("twins: side by side, the first token where they part, probabilities", async (page) => {
    await page.click("#new-pad");
    await page.selectOption("#model", twinA);
    await page.click("#twin");
    await page.selectOption("#model-b", twinB);
    await page.click("#odds");
    await page.fill("#pad-text", "One morning Tom found a key in the garden. ");
    await page.click("#pad-go");
    await page.getByRole("button", { name: "Continue both" }).waitFor(ANSWERED);
    await page.waitForFunction(() => document.querySelector(".verdict").textContent.length > 0);
    const verdict = await page.locator(".verdict").innerText();
    assert.match(verdict, /They part at token \d+: .*\(\d|Both wrote the same/);
    if (verdict.startsWith("They part")) assert.equal(await page.locator(".parts").count(), 2);
    assert.equal(await page.locator(".twins .stats").count(), 2);
    await shot(page, "twin-pad");
    await accessible(page, "twins");
    await page.getByRole("button", { name: "Continue both" }).click();
    await page.getByRole("button", { name: "Stop" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Continue both" }).waitFor(ANSWERED);
  });

  await check("twins in the dark, on a phone", async (page) => {
    await page.click("#open-sidebar");
    await page.click("#new-pad");
    await page.selectOption("#model", twinA);
    await page.click("#twin");
    await page.selectOption("#model-b", twinB);
    await page.fill("#pad-text", "One day ");
    await page.click("#pad-go");
    await page.getByRole("button", { name: "Continue both" }).waitFor(ANSWERED);
    await accessible(page, "twins, dark, phone");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} pixels too wide`);
    await shot(page, "twin-phone-dark");
  }, { ...PHONE, ...DARK });
} else {
  skip("pads and twins", "no --twins A,B");
}

if (values["chat-twins"]) {
  await check("a chat of twins", async (page) => {
    const [a, b] = values["chat-twins"].split(",");
    await page.selectOption("#model", a);
    await page.click("#twin");
    await page.selectOption("#model-b", b);
    await shot(page, "twin-welcome");
    await accessible(page, "welcome of twins");
    await ask(page, "Tell me about a garden.");
    assert.match(await page.locator(".verdict").innerText(), /They part|Both wrote/);
    await page.locator(".parts").first().hover();
    await shot(page, "twin-chat");
    await accessible(page, "chat of twins");
  });
}

// ---- what does not depend on the model: the server's answers are given

const MARKDOWN = [
  "# Ternary weights\n\nA layer with weights in **{−1, 0, 1}** needs no multiplication: `y = W·x` is *signed summation*. ",
  "See [the paper](https://arxiv.org/abs/2402.17764).\n\n| | float | ternary |\n|---|---:|---:|\n| Weights | 3.41 MB | 213 kB |\n| Decode | 23.8k | 40.0k |\n\n",
  "## In code\n\n```rust\nfn dot(w: &[i8], x: &[i8]) -> i32 {\n    w.iter().zip(x).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum() // a comment that goes beyond the edge\n}\n```\n\n",
  "1. Quantise:\n   - one scale a token\n   - half to even\n2. Add and subtract.\n\n> The product is exact.\n\n- [x] packed\n- [ ] pruned\n\n---\n\n",
  "The quick brown fox jumps over the lazy dog, because a paragraph should be long enough to show how its lines break. Пример, 例子, 😀.",
];

for (const [name, options] of [["light", {}], ["dark", DARK], ["phone", PHONE], ["phone, dark", { ...PHONE, ...DARK }]]) {
  await check(`a long answer with all of Markdown, ${name}`, async (page) => {
    await page.setViewportSize({ width: options.viewport?.width ?? 1280, height: 1500 });
    await ask(page, "Show me what you can do.");
    const body = answers(page).last();
    assert.equal(await body.locator("h3, h4, table, pre, ol, ul, blockquote, hr, a").count(), 10);
    assert.equal(await body.locator("a").getAttribute("rel"), "noopener noreferrer");
    await body.getByRole("button", { name: "Copy the code" }).click();
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^fn dot.*\n}\n$/s);
    await accessible(page, name);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} pixels too wide`);
    await shot(page, `long-${name.replace(/\W+/g, "-")}`);
  }, { ...options, before: pretend(() => stream(MARKDOWN)) });
}

await check("twins of a chat, both forms of probabilities", async (page) => {
  await page.click("#twin");
  await ask(page, "Tell me about a garden.");
  assert.match(await page.locator(".verdict").innerText(), /They part: float wrote ␣?garden.*, ternary wrote ␣?house/);
  assert.equal(await page.locator(".parts").count(), 2);
  await accessible(page, "twins");
  assert.match(await answers(page).last().innerText(), /at 0\./, "twins are greedy");
  // Each is told its own words.
  await ask(page, "And then?");
  assert.match(await answers(page).nth(2).innerText(), /garden/);
  assert.match(await answers(page).nth(3).innerText(), /house/);
}, {
  before: pretend((body) => {
    const said = body.messages.find(({ role }) => role === "assistant")?.content;
    return stream([said ? `You heard: ${said}` : `He had a ${body.model === "float" ? "garden" : "house"} at ${body.temperature}.`]);
  }),
});

const HOSTILE = [
  "<script>window.hit = 1</script>", "<img src=x onerror=\"window.hit = 1\">", "<svg onload=window.hit=1>", "[x](javascript:window.hit=1)",
  "[x](JaVaScRiPt:window.hit=1)", "<javascript:window.hit=1>", "![x](x\" onerror=\"window.hit=1)", "[x](https://a.b/\"onmouseover=\"window.hit=1)",
  "```html\" onload=window.hit=1\n<script>window.hit=1</script>\n```", "|<img src=x onerror=window.hit=1>|\n|-|\n|<iframe srcdoc='<script>parent.hit=1</script>'>|",
  "# <b onclick=window.hit=1>", "&lt;script&gt;window.hit=1&lt;/script&gt;", "<a href=\"javascript:window.hit=1\">x</a>", "<style>*{display:none}</style>",
  "[![x](javascript:window.hit=1)](data:text/html,<script>window.hit=1</script>)", "<form action=https://evil.example><input name=q>", "<base href=https://evil.example>",
];

/** No element of a model's making, no handler, no address but http. */
async function harmless(page) {
  const found = await page.evaluate(() => {
    const inside = [...document.querySelectorAll("main *, nav *, #toast *")];
    const known = new Set("ARTICLE SECTION DIV H2 H3 H4 H5 H6 P UL OL LI BLOCKQUOTE HR EM STRONG DEL CODE BR SPAN MARK DL DT DD TABLE THEAD TBODY TR TH TD A FIGURE FIGCAPTION PRE BUTTON svg use B TEXTAREA H1".split(" "));
    const odd = inside.filter((element) => !known.has(element.tagName)
      || element.getAttributeNames().some((name) => name.startsWith("on") || name === "style" && element.tagName !== "TEXTAREA")
      || (element.tagName === "A" && !/^https?:/.test(element.href)));
    return { odd: odd.map((element) => element.outerHTML.slice(0, 200)), hit: window.hit };
  });
  assert.deepEqual(found, { odd: [], hit: undefined });
  for (const link of await page.locator(".body a").all()) assert.match(await link.getAttribute("href"), /^https:\/\//);
}

await check("nothing that a model writes runs", async (page) => {
  for (let i = 0; i < HOSTILE.length; i++) await ask(page, HOSTILE[i]);
  assert.equal(await answers(page).count(), HOSTILE.length);
  assert.match(await answers(page).first().innerText(), /<script>window.hit = 1<\/script>/);
  await page.waitForTimeout(300);
  await harmless(page);
}, { before: pretend((_, n) => stream([...HOSTILE[n]])) });

await check("nothing in an imported file runs, and it comes out as it went in", async (page) => {
  const everywhere = HOSTILE[1];
  const hostile = {
    format: "bitnet-conversations", version: 1,
    conversations: [{
      id: everywhere, kind: "chat", title: everywhere, models: [everywhere, "<b>x</b>"], settings: { system: everywhere },
      turns: [{ role: "user", content: everywhere }, { role: "assistant", answers: HOSTILE.slice(0, 2).map((text) => ({
        model: everywhere, text, tokens: [{ t: everywhere, n: 5, p: -1, top: [[everywhere, -1]] }], error: { message: everywhere }, stats: { rate: everywhere },
      })) }],
    }],
  };
  const give = (text) => page.setInputFiles("#import-file", { name: "x.json", mimeType: "application/json", buffer: Buffer.from(text) });
  await give(JSON.stringify(hostile));
  await page.locator(".turn").nth(1).waitFor();
  await page.click("#odds");
  await page.locator(".token").first().hover();
  await page.waitForTimeout(300);
  await harmless(page);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#export-all")]);
  const out = JSON.parse(readFileSync(await download.path(), "utf8"));
  assert.equal(out.conversations[0].turns[0].content, everywhere);
  await give("{");
  await page.waitForFunction(() => /Nothing was imported.\s*This file is not JSON/.test(document.getElementById("notice").innerText));
  await give(JSON.stringify({ ...hostile, conversations: [{ turns: [{ role: "tool" }] }] }));
  await page.waitForFunction(() => document.getElementById("notice").innerText.includes("conversations[0].turns[0].role"));
  await accessible(page, "a refused file");
}, { before: pretend(() => stream(["x"])) });

const ERRORS = [
  ["gone", /The server does not answer\..*bitnet serve/s],
  [refusal(503, "overloaded", "too many requests wait for this model", { "retry-after": "3" }), /The server is busy\..*Too many requests wait for this model\. Try again in 3 seconds\./s],
  [refusal(400, "context_length_exceeded", "the prompt has 3,000 tokens, the context 2,048"), /does not fit the model’s context\..*3,000.*2,048 tokens/s],
  [refusal(400, "invalid", "`temperature` is out of range"), /The server refused this\..*`temperature`/s],
  [refusal(404, "model_not_found", "there is no model x"), /does not have this model/],
  [refusal(500, null, "a defect"), /could not go on\..*A defect\./s],
  [{ status: 502, contentType: "text/html", body: "<h1>Bad gateway</h1>" }, /could not go on\..*502/s],
  [stream(["It began"], { error: { message: "the model has stopped", code: "model_stopped" } }), /could not go on\..*The model has stopped\./s],
  [stream(["It began"], { end: "" }), /The answer broke off\./],
  [{ status: 200, contentType: "text/event-stream", body: "data: {broken\n\n" }, /The answer broke off\..*Try again/s],
];

await check("errors are told in words with a remedy", async (page) => {
  for (const [i, [, expected]] of ERRORS.entries()) {
    await send(page, `message ${i}`);
    await page.locator(".problem").nth(i).waitFor();
    assert.match(await page.locator(".problem").nth(i).innerText(), expected);
    await ready(page);
  }
  assert.equal(await answers(page).nth(7).innerText(), "It began");
  await accessible(page, "errors");
  await shot(page, "errors");
  await page.getByRole("button", { name: "Try again" }).last().click();
  await page.waitForFunction(() => [...document.querySelectorAll(".body")].some((body) => body.innerText === "All is well."));
}, { expectFailures: true, before: pretend((_, n) => ERRORS[n]?.[0] ?? stream(["All is well."])) });

await check("a server that is gone, then asks for a key", async (page) => {
  await page.locator("#notice .problem").waitFor();
  assert.match(await page.locator("#notice").innerText(), /The server does not answer/);
  await accessible(page, "no server");
  await shot(page, "gone", {});
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator("#key[open]").waitFor();
  await accessible(page, "the key's dialog");
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  await page.locator("#key[open]").waitFor();
  await page.keyboard.type("secret");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#model option", { state: "attached" });
  assert.equal(await page.locator("#notice").innerText(), "");
  assert.equal(await page.evaluate(() => [localStorage.length, sessionStorage.getItem("bitnet.key")].join()), "0,secret");
}, {
  expectFailures: true,
  noModels: true,
  before: async (page) => {
    let asked = 0;
    await page.route("**/v1/models", (route) => {
      if (asked++ === 0) return route.abort("connectionrefused");
      const key = route.request().headers().authorization;
      return route.fulfill(key === "Bearer secret" ? { json: { data: [{ id: "m" }] } } : refusal(401, "invalid_api_key", "this server asks for a key"));
    });
  },
});

await check("a model that is still being loaded", async (page) => {
  await page.waitForSelector("#model option", { state: "attached" });
}, {
  expectFailures: true,
  noModels: true,
  before: async (page) => {
    let asked = 0;
    await page.route("**/v1/models", (route) => route.fulfill(asked++ ? { json: { data: [{ id: "m" }] } } : refusal(503, "loading", "the model m is being loaded")));
  },
});

await check("the keyboard alone", async (page) => {
  // The field has the focus; behind the last control the page begins again, with the link that skips the list.
  const skipping = () => page.evaluate(() => document.activeElement.className === "skip");
  for (let i = 0; i < 5 && !(await skipping()); i++) await page.keyboard.press("Tab");
  assert.ok(await skipping());
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement.id === "field");
  await page.keyboard.type("Hello");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("there");
  await page.keyboard.press("Enter");
  await ready(page);
  assert.equal(await page.locator(".bubble").innerText(), "Hello\nthere");
  assert.equal(await page.evaluate(() => document.activeElement.id), "field", "the focus stays in the field");
  await page.locator("#open-drawer").focus();
  await page.keyboard.press("Enter");
  await page.locator("#drawer[open]").waitFor();
  await accessible(page, "the drawer");
  await shot(page, "drawer");
  for (let i = 0; i < 40; i++) await page.keyboard.press("Tab");
  // Beside the dialog, only the browser's own controls may have the focus.
  assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest("#drawer") !== null));
  await page.fill("#set-temperature", "3");
  assert.match(await page.locator("#set-temperature-note").innerText(), /Give from 0 to 2|Give .*0 to 2/);
  await page.fill("#set-temperature", "0.5");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.id), "open-drawer", "the focus goes back");
  await ask(page, "Again");
  assert.equal(await answers(page).last().innerText(), "temperature 0.5");
  // Every control is reached, and shows that it is.
  const unreached = await page.evaluate(() => [...document.querySelectorAll("button, select, input, textarea, a")]
    .filter((element) => element.checkVisibility() && element.tabIndex < 0 && !element.disabled).map(({ outerHTML }) => outerHTML.slice(0, 100)));
  assert.deepEqual(unreached, []);
}, { before: pretend((body) => stream([`temperature ${body.temperature ?? "default"}`])) });

await check("conversations: renamed, deleted and had back, exported, in the dark", async (page) => {
  await ask(page, "First");
  await page.click("#new-chat");
  await ask(page, "Second");
  await page.waitForFunction(() => document.querySelectorAll("nav li").length === 2);
  await page.locator("nav li").first().hover();
  await page.getByRole("button", { name: "Rename “Second”" }).click();
  await page.keyboard.type("A better name");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "A better name", exact: true }).waitFor();
  await page.locator("nav li").first().hover();
  await accessible(page, "the list");
  await page.getByRole("button", { name: "Delete “A better name”" }).click();
  await page.waitForFunction(() => document.querySelectorAll("nav li").length === 1);
  await accessible(page, "a deleted conversation");
  await page.locator("#toast button").click();
  await page.waitForFunction(() => document.querySelectorAll("nav li").length === 2);
  assert.equal(await page.locator(".bubble").innerText(), "Second");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#export-all")]);
  assert.equal(JSON.parse(readFileSync(await download.path(), "utf8")).conversations.length, 2);
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll("nav li").length === 2);
}, { ...DARK, before: pretend(() => stream(["Yes."])) });

await check("the list on a phone, colours by hand, less motion", async (page) => {
  assert.ok(await page.locator("#sidebar").evaluate((element) => element.inert));
  await page.click("#open-sidebar");
  await accessible(page, "the list on a phone");
  await shot(page, "phone-list");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.id), "open-sidebar");
  await page.click("#open-drawer");
  await page.getByText("Dark", { exact: true }).click();
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(20, 23, 28)");
  await accessible(page, "the drawer on a phone, dark");
  await shot(page, "phone-drawer");
  await page.reload();
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(20, 23, 28)");
  const motion = await page.evaluate(() => getComputedStyle(document.getElementById("sidebar")).transitionDuration);
  assert.equal(motion, "0s");
}, { ...PHONE, reducedMotion: "reduce", before: pretend(() => stream(["Yes."])) });

await browser.close();
console.log(failed ? `${failed} failed` : "all is well");
process.exitCode = failed ? 1 : 0;
