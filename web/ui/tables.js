// Tables of numbers in text, as the PC's `data/tables.py` reads them.

import { PageError } from "../errors.js";

export const TIMES = ["time", "timestamp", "t", "index", ""];
const KNOWN = [...TIMES, "series", "id", "label"];
const NUMBER = /^[+-]?(\d+(_\d+)*(\.(\d+(_\d+)*)?)?|\.\d+(_\d+)*)(e[+-]?\d+(_\d+)*)?$/i;
const WORDS = /^[+-]?(inf|infinity|nan)$/i;

const isNumber = (cell) => NUMBER.test(cell.trim()) || WORDS.test(cell.trim());
const point = (cell) => cell.replaceAll(",", ".");

/** Lines of cells: [{line, cells}], as a .csv has them; quotes may hold marks and line ends. */
function lines(text, mark) {
  const found = [];
  let [cells, cell, quoted, line] = [[], "", false, 1];
  let fresh = true; // at the beginning of a cell
  const end = () => {
    cells.push(cell);
    [cell, fresh] = ["", true];
  };
  const finish = () => {
    end();
    while (cells.length && !cells.at(-1).trim()) {
      cells.pop(); // behind a comma at the end of a line
    }
    if (cells.length) {
      found.push({ line, cells });
    }
    cells = [];
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') {
        cell += c;
        i++;
      } else if (c === '"') {
        quoted = false;
      } else {
        cell += c;
      }
    } else if (c === '"' && fresh) {
      [quoted, fresh] = [true, false];
    } else if (c === mark) {
      end();
    } else if (c === "\n") {
      finish();
      line++;
    } else {
      cell += c;
      fresh = false;
    }
  }
  finish();
  return found;
}

/**
 * A table between commas, semicolons or tabs; in those of semicolons or tabs a comma may stand for
 * the point of a number.
 * @param {string} text
 * @param {string} name of the file, for messages
 * @returns {{names: string[], width: number, comma: boolean, name: string,
 *   rows: {line: number, cells: string[]}[]}} names: of the columns, [] without a header
 */
export function table(text, name) {
  const all = text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n");
  const skipped = all.match(/^(?:[^\S\n]*\n)*/)[0];
  const behind = all.slice(skipped.length).replace(/^[# ]+/, "");
  const first = behind.split("\n", 1)[0];
  const mark = first.includes("\t") ? "\t" : first.includes(";") ? ";" : ",";
  const comma = mark !== ",";
  const before = skipped.split("\n").length - 1;
  const rows = lines(behind, mark).map(({ line, cells }) => ({ line: line + before, cells }));
  const width = rows.length ? rows[0].cells.length : 0;
  const names = rows.length ? header(rows[0], comma, name) : [];
  return { names, width, comma, name, rows: names.length ? rows.slice(1) : rows };
}

function header({ line, cells }, comma, name) {
  if (cells.every((cell) => isNumber(comma ? point(cell) : cell))) {
    return [];
  }
  const names = cells.map((cell) => cell.trim().toLowerCase());
  if (cells.some(isNumber) && !names.some((n) => KNOWN.includes(n))) {
    const bad = cells.find((cell) => !isNumber(cell)).trim().slice(0, 40);
    throw new PageError(`${name}, line ${line}: "${bad}" is no number`);
  }
  return names;
}

/** The columns of a model's channels: by their names, or all; a first one of times is left out. */
function columns(t, count, channels) {
  let listed = Array.from({ length: t.width }, (_, i) => i);
  const known = channels.map((n) => n.toLowerCase());
  if (t.names.length && known.length) {
    const missing = known.filter((n) => !t.names.includes(n));
    if (!missing.length) {
      return known.map((n) => t.names.indexOf(n));
    }
    if (missing.length < known.length) {
      throw new PageError(
        `${t.name} has no column ${missing[0]}; the model's channels are ${channels.join(", ")}`,
      );
    }
  }
  if (listed.length === count + 1 && t.names.length && TIMES.includes(t.names[0])) {
    listed = listed.slice(1);
  }
  if (listed.length !== count) {
    const called = channels.length ? ` (${channels.join(", ")})` : "";
    throw new PageError(
      `${t.name}: ${listed.length} columns, the model reads ${count}${called}; expected numbers ` +
        "between commas, semicolons or tabs, a line for each moment, with a time in front of " +
        'them where a header calls it "time"',
    );
  }
  return listed;
}

/**
 * The numbers of a table's channels, row by row.
 * @param {string[]} channels their names, or none
 * @param {number} most rows that are read
 * @returns {{values: Float64Array, rows: number, whole: boolean}} whole: all are whole numbers,
 *   as a sensor gives them
 */
export function numbers(t, count, channels, most = Infinity) {
  if (!t.width) {
    throw new PageError(`${t.name} is empty, expected rows of ${count}`);
  }
  const picked = columns(t, count, channels);
  const read = [];
  let whole = true;
  for (const { line, cells } of t.rows.slice(0, most)) {
    const where = `${t.name}, line ${line}`;
    if (cells.length !== t.width) {
      throw new PageError(`${where}: ${cells.length} columns, expected ${t.width}`);
    }
    for (const i of picked) {
      const cell = (t.comma ? point(cells[i]) : cells[i]).trim();
      if (!isNumber(cell)) {
        const seen = cell ? `"${cell.slice(0, 40)}" is no number` : "a value is missing";
        throw new PageError(`${where}: ${seen}`);
      }
      const value = Number(cell.replaceAll("_", ""));
      if (!Number.isFinite(value)) {
        throw new PageError(`${where}: a value is missing, or infinite`);
      }
      whole &&= !/[.eE]/.test(cell);
      read.push(value);
    }
  }
  whole &&= read.every((v) => Math.abs(v) < 2 ** 53);
  return { values: Float64Array.from(read), rows: read.length / count, whole };
}
