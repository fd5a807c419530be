// A sound: from a .wav, or from the microphone.

import { PageError } from "../errors.js";
import { el, say, words } from "./dom.js";
import { wave } from "./charts.js";
import { fileButton } from "./files.js";
import { loudestPart, recorded, sound } from "./sounds.js";

const SPARE = 1; // seconds that a recording may be longer than what is read of it
const [RECORD, PLAY] = ["Record", "Play"];

export class SoundInput {
  quick = true;

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
    this.player = el("button", { type: "button", hidden: true, click: () => this.play() }, PLAY);
    this.level = el("progress", { hidden: true, max: 1, value: 0, "aria-label": "How loud it is" });
    this.node = el(
      "div",
      { class: "flow" },
      this.chart,
      el("div", { class: "row" },
        fileButton("Choose a .wav …", ".wav,audio/wav", (file) => this.drop(file)), this.button,
        this.player),
      this.level,
      this.note,
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
      const longest = this.most / this.rate + SPARE;
      this.recording = await listen((seconds, loud) => {
        this.level.value = loud;
        this.note.textContent = `Speak now: ${seconds.toFixed(1)} of ${longest.toFixed(1)} s`;
        if (seconds >= longest) {
          this.recording.stop();
        }
      });
      this.button.textContent = "Stop recording";
      this.level.hidden = false;
      say("Recording");
      const { samples, rate } = await this.recording.done;
      if (!samples.length) {
        throw new PageError("The microphone gave no sound.");
      }
      const taken = recorded(samples, rate, this.rate);
      this.show(loudestPart(taken, this.most), "your recording, where it is loudest");
      this.onchange?.();
    } catch (error) {
      this.error.textContent = words(error);
    } finally {
      this.recording = null;
      this.level.hidden = true;
      this.button.textContent = RECORD;
    }
  }

  /** Let the sound be heard, or end that. */
  play() {
    if (this.playing) {
      this.playing.close();
      this.heard();
      return;
    }
    const context = (this.playing = new AudioContext());
    const buffer = context.createBuffer(1, this.samples.length, this.rate);
    buffer.copyToChannel(Float32Array.from(this.samples, (v) => v / 32768), 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    source.onended = () => {
      if (context === this.playing) {
        context.close();
        this.heard();
      }
    };
    source.start();
    this.player.textContent = "Stop playing";
  }

  heard() {
    this.playing = null;
    this.player.textContent = PLAY;
  }

  get long() {
    return this.samples?.length > this.most;
  }

  get verb() {
    return this.long ? "Find words" : "Classify";
  }

  show(samples, name) {
    this.samples = samples;
    this.player.hidden = false;
    this.chart.replaceChildren(wave(samples, this.rate));
    const seconds = (samples.length / this.rate).toFixed(2);
    const window = (this.most / this.rate).toFixed(2);
    this.note.textContent = `${name}, ${seconds} s` +
      (this.long ? `: longer than the ${window} s that the model reads at once, so it listens along ` +
        "and notes each word that it is sure of, with the time" : "");
  }

  /** @returns {{samples: Int16Array, long: boolean}} long: more than a model reads at once */
  value() {
    if (!this.samples) {
      throw new PageError("Choose a file or record something first.", { code: "empty" });
    }
    return { samples: this.samples, long: this.long };
  }
}

/**
 * Record from the microphone: {stop(), done}, what comes as floats and their rate.
 * @param {(seconds: number, loud: number) => void} onpart hears how long it is, and how loud it was
 */
async function listen(onpart) {
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
  let [count, told, loud] = [0, 0, 0];
  node.port.onmessage = ({ data }) => {
    parts.push(data);
    count += data.length;
    loud = data.reduce((most, v) => Math.max(most, Math.abs(v)), loud);
    if (count - told > context.sampleRate / 20) {
      onpart(count / context.sampleRate, loud);
      [told, loud] = [count, 0];
    }
  };
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
