// What the page does, in node: node write.mjs FOLDER MODULE MODEL PROMPT [TOKENS] [RUNS] writes greedily and prints the tokens
// and their speed. FOLDER is what `cargo xtask web` wrote, MODULE one of the modules there. The speed is by the time that the
// thread had a processor (Linux), so that other programs do not count; the first run, in which V8 compiles, is left out.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { argv } from "node:process";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";

const [folder, module, file, prompt, count = "200", runs = "5"] = argv.slice(2);
const { initSync, Model } = await import(pathToFileURL(`${folder}/bitnet_web.js`));
initSync({ module: gunzipSync(await readFile(`${folder}/${module}`)) });
/** Seconds on a processor. */
const clock = () => Number(readFileSync("/proc/self/schedstat", "utf8").split(" ")[0]) / 1e9;
const bytes = await readFile(file);
const begin = clock();
const model = new Model(file, bytes, 2048);
const loading = clock() - begin;
const greedy = { max_tokens: Number(count), temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, seed: 0 };

let tokens, written = 0, seconds = 0;
for (let run = 0; run < Number(runs); run += 1) {
  tokens = [];
  model.begin(JSON.stringify({ prompt, ...greedy }));
  let step, begin;
  do {
    step = JSON.parse(model.step());
    if (step.token !== null) tokens.push(step.token);
    begin ??= step.left === 0 ? clock() : undefined;
  } while (!step.end);
  if (run > 0) [written, seconds] = [written + tokens.length - 1, seconds + clock() - begin];
}
const { kernel, head } = JSON.parse(model.about());
console.log(JSON.stringify({ kernel, head, loading, writing: written / seconds, tokens }));
