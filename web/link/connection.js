// The way to a board: its port, its REPL, and the server that runs behind them.
//
// Where the board is reset meanwhile and its port stays, what was asked is asked again.

import { PageError } from "../errors.js";
import { bytesOf } from "./bytes.js";
import { clock, sleep } from "./limits.js";
import { Link } from "./link.js";
import { filled, parse } from "./literal.js";
import { Port } from "./port.js";
import { Repl } from "./repl.js";
import { before } from "./runtime.js";
import { explain } from "./trouble.js";
import { CODES } from "./wire.js";

// Time limits, in seconds.
const START_LIMIT = 300; // for the runtime to be imported, as .py
const LIST_LIMIT = 60; // for the names of the board's files
const REST = 0.2; // of silence, after which nothing more is on its way
const TRACE_LIMIT = 5; // for a traceback to come
const BACK_LIMIT = 5; // for a REPL to come back after a reset

const RECOVERIES = 2; // times that a request goes on after the board was reset
const BROKEN = ["silent", "ended", "link", "no-board"]; // errors of a link that may be mended
const GONE = ["lost", "closed", "port"]; // and of one that is gone

/** Whether an error is one of the link, and not a board's answer. */
export const ofLink = (error) => BROKEN.includes(error.code) || GONE.includes(error.code);

/** A connection to the board on a port. Soft resets the board. */
export class Connection {
  #boards;

  /**
   * @param {any} serial a SerialPort
   * @param {import("./runtime.js").Boards} boards
   */
  constructor(serial, boards) {
    this.#boards = boards;
    this.port = new Port(serial);
    this.repl = new Repl(this.port);
    /** The link, while the server runs. @type {Link | null} */
    this.link = null;
    /** Whether the heap has held nothing since the last reset. */
    this.fresh = false;
    this.closed = false;
    /** Whether what ends now is not to be taken up again. */
    this.leaving = false;
    /** The board's MicroPython. @type {import("./runtime.js").Platform} */
    this.platform = { version: [], mpy: 0, platform: "", machine: "" };
  }

