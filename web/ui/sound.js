// A sound: from a .wav, or from the microphone.

import { PageError } from "../errors.js";
import { el, say, words } from "./dom.js";
import { wave } from "./charts.js";
import { fileButton } from "./files.js";
import { recorded, sound } from "./sounds.js";

const LONGEST = 10; // seconds of a recording
const RECORD = "Record";

export class SoundInput {
  constructor(about, get) {
    const { rate, window, hop } = about.sound;
    this.rate = rate;
    /** Samples that the model reads at once. */
    this.most = window + (about.frames[0] - 1) * hop;
    this.get = get;
    this.samples = null;
    this.chart = el("div");
    this.note = el("p", { class: "note", role: "status" });
    this.error = el("p", { class: "error", role: "alert" });
    const can = navigator.mediaDevices?.getUserMedia && globalThis.AudioWorkletNode;
    this.button = can && el("button", { type: "button", click: () => this.record() }, RECORD);
    this.node = el(
      "div",
      { class: "flow" },
      this.chart,
      el("div", { class: "row" },
        fileButton("Choose a .wav …", ".wav,audio/wav", (file) => this.drop(file)), this.button,
        this.note),
      this.error,
    );
  }

  async drop(file) {
    try {
      this.error.textContent = "";
      this.show(sound(await file.arrayBuffer(), file.name, this.rate), file.name);
      this.onchange?.();
    } catch (error) {
      this.error.textContent = words(error);
    }
  }

  async fill(example) {
    if (example.sound) {
      this.show(sound(await this.get(example.sound), example.sound, this.rate), example.sound);
    }
  }

  async record() {
    if (this.recording) {
      this.recording.stop();
      return;
    }
    try {
      this.error.textContent = "";
      this.recording = await listen();
      this.button.textContent = "Stop recording";
      say("Recording");
      const limit = setTimeout(() => this.recording.stop(), LONGEST * 1000);
      const { samples, rate } = await this.recording.done;
      clearTimeout(limit);
      if (!samples.length) {
        throw new PageError("The microphone gave no sound.");
      }
      this.show(recorded(samples, rate, this.rate), "your recording");
      this.onchange?.();
    } catch (error) {
      this.error.textContent = words(error);
    } finally {
      this.recording = null;
      this.button.textContent = RECORD;
    }
  }

  show(samples, name) {
    this.samples = samples;
    this.chart.replaceChildren(wave(samples, this.rate));
    const seconds = (samples.length / this.rate).toFixed(2);
    const longer = samples.length > this.most;
    const window = (this.most / this.rate).toFixed(2);
    this.note.textContent = `${name}, ${seconds} s` +
      (longer ? `: longer than the ${window} s that the model reads at once, so events are looked for` : "");
  }

  /** @returns {{samples: Int16Array, long: boolean}} long: more than a model reads at once */
  value() {
    if (!this.samples) {
      throw new PageError("Choose a file or record something first.");
    }
    return { samples: this.samples, long: this.samples.length > this.most };
  }
}

/** Record from the microphone: {stop(), done}, what comes as floats and their rate. */
async function listen() {
  let stream;
  try {
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, ...plain } });
  } catch (cause) {
    const refused = cause?.name === "NotAllowedError";
    throw new PageError(
      refused
        ? "The browser does not let this page use the microphone: allow it beside the address."
        : "There is no microphone that works here: choose a .wav file.",
    );
  }
  const context = new AudioContext();
  const end = () => {
    stream.getTracks().forEach((track) => track.stop());
    context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
  } catch (error) {
    end();
    throw error;
  }
  const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  const parts = [];
  node.port.onmessage = ({ data }) => parts.push(data);
  context.createMediaStreamSource(stream).connect(node);
  let stop;
  const done = new Promise((resolve) => {
    stop = () => {
      end();
      const samples = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
      let at = 0;
      for (const part of parts) {
        samples.set(part, at);
        at += part.length;
      }
      resolve({ samples, rate: context.sampleRate });
    };
  });
  return { stop, done };
}
