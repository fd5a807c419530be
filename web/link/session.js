// Requests to a board whose server runs, each repeated until it is answered.

import { PageError } from "../errors.js";
import { concat, pack } from "./bytes.js";
import { Channel } from "./channel.js";
import { clock, limits } from "./limits.js";
import { Reader, refusal } from "./replies.js";
import { CODES, KINDS } from "./wire.js";

const TRIES = 6; // times that a reply may take what the last one took

/** @returns {PageError} what a READY means that nobody waits for */
export function restarted() {
  return new PageError("The board's server was started again in between.", { code: "ended" });
}

/** Requests to a board. */
export class Session extends Channel {
  constructor(port) {
    super(port);
    /** Requests that were made. */
    this.requests = 0;
    /** Seconds that the board took for the last request that takes no time. */
    this.lag = 0;
  }

  /** Seconds for a reply to a request that takes no time, before it is repeated. */
  get patience() {
    return limits.RESEND + this.lag;
  }

  /**
   * The next frame, or null after so many seconds.
   *
   * A board that asks for weights is told that they do not come.
   */
  async receive(limit) {
    const frame = await super.receive(limit);
    if (frame?.kind !== KINDS.WANT) return frame;
    await this.write(this.encode(KINDS.STOP, this.nextSeq()));
    throw homeless();
  }

  /**
   * Send a request until it is answered.
   * @param {number} kind
   * @param {Uint8Array} [body]
   * @param {number | null} [limit] seconds without a sign of life (default: limits.REPLY). Every
   *   frame is one, but that a frame was damaged says nothing new
   * @param {Map<number, Uint8Array> | null} [parts] takes the parts of a reply that begin with
   *   (offset, total); the last comes when offset and items reach the total
   * @returns {Promise<Uint8Array>} the reply's payload
   */
  async request(kind, body = new Uint8Array(), limit = null, parts = null) {
    const quick = limit === null;
    const patient = Math.max(quick ? limits.REPLY : limit, TRIES * this.patience);
    this.requests++;
    const seq = this.nextSeq();
    const frame = this.encode(kind, seq, body);
    let resend = this.patience;
    const start = clock();
    let again = start;
    let end = again + patient;
    let stuck = false;
    for (;;) {
      const now = clock();
      if (now >= end) {
        throw new PageError(
          `The board does not answer (request ${kind}, ${Math.round(patient)} s): reset it, and ` +
            "connect again.",
          { code: "silent" },
        );
      }
      if (now >= again) {
        if (stuck) await this.repeat(frame);
        else await this.write(frame);
        stuck = true;
        again = now + resend;
        resend *= 2;
      }
      const answer = await this.receive(Math.max(Math.min(again, end) - clock(), 0));
      if (!answer) continue;
      if (answer.kind === KINDS.ERROR && (answer.seq === 0 || answer.seq === seq)) {
        const error = refusal(answer.body);
        if (error.refused === CODES.BAD_CRC && stuck) {
          again = clock(); // repeat it at once, but not for ever
          stuck = false;
        } else if (answer.seq === seq) {
          throw error;
        }
      } else if (answer.kind === KINDS.READY) {
        throw restarted();
      } else if (answer.kind === (kind | 0x80) && answer.seq === seq) {
        if (quick) this.lag = clock() - start;
        this.answered();
        if (!parts || last(answer.body, parts)) return answer.body;
        end = Math.max(end, clock() + patient);
      } else {
        const heard = clock();
        const busy = answer.kind === KINDS.BUSY;
        end = Math.max(end, heard + (busy ? limits.REPLY : patient));
        if (busy) this.stuck = 0;
        // Ours comes behind the replies to what was before it.
        else if (answer.kind & 0x80) again = Math.max(again, heard + resend);
      }
    }
  }

  /**
   * Send ahead what does not fit into one frame beside `fixed` bytes.
   * @param {Uint8Array} argument
   * @param {number} fixed
   * @returns {Promise<Uint8Array>} the rest
   */
  async argue(argument, fixed) {
    let at = 0;
    const room = this.hello.payload - 2;
    while (argument.length - at > this.hello.payload - fixed) {
      const some = argument.subarray(at, at + room);
      await this.request(KINDS.ARGUMENT, concat(pack("H", at), some));
      at += some.length;
    }
    return argument.subarray(at);
  }
}

/** @returns {PageError} why a model does not run whose weights are not on the board */
export function homeless() {
  return new PageError(
    "This model lies on the board without its weights, which a PC is to send while it runs; " +
      "this page does not. Deploy the whole model, or run it with picoformer on the PC.",
    { code: "no-weights" },
  );
}

/** Keep a part of a reply; whether it is the last. */
function last(body, parts) {
  const [offset, total] = new Reader(body).take("II");
  const data = body.subarray(8);
  parts.set(offset, data);
  return offset + Math.floor(data.length / 4) >= total;
}
