// The raw REPL of a board: scripts run there, and resets.

import { PageError } from "../errors.js";
import { binary, bytesOf, textOf, utf8 } from "./bytes.js";
import { clock, sleep } from "./limits.js";

// Time limits, in seconds without a word of the board; longer where its answers come late.
const RAW_LIMIT = 3; // for the raw REPL's prompt
const RESET_LIMIT = 20; // for boot.py, after a soft reset
const EXEC_LIMIT = 10; // for a short script of ours

const ATTEMPTS = [1, 1, 4]; // at the prompt, and how many times RAW_LIMIT each of them waits
const PATIENCE = 4; // times that an answer has taken, which the next one may take
const CHATTER = 20; // times a limit, after which words that nobody waits for are no sign of life
const HAMMERS = 250; // times Ctrl-C, where one is not enough
const HAMMER_PAUSE = 0.002; // between two of them

const CHUNK = 256; // bytes to the raw REPL at once: it has no flow control
const CHUNK_PAUSE = 0.01;

const RAW_PROMPT = "raw REPL; CTRL-B to exit\r\n>";
const INTERRUPT = "\r\x03\x03";
const ENTER_RAW = "\r\x01";
const LEAVE_RAW = "\r\x02";
const RUN = "\x04";
const PROMPT = ">>>";
const REBOOT = "soft reboot";
const BANNER = 'Type "help()" for more'; // of the friendly REPL: main.py has ended, or boot.py

/** What a board printed. @param {string} said characters of one byte each */
const lines = (said) => textOf(bytesOf(said)).replaceAll("\r\n", "\n");

/** The raw REPL of the board on a port. */
export class Repl {
  #seen = "";

  /** @param {import("./port.js").Port} port */
  constructor(port) {
    this.port = port;
    /** Seconds that the board took to answer, the last time that nothing else was to do. */
    this.lag = 0;
    /** Whether `enter` has stopped the board's own program. */
    this.stopped = false;
  }

  /** @param {string | Uint8Array} data characters of one byte each, or bytes */
  async write(data) {
    await this.port.write(typeof data === "string" ? bytesOf(data) : data);
  }

  /**
   * What comes before `mark`. Raises PageError "silent", with what was seen.
   * @param {string} mark
   * @param {number} limit seconds without a word of the board, or altogether
   * @param {boolean} [altogether]
   */
  async expect(mark, limit, altogether = false) {
    await this.#wait([mark], limit, altogether);
    const at = this.#seen.indexOf(mark);
    const before = this.#seen.slice(0, at);
    this.#seen = this.#seen.slice(at + mark.length);
    return before;
  }

  /** Wait for what a script says. Raises PageError "script" where it has ended instead. */
  async mark(mark, limit) {
    await this.#wait([mark, RUN], limit);
    if (this.#seen.split(mark)[0].includes(RUN)) {
      try {
        await this.finish();
      } finally {
        await this.enter(); // what was on its way to the script is being typed into the REPL
      }
    }
    await this.expect(mark, limit);
  }

  /** Read until one of the marks has come. */
  async #wait(marks, limit, altogether = false) {
    const most = Math.max(limit, PATIENCE * this.lag);
    const start = clock();
    let heard = start;
    while (!marks.some((mark) => this.#seen.includes(mark))) {
      const end = altogether ? start + most : Math.min(heard + most, start + CHATTER * most);
      const left = end - clock();
      if (left <= 0) {
        const seen = lines(this.#seen.slice(-300));
        throw new PageError(
          `The board did not answer within ${Math.round(most)} s (${JSON.stringify(marks[0])} ` +
            `expected); it said ${seen ? JSON.stringify(seen) : "nothing"}.`,
          { code: "silent" },
        );
      }
      const data = await this.port.read(left);
      if (data.length) {
        this.#seen += binary(data);
        heard = clock();
      }
    }
  }

  /** What has been read too far. @returns {string} */
  rest() {
    const rest = this.#seen;
    this.#seen = "";
    return rest;
  }

  /** Drop what is still coming. @param {number} [calm] seconds of silence */
  async drain(calm = 0.1) {
    this.#seen = "";
    const end = clock() + CHATTER * calm;
    while ((await this.port.read(calm)).length && clock() < end);
  }

  /**
   * Interrupt whatever runs and enter the raw REPL; what the board said meanwhile.
   *
   * A prompt may come after it was asked for once more, and that second Ctrl-C would hit whatever
   * is sent next. So a script of ours is sent behind, and its answer says that the board has read
   * all there was. Raises PageError "no-board".
   */
  async enter() {
    let seen = "";
    let talks = 0;
    this.#seen = "";
    this.lag = 0;
    const start = clock();
    let waits = ATTEMPTS.map((times) => times * RAW_LIMIT);
    while (waits.length && talks < 2) {
      if (talks) await this.#hammer();
      await this.write(INTERRUPT + ENTER_RAW);
      try {
        seen += await this.expect(RAW_PROMPT, waits.shift(), true);
        if (!this.lag) { // it lives: what fails from now on was lost on its way
          this.lag = clock() - start;
          waits = ATTEMPTS.map(() => RAW_LIMIT);
        }
        seen += await this.#echo();
        this.stopped ||= seen.includes(BANNER);
        return seen;
      } catch (error) {
        if (error.code !== "silent") throw error;
        const said = this.rest();
        seen += said;
        if (said && !said.includes(PROMPT) && !this.lag) talks++;
      }
    }
    throw unanswered(lines(seen).trim(), talks > 1);
  }

  /**
   * Ctrl-C again and again.
   *
   * A program that catches one, as a bare `except:` does, may be ended by the next, if that comes
   * while it is about it.
   */
  async #hammer() {
    for (let i = 0; i < HAMMERS; i++) {
      await this.write("\x03");
      await sleep(HAMMER_PAUSE);
    }
  }

