// Python's literals, as MicroPython prints them and reads them.

import { PageError } from "../errors.js";

/**
 * The value of a literal: numbers, true, false, null, strings, and bytes as strings of one
 * character each; tuples and lists are arrays, dicts are Maps.
 * @param {string} text
 * @returns {any}
 * @throws {PageError} where it is none
 */
export function parse(text) {
  let at = 0;
  const fail = () => {
    throw new PageError(
      `The board printed '${text.slice(at, at + 60)}' where its answer was expected: something ` +
        "else prints there, as a timer may. Reset the board, and connect again.",
      { code: "no-board" },
    );
  };
  const blank = () => {
    while (/\s/.test(text[at] ?? "")) at++;
  };
  const items = (close, item) => {
    const found = [];
    at++;
    for (blank(); text[at] !== close; blank()) {
      found.push(item());
      blank();
      if (text[at] === ",") at++;
      else if (text[at] !== close) fail();
    }
    at++;
    return found;
  };
  const pair = () => {
    const key = value();
    blank();
    if (text[at++] !== ":") fail();
    return [key, value()];
  };
  const value = () => {
    blank();
    const c = text[at];
    if (c === "(") return items(")", value);
    if (c === "[") return items("]", value);
    if (c === "{") return new Map(items("}", pair));
    const string = /^b?(['"])/.exec(text.slice(at, at + 2));
    if (string) {
      at += string[0].length;
      return quoted(string[1]);
    }
    const word = /^(?:-?\d+(?:\.\d+)?|None|True|False)/.exec(text.slice(at, at + 40));
    if (!word) fail();
    at += word[0].length;
    const named = { None: null, True: true, False: false };
    return word[0] in named ? named[word[0]] : Number(word[0]);
  };
  const quoted = (quote) => {
    let out = "";
    for (;;) {
      const c = text[at++];
      if (c === undefined) fail();
      if (c === quote) return out;
      if (c !== "\\") {
        out += c;
        continue;
      }
      const e = text[at++];
      const digits = { x: 2, u: 4, U: 8 }[e];
      if (digits) {
        const code = parseInt(text.slice(at, at + digits), 16);
        if (!(code <= 0x10ffff)) fail();
        out += String.fromCodePoint(code);
        at += digits;
      } else {
        out += { n: "\n", r: "\r", t: "\t", 0: "\0" }[e] ?? e;
      }
    }
  };
  const whole = value();
  blank();
  if (at !== text.length) fail();
  return whole;
}

/**
 * A value as a Python literal, in ASCII.
 * @param {string | number | any[]} value
 * @returns {string}
 */
export function repr(value) {
  if (Array.isArray(value)) return `[${value.map(repr).join(", ")}]`;
  if (typeof value === "number") return String(value);
  const escaped = [...value].map((c) => {
    const code = c.codePointAt(0);
    if (c === "'" || c === "\\") return `\\${c}`;
    if (code >= 32 && code < 127) return c;
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}`
      : `\\U${code.toString(16).padStart(8, "0")}`;
  });
  return `'${escaped.join("")}'`;
}

/**
 * A script of boards.json with its gaps filled: `%r`, `%d` or `{}` of one value, `{name!r}` or
 * `{name}` of an object of values that have names.
 * @param {string} script
 * @param {any} values
 * @returns {string}
 */
export function filled(script, values) {
  if (values === null || typeof values !== "object" || Array.isArray(values)) {
    const gap = /%[rd]/.test(script) ? /%[rd]/ : "{}";
    return script.replace(gap, () => (gap === "{}" ? String(values) : repr(values)));
  }
  return script.replace(/\{(\w+)(!r)?\}/g, (_, name, quoted) =>
    quoted ? repr(values[name]) : String(values[name]));
}
