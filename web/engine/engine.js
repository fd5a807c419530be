// Runs models in the page: MicroPython and the kernels in a worker, by plain calls. Every call
// rejects with a PageError, whose message is a sentence for a person.

import { PageError } from "../errors.js";

const STUBBORN = 5; // seconds in one step, after which a task that was stopped is ended by force

/**
 * @typedef {object} About what a model is
 * @property {string} name
 * @property {string} title
 * @property {"generate"|"classify"|"embed"|"translate"|"answer"|"tag"|"predict"} task
 * @property {number} context
 * @property {number} vocab
 * @property {number} outputs
 * @property {string[]} labels
 * @property {[number, number, number]|null} image height, width, channels
 * @property {[number, number]|null} frames rows at most, channels
 * @property {{rate: number, window: number, hop: number, bands: number}|null} sound
 * @property {"wasm"|"portable"} kernels those that run it
 * @property {number} weights bytes of them
 * @property {number} bytes of the file
 * @property {number} ms that loading took
 * @property {string} licence
 * @property {string} source
 * @property {object} meta all that the file says of itself
 *
 * @typedef {object} Written how a text ended
 * @property {number} tokens
 * @property {number} ms for all
 * @property {number} firstMs to the first token
 * @property {"end"|"length"|"context"|"user"} stopped why
 *
 * @typedef {object} Listening what hears a task
 * @property {(text: string) => void} [onText]
 * @property {(done: number, total: number) => void} [onProgress]
 * @property {AbortSignal} [signal]
 */

export class Engine {
  /** @type {Map<number, {take: Function, resolve: Function, reject: Function}>} */
  #asked = new Map();
  #next = 1;
  #heard = 0; // messages of the worker

  /**
   * @param {string|URL} base the site, in which there is runtime/sources.json
   * @returns {Promise<Engine>}
   */
  static async start(base) {
    const engine = new Engine();
    engine.base = new URL(base, globalThis.location?.href).href;
    await engine.#begin();
    return engine;
  }

