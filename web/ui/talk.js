// A model's form: what goes in, a button, what comes out and how fast.

import { PageError } from "../errors.js";
import { el, fresh, grouped, lasting, many, say, size, words } from "./dom.js";
import { inputFor } from "./inputs.js";
import { loudest } from "./sounds.js";
import { bars, cosine, embedded, heard, predicted, tagged, verdict } from "./results.js";

const VERBS = {
  generate: "Write", classify: "Classify", translate: "Translate", answer: "Find the answer",
  embed: "Make a vector", tag: "Label the words", predict: "Predict",
};
const ENDS = { context: "the context is full", user: "stopped" };

/**
 * What the engine or a board says of a loaded model.
 * @typedef {{name: string, title: string, task: string, context: number, labels: string[],
 *   image: number[]|null, frames: number[]|null,
 *   sound: {rate: number, window: number, hop: number, bands: number}|null, kernels: string,
 *   bytes: number, licence: string, meta?: any}} About
 */

/**
 * Where a model runs: the calls of the engine, for the model that is loaded there.
 * @typedef {{where: string, told: string, generate: Function, translate: Function, read: Function,
 *   answer: Function, rows?: Function, listen?: Function, check?: Function}} Runner
 */

export class Talk {
  #abort = null;
  #running = Promise.resolve();

  /**
   * @param {HTMLElement} node the panel
   * @param {(file: string) => Promise<ArrayBuffer>} get a file of the page's models
   */
  constructor(node, get) {
    this.node = node;
    this.get = get;
  }

  /** A line in the place of the form. @param {string} text */
  wait(text) {
    this.node.setAttribute("aria-busy", "true");
    this.node.replaceChildren(el("p", { class: "soft" }, text));
  }

  /** An error in the place of the form. */
  fail(error, again) {
    this.node.removeAttribute("aria-busy");
    this.node.replaceChildren(
      el("p", { class: "error", role: "alert" }, words(error)),
      again && el("button", { type: "button", click: again }, "Try again"),
    );
  }

  /**
   * The form of a model. again: loads it once more.
   * @param {{about: About, entry?: import("./models.js").Entry, runners: Runner[],
   *   again?: () => void}} given
   */
  async show({ about, entry, runners, again }) {
    this.about = about;
    this.again = again;
    this.entry = entry;
    this.runner = runners[0];
    this.input = inputFor(about, this.get);
    this.input.onchange = () => this.#changed();
    this.button = el("button", { type: "submit", class: "main" }, this.verb);
    this.another = el("button", { type: "button", hidden: true, click: () => this.#again() },
      "Another one");
    this.error = el("p", { class: "error", role: "alert" });
    this.result = el("div", { class: "result", "aria-live": "off" });
    this.figures = el("p", { class: "figures" });
    this.checked = el("p", { class: "note", role: "status" });
    this.checker = el("button", { type: "button", click: () => this.#check() }, "Check these numbers");
    const form = el(
      "form",
      {
        class: "flow", novalidate: true,
        submit: (event) => {
          event.preventDefault();
          this.run();
        },
      },
      this.input.node,
      el("div", { class: "row" }, this.button, this.another, runners.length > 1 && this.#where(runners)),
      this.#settings(),
      this.error,
    );
    this.node.removeAttribute("aria-busy");
    const title = entry?.title || about.title || about.name;
    const facts = [size(about.bytes), about.licence && `${about.licence.toUpperCase()} licence`];
    this.node.replaceChildren(
      el("h3", { "data-name": about.name }, title),
      el("p", { class: "soft small tight" }, entry?.about || "", " ", facts.filter(Boolean).join(", "), "."),
      about.note ? el("p", { class: "note" }, about.note) : "",
      form,
      this.result,
      this.figures,
      this.#origin(),
    );
    this.#changed();
    try {
      await this.input.fill(entry?.example ?? {});
    } catch (error) {
      this.error.textContent = words(error);
    }
  }

  get verb() {
    return this.about.sound ? "Listen" : VERBS[this.about.task] ?? "Run";
  }

  /** Whether text comes while it runs. */
  get #streams() {
    return ["generate", "translate"].includes(this.about.task);
  }

  #where(runners) {
    const name = fresh("where");
    return el(
      "fieldset",
      { class: "choice end" },
      el("legend", {}, "Run on"),
      ...runners.map((runner, i) =>
        el("label", {},
          el("input", {
            type: "radio", name, checked: i === 0,
            change: () => {
              this.runner = runner;
              this.#changed();
            },
          }), ` ${runner.where}`)),
    );
  }

  #settings() {
    const number = (label, value, min, max, step) => {
      const id = fresh("number");
      const input = el("input", { id, type: "number", value, min, max, step });
      return { input, node: el("div", {}, el("label", { class: "field", for: id }, label), input) };
    };
    this.options = {};
    if (this.about.task === "generate") {
      this.options = {
        maxTokens: number("Length in tokens", this.about.context, 1, 65535, 1),
        temperature: number("Temperature", 0.5, 0, 10, 0.1),
        topP: number("Top p", 1, 0.001, 1, 0.001),
        seed: number("Seed", 1, 0, 2 ** 31 - 1, 1),
      };
    } else if (this.about.task === "translate") {
      this.options = { beams: number("Beams", 1, 1, 8, 1) };
    }
    const nodes = Object.values(this.options).map((option) => option.node);
    const hint = this.about.task === "generate" &&
      el("p", { class: "note" }, "The same seed gives the same text, here and on any board; " +
        "temperature 0 always takes the likeliest token.");
    return nodes.length > 0 && el("details", {}, el("summary", {}, "More"),
      el("div", { class: "settings" }, ...nodes), hint);
  }

  #origin() {
    if (!this.runner.check) {
      return "";
    }
    return el(
      "div",
      { class: "check flow" },
      el("div", { class: "row" }, this.checker, this.checked),
      el(
        "details",
        {},
        el("summary", {}, "Where the numbers come from"),
        el("p", { class: "small" }, "MicroPython, compiled to WebAssembly, runs the files that " +
          "picoformer puts on a board, unchanged. The inner loops, the kernels, are the board's " +
          "own source, too, compiled to WebAssembly. All that is computed are whole numbers, so " +
          "there is one right result, bit for bit; the check computes it again in plain Python."),
      ),
    );
  }

