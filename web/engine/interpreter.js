// MicroPython with the runtime of boards, and its kernels as WebAssembly on the same memory. It
// runs wherever JavaScript does: in worker.js for the page, in node for tests.

import { PageError } from "../errors.js";

const HEAP = 4 << 20; // bytes that MicroPython begins with; it takes more when it needs them
const STACK = 64 << 10; // bytes of Python's own stack

export class Interpreter {
  /**
   * @param {(place: string) => Promise<ArrayBuffer>} read gives a file of the site
   */
  static async start(read) {
    if (typeof WebAssembly !== "object") {
      throw new PageError("This browser runs no WebAssembly, without which there is no model: " +
        "take a newer one.", { code: "browser" });
    }
    const self = new Interpreter();
    self.read = read;
    self.printed = "";
    const [python, kernels] = await Promise.all([
      read("engine/engine.py"), read("engine/kernels.wasm"), self.#micropython(),
    ]);
    const { instance } = await WebAssembly.instantiate(kernels, { env: { memory: self.memory } });
    const family = {};
    for (const [name, what] of Object.entries(instance.exports)) {
      family[name] = typeof what === "function" ? what : what.value;
    }
    self.mp.registerJsModule("page", { kernels: family, now: () => performance.now() });
    await self.#install("runtime/sources.json", "/lib/picoformer");
    self.mp.FS.writeFile("/lib/engine.py", new Uint8Array(python));
    self.mp.runPython("import sys\nsys.path.append('/lib')\nimport engine\n");
    const engine = self.mp.pyimport("engine");
    self.begin = engine.begin;
    self.step = engine.step;
    self.end = engine.end;
    self.files = 0;
    return self;
  }

  /** Put the modules of a file of the site into a folder of MicroPython's. */
  async #install(place, folder) {
    const { files } = JSON.parse(new TextDecoder().decode(await this.read(place)));
    this.mp.FS.mkdirTree(folder);
    for (const [name, source] of Object.entries(files)) {
      this.mp.FS.writeFile(`${folder}/${name}`, source);
    }
  }

  /** The same of the planner, which has modules of its own; once. */
  #planner() {
    this.planner ??= this.#install("plan/sources.json", "/lib/plan").catch((e) => {
      this.planner = undefined;
      throw e;
    });
    return this.planner;
  }

  /** Start MicroPython, and keep its memory, which it shows nobody. */
  async #micropython() {
    const { instantiate, instantiateStreaming } = WebAssembly;
    const seen = (begun) => async (...given) => {
      const made = await begun.apply(WebAssembly, given);
      this.memory = (made.instance ?? made).exports.memory;
      return made;
    };
    WebAssembly.instantiate = seen(instantiate);
    if (instantiateStreaming) WebAssembly.instantiateStreaming = seen(instantiateStreaming);
    try {
      const { loadMicroPython } = await import("../micropython/micropython.mjs");
      this.mp = await loadMicroPython({
        pystack: STACK, heapsize: HEAP, stdout: (line) => { this.printed += `${line}\n`; },
      });
    } finally {
      Object.assign(WebAssembly, { instantiate, instantiateStreaming });
    }
  }

  /**
   * What a task of engine.py tells, one thing after the other. Whoever takes no more of it ends
   * the task.
   * @param {string} task
   * @param {object} given its arguments; typed arrays become memory of MicroPython's for so long
   */
  async *steps(task, given) {
    const held = [];
    if (task === "plan" || task === "boards") await this.#planner();
    try {
      const put = (_, value) => {
        if (!ArrayBuffer.isView(value)) return value;
        const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
        const at = this.mp._module._malloc(bytes.length || 1);
        if (!at) {
          throw new PageError(`There is no memory for ${bytes.length} bytes in this page.`, {
            code: "memory",
          });
        }
        held.push(at);
        new Uint8Array(this.memory.buffer, at, bytes.length).set(bytes);
        return { at, bytes: bytes.length };
      };
      this.begin(task, JSON.stringify(given, put));
      for (;;) {
        const said = this.step();
        if (!said) return;
        const { value, error, code } = JSON.parse(said);
        if (error !== undefined) throw new PageError(error, { code });
        yield value;
      }
    } finally {
      this.end();
      for (const at of held) this.mp._module._free(at);
    }
  }

  /** The one thing that a task tells. */
  async ask(task, given) {
    for await (const value of this.steps(task, given)) return value;
  }

  /** The numbers of an array that a task gave; they are there until its next step. */
  numbers(Kind, { at, length }) {
    return new Kind(this.memory.buffer, at, length).slice();
  }
}
