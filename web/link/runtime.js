// Which files of the runtime a board is to have: by the data of boards.json alone.

import { crc32, unpack } from "./bytes.js";

/**
 * What boards.json holds; host/picoformer/page/boards.py writes it.
 * @typedef {{name: string, bytes: number, crc32: number, url: string, fits?: string[]}}
 *   RuntimeFile
 * @typedef {{version: string, sources: RuntimeFile[], rules: any, scripts: Record<string, string>,
 *   modules: string[], targets: {mpy: number, sub: number, architecture: string,
 *   files: RuntimeFile[]}[]}} Boards
 *
 * What a board's MicroPython says of itself.
 * @typedef {{version: number[], mpy: number, platform: string, machine: string}} Platform
 */

/** Whether a version is before another. @param {number[]} a @param {number[]} b */
export function before(a, b) {
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return a[i] < b[i];
  return false;
}

/** mpy-cross's name for the native code that a board runs, "" where it runs none.
 * @param {Boards} boards @param {Platform} platform */
export function architectureOf(boards, platform) {
  return boards.rules.architectures[(platform.mpy >> 10) & 15] ?? "";
}

/** The module of a file. @param {string} name */
export const moduleOf = (name) => name.split(".")[0];

/**
 * The modules that may read such tokenizer sections, of which 8 bytes are enough.
 * @param {Boards} boards
 * @param {Uint8Array[]} sections
 * @returns {Set<string>}
 */
export function readers(boards, sections) {
  const { kinds, added } = boards.rules.tokenizers;
  const found = new Set();
  for (const section of sections) {
    const [kind, flags] = unpack("II", section);
    const modules = kinds[kind]?.[flags & added ? "added" : "plain"] ?? [];
    for (const name of modules) found.add(name);
  }
  return found;
}

/**
 * The runtime for a board: .mpy where they would load, else .py.
 * @param {Boards} boards
 * @param {Platform} platform
 * @param {Set<string> | null} [tokenizers] the modules of tokenizers that it is to have; null: all
 * @returns {{files: RuntimeFile[], notice: string}} notice: why it is .py, "" where it is not
 */
export function wanted(boards, platform, tokenizers = null) {
  const { rules } = boards;
  const architecture = architectureOf(boards, platform);
  const target = boards.targets.find((t) => t.architecture === architecture
    && t.mpy === (platform.mpy & 255)
    && (!architecture || t.sub === ((platform.mpy >> 8) & 3)));
  let files = target?.files;
  let notice = "";
  if (!files) {
    const wrong = rules.miscompiles.architectures.includes(architecture)
      && before(platform.version, rules.miscompiles.before);
    const able = wrong ? "" : architecture;
    files = boards.sources.filter((file) => file.fits.includes(able));
    notice = "The board gets the runtime as .py, which takes more flash and heap: this page has " +
      "no .mpy files for its MicroPython.";
    if (wrong) {
      notice += " And it runs the portable kernels, a hundred times slower, as this MicroPython " +
        "compiles viper wrongly: flash MicroPython " +
        `${rules.miscompiles.before.join(".")} or newer.`;
    }
  }
  const has = (module) =>
    !rules.without.some((w) => w.module === module && platform.platform.startsWith(w.platforms))
    && (!tokenizers || !module.startsWith(rules.tokenizers.prefix) || tokenizers.has(module));
  return { files: files.filter((file) => has(moduleOf(file.name))), notice };
}

/**
 * The first 8 bytes of a model file's tokenizer section; null where it has none.
 * @param {Uint8Array} model
 * @returns {Uint8Array | null}
 */
export function tokenizerOf(model) {
  const at = unpack("I", model, 68)?.[0] ?? model.length;
  return at + 8 <= model.length ? model.slice(at, at + 8) : null;
}

/**
 * What is wrong with the frame of a model file, "" where nothing is: docs/format.md. A board
 * checks all that is in it.
 * @param {Uint8Array} model
 * @returns {string}
 */
export function flaw(model) {
  if (model[0] !== 0x89 || String.fromCharCode(...model.subarray(1, 4)) !== "PFT") {
    return "it is no model file of picoformer (.pft)";
  }
  const [size] = unpack("I", model, 8) ?? [0];
  if (model.length < 100) return `it has ${model.length} bytes, and its header alone has 100`;
  if (size !== model.length) {
    return `it has ${model.length} bytes, and its header says ${size}: it is cut off or longer`;
  }
  return crc32(model.subarray(0, 96)) === unpack("I", model, 96)[0] ? "" : "its header is damaged";
}
