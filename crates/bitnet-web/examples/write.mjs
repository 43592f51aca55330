// What the page does, in node: node write.mjs FOLDER MODULE MODEL PROMPT [TOKENS] [RUNS] writes greedily and prints the tokens
// and their speed, which is that of the median token. FOLDER is what `cargo xtask web` wrote, MODULE one of the modules there.
import { readFile } from "node:fs/promises";
import { argv } from "node:process";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";

const [folder, module, file, prompt, count = "200", runs = "5"] = argv.slice(2);
const { initSync, Model } = await import(pathToFileURL(`${folder}/bitnet_web.js`));
initSync({ module: gunzipSync(await readFile(`${folder}/${module}`)) });
const begin = performance.now();
const model = new Model(file, await readFile(file), 2048);
const loading = (performance.now() - begin) / 1e3;
const greedy = { max_tokens: Number(count), temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, seed: 0 };

let tokens, times;
for (let run = 0; run < Number(runs); run += 1) {
  [tokens, times] = [[], times?.slice(-2000) ?? []];
  model.begin(JSON.stringify({ prompt, ...greedy }));
  for (let step; !step?.end;) {
    const begin = performance.now();
    step = JSON.parse(model.step());
    times.push(performance.now() - begin);
    if (step.token !== null) tokens.push(step.token);
  }
}
const { kernel, head } = JSON.parse(model.about());
const median = times.sort((a, b) => a - b)[times.length >> 1];
console.log(JSON.stringify({ kernel, head, loading, writing: 1e3 / median, tokens }));
