// What models read besides text, and the files that it comes in.

export const KINDS = {
  image: {
    one: "a picture", all: "pictures", does: "looks at pictures",
    names: /\.(png|jpe?g|webp|gif|bmp|avif|svg)$/i,
  },
  signal: { one: "a table", all: "signals", does: "reads motion", names: /\.(csv|tsv)$/i },
  sound: { one: "a sound", all: "sounds", does: "listens", names: /\.wav$/i },
};

/** What a file has, "" where that is not known. @param {File} file @returns {string} */
export const kindOf = (file) =>
  Object.keys(KINDS).find((kind) => KINDS[kind].names.test(file.name)) ?? "";

/** What a loaded model reads. @param {import("./talk.js").About} about @returns {string} */
export const readBy = ({ image, frames, sound }) =>
  image ? "image" : sound ? "sound" : frames ? "signal" : "";

/**
 * Why a model cannot take a file, "" where it can; entries: the page's models.
 * @param {File} file
 * @param {import("./talk.js").About} about
 * @param {import("./models.js").Entry[]} entries
 */
export function misplaced(file, about, entries) {
  const [kind, own] = [kindOf(file), readBy(about)];
  if (own && (!kind || kind === own)) {
    return ""; // the form says what is wrong with it
  }
  const reads = `${about.name} reads ${KINDS[own]?.all ?? "text"}`;
  if (!kind) {
    return `${file.name}: expected a model file, .pft; ${reads}, which is typed.`;
  }
  const other = entries.find(({ example }) => example?.[kind]);
  const { one, all } = KINDS[kind];
  const advice = other ? ` ${other.name} reads ${all}: choose it, and drop the file again.` : "";
  return `${file.name} is ${one}, and ${reads}.${advice}`;
}
