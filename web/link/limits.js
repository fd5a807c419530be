// Time limits of the link, in seconds; docs/protocol.md has their reasons.

export const limits = {
  RESEND: 1.5, // for a reply to a request that takes a board no time; then twice that, and so on
  REPLY: 12, // without a sign of life, for such a request
  FLASH: 60, // the same, where a board looks through its flash
  LOAD: 600, // the same, for a model to be checked and loaded, of which a board says nothing
  TOKEN: 600, // the same, for what a model computes
  QUIET: 60, // between two questions whether the board still lives
  STALL: 10, // without a READY, before a HELLO asks for it
  DRAIN: 0.1, // of silence, before an upload that went wrong is taken up again
  LEAVE: 3, // for what runs to be stopped, before the port is given back
  CHECK_RATE: 8000, // bytes a second that any board reads, to bound the time of a check
};

/** @returns {number} seconds that only grow */
export const clock = () => performance.now() / 1000;

/**
 * @param {number} seconds
 * @returns {Promise<void>}
 */
export const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
