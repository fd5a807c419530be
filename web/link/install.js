// The runtime on a board: which files belong there, whether they are, and how they get there.
//
// The files go through the raw REPL, because the link's server is one of them.

import { PageError } from "../errors.js";
import { base64, bytesOf, crc32 } from "./bytes.js";
import { sleep } from "./limits.js";
import { filled, parse } from "./literal.js";
import { moduleOf, readers, wanted } from "./runtime.js";
import { stopped } from "./upload.js";

const BLOCK = 768; // bytes of a file in one line; a multiple of 3
const LONE_BLOCK = 1536; // where a link drops what is not read in time: only one is on its way
const PIECE = 240; // bytes that such a board has room for, and
const PAUSE = PIECE / 11520; // seconds that a UART takes for them; native USB brings them at once
const AHEAD = 3; // blocks on their way, where nothing is dropped
const WRITE_LIMIT = 60; // seconds without a word, for a board to write a block or read a file
const PART = ".part";

/**
 * @typedef {import("./runtime.js").RuntimeFile} RuntimeFile
 * @typedef {(path: string) => Promise<ArrayBuffer>} Source a file of the site's runtime/
 */

/** The page's data of boards. @param {Source} source @returns {Promise<any>} */
export async function boardsOf(source) {
  try {
    return JSON.parse(new TextDecoder().decode(await source("boards.json")));
  } catch (cause) {
    throw missing("boards.json", cause);
  }
}

/** What it means that a file of the site's runtime/ does not come. */
function missing(file, cause) {
  return new PageError(
    `A file of the page does not load (runtime/${file}): reload the page, and try again.`,
    { code: "page", cause },
  );
}

/** CRC32 of each file of the board's runtime, by name; null of what cannot be read.
 * @returns {Promise<Map<string, number | null>>} */
async function installed(repl, { scripts, rules }) {
  return parse((await repl.run(filled(scripts.sums, rules.folder), WRITE_LIMIT)).trim());
}

/** The first 8 bytes of the tokenizer's section of each model in the board's flash. */
async function stored(repl, { scripts }) {
  const found = parse((await repl.run(scripts.tokenizers, WRITE_LIMIT)).trim());
  return found.filter((begins) => begins.length === 8).map(bytesOf);
}

/**
 * What the board has of the runtime, and what it is to have. It gets what reads its models, of a
 * board without any all; what it has had of them it keeps, for models that may lie elsewhere.
 * @param {import("./repl.js").Repl} repl
 * @param {any} boards
 * @param {import("./runtime.js").Platform} platform
 * @param {Uint8Array[]} [tokenizers] sections of such models as are to come
 */
export async function compare(repl, boards, platform, tokenizers = []) {
  const sections = [...tokenizers, ...(await stored(repl, boards))];
  const found = await installed(repl, boards);
  const { prefix } = boards.rules.tokenizers;
  const had = [...found.keys()].map(moduleOf).filter((module) => module.startsWith(prefix));
  const modules = new Set([...readers(boards, sections), ...had]);
  const runtime = wanted(boards, platform, sections.length || had.length ? modules : null);
  const names = new Set(runtime.files.map((file) => file.name));
  const missing = runtime.files.filter((file) => found.get(file.name) !== file.crc32);
  const current = !missing.length && found.size === names.size;
  return { found, names, runtime, missing, current };
}

/**
 * Bring the board's runtime up to date; whether anything was written.
 *
 * The board needs a soft reset afterwards: what it has imported is the old one. Wherever this is
 * cut, the board has the old runtime, the new one, or one that does not start: files of two
 * versions never run together. Files that are right are not sent again.
 * @param {import("./repl.js").Repl} repl
 * @param {any} boards
 * @param {import("./runtime.js").Platform} platform
 * @param {Source} source
 * @param {{tokenizers?: Uint8Array[], signal?: AbortSignal, onProgress?:
 *   (at: {what: string, file: string, done: number, total: number}) => void}} [options]
 */
