import { el } from "./dom.js";
export class BoardPanel {
  constructor(node) { node.append(el("p", {}, "…")); }
  chosen() {}
  offers() {}
}