  #begin() {
    const site = new URL("./", this.base).href;
    if (typeof Worker !== "function" || typeof WebAssembly !== "object") {
      throw new PageError("This browser has no workers or no WebAssembly, which the page needs: " +
        "take a newer one.", { code: "browser" });
    }
    this.ready = new Promise((resolve, reject) => {
      const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
      this.worker = worker;
      this.broken = false;
      worker.onmessage = ({ data }) => {
        this.#heard += 1;
        if (data.ready) resolve();
        else if (data.id === undefined) reject(new PageError(data.error, data));
        else this.#hear(data);
      };
      worker.onerror = (e) => {
        e.preventDefault?.();
        const error = new PageError("The page's engine cannot be started or has broken: " +
          `${e.message || "its worker does not load"}. Load the page again, or take a newer ` +
          "browser.", { code: "broken" });
        reject(error);
        this.#leave(error);
      };
      worker.postMessage({ base: site });
    });
    return this.ready;
  }

  #hear({ id, value, ms, first, end, stopped, error, code, broken }) {
    const asked = this.#asked.get(id);
    if (!asked) return;
    if (value !== undefined) asked.take(value, ms, first);
    if (!end && error === undefined) return;
    this.#asked.delete(id);
    if (broken) this.broken = true;
    if (error !== undefined) asked.reject(new PageError(error, { code }));
    else asked.resolve(Boolean(stopped));
  }

  /** The worker is of no use any more: the next `load` begins another. */
  #leave(error) {
    this.broken = true;
    this.worker?.terminate();
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }

  /** Run a task; take(value, ms, first) hears what it tells. Whether it was stopped. */
  async #run(task, given, take, { as, signal } = {}) {
    if (!this.worker) throw new PageError("The engine is closed.", { code: "closed" });
    await this.ready;
    if (this.broken) {
      throw new PageError("The engine broke: load the model again.", { code: "broken" });
    }
    const id = this.#next++;
    const { worker } = this;
    let late;
    const stop = () => {
      worker.postMessage({ stop: id });
      watch();
    };
    const watch = () => {
      const heard = this.#heard;
      late = setTimeout(() => {
        if (heard !== this.#heard) watch(); // it is at something else
        else this.#leave(new PageError("It was stopped in the middle of a long step: load the " +
          "model again.", { code: "broken" }));
      }, STUBBORN * 1000);
    };
    try {
      return await new Promise((resolve, reject) => {
        this.#asked.set(id, { take, resolve, reject });
        worker.postMessage({ id, task, given, as });
        if (signal?.aborted) stop();
        signal?.addEventListener("abort", stop);
      });
    } finally {
      clearTimeout(late);
      signal?.removeEventListener("abort", stop);
    }
  }

  async #ask(task, given, options) {
    let found;
    let took = 0;
    await this.#run(task, given, (value, ms) => { [found, took] = [value, ms]; }, options);
    if (found === undefined) throw new PageError("It was stopped.", { code: "stopped" });
    return [found, took];
  }

  /**
   * Load a model; the one before stays where that fails.
   * @param {ArrayBuffer} bytes a model file
   * @param {string} name
   * @param {{kernels?: "wasm"|"portable", context?: number, signal?: AbortSignal}} [options]
   * @returns {Promise<About>}
   */
  async load(bytes, name, { kernels = "wasm", context, signal } = {}) {
    if (this.worker && this.broken) {
      this.#leave(new PageError("The engine has begun anew.", { code: "broken" }));
      await this.#begin();
    }
    const given = { bytes, path: `/${this.#next}.pft`, kernels, context: context ?? null };
    const [about] = await this.#ask("load", given, { signal });
    return { name, ...about };
  }

  /**
   * @param {{prompt: string, maxTokens?: number, temperature?: number, topP?: number,
   *   seed?: number, stop?: string|string[], raw?: boolean}} what temperature 0 is greedy
   * @param {Listening} [listening]
   * @returns {Promise<Written>}
   */
  generate(what, listening) {
    return this.#write("generate", {
      prompt: plain(what.prompt ?? ""), max_tokens: what.maxTokens ?? null,
      temperature: what.temperature ?? 0, top_p: what.topP ?? 1, seed: what.seed ?? 1,
      stop: what.stop?.length ? what.stop : null, raw: what.raw ?? false,
    }, listening);
  }

  /**
   * @param {string} text
   * @param {{beams?: number}} [options]
   * @param {Listening} [listening]
   * @returns {Promise<Written>}
   */
  translate(text, { beams = 1 } = {}, listening = {}) {
    return this.#write("translate", { text: plain(text), beams }, listening);
  }

  async #write(task, given, { onText, signal } = {}) {
    const told = { tokens: 0, ms: 0, firstMs: 0, stopped: "end" };
    const stopped = await this.#run(task, given, (value, ms, first) => {
      told.ms = ms;
      told.firstMs = first;
      if (value.text === undefined) Object.assign(told, value);
      else {
        told.tokens += 1;
        onText?.(value.text);
      }
    }, { signal });
    return stopped ? { ...told, stopped: "user" } : told;
  }

  /**
   * What a model says of an input.
   * @param {"classify"|"tag"|"embed"|"predict"} task
   * @param {string|Uint8Array|Int16Array} input a text, an image's pixels, a signal's rows
   * @returns {Promise<{results?: {label: string, logit: number, probability: number}[],
   *   words?: {word: string, label: string, logit: number}[], vector?: Int32Array,
   *   numbers?: Float32Array, ms: number}>} results of classify, words of tag, and so on
   */
  async read(task, input) {
    const as = { embed: "Int32Array", predict: "Float32Array" }[task];
    const [found, ms] = await this.#ask("read", { task, given: plain(input) }, { as });
    const key = { classify: "results", tag: "words", embed: "vector", predict: "numbers" }[task];
    return { [key]: found, ms };
  }

  /**
   * @param {string} context
   * @param {string} question
   * @returns {Promise<{text: string, ms: number}>}
   */
  async answer(context, question) {
    const given = { context: plain(context), question: plain(question) };
    const [{ text }, ms] = await this.#ask("answer", given);
    return { text, ms };
  }

  /**
   * How many tokens a text has for a task, and how many of them a model reads.
   * @param {string} task
   * @param {string|{context: string, question: string}} text
   * @param {{bytes: ArrayBuffer, context: number}} [other] a model's file, and the context that it
   *   has; without, the loaded model
   * @returns {Promise<{tokens: number, room: number}>}
   */
  async count(task, text, other) {
    const given = typeof text === "string" ? plain(text)
      : { context: plain(text.context), question: plain(text.question) };
    const data = other ? new Uint8Array(other.bytes) : null;
    return (await this.#ask("count", { task, given, data, context: other?.context ?? 0 }))[0];
  }

  /**
   * All rows of a sound, as the runtime's Features make them; a model reads some that follow
   * each other.
   * @param {Int16Array} samples as many a second as About.sound.rate says
   * @returns {Promise<Int16Array>}
   */
  async rows(samples) {
    return (await this.#ask("rows", { given: samples }, { as: "Int16Array" }))[0];
  }

  /**
   * The events of a sound, as the runtime's Listener hears them.
   * @param {Int16Array} samples
   * @param {{hop?: number, smooth?: number, threshold?: number, rest?: number,
   *   ignore?: string[]}} [options]
   * @param {Listening} [listening]
   * @returns {Promise<{label: string, share: number, ms: number}[]>}
   */
  async listen(samples, options = {}, { signal } = {}) {
    const events = [];
    const take = (event) => event && events.push(event);
    await this.#run("listen", { given: samples, options }, take, { signal });
    return events;
  }

  /**
   * The model's integers for an input.
   * @param {number[]|string|Uint8Array|Int16Array} given tokens, or what `read` takes
   * @param {{source?: number[]}} [options] source: tokens of the text that a translator reads
   * @returns {Promise<Int32Array>}
   */
  async logits(given, { source } = {}) {
    const asked = { given: plain(given), source: source ?? null };
    return (await this.#ask("logits", asked, { as: "Int32Array" }))[0];
  }

  /**
   * Run an input by these kernels and by the portable ones, and compare all integers.
   * @param {{tokens?: number[], source?: number[], pixels?: string, rows?: string,
   *   crc32: number}} [recorded] an input, and the CRC32 of the simulator's integers for it, as
   *   models/index.json has it; pixels and rows are base64
   * @param {string|Uint8Array|Int16Array} [input] where nothing is recorded
   * @param {Listening} [listening]
   * @returns {Promise<{equal: boolean, compared: number, kernelsMs: number, portableMs: number,
   *   recorded: boolean|null}>} recorded: whether the simulator's integers are the same
   */
  async check(recorded, input, { onProgress, signal } = {}) {
    const given = {};
    if (recorded?.tokens) Object.assign(given, { tokens: recorded.tokens, source: recorded.source });
    else if (recorded) given.input = bytes(recorded.pixels ?? recorded.rows);
    else if (input !== undefined) given.input = plain(input);
    let result;
    const stopped = await this.#run("check", { given, crc: recorded?.crc32 ?? null }, (value) => {
      if (value.total) onProgress?.(value.done, value.total);
      else result = value;
    }, { signal });
    if (stopped && !result) throw new PageError("The check was stopped.", { code: "stopped" });
    return result;
  }

  /**
   * What a model takes of a board, and whether it fits: the planner's figures, and a picture.
   * @param {ArrayBuffer|Uint8Array} bytes a model file
   * @param {string|object} board a name of `boards`, or what a board says of itself
   * @param {{context?: number, heap?: number, largest?: number}} [options]
   * @returns {Promise<object>} as web/plan/page.py has it
   */
  async plan(bytes, board, options = {}) {
    const { context = null, heap = null, largest = null } = options;
    const given = new Uint8Array(bytes);
    const asked = { board, context, heap, largest };
    return JSON.parse((await this.#ask("plan", { given, asked }))[0]);
  }

  /**
   * The boards that there are plans for.
   * @returns {Promise<{name: string, title: string}[]>}
   */
  async boards() {
    return JSON.parse((await this.#ask("boards", {}))[0]);
  }

  /** Let the worker go. */
  close() {
    this.#leave(new PageError("The engine is closed.", { code: "closed" }));
    this.worker = null;
  }
}

/** A text without halves of characters, which no model knows; anything else as it is. */
function plain(given) {
  return typeof given === "string" ? new TextDecoder().decode(new TextEncoder().encode(given))
    : given;
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
