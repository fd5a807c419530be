// Asks the engine's Interpreter in node, by requests of one line of JSON:
// node engine.mjs FOLDER... < requests
// The site's files are in the first of the folders that has them; the last one is web/.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const folders = process.argv.slice(2);
const { Interpreter } = await import(pathToFileURL(`${folders.at(-1)}/engine/interpreter.js`));
const interpreter = await Interpreter.start((place) => {
  const folder = folders.find((name) => existsSync(`${name}/${place}`)) ?? folders.at(-1);
  return readFile(`${folder}/${place}`);
});

for await (const line of createInterface({ input: process.stdin })) {
  const { task, given, as, most = Infinity, file } = JSON.parse(line);
  const values = [];
  let error;
  const begun = performance.now();
  try {
    if (file) interpreter.mp.FS.writeFile(given.path, await readFile(file));
    for (const [key, value] of Object.entries(given)) {
      if (value?.base64 === undefined) continue;
      given[key] = new Uint8Array(Buffer.from(value.base64, "base64"));
    }
    for await (const value of interpreter.steps(task, given)) {
      values.push(as ? [...interpreter.numbers(globalThis[as], value)] : value);
      if (values.length >= most) break;
    }
  } catch (e) {
    error = { message: e.message, code: e.code ?? e.stack };
  }
  const ms = performance.now() - begun;
  const { printed } = interpreter;
  interpreter.printed = "";
  const heap = interpreter.memory.buffer.byteLength;
  console.log(JSON.stringify({ values, error, ms, printed, heap }));
}