  /** Open it. Raises PageError, and has closed the port then. */
  async open() {
    try {
      await this.port.open();
      await this.repl.drain(0.02); // what was said to nobody, long ago: a banner, it may be
      await this.repl.enter();
      await this.reset();
      if (this.repl.stopped) { // a banner alone is said by each board that has just begun
        const said = await this.repl.run(this.#boards.scripts.programs, LIST_LIMIT);
        this.repl.stopped = said.includes("py");
      }
      this.platform = await this.#probe();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Ask the board what it is. */
  async #probe() {
    const said = (await this.repl.run(this.#boards.scripts.probe)).trim();
    let words;
    try {
      words = parse(said);
    } catch (cause) {
      throw new PageError(`The board says '${said.slice(-200)}' to the question what it is.`, {
        code: "no-board",
        cause,
      });
    }
    const [name, version, mpy, platform, machine] = words;
    const oldest = this.#boards.rules.oldest;
    const flash = "from micropython.org/download";
    if (name !== "micropython") {
      throw new PageError(
        `The board runs ${name} ${version.join(".")}; picoformer needs MicroPython: flash the ` +
          `stock firmware ${flash}.`,
        { code: "no-board" },
      );
    }
    if (before(version, oldest)) {
      throw new PageError(
        `The board runs MicroPython ${version.join(".")}; picoformer needs ${oldest.join(".")} ` +
          `or newer: flash a newer firmware ${flash}.`,
        { code: "no-board" },
      );
    }
    return { version, mpy, platform, machine };
  }

  /**
   * Leave the board as it was, and close the port; harmless when done before.
   *
   * Where its main.py ran, that starts again; else the board is at its prompt.
   */
  async close() {
    const before = this.closed;
    this.closed = true;
    if (!before && !this.port.error) {
      try {
        await this.stopServer();
        await this.repl.leave();
      } catch (error) {
        if (!(error instanceof PageError)) throw error;
      }
    }
    await this.port.close();
  }

  /** Ctrl-C: whatever runs ends, and is not taken up again. */
  async interrupt() {
    this.leaving = true;
    await this.repl.write("\r\x03\x03").catch(() => {}); // where the port is gone it has ended
  }

  /** Soft reset, from the raw REPL to the raw REPL. */
  async reset() {
    if (this.repl.stopped) await this.repl.run(this.#boards.scripts.calm);
    await this.repl.reset();
    this.fresh = true;
  }

  /** The board was reset: its REPL again. */
  async #reconnect() {
    this.link = null;
    const end = clock() + BACK_LIMIT;
    for (;;) {
      try {
        // What was on its way is being typed into a REPL: let it pass.
        await this.repl.drain(REST);
        await this.repl.enter();
        await this.reset();
        return;
      } catch (error) {
        if (!BROKEN.includes(error.code) || clock() > end) throw error;
        await sleep(REST);
      }
    }
  }

  /** Back to the raw REPL. */
  async stopServer() {
    const link = this.link;
    this.link = null;
    if (!link) return;
    try {
      if (!this.leaving) await link.bye();
    } catch (error) {
      if (!BROKEN.includes(error.code)) throw error;
    }
    await this.repl.enter();
  }

  /** The link, with the server running behind it. @returns {Promise<Link>} */
  async server() {
    if (this.closed) {
      throw this.port.error ?? new PageError("The board is disconnected: connect again.", {
        code: "closed",
      });
    }
    return (this.link ??= await this.#startServer());
  }

  async #startServer() {
    const link = new Link(this.port);
    link.lag = this.repl.lag;
    await this.repl.start(filled(this.#boards.scripts.serve, ""));
    try {
      link.feed(bytesOf(this.repl.rest()));
      await link.start(START_LIMIT);
    } catch (error) {
      if (error.code === "ended") throw await this.#noServer(link, error);
      if (error.code === "silent") {
        await this.repl.enter();
        throw (await explain(this.repl, this.#boards, "ImportError")) ?? error;
      }
      throw error;
    }
    return link;
  }

  /** Why the server has not started: its traceback is on its way. */
  async #noServer(link, cause) {
    let heard = link.heard();
    const end = clock() + TRACE_LIMIT;
    const decoder = new TextDecoder();
    for (let more; clock() < end; heard += decoder.decode(more)) {
      more = await this.port.read(REST + link.lag);
      if (!more.length) break;
    }
    heard = heard.replaceAll("\x04", "").replace(/^[> ]+|[> ]+$/g, "").split(/\s+/).join(" ");
    await this.repl.enter();
    const known = await explain(this.repl, this.#boards, heard);
    if (known) return known;
    if (heard.includes("ImportError")) {
      return new PageError(
        "There is no picoformer on the board, or only part of it: install it. The board said: " +
          heard.slice(-200),
        { code: "no-runtime", cause },
      );
    }
    if (heard.includes("MemoryError")) {
      return new PageError(
        "The board has too little memory for picoformer's server: its boot.py has to keep less.",
        { code: "no-memory", cause },
      );
    }
    return new PageError(
      `picoformer does not start on the board; installing it anew may mend that: ` +
        heard.slice(-300),
      { code: "no-runtime", cause },
    );
  }

  /**
   * Do something, and look into what the board refuses: the error has the reason for it.
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async explaining(work) {
    try {
      return await work();
    } catch (error) {
      if (error.code === "script") {
        const last = error.message.slice(error.message.lastIndexOf("\n") + 1);
        throw (await explain(this.repl, this.#boards, error.message))
          ?? new PageError(`The board says: ${last}`, { code: "script", cause: error });
      }
      const odd = error.refused === CODES.INTERNAL || error.message.includes("needs more of the");
      if (!odd || this.closed) throw error;
      await this.stopServer();
      throw (await explain(this.repl, this.#boards, error.message)) ?? error;
    }
  }

  /**
   * Do something over the link, again where the board was reset meanwhile.
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async attempt(work) {
    for (let left = RECOVERIES; ; left--) {
      try {
        return await this.explaining(work);
      } catch (error) {
        if (this.closed || this.leaving || !left || !BROKEN.includes(error.code)) throw error;
        await this.#reconnect();
      }
    }
  }

  /** Something with the raw REPL, in which nothing of ours runs.
   * @template T
   * @param {(repl: Repl) => Promise<T>} work */
  async atRest(work) {
    await this.stopServer();
    this.fresh = false;
    return this.explaining(() => work(this.repl));
  }
}
