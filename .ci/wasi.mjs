// Runs a program for wasm32-wasip1, as Cargo's runner: node --no-warnings .ci/wasi.mjs PROGRAM ARGUMENTS...
import { readFile } from "node:fs/promises";
import { argv, env, exit } from "node:process";
import { WASI } from "node:wasi";

const [program] = argv.slice(2);
const wasi = new WASI({ version: "preview1", args: argv.slice(2), env, preopens: { "/": "/", ".": "." }, returnOnExit: true });
const { instance } = await WebAssembly.instantiate(await readFile(program), wasi.getImportObject());
exit(wasi.start(instance));
