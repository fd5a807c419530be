// Elements, numbers in words, and what a screen reader is told.

/**
 * An element. given: functions are listeners, `true` an attribute without a value, `class` and the
 * rest attributes; what is undefined, null or false is left out.
 * @param {string} name
 * @param {Record<string, any>} [given]
 * @param {...(Node|string|null|undefined|false)} inside
 * @returns {any}
 */
export function el(name, given = {}, ...inside) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (typeof value === "function") {
      node.addEventListener(key, value);
    } else if (value !== undefined && value !== null && value !== false) {
      node.setAttribute(key, value === true ? "" : value);
    }
  }
  node.append(...inside.filter((part) => part !== null && part !== undefined && part !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of SVG. */
export function svg(name, given = {}, ...inside) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(given)) {
    node.setAttribute(key, value);
  }
  node.append(...inside);
  return node;
}

const opened = new Set(); // keys of the <details> that are open

/**
 * Details, which stay open when they are made anew.
 * @param {string} key the same for all that are in one place
 * @param {string} summary
 * @param {...(Node|string|null|undefined|false)} inside
 */
export function details(key, summary, ...inside) {
  const node = el("details", {
    open: opened.has(key),
    toggle: () => (node.open ? opened.add(key) : opened.delete(key)),
  }, el("summary", {}, summary), ...inside);
  return node;
}

/** Commands for a terminal, with a button that copies them. @param {string} lines */
export function commands(lines) {
  const button = el("button", {
    type: "button", class: "copy",
    click: async () => {
      try {
        await navigator.clipboard.writeText(lines);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(text); // for Ctrl-C
      }
    },
  }, "Copy");
  const text = el("pre", { tabindex: 0, "aria-label": "Commands" }, lines);
  return el("div", { class: "commands" }, text, button);
}

let ids = 0;

/** An id that no other element has. */
export const fresh = (name) => `${name}-${++ids}`;

/** 12,345 */
export const grouped = (n) => Math.round(n).toLocaleString("en-US");

/** 12.3 KB */
export function size(n) {
  for (const [unit, worth] of [["GB", 1e9], ["MB", 1e6], ["KB", 1e3]]) {
    if (n >= worth) {
      return `${Number((n / worth).toPrecision(3))}\u00a0${unit}`;
    }
  }
  return `${n}\u00a0bytes`;
}

/** Milliseconds in words. */
export const lasting = (ms) =>
  ms < 10 ? `${ms.toFixed(1)}\u00a0ms`
    : ms < 2000 ? `${Math.round(ms)}\u00a0ms` : `${(ms / 1000).toFixed(1)}\u00a0s`;

/** One or many: 1 token, 2 tokens. */
export const many = (n, what) => `${grouped(n)} ${what}${n === 1 ? "" : "s"}`;

/** Tell a screen reader. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/**
 * What to tell of an error: its own words where it has some for a person.
 * @param {any} error
 */
export function words(error) {
  if (error?.name === "PageError") {
    return error.message;
  }
  console.error(error);
  return `Something went wrong that should not: ${error?.message ?? error}. Reload the page.`;
}
