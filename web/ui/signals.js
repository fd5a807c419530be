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
 * What a model reads of a .csv: rows of a number for each channel.
 * @param {string} text
 * @param {string} name of the file, for messages
 * @param {{length: number, channels: number, names: string[], unit: number[]|null}} frames
 * @returns {Int16Array}
 */
export function signal(text, name, frames) {
  const { length, channels, names, unit } = frames;
  const read = numbers(table(text, name), channels, names, length + 1);
  const shape = channels === 1 ? `${length} rows` : `${length} rows of ${channels}`;
  if (read.rows > length) {
    throw new PageError(`${name} has more than ${length} rows, and this model reads ${shape}`);
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
