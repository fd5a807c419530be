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
  return table(["until", "heard", "how sure"], events.map(row));
}

/** A table with numbers in its first column and its last one. */
function table(names, rows) {
  const head = names.map((name, i) =>
    el("th", { class: i === names.length - 1 || !i ? "n" : "", scope: "col" }, name));
  return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

/**
 * What a model says of windows of a signal that follow each other.
 * @param {{from: number, to: number, label?: string, share?: number,
 *   numbers?: Float32Array}[]} windows
 * @param {number} rate rows a second, 0 where that is not known
 */
export function timeline(windows, rate) {
  const at = (row) => (rate ? (row / rate).toFixed(1) : String(row));
  const rows = windows.map(({ from, to, label, share, numbers }) => {
    const said = label ?? Array.from(numbers, (v) => Number(v.toPrecision(4))).join(", ");
    return el("tr", {}, el("td", { class: "n" }, `${at(from)} – ${at(to)}`), el("td", {}, said),
      el("td", { class: "n" }, share === undefined ? "" : percent(share)));
  });
  return table([rate ? "seconds" : "rows", "what it says", "how sure"], rows);
}

/** Whether two runs gave the same integers: the word, and more. */
export function verdict({ equal, compared, kernelsMs, portableMs, recorded }) {
  if (!equal || recorded === false) {
    return ["Not equal.", " Please send a bug report, with the model and the name of this browser."];
  }
  const same = ` ${many(compared, "integer")}, computed again by the slow kernels in plain Python.`;
  const simulator = recorded
    ? " The model's example also equals what the PC's simulator made of it." : "";
  const times = portableMs > 0 && kernelsMs > 0
    ? ` That took ${lasting(portableMs)}, the fast kernels ${lasting(kernelsMs)}.`
    : "";
  return ["Equal:", `${same}${simulator}${times}`];
}
