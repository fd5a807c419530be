// A text that a board writes: its tokens, as they come, and its end.

import { PageError } from "../errors.js";
import { pack, textOf } from "./bytes.js";
import { clock, limits } from "./limits.js";
import { Reader, refusal, stats } from "./replies.js";
import { restarted } from "./session.js";
import { CODES, KINDS, WINDOW } from "./wire.js";

const POLL = 0.25; // seconds between looks whether it is to be stopped

/** A text of the loaded model. */
export class Text {
  #session;
  #seq;
  #frame;
  #done = 0; // tokens that came
  #taken = 0; // that the board knows to have come
  #gap = -1; // the token behind which some were asked for again
  #slowest = 0; // seconds that the board has been silent
  #pace = 0; // the most of them between two tokens
  #finished = false;

  /**
   * @param {import("./session.js").Session} session
   * @param {Uint8Array} body the request's payload
   */
  constructor(session, body) {
    this.#session = session;
    this.#seq = session.nextSeq();
    this.#frame = session.encode(KINDS.GENERATE, this.#seq, body);
    /** The board's figures, once it has ended. @type {import("./replies.js").Stats | null} */
    this.stats = null;
  }

  /**
   * The texts of its tokens, as they come. Leaving the loop stops the board.
   * @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<string, void, void>}
   */
  async *pieces(signal) {
    const session = this.#session;
    await session.look();
    await session.write(this.#frame);
    let wait = session.patience;
    let quiet = 0;
    let heard = clock();
    let asked = heard;
    try {
      while (!this.#finished && !signal?.aborted) {
        const answer = await session.receive(Math.min(asked + wait - clock(), POLL));
        const now = clock();
        this.#slowest = Math.max(this.#slowest, now - heard);
        if (!answer) {
          if (now < asked + wait) continue;
          quiet += wait;
          wait = Math.max(wait, Math.min(2 * wait, limits.QUIET));
          await this.#ask(quiet);
          asked = clock();
        } else if (answer.kind === KINDS.ERROR
            && (answer.seq === 0 || answer.seq === this.#seq)) {
          await this.#fault(answer);
        } else if (answer.kind === KINDS.READY) {
          throw restarted();
        } else if (answer.kind === KINDS.TOKEN && answer.seq === this.#seq) {
          if (this.#done) this.#pace = Math.max(this.#pace, now - heard);
          wait = Math.max(session.patience, Math.min(2 * this.#pace, limits.TOKEN / 2));
          quiet = 0;
          session.stuck = 0;
          for (const piece of await this.#tokens(answer)) yield piece;
          heard = asked = clock();
        } else if (answer.kind === (KINDS.GENERATE | 0x80) && answer.seq === this.#seq) {
          await this.#end(answer);
        }
      }
    } catch (error) {
      this.#finished = true; // there is nobody to stop
      throw error;
    } finally {
      if (!this.#finished) await this.#stop();
    }
  }

  /** Those of a TOKEN frame that are new. */
  async #tokens(frame) {
    const r = new Reader(frame.body);
    let [index] = r.take("H");
    const fresh = [];
    if (index > this.#done) {
      if (this.#gap !== this.#done) { // once: more may be on their way
        this.#gap = this.#done;
        await this.#take(true);
      }
      return fresh;
    }
    while (r.left) {
      const piece = textOf(r.raw(r.take("H")[0]));
      index++;
      if (index <= this.#done) continue;
      this.#done = index;
      fresh.push(piece);
      if (this.#done - this.#taken >= WINDOW / 4) {
        this.#taken = this.#done;
        await this.#take();
      }
    }
    return fresh;
  }

  /** The board has ended the text, unless tokens are missing. */
  async #end(frame) {
    const figures = stats(frame.body);
    if (this.#done < figures.tokens) {
      await this.#take(true);
      return;
    }
    this.#finished = true;
    this.stats = figures;
    this.#session.answered();
  }

  /** Ask a board that has been silent for `quiet` seconds whether it lives. */
  async #ask(quiet) {
    if (quiet > limits.TOKEN) {
      throw new PageError(
        `The board has not said a word for ${Math.round(quiet)} s: a large model may be this ` +
          "slow, or the board hangs. Reset it.",
        { code: "silent" },
      );
    }
    await this.#repeat(true);
  }

  /** An ERROR frame. */
  async #fault(frame) {
    const error = refusal(frame.body);
    if (error.refused !== CODES.BAD_CRC) throw error;
    // What was damaged went to the board: the request, or an acknowledgement.
    await this.#repeat();
  }

  /**
   * Send again what may not have arrived.
   *
   * Line feeds first: the board may have lost step, and would not find it among repeats.
   */
  async #repeat(again = false) {
    const taken = this.#acknowledged(again);
    await this.#session.repeat(this.#done ? taken : this.#frame);
  }

  /** Acknowledge the tokens that came; again: those behind them are to come again. */
  async #take(again = false) {
    await this.#session.write(this.#acknowledged(again));
  }

  #acknowledged(again) {
    return this.#session.encode(KINDS.TAKEN, this.#seq, pack("HB", this.#done, Number(again)));
  }

  /** Stop the text, and wait for its end. */
  async #stop() {
    const session = this.#session;
    try {
      // It is heard between two tokens.
      await session.request(KINDS.STOP, undefined, limits.REPLY + 2 * this.#slowest);
      for (let last; (last = await session.receive(session.patience)); ) {
        if (last.kind === (KINDS.GENERATE | 0x80) && last.seq === this.#seq) {
          this.stats = stats(last.body);
          return;
        }
      }
    } catch {
      // The next request finds out.
    }
  }
}
