// What a model is given, as a form has it. Each input has `node`; `value()`, what the runners take;
// `fill(example)`; and calls `onchange` when something else is there than before.

import { el, fresh } from "./dom.js";
import { PictureInput } from "./picture.js";
import { SignalInput } from "./signal.js";
import { SoundInput } from "./sound.js";

/** A field with its label. */
function field(label, rows) {
  const id = fresh("text");
  const area = el("textarea", { id, rows, autocomplete: "off" });
  return { area, node: el("div", {}, el("label", { class: "field", for: id }, label), area) };
}

class TextInput {
  constructor(label) {
    const { area, node } = field(label, 2);
    this.area = area;
    this.node = node;
    area.addEventListener("input", () => this.onchange?.());
  }

  fill({ prompt, text }) {
    this.area.value = prompt ?? text ?? "";
  }

  value() {
    return this.area.value;
  }
}

class QuestionInput {
  constructor() {
    this.context = field("Text", 3);
    this.question = field("Question about it", 1);
    this.node = el("div", { class: "flow" }, this.context.node, this.question.node);
    this.node.addEventListener("input", () => this.onchange?.());
  }

  fill({ context, question }) {
    this.context.area.value = context ?? "";
    this.question.area.value = question ?? "";
  }

  value() {
    return { context: this.context.area.value, question: this.question.area.value };
  }
}

const LABELS = { generate: "Beginning of the text", translate: "Text to translate" };

/**
 * The input that a model takes.
 * @param {import("./talk.js").About} about
 * @param {(file: string) => Promise<ArrayBuffer>} get a file of the page's models
 */
export function inputFor(about, get) {
  if (about.image) {
    return new PictureInput(about, get);
  }
  if (about.sound) {
    return new SoundInput(about, get);
  }
  if (about.frames) {
    return new SignalInput(about, get);
  }
  return about.task === "answer" ? new QuestionInput() : new TextInput(LABELS[about.task] ?? "Text");
}
