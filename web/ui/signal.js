// A signal: rows of numbers from a .csv.

import { PageError } from "../errors.js";
import { el, many, words } from "./dom.js";
import { lines } from "./charts.js";
import { fileButton } from "./files.js";
import { signal, windows } from "./signals.js";

const MOST = 10000; // rows of a file

export class SignalInput {
  quick = true;

  constructor(about, get, entry) {
    const [length, channels] = about.frames;
    const said = about.meta?.frames;
    // What does not fit counts as absent, as on the PC.
    const listed = (key, fits) => {
      const found = said?.[key];
      return Array.isArray(found) && found.length === channels && found.every(fits) ? found : null;
    };
    const names = listed("names", (name) => typeof name === "string") ?? [];
    const unit = listed("unit", (step) => Number.isFinite(step) && step > 0);
    this.frames = { length, channels, names, unit };
    this.get = get;
    this.rate = entry?.rate ?? 0; // rows a second
    this.several = ["classify", "predict"].includes(about.task); // windows are of use
    this.rows = null;
    this.chart = el("div");
    this.note = el("p", { class: "note", role: "status" });
    this.error = el("p", { class: "error", role: "alert" });
    const of = names.length ? `${channels} numbers (${names.join(", ")})` : many(channels, "number");
    this.node = el(
      "div",
      { class: "flow" },
      this.chart,
      el("div", { class: "row" },
        fileButton("Choose a .csv …", ".csv,.tsv,.txt", (file) => this.drop(file)), this.note),
      el("p", { class: "note" }, `A line for each moment, of ${of}; the model reads ${length} at once` +
        (this.several ? ", a longer file in windows." : ".") +
        (entry?.reads ? ` What it learned from: ${entry.reads}.` : "")),
      this.error,
    );
  }

  async drop(file) {
    try {
      this.error.textContent = "";
      if (!/\.(csv|tsv|txt)$/i.test(file.name)) {
        throw new PageError(`${file.name}: expected a .csv file, a line of numbers for each moment`);
      }
      this.show(signal(await file.text(), file.name, this.frames, this.most), file.name);
      this.onchange?.();
    } catch (error) {
      this.error.textContent = words(error);
    }
  }

  get most() {
    return this.several ? Math.max(MOST, this.frames.length) : this.frames.length;
  }

  get long() {
    return this.rows?.length > this.frames.length * this.frames.channels;
  }

  async fill(example) {
    if (example.signal) {
      const text = new TextDecoder().decode(await this.get(example.signal));
      this.show(signal(text, example.signal, this.frames), example.signal);
    }
  }

  show(rows, name) {
    const { channels, names } = this.frames;
    this.rows = rows;
    this.chart.replaceChildren(lines(rows, channels, names));
    this.note.textContent = `${name}, ${many(rows.length / channels, "row")}` +
      (this.rate ? `, ${(rows.length / channels / this.rate).toFixed(1)} s` : "");
  }

  value() {
    if (!this.rows) {
      throw new PageError("Choose a file first.", { code: "empty" });
    }
    return this.long ? { windows: windows(this.rows, this.frames), rate: this.rate } : this.rows;
  }
}
