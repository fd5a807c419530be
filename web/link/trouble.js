// What lies behind a board's error, and the remedy: looked for on the board, when it has failed.

import { PageError } from "../errors.js";
import { filled, parse } from "./literal.js";

const OURS = "picoformer";

/** The files in the place of modules, by the module's name, and the board's sys.path. */
async function hiders(repl, boards, names = boards.modules) {
  const [found, path] = parse((await repl.run(filled(boards.scripts.hiders, names))).trim());
  return [new Map(found.filter(([, file]) => file !== boards.rules.folder)), path];
}

/** The error that files in the place of modules are. */
function hidden(found, folder) {
  if (!found.size) return null;
  const files = [...found.values()].sort();
  const file = found.get(OURS) ?? files[0];
  const others = [...new Set(files)].filter((other) => other !== file);
  const what = found.has(OURS)
    ? `the runtime in ${folder}`
    : `MicroPython's module ${[...found].find(([, f]) => f === file)[0]}`;
  return new PageError(
    `${file} on the board hides ${what}, which picoformer imports: rename it` +
      (others.length ? ` (${others.join(", ")} may do the same).` : "."),
    { code: "deploy" },
  );
}

/** Raises PageError where another picoformer on the board is found before ours. */
export async function check(repl, boards) {
  const error = hidden((await hiders(repl, boards, [OURS]))[0], boards.rules.folder);
  if (error) throw error;
}

/**
 * What lies behind an error that a board has reported; null where it is nothing known.
 * @param {import("./repl.js").Repl} repl in the raw REPL
 * @param {any} boards
 * @param {string} said the error, or the traceback of one
 * @returns {Promise<PageError | null>}
 */
export async function explain(repl, boards, said) {
  const { folder } = boards.rules;
  const number = /OSError(?:: |\()(?:\[Errno )?(\d+)/.exec(said);
  if (number) return refused(repl, boards, Number(number[1]));
  if (said.includes("incompatible .mpy")) {
    const [found] = await hiders(repl, boards);
    const compiled = new Map([...found].filter(([, file]) => file.endsWith(".mpy")));
    return hidden(compiled, folder) ?? new PageError(
      "The files of picoformer on the board are for another firmware or processor: install it " +
        "anew.",
      { code: "no-runtime" },
    );
  }
  if (!/(Import|Attribute|Name|Type|Syntax|Value)Error|needs more of the/.test(said)) return null;
  const [found, path] = await hiders(repl, boards);
  const error = hidden(found, folder);
  if (error) return error;
  if (said.includes(OURS) && said.includes("no module named") && !path.includes("/lib")) {
    return new PageError(
      `The board's sys.path is ${path.join(", ")}, without /lib, where picoformer is: look in ` +
        "its boot.py.",
      { code: "no-runtime" },
    );
  }
  return null;
}

/** What it means that a file could not be written. */
async function refused(repl, boards, number) {
  if (number === 28) return new PageError("The board's flash is full.", { code: "no-space" });
  if ([1, 13, 30].includes(number)) {
    const boot = (await repl.run(boards.scripts.boot)).trim() === "True";
    return new PageError(
      "The board's filesystem is read-only: " +
        (boot
          ? "its boot.py mounts it so. Mount it to be written, in the REPL, and take that out " +
            "of /boot.py."
          : "something has mounted it so, or it is write-protected. A reset may mend that."),
      { code: "read-only", number },
    );
  }
  if ([5, 19].includes(number)) {
    const why = number === 5 ? "its flash does not answer" : "none is mounted";
    return new PageError(
      `The board has no filesystem that works (${why}): reset it; if that does not help, erase ` +
        "its flash and flash MicroPython anew.",
      { code: "read-only", number },
    );
  }
  if ([17, 20].includes(number)) {
    return new PageError(
      `A file on the board is in the place of the folder ${boards.rules.folder}, or of /lib: ` +
        "rename it.",
      { code: "deploy", number },
    );
  }
  return null;
}
