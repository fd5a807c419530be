// A model file on its way into a board's flash, and where an upload that was cut is resumed.

import { PageError } from "../errors.js";
import { concat, crc32, pack, utf8 } from "./bytes.js";
import { limits } from "./limits.js";
import { Reader, refusal } from "./replies.js";
import { restarted } from "./session.js";
import { CODES, KINDS } from "./wire.js";

const ATTEMPTS = 3; // at a block, before the upload fails
const SMALL = 64; // bytes of a block's data that an unreliable link is brought down to
const BATCH = 16384; // bytes of frames that are sent at once

/** @returns {PageError} of what was stopped by whoever uses the page */
export function stopped(what) {
  return new PageError(what, { code: "stopped" });
}

/** Puts a model file into the board's flash, whole or not at all. */
export class Upload {
  #session;
  #name;
  #data;
  #progress;
  #signal;
  #block; // bytes of a block's data
  #credit;
  #failures = 0;
  #losses = 0;
  #patience;
  #check; // seconds for the board to read the whole file

  /**
   * @param {import("./session.js").Session} session
   * @param {string} name
   * @param {Uint8Array} data
   * @param {{onProgress?: (done: number, total: number) => void, signal?: AbortSignal}} [options]
   *   onProgress: bytes in flash, of all
   */
  constructor(session, name, data, { onProgress, signal } = {}) {
    this.#session = session;
    this.#name = name;
    this.#data = data;
    this.#progress = onProgress;
    this.#signal = signal;
    this.#block = session.hello.payload - 4;
    this.#credit = session.hello.credit;
    this.#patience = session.patience;
    this.#check = limits.FLASH + data.length / limits.CHECK_RATE;
  }

  /** @returns {Promise<number>} the offset at which an earlier upload of these had stopped */
  async run() {
    const resumed = await this.#begin();
    let at = resumed;
    for (;;) {
      this.#reached(at);
      if (at === this.#data.length) break;
      const { done, sent, error } = await this.#send(at);
      at = error ? await this.#resume(at, sent, error) : done;
    }
    await this.#session.request(KINDS.COMMIT, undefined, this.#check);
    this.#session.block = 0;
    return resumed;
  }

  /** The offset up to which the board has these bytes. */
  async #begin() {
    const begin = pack("II", this.#data.length, crc32(this.#data));
    let at = 0;
    for (const fresh of [0, 1]) {
      const body = concat(begin, [fresh], utf8(this.#name));
      const r = new Reader(await this.#session.request(KINDS.BEGIN, body, this.#check));
      let prefix;
      [at, prefix] = r.take("II");
      if (r.left) { // of runtimes that take longer frames in an upload than else
        [this.#session.block] = r.take("H");
        this.#block = Math.max(this.#session.block - 4, SMALL);
      }
      if (prefix === crc32(this.#data.subarray(0, at))) break;
    }
    return at;
  }

  /**
   * Where the board is, after a silence or something that was damaged.
   *
   * start, sent: the offsets from which on and up to which the last blocks were sent.
   */
  async #resume(start, sent, error) {
    const session = this.#session;
    if (error.code !== "silent") {
      await session.unstick();
      while (await session.receive(limits.DRAIN));
    }
    // littlefs looks for free blocks through all of the flash, now and then.
    const said = await session.request(KINDS.DATA, new Uint8Array(4), limits.FLASH);
    const [at] = new Reader(said).take("I");
    if (at === sent) { // it was only late
      this.#patience = Math.max(2 * this.#patience, session.patience);
      return at;
    }
    this.#failures = at > start ? 1 : this.#failures + 1;
    if (this.#failures > ATTEMPTS) throw error;
    if (this.#failures > 1) {
      // Longer frames than others may be too long for what the board has in front of it.
      const others = session.hello.payload - 4;
      this.#block = Math.max(Math.min(Math.floor(this.#block / 4), others), SMALL);
    }
    // One block at a time: the board may have less room than it says.
    if (++this.#losses > ATTEMPTS) this.#credit = 0;
    return at;
  }

  /** Send from `at` on, within the credit: where the board got, up to where, what went wrong. */
  async #send(at) {
    const session = this.#session;
    const size = this.#data.length;
    // sent: the offset that the blocks reach; next: one that waits for credit.
    const flight = { sent: at, blocks: new Map(), bytes: 0, next: null };
    let done = at;
    while (done < size) {
      if (this.#signal?.aborted) {
        throw stopped("The upload was stopped. What arrived is kept: deploy again to go on.");
      }
      const batch = this.#batch(flight);
      if (batch.length) {
        await session.look();
        await session.write(...batch);
      }
      const wait = batch.length && flight.sent < size ? 0 : this.#patience;
      const answer = await session.receive(wait);
      if (!answer) {
        if (batch.length) continue;
        const error = new PageError(
          "The board stopped answering in the middle of the upload. What arrived is kept: " +
            "deploy again to go on.",
          { code: "silent" },
        );
        return { done, sent: flight.sent, error };
      }
      if (answer.kind === KINDS.READY) throw restarted();
      if (answer.kind === (KINDS.DATA | 0x80) && flight.blocks.has(answer.seq)) {
        flight.bytes -= flight.blocks.get(answer.seq);
        flight.blocks.delete(answer.seq);
        [done] = new Reader(answer.body).take("I");
        this.#reached(done);
      } else if (answer.kind === KINDS.ERROR
          && (answer.seq === 0 || flight.blocks.has(answer.seq))) {
        const refused = refusal(answer.body);
        if (![CODES.BAD_CRC, CODES.BAD_OFFSET].includes(refused.refused)) throw refused;
        const error = new PageError(
          "The upload arrives damaged, again and again: check the cable, and whether another " +
            "program uses the port. What arrived is kept.",
          { code: "link" },
        );
        return { done, sent: flight.sent, error };
      }
    }
    return { done, sent: flight.sent, error: null };
  }

  /** As many more frames as the credit allows, up to BATCH bytes; they count as sent. */
  #batch(flight) {
    const batch = [];
    let bytes = 0;
    while (flight.sent < this.#data.length && bytes < BATCH) {
      const next = (flight.next ??= this.#frame(flight.sent));
      if (flight.blocks.size && flight.bytes + next.frame.length > this.#credit) break;
      batch.push(next.frame);
      bytes += next.frame.length;
      flight.blocks.set(next.seq, next.frame.length);
      flight.bytes += next.frame.length;
      flight.sent = next.end;
      flight.next = null;
    }
    return batch;
  }

  /** Number, end and bytes of the DATA frame from offset `at` on. */
  #frame(at) {
    const seq = this.#session.nextSeq();
    const piece = this.#data.subarray(at, at + this.#block);
    const frame = this.#session.encode(KINDS.DATA, seq, concat(pack("I", at), piece));
    return { seq, end: at + piece.length, frame };
  }

  #reached(done) {
    this.#progress?.(done, this.#data.length);
  }
}
