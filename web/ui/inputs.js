// What a model is given, as a form has it. Each input has `node`; `value()`, what the runners take;
// `fill(example)`; and calls `onchange` when something else is there than before. One may have
// `quick`, that what it has is run at once; `long`, that it takes a while; `verb`; `drop(file)`.

import { PageError } from "../errors.js";
import { el, fresh } from "./dom.js";
import { PictureInput } from "./picture.js";
import { SignalInput } from "./signal.js";
import { SoundInput } from "./sound.js";

/** A field with its label. line: whether Enter ends it. */
function field(label, rows, line = true) {
  const id = fresh("text");
  const area = el("textarea", {
    id, rows, autocomplete: "off", "data-line": line, enterkeyhint: line && "go",
  });
  return { area, node: el("div", {}, el("label", { class: "field", for: id }, label), area) };
}

function written(text) {
  if (!text.trim()) {
    throw new PageError("Write something first.", { code: "empty" });
  }
  return text;
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
    const lines = this.area.value.split("\n").length;
    if (lines > 1) {
      this.area.rows = Math.min(lines, 10);
      delete this.area.dataset.line; // Enter begins the next one
    }
  }

  value() {
    return written(this.area.value);
  }
}

class QuestionInput {
  constructor() {
    this.context = field("Text", 3, false);
    this.question = field("Question about it", 1);
    this.node = el("div", { class: "flow" }, this.context.node, this.question.node);
    this.node.addEventListener("input", () => this.onchange?.());
  }

  fill({ context, question }) {
    this.context.area.value = context ?? "";
    this.question.area.value = question ?? "";
  }

  value() {
    const [context, question] = [this.context, this.question].map(({ area }) => written(area.value));
    return { context, question };
  }
}

const LABELS = { generate: "Beginning of the text", translate: "Text to translate" };

/**
 * The input that a model takes.
 * @param {import("./talk.js").About} about
 * @param {(file: string) => Promise<ArrayBuffer>} get a file of the page's models
 * @param {import("./models.js").Entry} [entry] the model's, where the page has it
 */
export function inputFor(about, get, entry) {
  if (about.image) {
    return new PictureInput(about, get);
  }
  if (about.sound) {
    return new SoundInput(about, get);
  }
  if (about.frames) {
    return new SignalInput(about, get, entry);
  }
  return about.task === "answer" ? new QuestionInput() : new TextInput(LABELS[about.task] ?? "Text");
}
