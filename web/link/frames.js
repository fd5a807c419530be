// The frames of the serial link, in both of their forms; docs/protocol.md is the definition.

import {
  base64, binary, bytesOf, concat, crc32, fromBase64, pack, textOf, unpack,
} from "./bytes.js";
import { MAJOR } from "./wire.js";

const NOISE = 4096; // characters kept of what a board says outside of frames
const TEXT_MARK = "~";
const RAW_MARK = 0x1f;
const CTRL_C = 3;

// Printing characters first: control codes mean something to a REPL.
const STAND_INS = [];
for (let v = 0x20; v < 0x120; v++) if ((v & 255) !== CTRL_C) STAND_INS.push(v & 255);

// What is seen where the REPL has the port again: the server has ended.
const REPL_MARKS = ["\x04", "MPY: ", ">>> ", "raw REPL"];

/** @typedef {{kind: number, seq: number, body: Uint8Array}} Frame */

function packed(kind, seq, body) {
  const head = pack("BBBH", MAJOR, kind, seq, body.length);
  const whole = concat(head, [crc32(head) & 255], body);
  return concat(whole, pack("I", crc32(whole)));
}

function unpacked(whole) {
  if (whole.length < 10 || (crc32(whole.subarray(0, 5)) & 255) !== whole[5]) return null;
  const end = whole.length - 4;
  const [size] = unpack("H", whole, 3);
  const [crc] = unpack("I", whole, end);
  if (end !== size + 6 || crc32(whole.subarray(0, end)) !== crc) return null;
  return { kind: whole[1], seq: whole[2], body: whole.slice(6, end) };
}

/**
 * A frame as a line of text.
 * @param {number} kind
 * @param {number} seq
 * @param {Uint8Array} [body]
 * @returns {Uint8Array}
 */
export function encodeText(kind, seq, body = new Uint8Array()) {
  return bytesOf(`\n${TEXT_MARK}${base64(packed(kind, seq, body))}\n`);
}

/**
 * A frame as bytes without Ctrl-C. At most 60000 bytes of payload.
 * @param {number} kind
 * @param {number} seq
 * @param {Uint8Array} [body]
 * @returns {Uint8Array}
 */
export function encodeRaw(kind, seq, body = new Uint8Array()) {
  const whole = packed(kind, seq, body);
  const head = whole.subarray(0, 6);
  const rest = whole.subarray(6);
  const standIn = STAND_INS.find((v) => !head.includes(v));
  const [first, second] = freePair(rest);
  let count = 0;
  for (const v of rest) if (v === CTRL_C) count++;
  const out = new Uint8Array(12 + rest.length + count);
  out[0] = RAW_MARK;
  out[1] = standIn;
  head.forEach((v, i) => (out[2 + i] = v === CTRL_C ? standIn : v));
  out.set([first, second, 4 + (count % 252), 4 + Math.floor(count / 252)], 8);
  let at = 12;
  for (const v of rest) {
    if (v === CTRL_C) {
      out[at++] = first;
      out[at++] = second;
    } else {
      out[at++] = v;
    }
  }
  return out;
}

/** Two different bytes that do not occur beside each other. There are more than a frame has. */
function freePair(data) {
  const seen = new Uint8Array(65536);
  for (let i = 1; i < data.length; i++) seen[(data[i - 1] << 8) | data[i]] = 1;
  for (const a of STAND_INS) {
    for (const b of STAND_INS) if (a !== b && !seen[(a << 8) | b]) return [a, b];
  }
  throw new RangeError(`a frame of ${data.length} bytes`);
}

/** Takes a board's output apart into frames and all else. */
export class Decoder {
  #line = "";
  #noise = "";

  constructor() {
    /** Has the REPL been seen? */
    this.ended = false;
  }

  /**
   * @param {Uint8Array} data
   * @returns {Frame[]} those that it completes
   */
  feed(data) {
    const frames = [];
    const lines = (this.#line + binary(data)).split("\n");
    this.#line = lines.pop();
    for (const line of lines) {
      const whole = line.startsWith(TEXT_MARK) ? fromBase64(line.slice(1)) : null;
      const frame = whole && unpacked(whole);
      if (frame) frames.push(frame);
      else this.#heed(line + "\n");
    }
    if (REPL_MARKS.some((mark) => this.#line.includes(mark))) {
      this.#heed(this.#line);
      this.#line = "";
    }
    return frames;
  }

  #heed(noise) {
    if (REPL_MARKS.some((mark) => noise.includes(mark))) this.ended = true;
    this.#noise = (this.#noise + noise).slice(-NOISE);
  }

  /** @returns {string} what was in no frame, for a message */
  heard() {
    return textOf(bytesOf(this.#noise + this.#line)).replace(/^[\x04>\r\n ]+|[\x04>\r\n ]+$/g, "");
  }
}
