// The page: its models, the form of the one that is chosen, and the board.

import { Engine } from "./engine/engine.js";
import { PageError } from "./errors.js";
import { BoardPanel } from "./ui/boardpanel.js";
import { details, words } from "./ui/dom.js";
import { misplaced } from "./ui/kinds.js";
import { Models } from "./ui/models.js";
import { next } from "./ui/next.js";
import { Talk } from "./ui/talk.js";

const base = new URL(".", import.meta.url);
const kept = new Map(); // files of the models

/** A file of the page's models. @param {string} file */
async function get(file) {
  if (!kept.has(file)) {
    kept.set(file, fetched(`models/${file}`).then((answer) => answer.arrayBuffer()));
    kept.get(file).catch(() => kept.delete(file));
  }
  return kept.get(file);
}

async function fetched(place) {
  let answer;
  try {
    answer = await fetch(new URL(place, base));
  } catch {
    throw new PageError(`${place} does not come: is the page's server still there?`);
  }
  if (!answer.ok) {
    throw new PageError(`${place} is missing on the page's server (${answer.status}).`);
  }
  return answer;
}

const node = (id) => document.getElementById(id);
const talk = new Talk(node("here"), get);
const models = new Models(node("models"), choose);
const trouble = node("models-error");
let engine = null; // a promise of it
let latest = 0; // the number of the last choice
let loading = Promise.resolve(); // one at a time
let leave = null; // ends the load that runs
let shown = null; // the model that the engine has
let asked = null; // the model that was chosen last
const entries = new Map(); // models that can be chosen, by name

/** Load a model and show its form; what goes wrong is said there. */
async function choose(entry) {
  const mine = ++latest;
  trouble.textContent = "";
  asked = entry;
  name(entry);
  board.chosen(entry);
  try {
    await bring(entry, mine, (text) => talk.wait(text));
  } catch (error) {
    if (mine === latest) {
      talk.fail(error, () => choose(entry));
    }
  }
}

const address = (entry) => `#${encodeURIComponent(entry.name)}`;

/** Let the address name a model. */
function name(entry) {
  if (named() !== entry) {
    history.pushState(null, "", address(entry));
  }
}

/** The model that the address names. */
function named() {
  return [...entries.values()].find((entry) => address(entry) === location.hash);
}

for (const event of ["hashchange", "popstate"]) {
  addEventListener(event, () => {
    const entry = named();
    if (entry && entry !== asked) {
      models.choose(entry);
    }
  });
}

/** The engine; begun where it is not. */
function begun() {
  engine ??= Engine.start(base.href);
  engine.catch(() => (engine = null));
  return engine;
}

/**
 * Load a model, behind those that were asked for before, and show its form if none is since.
 * @param {import("./ui/models.js").Entry} entry
 * @param {number} mine the number of this choice
 * @param {(text: string) => void} wait is told what takes time
 */
function bring(entry, mine, wait) {
  leave?.abort();
  const { signal } = (leave = new AbortController());
  const load = async () => {
    if (mine !== latest) {
      return;
    }
    await talk.stop();
    wait(engine ? `Loading ${entry.name} …` : "Starting MicroPython …");
    const [running, data] = await Promise.all([begun(), entry.data ?? get(entry.file)]);
    wait(`Loading ${entry.name} …`);
    const before = shown;
    shown = null; // what is asked from now on is behind it
    let about;
    try {
      about = await running.load(data.slice(0), entry.name, { signal });
    } catch (error) {
      shown = running.broken ? null : before;
      throw error;
    }
    shown = entry;
    if (mine === latest) {
      await talk.stop();
      const runners = [here(running, entry, about)];
      await talk.show({ about, entry, runners, again: () => choose(entry) });
    }
    return about;
  };
  const done = loading.then(load);
  loading = done.catch(() => {});
  return done;
}

/** The engine, as a form uses it. */
function here(running, entry, { kernels }) {
  return {
    where: "this browser",
    quick: true,
    count: (task, text) => running.count(task, text),
    told: kernels === "wasm" ? "WebAssembly kernels" : "kernels in plain Python",
    generate: (options, more) => running.generate(options, more),
    translate: (text, options, more) => running.translate(text, options, more),
    read: (task, input) => running.read(task, input),
    answer: (context, question) => running.answer(context, question),
    rows: (samples) => running.rows(samples),
    listen: (samples, options, more) => running.listen(samples, options, more),
    check: (input, more) => check(running, entry.check, input, more),
  };
}