  /** Let the board answer what nobody else has asked; what it said before. */
  async #echo() {
    const answer = (Math.random() * 2 ** 48).toString(16).split(".")[0].padStart(12, "0");
    const start = clock();
    // In halves: a friendly REPL says again what it reads.
    await this.write(`print('${answer.slice(0, 6)}''${answer.slice(6)}',end='')${RUN}`);
    const seen = await this.expect(answer, RAW_LIMIT);
    this.lag = clock() - start;
    await this.expect(RUN, RAW_LIMIT);
    await this.expect(RUN + ">", RAW_LIMIT);
    return seen;
  }

  /** Soft reset: a fresh heap, in which nothing is imported. */
  async reset() {
    for (let left = ATTEMPTS.length - 1; left >= 0; left--) {
      await this.write(RUN);
      try {
        await this.expect(REBOOT, RAW_LIMIT);
        break;
      } catch (error) {
        if (error.code !== "silent") throw error;
        if ((await this.enter()).includes(REBOOT)) return; // it came late
        if (!left) throw error;
      }
    }
    try {
      await this.expect(RAW_PROMPT, RESET_LIMIT);
    } catch (error) { // boot.py keeps it busy
      if (error.code !== "silent") throw error;
      await this.enter();
    }
  }

  /** To the prompt; the board's own program, where `enter` has stopped one, starts again. */
  async leave() {
    await this.write(LEAVE_RAW);
    if (!this.stopped) return;
    await this.write(RUN); // so that boot.py and main.py run
    await this.expect("soft reboot\r\n", RAW_LIMIT);
  }

  /**
   * Start a script; what it prints comes next.
   *
   * Not by raw paste, in which Ctrl-C does not reach scripts on every unix port.
   * @param {string} code
   */
  async start(code) {
    const data = utf8(code || "\n");
    this.#seen = "";
    for (let at = 0; at < data.length; at += CHUNK) {
      if (at) await sleep(Math.max(CHUNK_PAUSE, this.lag / 2));
      await this.write(data.subarray(at, at + CHUNK));
    }
    await this.write(RUN);
    await this.expect("OK", EXEC_LIMIT);
  }

  /**
   * Wait for the script's end; what it printed. Raises PageError "script", "silent".
   * @param {number} [limit] seconds without a word of it
   */
  async finish(limit = EXEC_LIMIT) {
    let output;
    try {
      output = await this.expect(RUN, limit);
    } catch (error) {
      if (error.code !== "silent") throw error;
      const said = lines(this.rest()).slice(-300);
      await this.enter();
      throw new PageError(
        `A script on the board did not end within ${limit} s, and was interrupted; it had ` +
          `printed ${JSON.stringify(said)}.`,
        { code: "silent" },
      );
    }
    const trace = await this.expect(RUN + ">", EXEC_LIMIT);
    if (trace) throw new PageError(lines(trace).trim(), { code: "script" });
    return lines(output);
  }

  /**
   * Run a script and return what it printed.
   * @param {string} code
   * @param {number} [limit] see `finish`
   */
  async run(code, limit) {
    await this.start(code);
    return this.finish(limit);
  }
}

/** What it means that the raw REPL's prompt does not come. talks: something goes on talking. */
function unanswered(heard, talks) {
  if (talks) {
    return new PageError(
      `A program that ignores Ctrl-C runs on the board; it says '${heard.slice(-60)}'. Where ` +
        "the port outlives a reset (ESP32), reset the board and connect at once, before its " +
        "main.py begins. On a Pyboard hold USR at reset; on a Pico hold BOOTSEL and copy " +
        "flash_nuke.uf2, which erases all files, and then MicroPython.",
      { code: "no-board" },
    );
  }
  return new PageError(
    "No MicroPython answers on this port: " +
      (heard ? `it said '${heard.slice(-200)}'` : "it said nothing") +
      ". Expected its raw REPL. Choose another port, reset the board (a program on it may " +
      "ignore Ctrl-C), or flash MicroPython (micropython.org/download).",
    { code: "no-board" },
  );
}
