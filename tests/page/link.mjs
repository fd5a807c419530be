// What test_link.py asks of web/link/, in node: a name, and JSON on standard input and output.

import { readFile } from "node:fs/promises";
import * as bytes from "../../web/link/bytes.js";
import { Board } from "../../web/link/board.js";
import { Decoder, encodeRaw, encodeText } from "../../web/link/frames.js";
import { limits } from "../../web/link/limits.js";
import { Link } from "../../web/link/link.js";
import { filled, parse } from "../../web/link/literal.js";
import { Port } from "../../web/link/port.js";
import { probabilities } from "../../web/link/probabilities.js";
import { readers, wanted } from "../../web/link/runtime.js";
import * as serial from "../../web/link/serial.js";
import { Stops } from "../../web/link/stops.js";
import { CODES, KINDS } from "../../web/link/wire.js";
import { SocketPort } from "./serialport.mjs";

const hex = (data) => Buffer.from(data).toString("hex");
const unhex = (text) => new Uint8Array(Buffer.from(text, "hex"));
const plain = (value) => (value instanceof Map ? Object.fromEntries(value) : value);

/** What a promise gives, or what it fails with. */
async function outcome(promise) {
  try {
    return { value: await promise };
  } catch (error) {
    if (error.name !== "PageError") throw error;
    return { error: error.message, code: error.code };
  }
}

const scenarios = {
  numbers: () => ({ ...KINDS, ...CODES, limits }),

  frames: (cases) => cases.map(([kind, seq, body]) => {
    const text = encodeText(kind, seq, unhex(body));
    const back = new Decoder().feed(text);
    return {
      text: hex(text),
      raw: hex(encodeRaw(kind, seq, unhex(body))),
      back: back.map((f) => [f.kind, f.seq, hex(f.body)]),
      crc32: bytes.crc32(unhex(body)),
      base64: bytes.base64(unhex(body)),
    };
  }),

  decoder: ({ data }) => {
    const decoder = new Decoder();
    const frames = [...unhex(data)].flatMap((v) => decoder.feed(new Uint8Array([v])));
    const { ended } = decoder;
    decoder.feed(bytes.bytesOf("MPY: soft reboot\r\n"));
    return { frames: frames.map((f) => [f.kind, f.seq, hex(f.body)]), ended, then: decoder.ended };
  },

  literals: (texts) => texts.map((text) => plain(parse(text))),
  filled: (cases) => cases.map(([script, values]) => filled(script, values)),
  probabilities: (cases) => cases.map((c) => probabilities(c.logits, c.bits, c.several)),

  stops: (cases) => cases.map(([pieces, stop]) => {
    const stops = new Stops(stop);
    let said = "";
    for (const piece of pieces) {
      said += stops.feed(piece);
      if (stops.met) break;
    }
    return said + stops.rest();
  }),

  runtime: ({ boards, platforms }) => platforms.map(({ sections, ...platform }) => {
    const modules = sections && readers(boards, sections.map(unhex));
    const { files, notice } = wanted(boards, platform, modules);
    return { files: Object.fromEntries(files.map((f) => [f.name, f.crc32])), notice };
  }),

  browser: async () => {
    const none = await outcome(serial.choosePort());
    const port = { getInfo: () => ({ usbVendorId: 0x2e8a, usbProductId: 5 }) };
    const asked = [];
    const fake = {
      requestPort: async (options) => {
        asked.push(options);
        if (asked.length < 3) return port;
        throw new DOMException("No port selected by the user.", "NotFoundError");
      },
      getPorts: async () => [port],
    };
    const value = { serial: fake };
    Object.defineProperty(globalThis, "navigator", { value, configurable: true });
    const name = serial.nameOf(await serial.choosePort());
    await serial.choosePort({ all: true });
    const cancelled = await outcome(serial.choosePort());
    const known = (await serial.knownPorts()).length;
    const taken = await outcome(new Port({
      open: async () => {
        throw new DOMException("Failed to open serial port.", "NetworkError");
      },
    }).open());
    const filters = asked[0].filters.length;
    return { none, name, filters, all: asked[1], cancelled, known, taken };
  },

  // A port that another connection of the page has; one that goes while it is looked at.
  ports: async ({ site }) => {
    const events = [];
    let open = false;
    const shared = {
      open: async () => {
        if (open) throw new DOMException("The port is already open.", "InvalidStateError");
        open = true;
        shared.readable = new ReadableStream();
        shared.writable = new WritableStream();
      },
      close: async () => {
        events.push("closed");
        open = false;
      },
    };
    const first = new Port(shared);
    await first.open();
    const source = async (path) => (await readFile(`${site}/${path}`)).buffer;
    const second = await outcome(Board.connect(shared, { source }));
    events.push(open);
    await Promise.all([first.close(), first.close().then(() => events.push(open))]);
    const missing = async () => {
      throw new Error("404");
    };
    return { second, events, page: await outcome(Board.connect(shared, { source: missing })) };
  },

  // What a board says that prints something else meanwhile.
  noise: (texts) => Promise.all(texts.map((text) => outcome(Promise.resolve().then(() => parse(text))))),

  // A board's server behind a socket, without a REPL.
  server: async ({ port, quick, form, does }) => {
    Object.assign(limits, quick);
    const serialPort = new SocketPort(port);
    const line = new Port(serialPort);
    await line.open();
    const link = new Link(line);
    const told = [];
    try {
      await link.start(20);
      Object.assign(link.hello, form);
      for (const [what, ...args] of does) told.push(await outcome(steps[what](link, ...args)));
    } finally {
      await line.close();
    }
    return told;
  },

  // A board behind a socket, from the first byte on.
  board: async ({ port, site, does, cutAt, resetAt, quick }) => {
    Object.assign(limits, quick);
    const source = async (path) => {
      const data = await readFile(`${site}/${path}`);
      return data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
    };
    const told = [];
    const serialPort = new SocketPort(port);
    const statuses = [];
    const board = await Board.connect(serialPort, { source, onStatus: (s) => statuses.push(s) });
    let reason = null;
    let open = null; // whether the port still was when that was said
    board.ondisconnect = (error) => {
      reason = error.message;
      open = serialPort.readable !== null;
    };
    if (cutAt) serialPort.cutAt = serialPort.sent + cutAt;
    if (resetAt) serialPort.resetAt = serialPort.sent + resetAt;
    try {
      for (const [what, ...args] of does) {
        told.push(await outcome(deeds[what](board, ...args)));
      }
    } finally {
      await board.disconnect();
    }
    return { told, statuses, reason, open, closed: serialPort.readable === null,
      reset: serialPort.resetAt === Infinity };
  },
};

