// The models to choose from, as cards.

import { el } from "./dom.js";
import { KINDS } from "./kinds.js";

const DOES = {
  generate: "writes text", classify: "sorts", translate: "translates", answer: "answers questions",
  embed: "makes vectors of text", tag: "labels words", predict: "predicts numbers",
};

/** What a model does, in two words. */
function does({ task, example }) {
  const read = Object.keys(KINDS).find((kind) => example?.[kind]);
  return read ? KINDS[read].does : task === "classify" ? "sorts text" : DOES[task] ?? task;
}

/**
 * A model of the page, as models/index.json has it, or `data`: one that was opened.
 * @typedef {{file: string, name: string, title: string, task: string, bytes: number,
 *   licence: string, about: string, example: Record<string, string>, check: any,
 *   data?: ArrayBuffer, href?: string, reads?: string, rate?: number, words?: number}} Entry
 *   href: from where it can be saved; reads, rate: what a signal has to be, and its rows a second;
 *   words: about how many of plain English a hundred tokens are
 */

export class Models {
  /**
   * @param {HTMLElement} node the fieldset
   * @param {(entry: Entry) => Promise<void>} onchoose loads it
   */
  constructor(node, onchoose) {
    this.node = node;
    this.onchoose = onchoose;
  }

  /** Add a card, in the place of one of this name. @param {Entry} entry */
  add(entry) {
    const input = el("input", {
      type: "radio", name: "model", value: entry.name, change: () => this.onchoose(entry),
    });
    const what = entry.data ? entry.title || "yours" : does(entry);
    const card = el("label", {}, input, el("b", {}, entry.name), el("span", {}, what));
    const before = this.#input(entry)?.closest("label");
    if (before) {
      before.replaceWith(card);
    } else {
      this.node.append(card);
    }
  }

  /** Choose a model that has a card, and wait until it is loaded. @param {Entry} entry */
  choose(entry) {
    this.mark(entry);
    return this.onchoose(entry);
  }

  /** Show that a model is chosen. @param {Entry} entry */
  mark(entry) {
    this.#input(entry).checked = true;
  }

  #input({ name }) {
    return this.node.querySelector(`[value="${CSS.escape(name)}"]`);
  }
}
