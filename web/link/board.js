// A board on a serial port: put models on it and run them.
//
//     const board = await Board.connect(port, { source });
//     await board.deploy("stories", bytes);
//     await board.load("stories");
//     await board.generate({ prompt: "Once upon a time" }, { onText: (text) => show(text) });
//     await board.disconnect();

import { PageError } from "../errors.js";
import { fromBase64, textOf, unpack } from "./bytes.js";
import { Connection } from "./connection.js";
import { erase, full, fullOfRuntime, kept, look, room, runtime } from "./contents.js";
import { boardsOf, install } from "./install.js";
import { clock, limits, sleep } from "./limits.js";
import { filled, repr } from "./literal.js";
import { probabilities } from "./probabilities.js";
import { counted } from "./replies.js";
import { architectureOf, flaw, moduleOf, readers, tokenizerOf } from "./runtime.js";
import { homeless } from "./session.js";
import { Stops } from "./stops.js";
import { check } from "./trouble.js";

const ALIVE = 20; // seconds after which a board that nobody uses is told that the page is there

/**
 * @typedef {{done: number, total: number, what: string, file?: string}} Progress bytes;
 *   what: "runtime", or a model's name
 * @typedef {{onProgress?: (at: Progress) => void, signal?: AbortSignal}} Options
 * @typedef {{onText?: (text: string) => void, signal?: AbortSignal}} Streaming
 * @typedef {{text: string, tokens: number, ms: number, firstMs: number,
 *   stopped: "end" | "length" | "stop" | "user"}} Written  ms: all; firstMs: to the first token
 */

/** A number in whole thousandths. */
function thousandths(name, value, low, high) {
  const n = Math.floor(value * 1000 + 0.45);
  if (!(n >= low && n <= high)) {
    throw new PageError(`${name} is ${value}, expected ${low / 1000} to ${high / 1000}.`);
  }
  return n;
}

/** A model file, and no other. */
function checked(name, bytes) {
  const data = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
  const wrong = flaw(data);
  if (wrong) throw new PageError(`${name} cannot be deployed: ${wrong}.`, { code: "model" });
  return data;
}

/** A board on a serial port. Methods raise PageError. One at a time runs; see `stop`. */
export class Board {
  #boards;
  #source;
  #connection;
  #running = null; // what is done for the page: { abort, done }
  #ping = null;
  #timer = null;
  #asked = null; // the model that was loaded last: { name, context }
  #readers = new Set(); // modules of tokenizers that the board is known to have

  /**
   * Connect to a board. It is soft reset: what runs on it is interrupted.
   * @param {any} port a SerialPort of Web Serial, or anything like it; see serial.js
   * @param {{source: import("./install.js").Source, onStatus?: (text: string) => void}} options
   *   source: reads a file of the site's runtime/
   * @returns {Promise<Board>}
   */
  static async connect(port, { source, onStatus = () => {} }) {
    const boards = await boardsOf(source);
    const board = new Board(port, boards, source);
    onStatus("Interrupting what runs on the board…");
    await board.#connection.open();
    try {
      onStatus("Looking at what is free on it…");
      await board.#ask();
      onStatus("Looking at what is in its flash…");
      await board.#look();
      if (board.#connection.port.error) throw board.#connection.port.error;
    } catch (error) {
      await board.#connection.close();
      throw error;
    }
    board.#connection.port.onlost = (error) => board.#lost(error);
    board.#timer = setInterval(() => board.#alive(), ALIVE * 1000);
    board.#timer.unref?.(); // of node
    return board;
  }

  /** Use `connect`. */
  constructor(port, boards, source) {
    this.#boards = boards;
    this.#source = source;
    this.#connection = new Connection(port, boards);
    /** Called where the board is gone, once. @type {((reason: PageError) => void) | null} */
    this.ondisconnect = null;
    /** What the board is, and what is on it; see `#ask`, `#look`. */
    this.info = {
      machine: "", platform: "", micropython: "", architecture: "", mpy: 0,
      freeHeap: 0, largest: 0, pieces: [], grows: false, freeFlash: 0, totalFlash: 0,
      runtime: { installed: false, version: "", current: false, compiled: false, missing: [] },
      models: [],
      program: false, // whether a program of its own was stopped, which starts again in the end
      notice: "", // why its runtime is not as fast as it could be
    };
    /** The model that is loaded, as `load` gives it. */
    this.loaded = null;
  }

  /** Whether the connection is there. */
  get connected() {
    return !this.#connection.closed;
  }

  async #ask() {
    const { platform, repl } = this.#connection;
    const free = await this.#connection.explaining(() => room(repl, this.#boards));
    this.#connection.fresh = false;
    Object.assign(this.info, {
      machine: platform.machine,
      platform: platform.platform,
      micropython: platform.version.join("."),
      version: platform.version,
      architecture: architectureOf(this.#boards, platform),
      mpy: platform.mpy,
      freeHeap: free.heap,
      largest: free.pieces[0] ?? 0,
      pieces: free.pieces,
      grows: free.grows,
      program: repl.stopped,
    });
  }

  /** What is in its flash; a model that is loaded is dropped. */
  async #look() {
    const { platform } = this.#connection;
    await this.#connection.atRest(async (repl) => {
      const there = await look(repl, this.#boards);
      const { free: freeFlash, total: totalFlash, models } = there;
      const held = await runtime(repl, this.#boards, platform);
      Object.assign(this.info, { freeFlash, totalFlash, models, runtime: held });
    });
  }

