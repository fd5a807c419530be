// What is said to whoever uses the page, where something goes wrong.

/** An error whose message is a sentence for a person. */
export class PageError extends Error {
  /**
   * @param {string} message
   * @param {{code?: string, cause?: unknown, refused?: number, number?: number}} [options]
   *   code: what kind of error it is, a word for programs; refused, number: the code and the
   *   number of a board's ERROR (docs/protocol.md)
   */
  constructor(message, { code = "error", cause, refused = 0, number = 0 } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "PageError";
    this.code = code;
    this.refused = refused;
    this.number = number;
  }
}