export async function install(repl, boards, platform, source, options = {}) {
  const { tokenizers, signal, onProgress } = options;
  const { folder, doors, patient } = boards.rules;
  const there = await compare(repl, boards, platform, tokenizers);
  const { found, names, runtime } = there;
  if (there.current) return { written: false, runtime };
  // What starts it goes first and comes last. A .py hides the .mpy of its name, and goes behind
  // it; nothing else belongs here, and first of all it makes room.
  const isDoor = (name) => doors.includes(moduleOf(name));
  const sending = there.missing.concat(
    runtime.files.filter((file) => isDoor(file.name) && !there.missing.includes(file)),
  );
  const data = await fetched(source, sending, signal); // before anything on the board is touched
  await repl.run(boards.scripts.folders, WRITE_LIMIT);
  forgetTwins(found);
  const first = doors.flatMap((door) => [`${door}.mpy`, `${door}.py`]).filter((n) => found.has(n));
  const others = [...found.keys()].filter((n) => !names.has(n) || found.get(n) === null).sort();
  const gone = [...first, ...others.filter((n) => !first.includes(n))];
  if (gone.length) {
    const script = filled(boards.scripts.remove, { names: gone, folder: `${folder}/` });
    await repl.run(script, WRITE_LIMIT);
  }
  await repl.run(boards.scripts.receive);
  const total = runtime.files.reduce((n, file) => n + file.bytes, 0);
  const order = (file) => `${Number(isDoor(file.name))}${file.name}`;
  const files = [...runtime.files].sort((a, b) => (order(a) < order(b) ? -1 : 1));
  const roomy = patient.includes(platform.platform);
  let done = 0;
  for (const file of files) {
    const content = data.get(file.name);
    if (content) await send(repl, boards, roomy, `${folder}/${file.name}`, content, signal);
    done += file.bytes;
    onProgress?.({ what: "runtime", file: file.name, done, total });
  }
  return { written: true, runtime };
}

/** The contents of files, each what boards.json says of it. */
async function fetched(source, files, signal) {
  const load = async (file) => {
    let content;
    try {
      content = new Uint8Array(await source(file.url));
    } catch (cause) {
      throw missing(file.url, cause);
    }
    if (content.length !== file.bytes || crc32(content) !== file.crc32) {
      throw new PageError(
        `A file of the page is not what it should be (runtime/${file.url}): whoever hosts it ` +
          "has to make the page anew, with picoformer page -o FOLDER.",
        { code: "page" },
      );
    }
    return [file.name, content];
  };
  const found = new Map(await Promise.all(files.map(load)));
  if (signal?.aborted) throw halted();
  return found;
}

const halted = () => stopped("The installation was stopped. Install again to go on.");

/** On FAT a rename that was cut leaves two names of one file, which goes with either. */
function forgetTwins(found) {
  for (const [name, crc] of [...found]) {
    if (crc !== null && found.get(name + PART) === crc) found.set(name, null);
  }
}

async function send(repl, { scripts }, roomy, path, data, signal) {
  const [block, ahead] = roomy ? [BLOCK, AHEAD] : [LONE_BLOCK, 1];
  const part = path + PART;
  const args = `'${part}', ${data.length}, ${block}`;
  await repl.start(`picoformer_receive(${args})`);
  await repl.mark("!", WRITE_LIMIT);
  let waiting = 0;
  for (let at = 0; at < data.length; at += block) {
    if (signal?.aborted) {
      await repl.enter();
      throw halted();
    }
    if (waiting === ahead) {
      await repl.mark(".", WRITE_LIMIT);
      waiting--;
    }
    const text = base64(data.subarray(at, at + block));
    const step = roomy ? text.length : PIECE;
    for (let i = 0; i < text.length; i += step) {
      if (i) await sleep(PAUSE);
      await repl.write(text.slice(i, i + step));
    }
    waiting++;
  }
  while (waiting--) await repl.mark(".", WRITE_LIMIT);
  const said = (await repl.finish(WRITE_LIMIT)).trim();
  if (said !== String(crc32(data))) {
    throw new PageError(
      `${path} arrived damaged (CRC32 ${said}, expected ${crc32(data)}): check the cable, and ` +
        "install again.",
      { code: "deploy" },
    );
  }
  await repl.run(filled(scripts.replace, { path, part }), WRITE_LIMIT);
}
