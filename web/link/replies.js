// What a board's replies hold: payloads taken apart, and what a refusal means.

import { PageError } from "../errors.js";
import { textOf, unpack } from "./bytes.js";
import { CODES, KINDS, MAJOR, RAW } from "./wire.js";

const SIZES = { B: 1, H: 2, I: 4, i: 4 };

/** Takes a payload apart. */
export class Reader {
  /** @param {Uint8Array} body */
  constructor(body) {
    this.body = body;
    this.at = 0;
  }

  /**
   * @param {string} layout as of `unpack`
   * @returns {number[]}
   */
  take(layout) {
    const values = unpack(layout, this.body, this.at);
    if (!values) {
      throw new PageError(
        `The board sent ${this.body.length} bytes where more were expected: the picoformer on ` +
          "it may be another version. Update it.",
        { code: "link" },
      );
    }
    for (const letter of layout) this.at += SIZES[letter];
    return values;
  }

  /** @param {number} size */
  raw(size) {
    this.at += size;
    return this.body.subarray(this.at - size, this.at);
  }

  /** @returns {string} a text with its length in front */
  text() {
    return textOf(this.raw(this.take("B")[0]));
  }

  /** @returns {number} bytes that are left */
  get left() {
    return this.body.length - this.at;
  }
}

/**
 * What a board says of itself when the link starts.
 * @typedef {{major: number, minor: number, raw: boolean, payload: number, credit: number,
 *   nonce: number, freeHeap: number, platform: string}} Hello
 */

/** @returns {Hello} of a board that has not said anything yet */
export const quiet = () => ({
  major: 1, minor: 0, raw: false, payload: 128, credit: 256, nonce: 0, freeHeap: 0, platform: "",
});

/** @returns {Hello} */
export function hello(body) {
  const r = new Reader(body);
  const [major, minor, can, payload, credit, nonce, freeHeap] = r.take("BBHHIII");
  const raw = !!(can & RAW);
  return { major, minor, raw, payload, credit, nonce, freeHeap, platform: r.text() };
}

/** The board's memory and versions; bytes. */
export function info(body) {
  const r = new Reader(body);
  const [freeHeap, largest, freeFlash] = r.take("III");
  return { freeHeap, largest, freeFlash, machine: r.text(), micropython: r.text(),
    loaded: r.text() };
}

/**
 * A model in the board's memory.
 * @typedef {{context: number, vocab: number, freeHeap: number, heap: number, ms: number,
 *   weights: string, kernels: string, task: string, inRam: number, cores: number}} Loaded
 */

/** @returns {Loaded} */
export function loaded(body) {
  const r = new Reader(body);
  const [context, vocab, freeHeap, heap, ms] = r.take("HIIII");
  const weights = r.text();
  const kernels = r.text();
  const task = r.text();
  const inRam = r.left ? r.take("I")[0] : 0; // of runtimes that copy any
  const cores = r.left ? r.take("B")[0] : 1; // of those that know a second core
  return { context, vocab, freeHeap, heap, ms, weights, kernels, task, inRam, cores };
}

/**
 * What a model's logits stand for, and what it reads: zeros if no image, no signal.
 * @typedef {{names: string[], bits: number, several: boolean, image: number[], frames: number[]}}
 *   Labels
 */

/**
 * What the board measured while it wrote a text.
 * @typedef {{stopped: boolean, tokens: number, firstMs: number, ms: number, freeHeap: number}}
 *   Stats
 */

/** @returns {Stats} */
export function stats(body) {
  const [stopped, tokens, firstMs, ms, freeHeap] = new Reader(body).take("BHIII");
  return { stopped: !!stopped, tokens, firstMs, ms, freeHeap };
}

/** What is to be said where a board refuses a model that is newer than its runtime, or "". */
function older(said) {
  const version = /format version (\d+), this picoformer reads (?:\d+ and )?(\d+)/.exec(said);
  const newer = version && Number(version[1]) > Number(version[2]);
  if (!newer && !/this version (reads|knows)|unknown step/.test(said)) return "";
  const told = said.split(/: convert|: install/)[0];
  return (
    "The picoformer on the board is older than this model: update it, from a page as new as the " +
    `picoformer that made the model. (The board said: ${told})`
  );
}

/** @param {number} n */
export const counted = (n) => n.toLocaleString("en-US");

/**
 * What an ERROR frame means, in words.
 * @param {Uint8Array} body
 * @returns {PageError}
 */
export function refusal(body) {
  const r = new Reader(body);
  const [code, number] = r.take("BI");
  const text = textOf(body.subarray(5));
  let kind = "board";
  let words;
  if (code === CODES.NO_SPACE) {
    kind = "no-space";
    words = `The board's flash is full: ${counted(number)} bytes are free, and the model needs ` +
      "more. Remove a model that is there.";
  } else if (code === CODES.NO_MEMORY
      || (code === CODES.BAD_MODEL && text.includes("not enough memory"))) {
    kind = "no-memory";
    words = `The board has too little memory: ${text.replace(/^not enough memory: /, "")}`;
    if (code === CODES.NO_MEMORY) {
      words += `; ${counted(number)} bytes are free. Choose a smaller context or a smaller model.`;
    }
  } else if (code === CODES.NO_FILE) {
    kind = "no-model";
    words = `There is no model '${text}' on the board: deploy it first.`;
  } else {
    words = {
      [CODES.BAD_VERSION]: `The board speaks version ${number} of the link, this page ${MAJOR}: ` +
        "update the picoformer on it.",
      [CODES.BAD_REQUEST]: `The board does not understand a request (${number}): ${text}`,
      [CODES.BAD_STATE]: number === KINDS.GENERATE
        ? "The board is writing a text: stop it, or wait for its end."
        : `The board cannot do this now: request ${number} has to come first, or to end.`,
      [CODES.BAD_OFFSET]: `The board expects byte ${counted(number)} of the upload.`,
      [CODES.BAD_NAME]: `'${text}' is not a name for a model: expected 1 to 64 bytes, without ` +
        "'/', '\\' and control characters, not beginning with '.'.",
      [CODES.BAD_DATA]: "The model in the board's flash is not what was sent (its CRC32 is " +
        `${number.toString(16).padStart(8, "0")}): its flash may be worn. Deploy again.`,
      [CODES.BAD_MODEL]: older(text) || text,
      [CODES.UNSUPPORTED]: `The picoformer on the board does not know request ${number}: ` +
        "update it.",
    }[code] ?? `The board failed: ${text || `error ${code}, ${number}`}`;
  }
  return new PageError(words, { code: kind, refused: code, number });
}
