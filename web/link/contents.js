// What is in a board's flash and free on it, asked through the raw REPL: no runtime is needed.

import { PageError } from "../errors.js";
import { bytesOf, unpack } from "./bytes.js";
import { compare } from "./install.js";
import { filled, parse } from "./literal.js";
import { counted } from "./replies.js";

const BLOCK = 4096; // bytes that a file's size is rounded up to, on a microcontroller's flash
const LOOK_LIMIT = 30; // seconds for a board to read what it has
const ROOM_LIMIT = 120; // for it to look through its heap

/**
 * A model in a board's flash, or the part of one whose upload was cut.
 * @typedef {{name: string, bytes: number, crc32: number, task: string, context: number,
 *   weights: "board" | "host", state: "whole" | "unfinished" | "damaged"}} Kept
 *   crc32: of its header; task, context: nothing where it is not whole
 */

/** What a model file is, by its first 100 bytes and the first 52 of its program.
 * @returns {Kept} */
export function kept(tasks, file, size, head, program) {
  const [name, part] = file.split(".pft");
  const word = (at) => unpack("I", head, at)?.[0] ?? 0;
  const weights = size === word(84) ? "host" : "board";
  const whole = word(0) === 0x54465089 && (size === word(8) || weights === "host");
  const state = part ? "unfinished" : whole ? "whole" : "damaged";
  const known = state === "whole" && program.length === 52;
  return {
    name,
    bytes: size,
    crc32: word(96),
    task: (known && tasks[program[48]]) || "",
    context: known ? unpack("I", program)[0] : 0,
    weights,
    state,
  };
}

/** What is in the board's flash; bytes.
 * @returns {Promise<{free: number, total: number, program: boolean, models: Kept[]}>} */
export async function look(repl, { scripts, rules }) {
  const said = parse((await repl.run(scripts.models, LOOK_LIMIT)).trim());
  const [free, total, program, found] = said;
  const models = found.map(([name, size, head, begins]) =>
    kept(rules.tasks, name, size, bytesOf(head), bytesOf(begins)));
  models.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { free, total, program, models };
}

/** The runtime in the board's flash. */
export async function runtime(repl, boards, platform) {
  const { found, missing, current } = await compare(repl, boards, platform);
  const said = (await repl.run(boards.scripts.version)).trim();
  const version = said ? /\d+\.\d+[\w.]*/.exec(parse(said))?.[0] ?? "" : "";
  return {
    installed: found.size > 0,
    version,
    current,
    compiled: [...found.keys()].some((name) => name.endsWith(".mpy")),
    missing: missing.map((file) => file.name),
  };
}

/** Delete files and folders; what is not there is left out. @param {string[]} paths */
export async function erase(repl, { scripts }, paths) {
  await repl.run(filled(scripts.erase, paths), LOOK_LIMIT);
}

/** Bytes that are free on a board that has run its boot.py and nothing else.
 * @returns {Promise<{heap: number, pieces: number[], grows: boolean}>} */
export async function room(repl, { scripts }) {
  try {
    const said = await repl.run(filled(scripts.room, 0), ROOM_LIMIT);
    const [heap, pieces, , , grows] = parse(said.trim());
    return { heap, pieces, grows };
  } catch (error) {
    if (!error.message.includes("MemoryError")) throw error;
    return { heap: Number(await repl.run(scripts.free)), pieces: [], grows: false };
  }
}

/** The error of a flash that has no room for a model of so many bytes, or for "the runtime". */
export function full(name, size, there) {
  const begun = there.models
    .filter((m) => m.name === name && m.state === "unfinished")
    .reduce((n, m) => n + m.bytes, 0);
  const missing = Math.max(size - begun - there.free, 1);
  const models = there.models.map((m) =>
    `${m.name} (${counted(m.bytes)} bytes${m.state === "whole" ? "" : ", " + m.state})`);
  return new PageError(
    `The board's flash is full: ${name} takes ${counted(size - begun)} bytes more, ` +
      `${counted(there.free)} are free, ${counted(missing)} are missing. ` +
      (models.length
        ? `Remove a model to make room: ${models.join(", ")}.`
        : "There is no model to remove: other files fill it."),
    { code: "no-space", number: there.free },
  );
}

/** The same, for a runtime; what is there of the file that did not fit goes. */
export async function fullOfRuntime(repl, boards, platform, tokenizers) {
  const { found, missing } = await compare(repl, boards, platform, tokenizers);
  const parts = [...found.keys()].filter((name) => name.endsWith(".part"));
  await erase(repl, boards, parts.map((name) => `${boards.rules.folder}/${name}`));
  const size = missing.reduce((n, file) => n + Math.ceil(file.bytes / BLOCK) * BLOCK, 0);
  return full("the runtime", size, await look(repl, boards));
}
