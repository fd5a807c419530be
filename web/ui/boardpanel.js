// The board: connect, see what it is and what fits, send, talk, remove, disconnect.

import { choosePort, knownPorts, nameOf, unsupported } from "../link/serial.js";
import { commands, el, fresh, grouped, say, size, words } from "./dom.js";
import { fits } from "./fits.js";
import { Talk } from "./talk.js";

const [LEAST, SHORTER] = [8, 0.8]; // tokens that are worth trying; where so many do not fit
const MICROPYTHON = "https://micropython.org/download/";

/**
 * @typedef {{get: (file: string) => Promise<ArrayBuffer>, base: URL,
 *   plan: (data: ArrayBuffer, board: any, options?: {context: number}) => Promise<any>,
 *   count: (data: ArrayBuffer, context: number, task: string, text: any) =>
 *     Promise<{tokens: number, room: number}>,
 *   boards: () => Promise<{name: string, title: string}[]>,
 *   beside: (entry: import("./models.js").Entry) => import("./talk.js").Runner}} Page
 *   plan: what a model takes on a board, which is a name of `boards` or a Board's info; beside: a model of the page as it runs in the browser
 */

export class BoardPanel {
  #board = null;
  #entry = null; // the model that is chosen above
  #entries = new Map(); // models of the page, by name
  #used = ""; // the model of the form below
  #changing = false; // while the port is opened or given back
  #imagined = "pico"; // the board that is planned for while there is none
  #abort = null; // of what is sent

  /**
   * @param {HTMLElement} node
   * @param {Page} page
   */
  constructor(node, page) {
    this.page = page;
    this.panel = el("div", { class: "panel" });
    this.error = el("p", { class: "error", role: "alert" });
    this.form = el("div", { class: "panel", hidden: true });
    this.talk = new Talk(this.form, page.get);
    node.replaceChildren(this.panel, this.form);
    for (const event of ["connect", "disconnect"]) {
      navigator.serial?.addEventListener(event, () => this.#board || this.#changing || this.#idle());
    }
    this.#idle();
  }

  /** The model that is chosen above. @param {import("./models.js").Entry} entry */
  chosen(entry) {
    this.#entry = entry;
    this.#entries.set(entry.name, entry);
    if (this.#board && !this.#abort) {
      this.#show();
    } else if (this.planned) {
      this.#plan(entry, this.planned, this.#imagined);
    }
  }

  /** Models that the page has. @param {import("./models.js").Entry[]} entries */
  offers(entries) {
    for (const entry of entries) {
      this.#entries.set(entry.name, entry);
    }
  }

  /** Reads files of the site's runtime/. */
  get #source() {
    return async (path) => {
      const answer = await fetch(new URL(`runtime/${path}`, this.page.base));
      if (!answer.ok) {
        throw new Error(`${answer.status}`);
      }
      return answer.arrayBuffer();
    };
  }

  // Without a board

  async #idle(error) {
    const why = unsupported();
    if (why) {
      this.panel.replaceChildren(
        el("p", {}, why),
        commands("picoformer deploy stories.pft\n" +
          'picoformer generate --model stories --prompt "Once upon a time"'),
        this.#imagine(),
      );
      return;
    }
    const ports = await knownPorts().catch(() => []);
    if (this.#board) {
      return;
    }
    const chose = error?.code !== "cancelled"; // else nothing is wrong
    this.error = el("p", chose ? { class: "error", role: "alert" } : { class: "note" },
      error ? words(error) : "");
    const known = ports.map((port) =>
      el("button", { type: "button", class: "main", click: () => this.#connect(async () => port) },
        `Connect to ${nameOf(port)}`));
    const other = el("button", {
      type: "button", class: known.length ? "" : "main", click: () => this.#connect(choosePort),
    }, known.length ? "Another board …" : "Connect a board …");
    this.panel.replaceChildren(
      el("p", {}, "Plug in a board with MicroPython 1.24 or newer: a Raspberry Pi Pico, an ESP32, or " +
        "the like. Nothing on it changes before you send something; a program that runs there is " +
        "interrupted."),
      el("p", { class: "note" }, "No MicroPython on it yet? ",
        el("a", { href: MICROPYTHON }, "micropython.org/download"), " has the file for each board, " +
        "and how to put it there."),
      el("div", { class: "row" }, ...known, other),
      this.error,
      !chose ? el("button", {
        type: "button", click: () => this.#connect(() => choosePort({ all: true })),
      }, "Choose among all ports …") : "",
      this.#imagine(),
    );
  }

