// The page's end of the serial link: what one may ask a board; docs/protocol.md is the definition.

import { PageError } from "../errors.js";
import { concat, pack, textOf, unpack, utf8 } from "./bytes.js";
import { clock, limits } from "./limits.js";
import * as replies from "./replies.js";
import { Reader } from "./replies.js";
import { Session } from "./session.js";
import { Text } from "./text.js";
import { Upload } from "./upload.js";
import { KINDS, MAJOR, MINOR } from "./wire.js";

const GREETING = pack("BB", MAJOR, MINOR);
const TASKS = { classify: 0, embed: 1, tag: 4, predict: 8 }; // of READ
const ARGUMENT = 0xffff; // bytes of an argument that is sent ahead
const ATTEMPTS = 3; // at a result that comes in parts

/** Requests to a board whose server runs. Methods raise PageError. */
export class Link extends Session {
  #labels = null;

  constructor(port) {
    super(port);
    /** The model in the board's memory, as far as this link knows.
     * @type {{name: string, context: number, about: replies.Loaded} | null} */
    this.loaded = null;
  }

  /** Wait for the server's READY, and greet it. @param {number} limit seconds */
  async start(limit) {
    const deadline = clock() + limit;
    for (;;) {
      const frame = await this.receive(Math.min(limits.STALL, deadline - clock()));
      if (!frame && clock() < deadline) { // READY may be lost
        await this.write(this.encode(KINDS.HELLO, 0, GREETING));
      } else if (!frame) {
        const heard = this.heard().slice(-300);
        throw new PageError(
          `picoformer on the board did not start within ${limit} s` +
            (heard ? `; it said '${heard}'.` : "."),
          { code: "silent" },
        );
      } else if (frame.kind === KINDS.READY || frame.kind === (KINDS.HELLO | 0x80)) {
        return this.greet();
      }
    }
  }

  /** Say HELLO: agree on a version and learn what the board takes. */
  async greet() {
    this.hello.raw = false;
    this.hello = replies.hello(await this.request(KINDS.HELLO, GREETING));
    return this.hello;
  }

  /** The same bytes, back from the board. */
  ping(body) {
    return this.request(KINDS.PING, body);
  }

  /** End the server, and wait until the REPL has the port again. */
  async bye() {
    await this.request(KINDS.BYE);
    try {
      await this.receive(limits.REPLY);
    } catch (error) {
      if (error.code !== "ended") throw error;
    }
    this.end();
  }

  async info() {
    return replies.info(await this.request(KINDS.INFO, undefined, limits.FLASH));
  }

  // Models

  /** @returns {Promise<{name: string, bytes: number, crc32: number}[]>} those in flash; the CRC32
   *   is of a file's header, which names those of all its parts */
  async models() {
    const found = [];
    for (;;) {
      const r = new Reader(await this.request(KINDS.LIST, pack("B", found.length)));
      const [count] = r.take("B");
      while (r.left) {
        const [bytes, crc] = r.take("II");
        found.push({ name: r.text(), bytes, crc32: crc });
      }
      if (found.length >= count) return found;
    }
  }

  /** Put a model file into the board's flash, whole or not at all; see Upload. */
  upload(name, data, options) {
    return new Upload(this, name, data, options).run();
  }

  async remove(name) {
    await this.request(KINDS.REMOVE, utf8(name));
  }

  /** Load a model (nothing is done if it is loaded). context 0: the file's. */
  async load(name, context = 0) {
    this.#labels = this.loaded = null;
    const body = concat(pack("H", context), utf8(name));
    const about = replies.loaded(await this.request(KINDS.LOAD, body, limits.LOAD));
    this.loaded = { name, context, about };
    return about;
  }

  // Of the loaded model

  /**
   * A text of the loaded model; `pieces()` gives it.
   * @param {string} prompt
   * @param {{maxTokens?: number, temperature?: number, topP?: number, seed?: number}} [options]
   *   temperature and topP in thousandths, as the protocol has them
   */
  async text(prompt, { maxTokens = 0, temperature = 0, topP = 1000, seed = 1 } = {}) {
    const fixed = pack("HIHI", maxTokens, temperature, topP, seed);
    return new Text(this, concat(fixed, await this.argue(utf8(prompt), fixed.length)));
  }

  /** int32 logits behind the last of `tokens`. @returns {Promise<Int32Array>} */
  logits(tokens) {
    return this.#result(KINDS.LOGITS, [], concat(...[...tokens].map((t) => pack("H", t))));
  }

  /**
   * int32 result of the loaded model for a text, or for pixels or a signal.
   * @param {string | Uint8Array} given
   * @param {"classify" | "embed" | "tag" | "predict"} task
   * @returns {Promise<Int32Array>}
   */
  read(given, task) {
    const text = typeof given === "string";
    if (!text && given.length > ARGUMENT) {
      throw new PageError(
        `The input has ${replies.counted(given.length)} bytes, and the link takes ` +
          `${replies.counted(ARGUMENT)} at most: give less.`,
      );
    }
    const kind = TASKS[task] | (text ? 0 : 2);
    return this.#result(KINDS.READ, [kind], text ? utf8(given) : given);
  }

  /** The part of `context` that answers. @returns {Promise<string>} */
  async answer(context, question) {
    const text = utf8(context);
    if (text.length > ARGUMENT) {
      throw new PageError(
        `The text has ${replies.counted(text.length)} bytes, expected at most ` +
          `${replies.counted(ARGUMENT)}.`,
      );
    }
    const rest = await this.argue(concat(text, utf8(question)), 2);
    const body = concat(pack("H", text.length), rest);
    return textOf(await this.request(KINDS.ANSWER, body, limits.TOKEN));
  }

  /** What the loaded model's logits stand for; asked for once.
   * @returns {Promise<replies.Labels>} */
  async labels() {
    const names = [];
    while (!this.#labels) {
      const r = new Reader(await this.request(KINDS.LABELS, pack("H", names.length)));
      const [bits, total, height, width, channels] = r.take("BHHHB");
      while (names.length < total && r.left) names.push(r.text());
      if (names.length < total) continue;
      this.#labels = {
        names,
        bits: bits & 127,
        several: bits > 127,
        image: channels ? [height, width, channels] : [0, 0, 0],
        frames: channels ? [0, 0] : [height, width],
      };
    }
    return this.#labels;
  }

  async #result(kind, head, argument) {
    for (let left = ATTEMPTS; left; left--) {
      const parts = new Map();
      const rest = await this.argue(argument, head.length);
      const body = await this.request(kind, concat(head, rest), limits.TOKEN, parts);
      const [total] = unpack("I", body, 4);
      const data = concat(...[...parts.keys()].sort((a, b) => a - b).map((at) => parts.get(at)));
      if (data.length !== 4 * total) continue;
      return Int32Array.from({ length: total }, (_, i) => unpack("i", data, 4 * i)[0]);
    }
    throw new PageError("The board's result did not come whole: check the cable.", {
      code: "link",
    });
  }
}
