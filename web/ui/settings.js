// Settings of a text: numbers, each in its range, and where it ends.

import { details, el, fresh, grouped } from "./dom.js";

/** The settings of a task: label, value, least, most, step, and what to know of it. */
function known({ task, context }, example) {
  if (task === "translate") {
    const hint = "translations followed at a time: more are better, and slower";
    return { beams: ["Beams", 1, 1, 8, 1, hint] };
  }
  return task !== "generate" ? {} : {
    maxTokens: ["Length in tokens", context, 1, context, 1, "it may end before"],
    temperature: [
      "Temperature", example.temperature ?? 0.5, 0, 10, 0.1,
      "at 0 always the likeliest, above bolder"],
    topP: ["Top p", 1, 0.001, 1, 0.001, "below 1: unlikely tokens are left out"],
    seed: ["Seed", 1, 0, 2 ** 31 - 1, 1, "the same gives the same text, on any board"],
  };
}

export class Settings {
  #numbers = {};

  /**
   * @param {import("./talk.js").About} about
   * @param {Record<string, string>} example
   */
  constructor(about, example) {
    this.note = el("p", { class: "note", role: "status" });
    const nodes = Object.entries(known(about, example)).map(([name, given]) => {
      const [label, value, min, max, step, hint] = given;
      const input = el("input", { type: "number", value, min, max, step });
      input.addEventListener("change", () => this.#clamp(label, input));
      this.#numbers[name] = { input, label };
      return field(label, input, `${min} to ${grouped(max)}; ${hint}`);
    });
    if (about.task === "generate") {
      this.end = el("input", { type: "text", value: example.stop ?? "", autocomplete: "off" });
      nodes.push(field("Stop at", this.end, "the text ends in front of these words"));
    }
    this.node = nodes.length > 0 && details("settings", "More",
      el("div", { class: "settings" }, ...nodes), this.note);
    this.node?.addEventListener?.("input", () => this.onchange?.());
  }

  /** Whether there is chance in it. */
  get drawn() {
    return this.#numbers.temperature?.input.valueAsNumber > 0;
  }

  /** Take the next seed. */
  next() {
    this.#numbers.seed.input.value = this.values().seed + 1;
  }

  /** What runners take. @returns {Record<string, any>} */
  values() {
    const found = {};
    for (const [name, { input, label }] of Object.entries(this.#numbers)) {
      this.#clamp(label, input);
      found[name] = input.valueAsNumber;
    }
    return this.end?.value ? { ...found, stop: this.end.value } : found;
  }

  #clamp(label, input) {
    const { min, max, step, defaultValue, valueAsNumber: given } = input;
    const least = Number.isNaN(given) ? Number(defaultValue) : Math.max(given, Number(min));
    const near = Math.min(Number(step) === 1 ? Math.round(least) : least, Number(max));
    if (near !== given) {
      input.value = near;
      this.note.textContent = `${label} goes from ${min} to ${max}: it is ${near} now.`;
    }
  }
}

function field(label, input, hint) {
  const [id, about] = [fresh("setting"), fresh("hint")];
  input.id = id;
  input.setAttribute("aria-describedby", about);
  return el("div", {}, el("label", { class: "field", for: id }, label), input,
    el("p", { class: "note", id: about }, hint));
}