  // One thing at a time

  /** Do something for the page, and nothing else meanwhile. work: of a signal. */
  async #run(work, signal) {
    if (this.#running) {
      throw new PageError("The board is busy: stop what it does, or wait for its end.", {
        code: "busy",
      });
    }
    const control = new AbortController();
    const abort = () => control.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    const done = (async () => {
      await this.#ping;
      return work(control.signal);
    })();
    this.#running = { abort, done };
    try {
      return await done;
    } finally {
      this.#running = null;
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Stop what the board does for the page, and wait until it has. */
  async stop() {
    const running = this.#running;
    if (!running) return;
    running.abort();
    await running.done.catch(() => {});
  }

  /** A server that hears nothing for a minute ends: say that the page is there. */
  #alive() {
    const link = this.#connection.link;
    if (this.#running || this.#ping || !link) return;
    // Where that fails, what is asked next finds out.
    this.#ping = link.ping().then(() => {}, () => {}).finally(() => (this.#ping = null));
  }

  async #lost(error) {
    this.#end();
    this.#connection.closed = true;
    await this.#connection.port.close(); // so that it can be opened again
    this.ondisconnect?.(error);
  }

  #end() {
    clearInterval(this.#timer);
    this.loaded = null;
  }

  /**
   * Give the port back: Thonny and mpremote can have it. A program of the board's own that was
   * stopped starts again. Harmless when done before.
   */
  async disconnect() {
    const stopped = this.stop().then(() => true);
    // A model that is being loaded, or a long prompt, hears nothing until it is done.
    const late = sleep(limits.LEAVE).then(() => false);
    if (!(await Promise.race([stopped, late]))) {
      await this.#connection.interrupt();
      await stopped;
    }
    await this.#ping;
    this.#end();
    this.#connection.port.onlost = null;
    await this.#connection.close();
  }

  // The runtime and models in flash

