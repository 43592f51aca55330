// What the page does, in node: node bench.mjs FOLDER MODULE MODEL PROMPT [TOKENS] prints the tokens that it writes and how
// fast. FOLDER is what `cargo xtask web` wrote, MODULE one of the modules there.
import { readFile } from "node:fs/promises";
import { argv } from "node:process";
import { gunzipSync } from "node:zlib";
import { pathToFileURL } from "node:url";

const [folder, module, file, prompt, count = "200"] = argv.slice(2);
const { initSync, Model } = await import(pathToFileURL(`${folder}/bitnet_web.js`));
initSync({ module: gunzipSync(await readFile(`${folder}/${module}`)) });
const model = new Model(file, await readFile(file), 2048);
const greedy = { max_tokens: Number(count), temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, seed: 0 };

/** Writes, and times what is read and what is written. */
function write() {
  const [tokens, text] = [[], []];
  let [read, reading, writing, begun] = [0, 0, 0, false];
  model.begin(JSON.stringify({ prompt, ...greedy }));
  for (let step; !step?.end;) {
    const begin = performance.now();
    step = JSON.parse(model.step());
    const time = performance.now() - begin;
    if (begun) writing += time; else [reading, read] = [reading + time, read + step.read];
    begun ||= step.left === 0;
    if (step.token !== null) tokens.push(step.token);
    text.push(step.text);
  }
  return { tokens, text: text.join(""), read, reading: 1e3 * read / reading, writing: 1e3 * (tokens.length - 1) / writing };
}

// The first run is compiled while it runs. A prompt that is known is not read again: its speed is the first run's.
const first = write();
const runs = Array.from({ length: 4 }, write);
const { kernel, head } = JSON.parse(model.about());
const speeds = runs.map((run) => run.writing).sort((a, b) => a - b);
console.log(JSON.stringify({ kernel, head, read: first.read, reading: first.reading, writing: speeds, text: first.text, tokens: first.tokens }));