  /** What was said is not of what is there now. */
  #changed() {
    this.error.textContent = "";
    this.checked.textContent = "";
    this.checker.disabled = true;
  }

  /** Take a file that was dropped. @param {File} file */
  drop(file) {
    if (!this.input?.drop) {
      throw new PageError(`${file.name}: expected a model file, .pft; this model reads text.`);
    }
    return this.input.drop(file);
  }

  /** End what runs; resolves when it has ended. */
  async stop() {
    this.#abort?.abort();
    await this.#running;
  }

  /** Write another text of the same beginning. */
  #again() {
    const { input } = this.options.seed;
    input.value = (input.valueAsNumber || 0) + 1;
    this.run();
  }

  /** Run the model on what the form has, or stop it. */
  run() {
    if (this.#abort) {
      this.#abort.abort();
      return this.#running;
    }
    return (this.#running = this.#run());
  }

  async #run() {
    this.#changed();
    this.#abort = new AbortController();
    this.button.textContent = this.#streams ? "Stop" : "Running …";
    this.button.classList.toggle("main", !this.#streams);
    this.another.hidden = true;
    this.node.setAttribute("aria-busy", "true");
    try {
      const given = this.input.value();
      const options = this.#numbers();
      this.result.replaceChildren();
      this.figures.replaceChildren();
      this.read = await this.#answered(given, options);
      this.checker.disabled = false;
    } catch (error) {
      if (error?.code === "broken" && this.again) {
        this.fail(error, this.again);
      }
      this.error.textContent = words(error);
    } finally {
      this.#abort = null;
      this.button.textContent = this.verb;
      this.button.classList.add("main");
      this.another.hidden = !(this.options.temperature?.input.valueAsNumber > 0 && this.result.firstChild);
      this.node.removeAttribute("aria-busy");
    }
  }

  /** Show what the model makes of it; returns what a check is to read, null for its own. */
  async #answered(given, options) {
    const { task } = this.about;
    if (task === "generate") {
      const asked = { prompt: given, ...options };
      const made = await this.#stream(given, (more) => this.runner.generate(asked, more));
      this.#figure(...written(made));
      return this.result.textContent;
    }
    if (task === "translate") {
      const made = await this.#stream("", (more) => this.runner.translate(given, options, more));
      this.#figure(...written(made));
      return null;
    }
    if (task === "answer") {
      const { text, ms } = await this.runner.answer(given.context, given.question);
      this.#put(el("p", { class: "story" }, text || "The text does not say."), text);
      this.#figure(lasting(ms));
      return `${given.question} ${given.context}`;
    }
    return given.samples ? this.#listen(given) : this.#read(given);
  }

  async #read(given) {
    const { task, labels, meta } = this.about;
    const found = await this.runner.read(task, given);
    if (task === "classify") {
      const [best] = found.results;
      this.#put(bars(found.results), `${best.label}, ${Math.round(100 * best.probability)} percent`);
    } else if (task === "embed") {
      this.#embedded(found.vector);
    } else if (task === "predict") {
      const names = found.labels ?? meta?.labels ?? labels ?? [];
      this.#put(predicted(found.numbers, names), [...found.numbers].join(", "));
    } else {
      const text = found.words.map(({ word, label }) => `${word}: ${label}`).join(", ");
      this.#put(tagged(found.words), text);
    }
    this.#figure(lasting(found.ms));
    return given;
  }

  /** A vector, and how alike it is to the one before. */
  #embedded(vector) {
    const alike = this.last && cosine(this.last, vector).toFixed(3);
    this.last = vector;
    const told = alike && `Cosine to the text before: ${alike}`;
    this.#put(el("div", { class: "flow" }, embedded(vector), told && el("p", {}, told)),
      told || "The vector is there");
  }

  async #listen({ samples, long }) {
    if (!this.runner.rows) {
      throw new PageError("The browser makes rows of a sound, and needs this model for it: open its file above.");
    }
    if (!long) {
      return this.#read(await this.runner.rows(samples));
    }
    const start = performance.now();
    if (!this.runner.listen) {
      const [length, bands] = this.about.frames;
      return this.#read(loudest(await this.runner.rows(samples), length, bands).rows);
    }
    const events = await this.runner.listen(samples, {}, { signal: this.#abort.signal });
    this.#put(heard(events), events.map((event) => event.label).join(", ") || "Nothing");
    this.#figure(lasting(performance.now() - start));
    return null;
  }

  /** Text, as it comes. */
  async #stream(before, run) {
    const made = el("span");
    const story = el("p", { class: "story live" },
      before && el("span", { class: "given" }, before), made);
    this.result.replaceChildren(story);
    let sentence = "";
    const onText = (text) => {
      made.append(text);
      sentence += text;
      const end = sentence.search(/[.!?]\s[^.!?]*$/);
      if (end >= 0) {
        say(sentence.slice(0, end + 1));
        sentence = sentence.slice(end + 1);
      }
    };
    try {
      return await run({ onText, signal: this.#abort.signal });
    } finally {
      story.classList.remove("live");
      say(sentence);
    }
  }

  #put(node, told) {
    this.result.replaceChildren(node);
    say(told);
  }

  #numbers() {
    return Object.fromEntries(Object.entries(this.options).map(([name, { input, node }]) => {
      if (!input.checkValidity() || input.value === "") {
        const label = node.querySelector("label").textContent;
        throw new PageError(`${label} is ${input.value || "empty"}, expected ${input.min} to ${input.max}`);
      }
      return [name, input.valueAsNumber];
    }));
  }

  #figure(...parts) {
    this.figures.replaceChildren(...parts.flatMap((part) => [part, " · "]), this.runner.told);
  }

  async #check() {
    this.checker.disabled = true;
    this.checked.className = "note";
    this.checked.textContent = "Computing it again in plain Python …";
    const onProgress = (done, total) => {
      counter.textContent = ` ${Math.floor((100 * done) / total)} %`;
    };
    const counter = el("span", { "aria-hidden": "true" });
    this.checked.append(counter);
    try {
      const found = await this.runner.check(this.read, { onProgress });
      const good = found.equal && found.recorded !== false;
      const [word, more] = verdict(found);
      this.checked.replaceChildren(el("b", { class: good ? "good" : "error" }, word), more);
    } catch (error) {
      this.checked.className = "error";
      this.checked.textContent = words(error);
    } finally {
      this.checker.disabled = false;
    }
  }
}

/** Figures of a text. */
function written({ tokens, ms, firstMs, stopped }) {
  const rate = (1000 * Math.max(tokens - 1, 0)) / Math.max(ms - firstMs, 1);
  const fast = el("b", { "data-rate": rate.toFixed(1) }, `${rate < 10 ? rate.toFixed(1) : grouped(rate)} tokens/s`);
  const end = ENDS[stopped];
  return [fast, many(tokens, "token"), `the first after ${lasting(firstMs)}`, ...(end ? [end] : [])];
}
