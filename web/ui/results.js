// What a model says, shown.

import { el, lasting, many } from "./dom.js";

const SHOWN = 5; // bars, before the rest is asked for
const NUMBERS = 12;

const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

/**
 * Labels, best first, with bars.
 * @param {{label: string, probability: number}[]} results
 * @returns {Node}
 */
export function bars(results) {
  const list = el("ol", { class: "bars" });
  const add = ({ label, probability }) => {
    const bar = el("i");
    bar.style.width = `${100 * probability}%`;
    list.append(
      el("li", {},
        el("span", { class: "name" }, label),
        el("span", { class: "bar", "aria-hidden": "true" }, bar),
        el("span", { class: "share" }, percent(probability))),
    );
  };
  results.slice(0, SHOWN).forEach(add);
  const rest = results.slice(SHOWN);
  const more = rest.length > 0 && el("button", {
    type: "button", class: "plain",
    click: () => {
      rest.forEach(add);
      more.remove();
    },
  }, `All ${results.length} labels`);
  return el("div", {}, list, more);
}

/** Words with their labels; those labelled O are plain. */
export function tagged(words) {
  return el("ul", { class: "words" }, ...words.map(({ word, label }) =>
    label === "O"
      ? el("li", {}, word)
      : el("li", {}, el("span", { class: "marked" }, word), el("small", {}, label))));
}

/** Numbers that were predicted. */
export function predicted(numbers, labels) {
  const value = (v) => String(Number(v.toPrecision(6)));
  const rows = Array.from(numbers, (v, i) =>
    el("tr", {}, el("th", { scope: "row" }, labels[i] ?? String(i)), el("td", { class: "n" }, value(v))));
  return el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, ...rows)));
}

/** A vector: a strip of its numbers, and the first of them. */
export function embedded(vector) {
  const most = vector.reduce((a, b) => Math.max(a, Math.abs(b)), 1);
  const canvas = el("canvas", { class: "strip", width: vector.length, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  vector.forEach((v, i) => {
    const light = Math.abs(v) / most;
    context.fillStyle = v < 0 ? `rgba(217, 130, 43, ${light})` : `rgba(61, 111, 182, ${light})`;
    context.fillRect(i, 0, 1, 1);
  });
  const first = [...vector.slice(0, NUMBERS)].join(", ");
  const dots = vector.length > NUMBERS ? " …" : "";
  return el("div", { class: "flow" }, el("p", {}, many(vector.length, "number")), canvas,
    el("p", { class: "small" }, el("code", {}, first + dots)));
}

/** How alike two vectors are, -1 to 1. */
export function cosine(a, b) {
  const dot = (p, q) => p.reduce((sum, v, i) => sum + v * q[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/** Events in a sound. */
export function heard(events) {
  if (!events.length) {
    return el("p", {}, "Nothing that the model knows was heard.");
  }
  const row = ({ label, share, ms }) =>
    el("tr", {}, el("td", { class: "n" }, `${(ms / 1000).toFixed(2)}\u00a0s`), el("td", {}, label),
      el("td", { class: "n" }, `${Math.round(100 * share)}\u00a0%`));
  const head = el("tr", {}, el("th", { class: "n", scope: "col" }, "until"),
    el("th", { scope: "col" }, "heard"), el("th", { class: "n", scope: "col" }, "share"));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...events.map(row)));
}

/** Whether two runs gave the same integers: the word, and more. */
export function verdict({ equal, compared, kernelsMs, portableMs, recorded }) {
  if (!equal || recorded === false) {
    return ["Not equal.", " Please send a bug report, with the model and the name of this browser."];
  }
  const same = ` ${many(compared, "integer")} come${compared === 1 ? "s" : ""} out the same in plain Python`;
  const simulator = recorded ? ", those of the model's example as in the PC's simulator" : "";
  const times = portableMs > 0 && kernelsMs > 0
    ? ` Plain Python took ${lasting(portableMs)}, the kernels ${lasting(kernelsMs)}.`
    : "";
  return ["Equal.", `${same}${simulator}.${times}`];
}
