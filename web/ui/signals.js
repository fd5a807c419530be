// Signals as the PC's `data/signals.py` and `graph/frames.py` make them: whole numbers of 16 bits.

import { PageError } from "../errors.js";
import { numbers, table } from "./tables.js";

/**
 * The nearest whole number; of two the even one, as numpy's rint.
 * @param {number} v
 */
export function rint(v) {
  const near = Math.round(v);
  return Math.abs(v - Math.trunc(v)) === 0.5 ? 2 * Math.round(v / 2) : near;
}

/**
 * The rows of a .csv, of a number for each channel.
 * @param {string} text
 * @param {string} name of the file, for messages
 * @param {{length: number, channels: number, names: string[], unit: number[]|null}} frames
 * @param {number} most rows
 * @returns {Int16Array}
 */
export function signal(text, name, frames, most = frames.length) {
  const { length, channels, names, unit } = frames;
  const read = numbers(table(text, name), channels, names, most + 1);
  const shape = channels === 1 ? `${length} rows` : `${length} rows of ${channels}`;
  if (read.rows > most) {
    const reads = most > length ? `the page reads ${most}` : `this model reads ${shape}`;
    throw new PageError(`${name} has more than ${most} rows, and ${reads}`);
  }
  if (!read.rows) {
    throw new PageError(`${name} has no rows, and this model reads up to ${shape}`);
  }
  let values = read.values;
  if (!read.whole) {
    const part = values.find((v) => v !== rint(v));
    if (!unit && part !== undefined) {
      throw new PageError(
        `${name} has fractions (${part}), and this model knows no unit: give the sensor's whole ` +
          "numbers, or divide real values by what a step of one is worth, and round",
      );
    }
    values = values.map((v, i) => rint(unit ? v / unit[i % channels] : v));
  }
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [0, 0]);
  if (low < -32768 || high > 32767) {
    throw new PageError(
      `${name} has values from ${low} to ${high}, expected whole numbers from -32768 to 32767`,
    );
  }
  return Int16Array.from(values);
}

/**
 * A signal in windows of what a model reads at once; each begins in the middle of the one before.
 * @param {Int16Array} rows
 * @returns {{rows: Int16Array, from: number, to: number}[]} from, to: rows
 */
export function windows(rows, { length, channels }) {
  const count = rows.length / channels;
  const found = [];
  for (let from = 0; ; from += Math.ceil(length / 2)) {
    const at = Math.min(from, Math.max(0, count - length)); // the last one ends with the signal
    const to = Math.min(at + length, count);
    found.push({ rows: rows.slice(at * channels, to * channels), from: at, to });
    if (to === count) {
      return found;
    }
  }
}
