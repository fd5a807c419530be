// A model's form: what goes in, a button, what comes out and how fast.

import { PageError } from "../errors.js";
import { details, el, fresh, grouped, lasting, many, say, size, words } from "./dom.js";
import { inputFor } from "./inputs.js";
import { bars, cosine, embedded, heard, predicted, tagged, timeline, verdict } from "./results.js";
import { Settings } from "./settings.js";
import { loudest } from "./sounds.js";
import { tooLong } from "./length.js";

const VERBS = {
  generate: "Write", classify: "Classify", translate: "Translate", answer: "Find the answer",
  embed: "Make a vector", tag: "Label the words", predict: "Predict",
};
const FULL = "it reached the longest text";
const ENDS = { context: FULL, length: "it reached the length that was asked for", user: "stopped" };

/**
 * What the engine or a board says of a loaded model.
 * @typedef {{name: string, title: string, task: string, context: number, labels: string[],
 *   image: number[]|null, frames: number[]|null,
 *   sound: {rate: number, window: number, hop: number, bands: number}|null, kernels: string,
 *   bytes: number, licence: string, meta?: any}} About
 */

/**
 * Where a model runs: the calls of the engine, for the model that is loaded there.
 * quick: whether it runs at once what takes milliseconds; count: tokens of a text, as the engine.
 * @typedef {{where: string, told: string, quick?: boolean, count?: Function,
 *   generate: Function, translate: Function, read: Function,
 *   answer: Function, rows?: Function, listen?: Function, check?: Function}} Runner
 */

