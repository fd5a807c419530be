// The engine's worker: it runs one task after the other, and hears "stop" between two steps.

import { PageError } from "../errors.js";
import { Interpreter } from "./interpreter.js";

/** @type {Promise<Interpreter>} */
let started;
let last = Promise.resolve();
const stopped = new Set(); // numbers of tasks that are to end
let held = ""; // the place of the loaded model's file

const { port1, port2 } = new MessageChannel();
let resume;
port1.onmessage = () => resume();

/** Let the messages in that have come; timers would wait for 4 ms. */
function breathe() {
  return new Promise((resolve) => {
    resume = resolve;
    port2.postMessage(0);
  });
}

function start(base) {
  const read = async (place) => {
    const url = new URL(place, base);
    let response;
    try {
      response = await fetch(url);
    } catch {
      throw new PageError(`The page cannot read its own file ${url}: is its host gone? Load the ` +
        "page again.", { code: "site" });
    }
    if (!response.ok) {
      throw new PageError(`The page's file ${url} is not there (${response.status}): the site is ` +
        "not complete; make it again.", { code: "site" });
    }
    return response.arrayBuffer();
  };
  return Interpreter.start(read);
}

/** Load a model from its bytes; a file that fails is not kept, and the one before stays. */
async function load(interpreter, { bytes, path, kernels, context }) {
  const files = interpreter.mp.FS;
  files.writeFile(path, new Uint8Array(bytes));
  try {
    const about = await interpreter.ask("load", { path, kernels, context });
    if (held) files.unlink(held);
    held = path;
    return about;
  } catch (e) {
    files.unlink(path);
    throw e;
  }
}

/** Run a task, and tell what it tells. */
async function run({ id, task, given, as }) {
  const interpreter = await started;
  const begun = performance.now();
  if (task === "load") {
    const about = await load(interpreter, given);
    postMessage({ id, value: { ...about, ms: performance.now() - begun } });
    return;
  }
  let first = 0;
  await breathe();
  if (stopped.has(id)) return;
  for await (let value of interpreter.steps(task, given)) {
    first ||= performance.now() - begun;
    if (as) value = interpreter.numbers(globalThis[as], value);
    const ms = performance.now() - begun;
    postMessage({ id, value, ms, first });
    await breathe();
    if (stopped.has(id)) break;
  }
}

onmessage = ({ data }) => {
  if (data.base) {
    started = start(data.base);
    started.then(() => postMessage({ ready: true }), (e) => fail(undefined, e));
  } else if (data.stop) {
    stopped.add(data.stop);
  } else {
    last = last.then(() => run(data)).then(
      () => postMessage({ id: data.id, end: true, stopped: stopped.delete(data.id) }),
      (e) => { stopped.delete(data.id); fail(data.id, e); },
    );
  }
};

/** Say what went wrong; broken: whether MicroPython may not be used any more. */
function fail(id, e) {
  const known = e instanceof PageError;
  postMessage({
    id, broken: !known, code: known ? e.code : "broken",
    error: known ? e.message : `The engine broke: ${e?.message ?? e}. Load the model again.`,
  });
}