  /** Whether the chosen model would fit a board that is not there. */
  #imagine() {
    const id = fresh("board");
    const select = el("select", {
      id,
      change: () => {
        this.#imagined = select.value;
        this.#plan(this.#entry, planned, this.#imagined);
      },
    });
    select.append(el("option", {}, "Raspberry Pi Pico"));
    this.planned = null; // while nobody looks
    const planned = el("div");
    const node = el("div", { class: "check flow" },
      el("div", { class: "row" },
        el("label", { class: "field", for: id }, "Will it fit? On a"), select),
      planned);
    const begin = async () => {
      const boards = await this.page.boards();
      select.replaceChildren(...boards.map(({ name, title }) =>
        el("option", { value: name, selected: name === this.#imagined }, title)));
      this.planned = planned;
      if (this.#entry) {
        await this.#plan(this.#entry, planned, this.#imagined);
      }
    };
    // The engine does one thing at a time: it plans when somebody comes here.
    const seen = new IntersectionObserver(([{ isIntersecting }]) => {
      if (isIntersecting) {
        seen.disconnect();
        begin().catch(() => node.remove()); // what is wrong with the engine is said above
      }
    });
    seen.observe(node);
    return node;
  }

  async #connect(choose) {
    if (this.#changing) {
      return;
    }
    this.#changing = true;
    try {
      this.error.textContent = "";
      const port = await choose();
      const status = el("p", { role: "status" }, "Connecting …");
      this.panel.replaceChildren(status);
      const onStatus = (text) => (status.textContent = text);
      const { Board } = await import("../link/board.js");
      const board = await Board.connect(port, { source: this.#source, onStatus });
      this.#board = board;
      board.ondisconnect = (reason) => this.#gone(reason);
      this.form.hidden = true; // it was the other connection's
      this.#show();
      this.panel.querySelector("h3").focus();
      say(`Connected: ${board.info.machine}`);
    } catch (error) {
      await this.#idle(error);
      this.panel.querySelector("button")?.focus();
    } finally {
      this.#changing = false;
    }
  }

  /** The connection has ended; the form stays, with what it has. */
  #gone(reason) {
    this.#board = null;
    this.#abort = null;
    this.#idle(reason);
  }

  async #disconnect() {
    const board = this.#board;
    this.#board = null;
    this.#changing = true;
    this.panel.replaceChildren(el("p", { role: "status" }, "Giving the port back …"));
    await this.talk.stop();
    await board.disconnect().catch(() => {});
    this.#changing = false;
    await this.#idle();
    this.panel.prepend(el("p", { role: "status" },
      "Disconnected: Thonny, mpremote and picoformer can have the port."));
    this.panel.querySelector("button")?.focus();
  }

  // With a board

  #show(error) {
    const { info } = this.#board;
    const { runtime } = info;
    this.error = el("p", { class: "error", role: "alert" }, error ? words(error) : "");
    this.progress = el("div", { class: "flow", hidden: true });
    const fact = (name, value) => [el("dt", {}, name), el("dd", {}, value)];
    const installed = runtime.installed
      ? `${runtime.version || "there"}, ${runtime.current ? "up to date" : "not up to date"}`
      : "not there yet: it comes with the first model";
    this.panel.replaceChildren(
      el("div", { class: "row" },
        el("h3", { tabindex: -1 }, info.machine),
        el("button", { type: "button", class: "end", click: () => this.#disconnect() }, "Disconnect")),
      el("dl", { class: "facts" },
        ...fact("MicroPython", info.micropython),
        ...fact("Memory", `${grouped(info.freeHeap)} bytes free, ${grouped(info.largest)} of them in one piece`),
        ...fact("Flash", `${size(info.freeFlash)} free`),
        ...fact("Runtime", installed)),
      this.#offer(),
      this.progress,
      this.error,
      info.notice ? el("p", { class: "note" }, info.notice) : "",
      this.#models(),
    );
  }

  /** What can be sent. */
  #offer() {
    const { info } = this.#board;
    const { runtime, models } = info;
    const update = runtime.installed && !runtime.current &&
      el("button", { type: "button", click: () => this.#install() }, "Update the runtime");
    const entry = this.#entry;
    const offer = el("div", { class: "offer flow" });
    const there = entry && models.find((m) => m.name === entry.name && m.state === "whole");
    const row = el("div", { class: "row" },
      entry && el("button", {
        type: "button", class: there ? "" : "main", click: () => this.#send(entry),
      }, `Send ${entry.name}${there ? " again" : ""} (${size(entry.bytes)})`),
      update);
    offer.append(row);
    if (entry) {
      const plan = el("div");
      offer.prepend(plan);
      offer.append(el("p", { class: "note" }, `${entry.name} is the model that is chosen above.`));
      this.#plan(entry, plan, info);
    }
    return offer;
  }

  /** Put whether a model fits into an element. */
  async #plan(entry, node, board) {
    try {
      const data = await this.#data(entry);
      const plan = await this.page.plan(data, board);
      const { fits: whole, longest } = plan.with_server;
      const shorter = !whole && longest > 1 &&
        await this.page.plan(data, board, { context: longest });
      const current = board === this.#imagined || board === this.#board?.info;
      if (entry === this.#entry && current) {
        node.replaceChildren(fits(entry, plan, shorter || undefined));
      }
    } catch (error) {
      node.replaceChildren(el("p", { class: "note" }, words(error)));
    }
  }

  #models() {
    const { models } = this.#board.info;
    if (!models.length) {
      return el("p", { class: "soft" }, "There is no model on the board yet.");
    }
    const row = (model) => {
      const whole = model.state === "whole" && model.weights !== "host";
      return el("tr", {},
        el("th", { scope: "row" }, model.name),
        el("td", { class: "n" }, size(model.bytes)),
        el("td", { class: "n do" },
          whole
            ? el("button", {
              type: "button", "aria-label": `Try ${model.name} on the board`,
              click: () => this.#use(model.name),
            }, "Try it")
            : model.state, " ",
          el("button", {
            type: "button", "aria-label": `Remove ${model.name} from the board`,
            click: () => this.#remove(model.name),
          }, "Remove")));
    };
    return el("div", { class: "scroll" },
      el("table", {},
        el("caption", { class: "hidden" }, "Models on the board"),
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "On the board"),
          el("th", { class: "n", scope: "col" }, "Size"), el("td"))),
        el("tbody", {}, ...models.map(row))));
  }

