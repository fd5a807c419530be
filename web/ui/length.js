// Whether a text is longer than a model reads.

import { PageError } from "../errors.js";
import { grouped } from "./dom.js";

const worded = (text) => text.split(/\s+/).filter(Boolean).length;

/**
 * What to tell of a text of which a part is not read, "" where all of it is.
 * @param {import("./talk.js").About} about
 * @param {import("./talk.js").Runner} runner
 * @param {any} given what the form has
 * @returns {Promise<string>}
 * @throws {PageError} where the model cannot go on from it
 */
export async function tooLong({ task }, runner, given) {
  const text = typeof given === "string" ? given : given.context;
  if (text === undefined || !runner.count) {
    return "";
  }
  const { tokens, room } = await runner.count(task, given);
  if (tokens <= room || room < 1) {
    return "";
  }
  const about = `about ${grouped((worded(text) * room) / tokens)} words like these`;
  if (task === "generate") {
    const most = `the model reads at most ${room} (${about})`;
    throw new PageError(`The text is too long: ${grouped(tokens)} tokens, ${most}.`);
  }
  return `Only the first ${room} of ${grouped(tokens)} tokens (${about}) were read.`;
}
