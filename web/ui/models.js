// The models to choose from, as cards.

import { el } from "./dom.js";

const DOES = {
  generate: "writes text", classify: "sorts", translate: "translates", answer: "answers questions",
  embed: "makes vectors of text", tag: "labels words", predict: "predicts numbers",
};
const READS = { image: "looks at pictures", signal: "reads motion", sound: "listens" };

/** What a model does, in two words. */
function does({ task, example }) {
  const read = Object.keys(READS).find((kind) => example?.[kind]);
  return read ? READS[read] : task === "classify" ? "sorts text" : DOES[task] ?? task;
}

/**
 * A model of the page, as models/index.json has it, or `data`: one that was opened.
 * @typedef {{file: string, name: string, title: string, task: string, bytes: number,
 *   licence: string, about: string, example: Record<string, string>, check: any,
 *   data?: ArrayBuffer}} Entry
 */

export class Models {
  /**
   * @param {HTMLElement} node the fieldset
   * @param {(entry: Entry) => void} onchoose
   */
  constructor(node, onchoose) {
    this.node = node;
    this.onchoose = onchoose;
  }

  /** Add a card. @param {Entry} entry */
  add(entry) {
    this.node.querySelector(`[value="${CSS.escape(entry.name)}"]`)?.closest("label").remove();
    const input = el("input", {
      type: "radio", name: "model", value: entry.name, change: () => this.onchoose(entry),
    });
    const what = entry.data ? "yours" : does(entry);
    this.node.append(el("label", {}, input, el("b", {}, entry.name), el("span", {}, what)));
    return input;
  }

  /** Add a card, choose it and load its model. @param {Entry} entry */
  choose(entry) {
    const input = this.add(entry);
    input.checked = true;
    this.onchoose(entry);
  }
}