  /** Do something with the board, with a bar; work: of {onProgress, signal}. */
  async #busy(what, work) {
    const board = this.#board;
    this.#abort = new AbortController();
    const bar = el("progress", { max: 1, value: 0, "aria-label": what });
    const line = el("p", {}, what);
    const cancel = el("button", { type: "button", click: () => this.#abort?.abort() }, "Cancel");
    this.progress.hidden = false;
    this.progress.replaceChildren(line, bar, cancel);
    this.error.textContent = "";
    const rest = [...this.panel.querySelectorAll("button")].filter((button) => button !== cancel);
    rest.forEach((button) => (button.disabled = true));
    cancel.focus();
    say(what);
    const onProgress = ({ done, total, what: sent }) => {
      const name = sent === "runtime" ? "The runtime" : sent;
      bar.max = total || 1;
      bar.value = done;
      line.textContent = `${name}: ${grouped(done)} of ${grouped(total)} bytes`;
    };
    let failed = null;
    try {
      await this.talk.stop();
      await work({ onProgress, signal: this.#abort.signal });
    } catch (error) {
      failed = error;
    }
    this.#abort = null;
    if (this.#board !== board) {
      return false; // it is gone, which was said
    }
    const stopped = failed?.code === "stopped" || failed?.name === "AbortError";
    this.#show(stopped ? undefined : failed);
    if (stopped) {
      this.error.className = "note";
      this.error.textContent = "Cancelled: sent again, it goes on from there.";
    }
    this.panel.querySelector(".offer button")?.focus();
    return !failed;
  }

  async #install() {
    const done = await this.#busy("Updating the runtime", (options) =>
      this.#board.install(this.#source, options));
    if (done) {
      say("The runtime is up to date");
    }
  }

  async #send(entry) {
    const done = await this.#busy(`Sending ${entry.name}`, async (options) => {
      await this.#board.deploy(entry.name, await this.#data(entry), options);
    });
    if (done) {
      say(`${entry.name} is on the board, verified`);
      await this.#use(entry.name);
    }
  }

  async #remove(name) {
    if (this.#used === name) {
      await this.talk.stop();
      this.form.hidden = true;
    }
    const done = await this.#busy(`Removing ${name}`, () => this.#board.remove(name));
    if (done) {
      say(`${name} is removed`);
    }
  }

  /** Load a model on the board, with as long texts as fit. */
  async #loaded(board, name, entry) {
    try {
      return await board.load(name);
    } catch (error) {
      if (error.code !== "no-memory") {
        throw error;
      }
      const whole = board.info.models.find((m) => m.name === name)?.context ?? 0;
      const plan = entry && await this.page.plan(await this.#data(entry), board.info);
      let context = Math.min(plan?.with_server.longest || whole, whole - 1);
      for (; context >= LEAST; context = Math.floor(context * SHORTER)) {
        try {
          return await board.load(name, { context });
        } catch (again) {
          if (again.code !== "no-memory") {
            throw again;
          }
        }
      }
      throw error;
    }
  }

  /** The bytes of a model. */
  async #data(entry) {
    return entry.data ?? this.page.get(entry.file);
  }

  /** Load a model on the board, and show its form. */
  async #use(name) {
    const board = this.#board;
    this.form.hidden = false;
    try {
      await this.talk.stop();
      this.talk.wait(`Loading ${name} on the board …`);
      const meta = await board.metadata(name);
      const entry = this.#entries.get(name);
      const loaded = await this.#loaded(board, name, entry);
      const said = (key) => (typeof meta[key] === "string" ? meta[key] : "");
      const about = {
        ...loaded, meta, title: said("name") || name, licence: said("licence"),
        sound: meta.sound ?? null,
      };
      const here = entry && this.page.beside(entry);
      const runners = here ? [onBoard(board, here), here] : [onBoard(board, null)];
      if (entry) {
        runners[0].count = async (task, text) =>
          this.page.count(await this.#data(entry), loaded.context, task, text);
      }
      this.#used = name;
      const whole = board.info.models.find((m) => m.name === name)?.context ?? 0;
      about.note = loaded.context < whole
        ? `On this board its texts have up to ${loaded.context} tokens in place of ${whole}: ` +
          "more do not fit."
        : "";
      await this.talk.show({ about, entry, runners });
      this.form.querySelector("h3").append(" on the board");
      this.form.querySelector("textarea, button")?.focus({ preventScroll: true });
      this.form.scrollIntoView({ block: "nearest" });
      say(`${name} is loaded on the board`);
    } catch (error) {
      this.talk.fail(error, () => this.#use(name));
    }
  }
}

/** A board's loaded model, as a form uses it; here: the same in the browser, which makes rows. */
function onBoard(board, here) {
  return {
    where: "the board",
    told: `${board.loaded.kernels} kernels on the board`,
    generate: (options, more) => board.generate(options, more),
    translate: (text, options, more) => board.translate(text, options, more),
    read: (task, input) => board.read(task, input),
    answer: (context, question) => board.answer(context, question),
    rows: here?.rows,
  };
}
