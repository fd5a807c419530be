// A Web Serial port, or anything like one, as the link takes it: bytes that have come, within a
// time limit, and bytes that go.

import { PageError } from "../errors.js";
import { concat } from "./bytes.js";
import { clock } from "./limits.js";

const WRITE_LIMIT = 20; // seconds for the board to take a piece of what is sent
const PIECE = 4096; // bytes
const CLOSE_LIMIT = 3; // seconds for a port to be closed
const BAUD = 115200;
const BUFFER = 65536; // bytes that the browser keeps until they are read

/** @returns {PageError} what it means that the port is gone */
export function lost(cause) {
  return new PageError(
    "The connection to the board is gone: was it unplugged or reset? Plug it in, and connect " +
      "again.",
    { code: "lost", cause },
  );
}

/** What it means that a port does not open. */
function shut(cause) {
  const said = String(cause?.message || cause);
  if (cause?.name === "InvalidStateError" || /already open/i.test(said)) {
    return new PageError("This page has the port open already: disconnect first.", {
      code: "port",
      cause,
    });
  }
  return new PageError(
    "The serial port does not open. Another program has it, most likely: close Thonny, " +
      "mpremote, a serial monitor or another tab with this page, and try again. On Linux you " +
      "may have to be in the group that owns the port (often dialout): add yourself, and log in " +
      "again. " +
      `(The browser says: ${said})`,
    { code: "port", cause },
  );
}

/** A port, opened. Its reads and writes raise PageError: lost, silent. */
export class Port {
  #serial;
  #reader = null;
  #writer = null;
  #chunks = [];
  #wake = null;
  #error = null;
  #closing = null; // a promise of its end
  #opened = false;
  #loop = null;

  /**
   * @param {any} serial a SerialPort of Web Serial, or what has its open(), readable, writable
   *   and close()
   */
  constructor(serial) {
    this.#serial = serial;
    /** Called once where the port is gone. @type {((error: PageError) => void) | null} */
    this.onlost = null;
  }

  /** @returns {PageError | null} why nothing comes any more */
  get error() {
    return this.#error;
  }

  /** Open it. Raises PageError. */
  async open() {
    try {
      await this.#serial.open({ baudRate: BAUD, bufferSize: BUFFER });
    } catch (cause) {
      this.#error = shut(cause); // nothing is to be sent any more
      throw this.#error;
    }
    this.#opened = true;
    // Boards with USB of their own say nothing to a port without DTR, which some browsers leave
    // low. Both at once: one alone is a reset, or the loader, on boards with an ESP32.
    const signals = { dataTerminalReady: true, requestToSend: true };
    await this.#serial.setSignals?.(signals).catch(() => {});
    this.#serial.addEventListener?.("disconnect", this.#gone);
    this.#writer = this.#serial.writable.getWriter();
    this.#loop = this.#read();
  }

  #gone = (event) => this.#fail(lost(event));

  async #read() {
    let cause = null;
    // What is no more than a break or a full buffer leaves another stream behind.
    while (this.#serial.readable && !this.#closing && !this.#error) {
      this.#reader = this.#serial.readable.getReader();
      try {
        for (;;) {
          const { value, done } = await this.#reader.read();
          if (done) break;
          if (value.length) this.#chunks.push(value);
          this.#stir();
        }
        break;
      } catch (error) {
        cause = error;
        if (error?.name === "NetworkError") break;
      } finally {
        this.#reader.releaseLock();
        this.#reader = null;
      }
    }
    if (!this.#closing) this.#fail(lost(cause));
  }

  #stir() {
    this.#wake?.();
    this.#wake = null;
  }

  #fail(error) {
    if (this.#error || this.#closing) return;
    this.#error = error;
    this.#stir();
    this.onlost?.(error);
  }

  /**
   * What has come; waits for the first byte, then returns nothing.
   * @param {number} limit seconds
   * @returns {Promise<Uint8Array>}
   */
  async read(limit) {
    const deadline = clock() + limit;
    while (!this.#chunks.length) {
      if (this.#error) throw this.#error;
      const left = deadline - clock();
      if (left <= 0) return new Uint8Array();
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, Math.min(left * 1000, 0x7fffffff));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks.length === 1 ? chunks[0] : concat(...chunks);
  }

  /**
   * @param {Uint8Array} data
   */
  async write(data) {
    for (let i = 0; i < data.length; i += PIECE) {
      if (this.#error) throw this.#error;
      const took = this.#writer.write(data.slice(i, i + PIECE)).catch((cause) => {
        this.#fail(lost(cause));
        throw this.#error;
      });
      await within(took, WRITE_LIMIT, () => {
        throw new PageError(
          `The board has taken nothing for ${WRITE_LIMIT} s: reset it, and connect again.`,
          { code: "silent" },
        );
      });
    }
  }

  /** Close it, whatever state it is in; harmless when done before. */
  close() {
    return (this.#closing ??= this.#opened ? this.#close() : Promise.resolve());
  }

  async #close() {
    this.#serial.removeEventListener?.("disconnect", this.#gone);
    this.#error ??= new PageError("The connection to the board is closed.", { code: "closed" });
    this.#stir();
    const steps = async () => {
      const ignore = () => {};
      await this.#writer?.close().catch(ignore); // what was written still goes
      await this.#reader?.cancel().catch(ignore);
      await this.#loop?.catch(ignore);
      this.#writer?.releaseLock();
      await this.#serial.close().catch(ignore);
    };
    await within(steps(), CLOSE_LIMIT, async () => {
      await this.#writer?.abort().catch(() => {});
      this.#writer?.releaseLock();
      await within(this.#serial.close().catch(() => {}), CLOSE_LIMIT, () => {});
    });
  }
}

/** A promise's value, or that of `late()` after so many seconds. */
async function within(promise, limit, late) {
  let timer;
  const alarm = new Promise((resolve) => (timer = setTimeout(resolve, limit * 1000, within)));
  try {
    const first = await Promise.race([promise, alarm]);
    return first === within ? late() : first;
  } finally {
    clearTimeout(timer);
  }
}
