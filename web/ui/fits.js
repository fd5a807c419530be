// Whether a model fits a board: the planner's words, its picture, and the figures behind it.

import { el, grouped } from "./dom.js";

/**
 * @param {string} name of the model
 * @param {any} plan as the engine gives it
 * @returns {Node}
 */
export function fits(name, plan) {
  const budget = plan.with_server;
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
    verdict(name, budget),
    ...drawn,
    el("details", {}, el("summary", {}, "Where the bytes are"),
      el("ul", { class: "states" }, ...rows.map(figure)),
      el("div", { class: "scroll" }, ...tables)),
  );
}

/** The planner's words, of which those for the command line are said for the page. */
function verdict(name, budget) {
  const { fits, fits_flash, longest, file_context: whole, needed, heap } = budget;
  const takes = `${name} takes ${grouped(needed)} of ${grouped(heap)} bytes of memory.`;
  const advice = (budget.advice ?? []).filter((one) => !one.includes("--positions"));
  if (fits) {
    return el("p", {}, el("b", { class: "good" }, budget.verdict), " ", takes);
  }
  if (fits_flash && longest > 0) {
    const more = `With all of them, ${takes} The page loads it with as many as fit.`;
    return el("p", {}, el("b", { class: "good" }, `It fits with ${longest} of its ${whole} positions.`),
      " ", [more, ...advice].join(" "));
  }
  return el("p", {}, el("b", { class: "bad" }, budget.verdict), " ", [takes, ...advice].join(" "));
}