const steps = {
  ping: async (link, text) => bytes.textOf(await link.ping(bytes.utf8(text))),
  models: (link) => link.models(),
  info: (link) => link.info(),
  remove: (link, name) => link.remove(name),
  load: (link, name) => link.load(name),
  bye: (link) => link.bye(),
  request: async (link, kind, body) => hex(await link.request(kind, unhex(body))),
  upload: async (link, name, file, stopAt) => {
    const seen = [];
    const control = new AbortController();
    const onProgress = (done, total) => {
      seen.push([done, total]);
      if (done >= stopAt) control.abort();
    };
    const data = new Uint8Array(await readFile(file));
    const resumed = await link.upload(name, data, { onProgress, signal: control.signal });
    return { resumed, seen };
  },
  text: async (link, prompt, options, stopAfter) => {
    const text = await link.text(prompt, options);
    const pieces = [];
    for await (const piece of text.pieces()) {
      pieces.push(piece);
      if (pieces.length === stopAfter) break;
    }
    return { pieces, stats: text.stats };
  },
  logits: async (link, tokens) => [...(await link.logits(tokens))],
  labels: (link) => link.labels(),
  read: async (link, text, task) => [...(await link.read(text, task))],
};

/** Typed arrays as lists. */
const listed = (result) => Object.fromEntries(Object.entries(result).map(([key, value]) =>
  [key, ArrayBuffer.isView(value) ? [...value] : value]));

const read = async (file) => new Uint8Array(await readFile(file));
/** Progress, the first and the last of each thing. */
const progress = () => {
  const seen = [];
  return { seen, onProgress: (at) => seen.push(at) };
};

const deeds = {
  info: async (board) => structuredClone(board.info),
  install: async (board, stopAt) => {
    const { seen, onProgress } = progress();
    const control = new AbortController();
    const look = (at) => {
      onProgress(at);
      if (at.done >= stopAt) control.abort();
    };
    const written = await board.install(undefined, { onProgress: look, signal: control.signal });
    return { written, seen, runtime: { ...board.info.runtime } };
  },
  deploy: async (board, name, file, stopAt) => {
    const { seen, onProgress } = progress();
    const control = new AbortController();
    const look = (at) => {
      onProgress(at);
      if (at.what === name && at.done >= stopAt) control.abort();
    };
    const { resumed } = await board.deploy(name, await read(file), {
      onProgress: look, signal: control.signal,
    });
    return { resumed, seen, models: [...board.info.models] };
  },
  load: (board, name, options) => board.load(name, options),
  generate: async (board, request, stopAfter) => {
    const pieces = [];
    const control = new AbortController();
    const onText = (text) => {
      pieces.push(text);
      if (pieces.length === stopAfter) control.abort();
    };
    const written = await board.generate(request, { onText, signal: control.signal });
    return { ...written, pieces };
  },
  busy: async (board, request) => {
    let begun;
    const first = new Promise((done) => (begun = done));
    const text = board.generate(request, { onText: begun });
    await first;
    const second = await outcome(board.classify("x"));
    await board.stop();
    return { second, stopped: (await text).stopped };
  },
  classify: (board, input) => board.classify(input),
  pixels: (board, input) => board.classify(new Uint8Array(input)),
  rows: (board, input, task) => board.read(task, Int16Array.from(input)).then(listed),
  embed: (board, input) => board.embed(input).then(listed),
  tag: (board, text) => board.tag(text),
  translate: (board, text, request) => board.translate(text, request),
  answer: (board, context, question) => board.answer(context, question),
  logits: async (board, tokens) => [...(await board.logits(tokens))],
  metadata: (board, name) => board.metadata(name),
  remove: async (board, name) => {
    await board.remove(name);
    return board.info.models;
  },
  hurry: async (board, request) => { // the port is wanted back at once
    limits.LEAVE = 0;
    let end;
    await new Promise((begun) => (end = outcome(board.generate(request, { onText: begun }))));
    await board.disconnect();
    return end;
  },
  leave: async (board, request) => { // a page that is closed in the middle of a text
    await new Promise((begun) => {
      board.generate(request, { onText: begun }).catch(() => {});
    });
    process.stdout.write("{}");
    process.exit(0);
  },
};

let input = "";
for await (const chunk of process.stdin) input += chunk;
const said = await scenarios[process.argv[2]](JSON.parse(input || "null"));
process.stdout.write(JSON.stringify(said), () => process.exit(0));
