// A text that ends in front of a stop text.

/**
 * What is said of a text, up to the stop text that is complete first; that one is not said. What
 * may be the beginning of one waits until that is settled.
 */
export class Stops {
  #texts;
  #waits = "";

  /** @param {string | string[] | undefined | null} texts */
  constructor(texts) {
    this.#texts = (Array.isArray(texts) ? texts : [texts]).filter((text) => text);
    /** Whether a stop text has come. */
    this.met = false;
  }

  /**
   * @param {string} piece
   * @returns {string} what is settled
   */
  feed(piece) {
    this.#waits += piece;
    let first = null; // where it ends, and where it begins
    for (const text of this.#texts) {
      const i = this.#waits.indexOf(text);
      const end = i + text.length;
      if (i >= 0 && (!first || end < first[0] || (end === first[0] && i < first[1]))) {
        first = [end, i];
      }
    }
    let settled = 0;
    if (first) {
      this.met = true;
      settled = first[1];
    } else {
      const begins = (at) => this.#texts.some((text) => text.startsWith(this.#waits.slice(at)));
      while (settled < this.#waits.length && !begins(settled)) settled++;
    }
    const said = this.#waits.slice(0, settled);
    this.#waits = this.#waits.slice(settled);
    return said;
  }

  /** What still waits when the text has ended. @returns {string} */
  rest() {
    return this.met ? "" : this.#waits;
  }
}
