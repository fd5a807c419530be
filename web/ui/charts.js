// Lines of channels, and the shape of a sound.

import { el, svg } from "./dom.js";

const [WIDE, HIGH] = [640, 160];
const EDGE = 8;

/**
 * A line for each channel.
 * @param {Int16Array} rows row by row
 * @param {number} channels
 * @param {string[]} names
 * @returns {Node}
 */
export function lines(rows, channels, names) {
  const count = rows.length / channels;
  const [low, high] = rows.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [0, 1]);
  const x = (i) => ((i / Math.max(1, count - 1)) * WIDE).toFixed(1);
  const y = (v) => (HIGH - EDGE - ((v - low) / (high - low)) * (HIGH - 2 * EDGE)).toFixed(1);
  const zero = svg("line", { x1: 0, x2: WIDE, y1: y(0), y2: y(0), class: "zero" });
  const paths = Array.from({ length: channels }, (_, c) => {
    let d = "";
    for (let i = 0; i < count; i++) {
      d += `${i ? "L" : "M"}${x(i)} ${y(rows[i * channels + c])}`;
    }
    return svg("path", { d, class: `s${(c % 7) + 2}` });
  });
  const told = `${count} rows of ${channels}, from ${low} to ${high}`;
  const chart = svg(
    "svg",
    { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "chart", role: "img", "aria-label": told },
    zero,
    ...paths,
  );
  const keys = names.map((name, c) => el("li", {}, el("i", { class: `c${(c % 7) + 2}` }), name));
  return el("div", { class: "flow" }, chart, keys.length > 1 && el("ul", { class: "keys" }, ...keys));
}

/**
 * The shape of a sound.
 * @param {Int16Array} samples
 * @param {number} rate
 * @returns {Node}
 */
export function wave(samples, rate) {
  const columns = WIDE / 2;
  const high = HIGH / 2;
  const most = samples.reduce((a, b) => Math.max(a, Math.abs(b)), 1);
  let [over, under] = ["", ""];
  for (let i = 0; i < columns; i++) {
    const from = Math.floor((i * samples.length) / columns);
    const to = Math.max(from + 1, Math.floor(((i + 1) * samples.length) / columns));
    let [low, top] = [0, 0];
    for (let k = from; k < Math.min(to, samples.length); k++) {
      low = Math.min(low, samples[k]);
      top = Math.max(top, samples[k]);
    }
    const y = (v) => (high / 2 - (v / most) * (high / 2 - 4)).toFixed(1);
    over += `${i ? "L" : "M"}${2 * i} ${y(top + most / 200)}`;
    under = `L${2 * i} ${y(low - most / 200)}${under}`;
  }
  return svg(
    "svg",
    {
      viewBox: `0 0 ${WIDE} ${high}`, class: "chart", role: "img",
      "aria-label": `${(samples.length / rate).toFixed(2)} seconds of sound`,
    },
    svg("path", { d: `${over}${under}Z`, class: "wave" }),
  );
}
