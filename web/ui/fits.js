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
    el("p", {},
      el("b", { class: budget.fits ? "good" : "bad" }, budget.verdict),
      [` ${name} takes ${grouped(budget.needed)} of ${grouped(budget.heap)} bytes of memory.`,
        ...budget.advice ?? []].join(" ")),
    ...drawn,
    el("details", {}, el("summary", {}, "Where the bytes are"),
      el("ul", { class: "states" }, ...rows.map(figure)),
      el("div", { class: "scroll" }, ...tables)),
  );
}