export class Talk {
  #abort = null;
  #checking = null; // what ends a check
  #running = Promise.resolve();
  #version = 0; // of what the form has
  #forms = new WeakMap(); // input and settings of each model that was here, by its entry

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
    this.node.style.minHeight = `${this.node.offsetHeight}px`; // nothing jumps
    this.node.setAttribute("aria-busy", "true");
    this.node.replaceChildren(el("p", { class: "soft" }, text));
  }

  /** An error in the place of the form. */
  fail(error, again) {
    this.node.style.minHeight = "";
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
    const before = entry && this.#forms.get(entry);
    const example = entry?.example ?? {};
    const { input, settings } = before ??
      { input: inputFor(about, this.get, entry), settings: new Settings(about, example) };
    Object.assign(this, { input, settings });
    entry && this.#forms.set(entry, { input, settings });
    input.onchange = settings.onchange = () => this.#changed();
    this.button = el("button", {
      type: "submit", class: "main",
      click: (event) => event.detail > 1 && event.preventDefault(), // of a double click
    }, this.verb);
    this.another = el("button", { type: "button", hidden: true, click: () => this.#again() },
      "Another one");
    this.error = el("p", { class: "error", role: "alert" });
    this.result = el("div", { class: "result", "aria-live": "off" });
    this.notice = el("p", { class: "note" });
    this.figures = el("p", { class: "figures" });
    this.checked = el("p", { class: "note", role: "status" });
    this.checker = el("button", { type: "button", click: () => this.#check() }, "Check the arithmetic");
    const form = el(
      "form",
      {
        class: "flow", novalidate: true, keydown: (event) => this.#key(event),
        submit: (event) => {
          event.preventDefault();
          this.run();
        },
      },
      this.input.node,
      el("div", { class: "row" }, this.button, this.another, runners.length > 1 && this.#where(runners)),
      settings.node,
      this.error,
    );
    this.node.removeAttribute("aria-busy");
    const title = entry?.title || about.title || about.name;
    const facts = [size(about.bytes), about.licence && `${about.licence.toUpperCase()} licence`];
    this.node.replaceChildren(
      el("h3", { "data-name": about.name }, title),
      el("p", { class: "soft small tight" },
        entry?.about || "", " ", facts.filter(Boolean).join(", "), ". ",
        entry?.href && el("a", { href: entry.href, download: entry.file }, `Save ${entry.file}`)),
      about.note ? el("p", { class: "note" }, about.note) : "",
      form,
      this.result,
      this.notice,
      this.figures,
      this.#origin(),
    );
    this.node.style.minHeight = "";
    try {
      if (!before) {
        await input.fill(example);
      }
    } catch (error) {
      this.error.textContent = words(error);
      return;
    }
    this.#changed();
  }

  get verb() {
    return this.input?.verb ?? VERBS[this.about.task] ?? "Run";
  }

  /** Whether what is in the form is run without being asked to. */
  get #quick() {
    return Boolean(this.runner.quick && this.input.quick);
  }

  /** Whether text comes while it runs. */
  get #streams() {
    return ["generate", "translate"].includes(this.about.task);
  }

  get #stoppable() {
    return this.#streams || Boolean(this.input.long);
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

  #origin() {
    if (!this.runner.check) {
      return "";
    }
    return el(
      "div",
      { class: "check flow" },
      el("div", { class: "row" }, this.checker,
        el("p", { class: "note" }, this.#compared())),
      this.checked,
      details(
        "origin",
        "Where the numbers come from",
        el("p", { class: "small" }, "MicroPython, compiled to WebAssembly, runs the files that " +
          "picoformer puts on a board, unchanged. The inner loops, the kernels, are the board's " +
          "own source, too, compiled to WebAssembly. All that is computed are whole numbers, so " +
          "there is one right result, bit for bit; the check computes it again in plain Python."),
      ),
    );
  }

  /** What the check compares. */
  #compared() {
    const what = this.about.task === "generate" ? "the first 8 tokens" : "the whole input";
    const example = this.entry?.check
      ? ", and the model's example with what the PC's simulator made of it" : "";
    return `Computes ${what} again by other code and compares all integers${example}.`;
  }

  /** What was said is not of what is in the form now: it goes, or is said anew. */
  #changed() {
    this.#version += 1;
    this.button.textContent = this.#abort ? this.button.textContent : this.verb;
    if (this.#quick) {
      this.#abort || this.run(true);
    } else {
      this.#abort?.abort();
      this.#clear();
    }
  }

  #clear() {
    this.result.replaceChildren();
    this.another.hidden = true;
    this.#unsaid();
  }

  /** What is said around a result goes. */
  #unsaid() {
    this.#checking?.abort();
    for (const node of [this.error, this.notice, this.figures, this.checked]) {
      node.replaceChildren();
    }
    this.checker.disabled = true;
  }

  /** Enter in a line runs it, Ctrl-Enter anywhere. */
  #key(event) {
    const { key, target, shiftKey, ctrlKey, metaKey, isComposing, repeat } = event;
    const line = target.localName === "textarea" && target.dataset.line !== undefined && !shiftKey;
    if (key !== "Enter" || isComposing || !(line || ctrlKey || metaKey)) {
      return;
    }
    event.preventDefault();
    if (!repeat && !this.#abort) {
      this.run();
    }
  }

  /** Take a file that was dropped. @param {File} file */
  drop(file) {
    return this.input.drop(file);
  }

  /** End what runs; resolves when it has ended. */
  async stop() {
    this.#checking?.abort();
    this.#abort?.abort();
    await this.#running;
  }

  /** Write another text of the same beginning. */
  #again() {
    this.settings.next();
    this.run();
  }

  /** Run the model on what the form has, or stop it. unasked: by nobody's press. */
  run(unasked = false) {
    if (this.#abort) {
      if (this.#stoppable) {
        this.#abort.abort();
      }
      return this.#running;
    }
    return (this.#running = this.#run(unasked));
  }

  async #run(unasked) {
    let version;
    do {
      version = this.#version;
      await this.#once(unasked);
    } while (this.#quick && version !== this.#version);
    if (version !== this.#version) {
      this.#clear();
    }
  }

  async #once(unasked) {
    this.#unsaid();
    this.#abort = new AbortController();
    this.asked = !unasked;
    this.another.hidden = true;
    this.node.setAttribute("aria-busy", "true");
    if (this.#stoppable || !this.#quick) {
      this.button.textContent = this.#stoppable ? "Stop" : "Running …";
      this.button.classList.toggle("main", !this.#stoppable);
    }
    try {
      const given = this.input.value();
      const options = this.settings.values();
      this.notice.textContent = await tooLong(this.about, this.runner, given);
      this.read = await this.#answered(given, options);
      this.checker.disabled = false;
    } catch (error) {
      this.#clear();
      if (error?.code === "broken" && this.again) {
        this.fail(error, this.again);
      }
      this.error.textContent = unasked && error?.code === "empty" ? "" : words(error);
    } finally {
      this.#abort = null;
      this.button.textContent = this.verb;
      this.button.classList.add("main");
      this.another.hidden = !(this.settings.drawn && this.result.firstChild);
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
    if (given.windows) {
      return this.#windows(given);
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

  /** A signal that is longer than the model reads, window by window. */
  async #windows({ windows, rate }) {
    const { task } = this.about;
    const found = [];
    let ms = 0;
    for (const { rows, from, to } of windows) {
      const said = await this.runner.read(task, rows);
      const [best] = said.results ?? [];
      found.push({ from, to, label: best?.label, share: best?.probability, numbers: said.numbers });
      ms += said.ms;
      if (this.#abort.signal.aborted) {
        break;
      }
    }
    this.#put(timeline(found, rate), `${found.length} windows`);
    this.#figure(many(found.length, "window"), lasting(ms));
    return windows[0].rows;
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
    this.#look();
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

  /** Bring what was asked for into sight. */
  #look() {
    if (this.asked) {
      this.result.scrollIntoView({ block: "nearest" });
    }
  }

  #put(node, told) {
    this.result.replaceChildren(node);
    this.#look();
    say(told);
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
    const { checked, checker } = this;
    const { signal } = (this.#checking = new AbortController());
    try {
      const found = await this.runner.check(this.read, { onProgress, signal });
      const good = found.equal && found.recorded !== false;
      const [word, more] = verdict(found);
      checked.replaceChildren(el("b", { class: good ? "good" : "error" }, word), more);
    } catch (error) {
      checked.className = "error";
      checked.textContent = signal.aborted ? "" : words(error);
    }
    if (!signal.aborted) {
      checker.disabled = false;
    }
  }
}

/** Figures of a text. */
function written({ tokens, ms, firstMs, stopped }) {
  const rate = (1000 * (tokens - 1)) / Math.max(ms - firstMs, 1);
  const fast = tokens > 1 && el("b", { "data-rate": rate.toFixed(1) },
    `${rate < 10 ? rate.toFixed(1) : grouped(rate)} tokens/s`);
  const end = ENDS[stopped];
  const first = tokens > 0 && `the first after ${lasting(firstMs)}`;
  return [fast, many(tokens, "token"), first, end].filter(Boolean);
}