  /**
   * Bring the runtime on the board up to date; nothing is sent that is there. Goes on where it
   * was, if it was cut.
   * @param {import("./install.js").Source} [source] the site's runtime/
   * @param {Options & {models?: Uint8Array[]}} [options] models: those that are to come
   * @returns {Promise<boolean>} whether anything was written
   */
  install(source = this.#source, { models = [], ...options } = {}) {
    const sections = models.map(tokenizerOf).filter((section) => section);
    return this.#run(async (signal) => {
      const written = await this.#bring(source, sections, { ...options, signal });
      await this.#look();
      return written;
    }, options.signal);
  }

  /** The same as `install`. */
  update(source, options) {
    return this.install(source, options);
  }

  async #bring(source, tokenizers, options) {
    const connection = this.#connection;
    const { platform } = connection;
    const boards = source === this.#source ? this.#boards : await boardsOf(source);
    await connection.stopServer();
    await connection.reset();
    const put = async () => {
      try {
        return await connection.explaining(async () => {
          await check(connection.repl, boards);
          return install(connection.repl, boards, platform, source, { ...options, tokenizers });
        });
      } catch (error) {
        if (error.code !== "no-space") throw error;
        throw await fullOfRuntime(connection.repl, boards, platform, tokenizers);
      }
    };
    try {
      const { written, runtime: has } = await connection.attempt(put);
      this.info.notice = has.notice;
      this.#readers = new Set(has.files.map((file) => moduleOf(file.name)));
      if (written) await connection.reset();
      return written;
    } finally {
      this.loaded = null;
    }
  }

  /**
   * Put a model into the board's flash, whole or not at all, and the runtime where it is not up
   * to date. Goes on where an earlier upload of the same file was cut.
   * @param {string} name by which the board knows it; a file name without .pft
   * @param {ArrayBuffer | Uint8Array} bytes the model file
   * @param {Options} [options]
   * @returns {Promise<{resumed: number}>} bytes that were there from before
   */
  deploy(name, bytes, options = {}) {
    const data = checked(name, bytes);
    return this.#run((signal) => this.#deploy(name, data, { ...options, signal }), options.signal);
  }

  async #deploy(name, data, options) {
    const section = tokenizerOf(data);
    const ready = [...readers(this.#boards, [section])].every((m) => this.#readers.has(m));
    if (!ready || !this.#readers.size) {
      await this.#bring(this.#source, [section], options);
      this.info.runtime = await this.#connection.atRest((repl) =>
        runtime(repl, this.#boards, this.#connection.platform));
    }
    const { onProgress, signal } = options;
    const step = (done, total) => onProgress?.({ what: name, done, total });
    const tasks = this.#boards.rules.tasks;
    const at = unpack("I", data, 36)[0];
    const entry = kept(tasks, `${name}.pft`, data.length, data, data.subarray(at, at + 52));
    let resumed = 0;
    try {
      await this.#connection.attempt(async () => {
        const link = await this.#connection.server();
        const there = await link.models();
        if (there.some((m) => m.name === name && m.bytes === data.length
            && m.crc32 === entry.crc32)) {
          step(data.length, data.length);
          resumed = data.length;
          return;
        }
        if (link.loaded?.name === name) link.loaded = this.loaded = null;
        resumed = await link.upload(name, data, { onProgress: step, signal });
      });
    } catch (error) {
      if (error.code !== "no-space") throw error;
      await this.#look();
      throw full(name, data.length, { free: this.info.freeFlash, models: this.info.models });
    }
    const { freeFlash } = await (await this.#connection.server()).info();
    this.info.freeFlash = freeFlash;
    this.info.models = [...this.info.models.filter((m) => m.name !== name), entry]
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    return { resumed };
  }

  /**
   * Delete a model, or what is there of one. Needs no runtime; a model that is loaded is dropped.
   * @param {string} name
   */
  remove(name) {
    return this.#run(async () => {
      this.loaded = null;
      if (this.#asked?.name === name) this.#asked = null;
      let missing = false;
      await this.#connection.atRest(async (repl) => {
        const { models } = await look(repl, this.#boards);
        const paths = models.filter((m) => m.name === name)
          .map((m) => `/${name}.pft${m.state === "unfinished" ? ".part" : ""}`);
        missing = !paths.length;
        await erase(repl, this.#boards, paths);
      });
      await this.#look();
      if (!missing) return;
      const names = this.info.models.map((m) => m.name).join(", ");
      throw new PageError(
        `There is no model '${name}' on the board; there ${names ? `is ${names}` : "are none"}.`,
        { code: "no-model" },
      );
    });
  }

  /**
   * The metadata of a model in the board's flash (docs/format.md). A model that is loaded is
   * dropped.
   * @param {string} name
   * @returns {Promise<Record<string, any>>}
   */
  metadata(name) {
    return this.#run(async () => {
      this.loaded = null;
      const script = filled(this.#boards.scripts.metadata, { path: repr(`/${name}.pft`) });
      const said = await this.#connection.atRest((repl) => repl.run(script));
      try {
        // Each line is base64 of its own, without padding but in the last.
        const meta = JSON.parse(textOf(fromBase64(said.replace(/\s/g, ""))));
        if (meta?.constructor !== Object) throw new SyntaxError("no object");
        return meta;
      } catch (cause) {
        throw new PageError(`There is no model '${name}' on the board, or it is damaged.`, {
          code: "no-model",
          cause,
        });
      }
    });
  }

  // A model in memory

  /**
   * Load a model into the board's memory, in place of another.
   * @param {string} name
   * @param {{context?: number}} [options] context: 0 for the file's
   */
  load(name, { context = 0 } = {}) {
    if (!(context >= 0 && context <= 65535)) {
      throw new PageError(`context is ${context}, expected 0 (the file's) to 65535.`);
    }
    return this.#run(async () => {
      this.#asked = { name, context };
      await this.#connection.attempt(async () => {
        if (this.#connection.link) this.#connection.link.loaded = null;
        await this.#load();
      });
      return this.loaded;
    });
  }

  /** The link, with the model that was asked for loaded behind it. */
  async #load() {
    const connection = this.#connection;
    if (!this.#asked) {
      throw new PageError("No model is loaded on the board: load one first.", {
        code: "no-model",
      });
    }
    const { name, context } = this.#asked;
    let link = await connection.server();
    if (this.loaded && link.loaded?.name === name && link.loaded.context === context) return link;
    this.loaded = null;
    // Requests leave their objects where a large block would have to be.
    const fresh = connection.fresh && !link.requests;
    connection.fresh = false;
    let about;
    try {
      about = await link.load(name, context);
    } catch (error) {
      if (error.code !== "no-memory" || fresh) throw error;
      // What ran before has left the heap in pieces: again, on a new one.
      await connection.stopServer();
      await connection.reset();
      link = await connection.server();
      connection.fresh = false;
      about = await link.load(name, context);
    }
    if (about.weights === "host") {
      link.loaded = null;
      throw homeless();
    }
    if (about.kernels === "portable" && this.info.architecture) {
      this.info.notice ||= "The board runs the portable kernels, a hundred times slower: its " +
        "others are for another processor, or did not fit its heap. Update the runtime.";
    }
    const labels = await link.labels();
    const there = this.info.models.find((m) => m.name === name);
    this.loaded = {
      ...about,
      name,
      bytes: there?.bytes ?? 0,
      labels: labels.names,
      outputs: labels.names.length || null,
      image: labels.image[2] ? labels.image : null,
      frames: labels.frames[1] ? labels.frames : null,
    };
    return link;
  }

  /** Do something with the loaded model, again where the board was reset meanwhile; its ms. */
  #use(work, signal) {
    return this.#run(async (stop) => {
      let start = 0;
      const result = await this.#connection.attempt(async () => {
        const link = await this.#load();
        start = clock();
        return work(link, stop);
      });
      return { ...result, ms: result.ms ?? Math.round((clock() - start) * 1000) };
    }, signal);
  }

  /**
   * The text that follows a prompt, streamed.
   * @param {{prompt?: string, maxTokens?: number, temperature?: number, topP?: number,
   *   seed?: number, stop?: string | string[]}} [request] temperature 0 is greedy; stop: a text,
   *   or several: it ends in front of the first
   * @param {Streaming} [options]
   * @returns {Promise<Written>}
   */
  generate(request = {}, options = {}) {
    const { prompt = "", maxTokens = 0, temperature = 0, topP = 1, seed = 1, stop } = request;
    const numbers = {
      maxTokens: maxTokens > 65535 ? 0 : maxTokens,
      temperature: thousandths("temperature", temperature, 0, 100000),
      topP: thousandths("topP", topP, 1, 1000),
      seed,
    };
    return this.#write(prompt, numbers, stop, options);
  }

  /**
   * The translation of a text, streamed.
   * @param {string} text
   * @param {{beams?: number, lengthPenalty?: number}} [request] beams: 1 takes the likeliest token
   *   at each step, 2 to 8 follow as many texts and take the likeliest
   * @param {Streaming} [options]
   * @returns {Promise<Written>}
   */
  translate(text, { beams = 1, lengthPenalty = 1 } = {}, options = {}) {
    if (!(beams >= 1 && beams <= 8)) throw new PageError(`beams is ${beams}, expected 1 to 8.`);
    const penalty = thousandths("lengthPenalty", lengthPenalty, 0, 10000);
    // In the place of the temperature, which a translation has not.
    const numbers = { maxTokens: 0, temperature: beams * 65536 + penalty, topP: 1000, seed: 1 };
    return this.#write(text, numbers, null, options, "translate");
  }

  /**
   * @param {string} prompt
   * @param {Parameters<import("./link.js").Link["text"]>[1]} numbers
   * @param {string | string[] | null | undefined} stop
   * @param {Streaming} streaming
   * @param {string} [task] that the model is made to do
   * @returns {Promise<Written>}
   */
  #write(prompt, numbers, stop, { onText, signal }, task = "generate") {
    const stops = new Stops(stop);
    let said = "";
    let got = 0; // tokens that came: what a board that was reset writes again is the same
    const say = (text) => {
      if (!text) return;
      said += text;
      onText?.(text);
    };
    return this.#use(async (link, halt) => {
      const made = this.loaded.task;
      if (task !== made) throw new PageError(`This model is made to ${made}, not to ${task}.`);
      const start = clock();
      let first = 0;
      const text = await link.text(prompt, numbers);
      let index = 0;
      for await (const piece of text.pieces(halt)) {
        first ||= clock();
        if (index++ < got) continue;
        got = index;
        say(stops.feed(piece));
        if (stops.met) break;
      }
      if (!halt.aborted) say(stops.rest());
      // A board that was stopped may not have told.
      const figures = text.stats ?? {
        tokens: index,
        firstMs: Math.round(Math.max(first - start, 0) * 1000),
        ms: Math.round((clock() - start) * 1000),
      };
      const long = numbers.maxTokens && figures.tokens >= numbers.maxTokens;
      const stopped = halt.aborted ? "user" : stops.met ? "stop" : long ? "length" : "end";
      const { tokens, ms, firstMs } = figures;
      return { text: said, tokens, ms, firstMs, stopped };
    }, signal);
  }

  /**
   * What a model reads of a text, of an image or of a signal.
   * @param {"classify" | "embed" | "tag" | "predict"} task
   * @param {string | Uint8Array | Int16Array} input a text, pixels 0 to 255, or rows of whole
   *   numbers in steps of the model's unit
   */
  read(task, input) {
    return this.#use(async (link) => {
      const labels = await link.labels();
      const values = await link.read(this.#given(labels, input), task);
      if (task === "embed") return { vector: values };
      if (task === "predict") {
        return { numbers: Float64Array.from(values, (v) => v * 2 ** -labels.bits),
          labels: labels.names };
      }
      if (task === "tag") return { words: named(input, labels.names, values) };
      const shares = probabilities(values, labels.bits, labels.several);
      const results = labels.names.map((label, i) => (
        { label, logit: values[i], probability: shares[i] }));
      results.sort((a, b) => b.logit - a.logit);
      return { results, several: labels.several };
    });
  }

  /** [{label, logit, probability}], best first. */
  classify(input) {
    return this.read("classify", input);
  }

  /** The embedding: only its direction counts. */
  embed(input) {
    return this.read("embed", input);
  }

  /** The likeliest label of each word of a text. @param {string} text */
  tag(text) {
    return this.read("tag", text);
  }

  /** The numbers that a model predicts. */
  predict(input) {
    return this.read("predict", input);
  }

  /** The part of a text that answers a question.
   * @param {string} context @param {string} question */
  answer(context, question) {
    return this.#use(async (link) => ({ text: await link.answer(context, question) }));
  }

  /** int32 logits behind the last of some tokens. @param {ArrayLike<number>} tokens */
  async logits(tokens) {
    const { values } = await this.#use(async (link) => ({ values: await link.logits(tokens) }));
    return values;
  }

  /** An input as the link takes it. Raises PageError where the model reads another. */
  #given({ image, frames }, input) {
    if (typeof input === "string") return input;
    const [height, width, channels] = image;
    const [rows, columns] = frames;
    if (!channels && !columns) {
      throw new PageError("This model reads text: give it a text, no image and no signal.");
    }
    if (channels && (input instanceof Int16Array || input.length !== height * width * channels)) {
      throw new PageError(
        `The image has ${counted(input.length)} numbers, expected ${height} x ${width} x ` +
          `${channels} pixels of 0 to 255.`,
      );
    }
    if (channels) return input;
    const many = input.length / columns;
    if (!(input instanceof Int16Array) || !Number.isInteger(many) || many < 1 || many > rows) {
      throw new PageError(
        `The signal has ${counted(input.length)} numbers, expected 1 to ${rows} rows of ` +
          `${columns} whole numbers of 16 bits.`,
      );
    }
    const bytes = new Uint8Array(2 * input.length);
    input.forEach((v, i) => bytes.set([v & 255, (v >> 8) & 255], 2 * i));
    return bytes;
  }
}

/** [{word, label, logit}] of a text's words: of each its number and the labels' logits. */
function named(text, labels, values) {
  const words = text.split(/[ \t\n\v\f\r]+/).filter((word) => word); // as MicroPython does
  const found = [];
  const size = labels.length + 1;
  for (let at = 0; at + size <= values.length; at += size) {
    const logits = values.subarray(at + 1, at + size);
    const best = logits.indexOf(Math.max(...logits));
    found.push({ word: words[values[at]], label: labels[best], logit: logits[best] });
  }
  return found;
}
