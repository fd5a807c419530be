// Frames to and from a board, over a port on which some of their bytes may be lost or damaged.

import { PageError } from "../errors.js";
import { concat } from "./bytes.js";
import { Decoder, encodeRaw, encodeText } from "./frames.js";
import { clock } from "./limits.js";
import { quiet } from "./replies.js";

const LOSS = 2048; // bytes that a link may lose at once; a busy board has to read what fills up
const DESPERATE = [2, 5]; // the times that this much is sent, without an answer
const PAUSE = 0.03; // seconds in which a UART brings 256 bytes, the least credit

/** Frames to and from a board. */
export class Channel {
  #decoder = new Decoder();
  #inbox = [];
  #seq = 0;

  /** @param {import("./port.js").Port} port */
  constructor(port) {
    this.port = port;
    /** What the board has said of itself. @type {import("./replies.js").Hello} */
    this.hello = quiet();
    /** The largest payload of an upload's frames, where that is more than of others. */
    this.block = 0;
    /** Bytes of the frames that the board may be in the middle of. */
    this.longest = 0;
    /** Times that such a frame was completed, without an answer. */
    this.stuck = 0;
  }

  /** @returns {number} the number of the next request */
  nextSeq() {
    this.#seq = (this.#seq % 255) + 1; // 0 is the board's, where it cannot tell
    return this.#seq;
  }

  /** A frame in the form that the board takes. */
  encode(kind, seq, body) {
    return (this.hello.raw ? encodeRaw : encodeText)(kind, seq, body);
  }

  /** Send frames, all at once. @param {...Uint8Array} frames */
  async write(...frames) {
    this.longest = Math.max(this.longest, ...frames.map((frame) => frame.length));
    await this.port.write(frames.length === 1 ? frames[0] : concat(...frames));
  }

  /**
   * Complete whatever frame the board may be waiting for the rest of.
   *
   * Where that did not help, it may be one whose damaged length has a good check byte.
   */
  async unstick() {
    this.stuck++;
    if (DESPERATE.includes(this.stuck) && this.hello.raw) {
      const most = Math.max(this.hello.payload, this.block);
      this.longest = Math.max(this.longest, Math.min(most, LOSS));
    }
    let left = 2 * this.longest + 8;
    this.longest = 0;
    while (left > 0) {
      const some = Math.min(left, Math.max(this.hello.credit, 64));
      await this.port.write(new Uint8Array(some).fill(10));
      left -= some;
      const until = clock() + PAUSE;
      for (let more; left && (more = until - clock()) > 0; ) this.feed(await this.port.read(more));
    }
  }

  /**
   * Send a frame again that may be lost, behind what completes a broken one.
   *
   * That a port takes no more is no news: a board that computes does not read.
   */
  async repeat(frame) {
    try {
      await this.unstick();
      await this.write(frame);
    } catch (error) {
      if (error.code !== "silent") throw error;
    }
  }

  /** The board is in step. */
  answered() {
    this.longest = this.stuck = 0;
  }

  /**
   * The next frame, or null after so many seconds. Raises PageError: ended, lost.
   * @param {number} limit
   * @returns {Promise<import("./frames.js").Frame | null>}
   */
  async receive(limit) {
    const deadline = clock() + limit;
    while (!this.#inbox.length) {
      this.#check();
      const left = deadline - clock();
      if (left <= 0) return null;
      this.feed(await this.port.read(left));
    }
    return this.#inbox.shift();
  }

  /** Before sending: is the server still there? Frames must not be typed into a REPL. */
  async look() {
    this.feed(await this.port.read(0));
    this.#check();
  }

  #check() {
    if (!this.#decoder.ended) return;
    const heard = this.heard().slice(-300);
    throw new PageError(
      "The board was reset or interrupted: its REPL has the port again" +
        (heard ? `, saying '${heard}'.` : "."),
      { code: "ended" },
    );
  }

  /** From now on the REPL has the port. */
  end() {
    this.#decoder.ended = true;
  }

  /** Take what the board sent. @param {Uint8Array} data */
  feed(data) {
    if (data.length) this.#inbox.push(...this.#decoder.feed(data));
  }

  /** @returns {string} what the board said outside of frames */
  heard() {
    return this.#decoder.heard();
  }
}
