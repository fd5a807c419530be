import { el } from "./dom.js";
export function fits(name, plan) { return el("p", {}, JSON.stringify(plan)); }
