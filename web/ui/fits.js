// Whether a model fits a board: the planner's words, its picture, and the figures behind it.

import { details, el, grouped, many } from "./dom.js";

const PLACES = { ram: "in RAM", file: "read from the file for each token" };

/**
 * @param {import("./models.js").Entry} entry the model
 * @param {any} plan as the engine gives it
 * @param {any} shorter the same with as many positions as fit, where not all do
 * @returns {Node}
 */
export function fits(entry, plan, shorter) {
  const budget = (shorter ?? plan).with_server;
  const parsed = new DOMParser().parseFromString(budget.html, "text/html");
  const [pictures, tables] = ["svg", "table"].map((kind) => [...parsed.querySelectorAll(kind)]);
  tables.forEach((table) => table.querySelector("th:empty")?.replaceWith(el("td")));
  const drawn = pictures.map((picture) => picture.closest(".desk, .phone") ?? picture);
  const rows = [
    ["bytes of memory (heap), at its fullest", budget.needed, budget.heap],
    [`bytes in one piece (${budget.largest_part})`, budget.largest, budget.largest_free],
    ["bytes of flash, with the runtime", budget.model_flash + budget.runtime_flash, budget.flash],
  ].filter(([, needed, there]) => needed !== undefined && there);
  const figure = ([what, needed, there]) =>
    el("li", {}, el("b", { class: needed > there ? "bad" : "" }, grouped(needed)),
      ` of ${grouped(there)} ${what}`);
  return el(
    "div",
    { class: "plan flow" },
    verdict(entry, plan.with_server, budget),
    speed(budget, plan.title),
    ...drawn,
    details("bytes", "Where the bytes are",
      el("ul", { class: "states" }, ...rows.map(figure),
        el("li", {}, `The weights: ${place(budget)}`)),
      el("div", { class: "scroll" }, ...tables)),
  );
}

function place({ weights, in_ram: copied }) {
  return PLACES[weights] ??
    (copied ? `in flash, ${grouped(copied)} bytes of them also in RAM, which is faster` : "in flash");
}

function speed({ speed: found }, board) {
  const about = found && `About ${grouped(found.with_waits)} tokens/s on a ${board}`;
  return found && el("p", {}, `${about} (an estimate, with its waits for the flash).`);
}

/** Whether it fits, in words; budget: with all its positions, there: with those that fit. */
function verdict(entry, budget, there) {
  const { fits, fits_flash, longest, file_context: whole, narrower } = budget;
  const [needed, heap] = [there.needed, there.heap].map(grouped);
  const takes = `${entry.name} takes ${needed} of ${heap} bytes of memory.`;
  // What the command line says of other lengths and caches is said for the page below.
  const all = budget.advice ?? [];
  const advice = all.slice(0, all.length - narrower.length)
    .filter((one) => !one.includes("--positions"));
  const smaller = narrower.at(-1);
  if (smaller) {
    const [options, n] = smaller;
    advice.push(`A smaller form, made on the PC, has room for ${many(n, "token")}: ` +
      `picoformer convert … ${options}.`);
  }
  if (fits) {
    return el("p", {}, el("b", { class: "good" }, budget.verdict), " ", takes);
  }
  if (fits_flash && longest > 0) {
    const words = entry.words ? ` (about ${Math.round((longest * entry.words) / 100)} words)` : "";
    const said = `It fits, with texts of up to ${longest} tokens in place of ${whole}${words}.`;
    return el("p", {}, el("b", { class: "good" }, said), " ", [takes, ...advice].join(" "));
  }
  return el("p", {}, el("b", { class: "bad" }, budget.verdict), " ", [takes, ...advice].join(" "));
}