/** The same of a model that may have to be loaded first, as another form asks for it. */
function beside(entry) {
  const loaded = async () => {
    if (shown !== entry || (await engine)?.broken) {
      await models.choose(entry);
    }
    if (shown !== entry) {
      throw new PageError(`${entry.name} does not run in this browser; it says why above.`);
    }
    return here(await engine, entry, {});
  };
  const names = ["generate", "translate", "read", "answer", "rows", "listen", "check"];
  const calls = names.map((name) => [name, async (...given) => (await loaded())[name](...given)]);
  const told = "WebAssembly kernels in this browser";
  return { where: "this browser", told, ...Object.fromEntries(calls) };
}

/** Compare an input's integers, and those of the input that the simulator has read. */
async function check(running, recorded, input, more) {
  const own = input === null ? null : await running.check(null, input, more);
  const known = recorded || !own ? await running.check(recorded, undefined, more) : null;
  const both = [own, known].filter(Boolean);
  const sum = (name) => both.reduce((total, found) => total + found[name], 0);
  return {
    equal: both.every((found) => found.equal),
    compared: sum("compared"),
    kernelsMs: sum("kernelsMs"),
    portableMs: sum("portableMs"),
    recorded: known?.recorded ?? null,
  };
}

// Files of the user's

/** Take a file: a model, or what the model reads. @param {File} file */
async function open(file) {
  trouble.textContent = "";
  try {
    if (!file.name.toLowerCase().endsWith(".pft")) {
      const why = talk.about && misplaced(file, talk.about, [...entries.values()]);
      if (why) {
        throw new PageError(why);
      }
      await talk.drop(file);
      return;
    }
    const data = await file.arrayBuffer().catch(() => {
      throw new PageError(`${file.name} cannot be read: expected a model file, .pft.`);
    });
    const entry = {
      file: file.name, name: file.name.slice(0, -4), title: "", task: "", bytes: data.byteLength,
      licence: "", about: "", example: {}, check: null, data,
    };
    // What is shown stays until it is known to be a model.
    entry.href = URL.createObjectURL(new Blob([data]));
    const about = await bring(entry, ++latest, () => {}).catch((error) => {
      throw unusable(file.name, data, error);
    });
    Object.assign(entry, { title: about?.title || "", task: about?.task || "" });
    asked = entry;
    entries.set(entry.name, entry);
    name(entry);
    models.add(entry);
    models.mark(entry);
    board.chosen(entry);
  } catch (error) {
    const more = error.details ? details("trouble", "Details", error.details) : "";
    trouble.replaceChildren(words(error), more);
  }
}

/** What is wrong with a file that is to be a model; the runtime's own words are the details. */
function unusable(file, data, error) {
  if (error?.code !== "error") {
    return error;
  }
  const magic = [0x89, 0x50, 0x46, 0x54];
  const begins = [...new Uint8Array(data, 0, Math.min(4, data.byteLength))];
  const said = magic.every((byte, i) => begins[i] === byte)
    ? `${file} is damaged, or of another version of picoformer. Copy it or convert it again.`
    : `${file} is no picoformer model: picoformer convert makes a .pft file.`;
  return Object.assign(new PageError(said), { details: error.message });
}

node("own-file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) {
    open(file);
  }
});
let depth = 0;
const files = (event) => event.dataTransfer?.types.includes("Files");
const drops = {
  dragenter: () => document.body.classList.toggle("drop", ++depth > 0),
  dragleave: () => document.body.classList.toggle("drop", --depth > 0),
  dragover: () => {},
  drop: (event) => {
    depth = 0;
    document.body.classList.remove("drop");
    const [file] = event.dataTransfer.files;
    if (file) {
      open(file);
    }
  },
};
for (const [name, act] of Object.entries(drops)) {
  document.addEventListener(name, (event) => {
    if (files(event)) {
      event.preventDefault();
      act(event);
    }
  });
}

// Begin

next();
const board = new BoardPanel(node("board-panel"), {
  base,
  get,
  beside,
  plan: async (data, where, options) => (await begun()).plan(data, where, options),
  count: async (bytes, context, task, text) => (await begun()).count(task, text, { bytes, context }),
  boards: async () => (await begun()).boards(),
});

async function begin() {
  try {
    const list = await (await fetched("models/index.json")).json();
    for (const entry of list) {
      entry.href = new URL(`models/${entry.file}`, base).href;
      entries.set(entry.name, entry);
      models.add(entry);
    }
    board.offers(list);
    const first = named() ?? list[0];
    history.replaceState(null, "", address(first));
    await models.choose(first);
  } catch (error) {
    talk.fail(error, begin);
  }
}

begin();
