// Sounds as the PC's `data/sounds.py` makes them: samples of a .wav file, at the model's rate.
// Another rate is changed by a low-pass filter: a sinc under Kaiser's window.

import { PageError } from "../errors.js";
import { rint } from "./signals.js";

const [PCM, FLOAT, EXTENSIBLE] = [1, 3, 0xfffe];
const NAMES = { 1: "whole numbers", 2: "ADPCM", 3: "floats", 6: "A-law", 7: "mu-law", 17: "ADPCM" };
const BITS = { [PCM]: [8, 16, 24, 32], [FLOAT]: [32, 64] };
const UNKNOWN = 0xffffffff; // a length that who writes to a pipe leaves
const SIDE = 64; // zeros of the sinc on each side
const [CUTOFF, BETA] = [0.95, 8]; // of half the lower rate; of Kaiser's window
const LOUDEST = 1e6;
const WORK = 5e9; // multiplications, which take some seconds; a weight takes as long as
const WEIGHT = 20; // of them
const GRID = (1 << 14) - 1;

/**
 * The samples of a .wav file, at `rate` a second.
 * @param {ArrayBuffer} buffer
 * @param {string} name of the file, for messages
 * @param {number} rate
 * @returns {Int16Array}
 */
export function sound(buffer, name, rate) {
  const { samples, rate: own } = wav(buffer, name);
  return whole(resampled(samples, own, rate));
}

/**
 * What a microphone gave, as a .wav file of floats would be read.
 * @param {Float32Array} samples
 * @returns {Int16Array}
 */
export function recorded(samples, own, rate) {
  return whole(resampled(Float64Array.from(samples, loud), own, rate));
}

const loud = (v) => Math.min(LOUDEST, Math.max(-LOUDEST, v)) * 32768;
const whole = (values) =>
  Int16Array.from(values, (v) => Math.min(32767, Math.max(-32768, rint(v))));

/**
 * Samples of `old` a second as those of `rate` a second; there is silence around them.
 * @param {Float64Array} samples
 * @returns {Float64Array}
 */
export function resampled(samples, old, rate) {
  if (old === rate || !samples.length) {
    return samples;
  }
  const common = gcd(old, rate);
  const [up, down] = [rate / common, old / common];
  const wide = Math.max(1, old / rate); // samples to a zero of the sinc
  const reach = Math.ceil(SIDE * wide);
  if (((samples.length * up) / down + WEIGHT * up) * 2 * reach > WORK) {
    throw new PageError(
      `${Math.ceil(samples.length / old)} s of sound with ${old} samples a second are too much ` +
        `for this page: take a shorter piece, or make it ${rate} samples a second`,
    );
  }
  const padded = new Float64Array(samples.length + 2 * reach);
  padded.set(samples, reach);
  const out = new Float64Array(Math.ceil((samples.length * up) / down));
  const window = kaiser();
  const weights = new Float64Array(2 * reach + 1);
  for (let phase = 0; phase < Math.min(up, out.length); phase++) {
    const first = Math.floor((phase * down) / up);
    const behind = (phase * down) % up;
    let sum = 0;
    for (let i = 0; i < weights.length; i++) {
      const t = (i - reach - behind / up) / wide;
      weights[i] = sinc(CUTOFF * t) * interpolated(window, Math.abs(t));
      sum += weights[i];
    }
    for (let i = 0; i < weights.length; i++) {
      weights[i] /= sum;
    }
    for (let k = phase, at = first; k < out.length; k += up, at += down) {
      let total = 0;
      for (let i = 0; i < weights.length; i++) {
        total += padded[at + i] * weights[i];
      }
      out[k] = total;
    }
  }
  return out;
}

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** Kaiser's window on a grid of its right half. */
function kaiser() {
  const out = new Float64Array(GRID + 1);
  for (let i = 0; i <= GRID; i++) {
    out[i] = bessel(BETA * Math.sqrt(1 - (i / GRID) ** 2));
  }
  return out;
}

/** The modified Bessel function of order 0. */
function bessel(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function interpolated(window, t) {
  if (t > SIDE) {
    return 0;
  }
  const at = (t / SIDE) * GRID;
  const i = Math.min(GRID - 1, Math.floor(at));
  return window[i] + (at - i) * (window[i + 1] - window[i]);
}

/**
 * The samples of a .wav file in steps of 16 bits, the mean of its channels.
 * @param {ArrayBuffer} buffer
 * @returns {{samples: Float64Array, rate: number}}
 */
export function wav(buffer, name) {
  const view = new DataView(buffer);
  const size = buffer.byteLength;
  if (!size) {
    throw new PageError(`${name} is empty, expected a WAV file`);
  }
  if (size < 12 || letters(view, 0) !== "RIFF" || letters(view, 8) !== "WAVE") {
    throw new PageError(
      `${name} is no WAV file: a program like ffmpeg makes one of other sounds`,
    );
  }
  let form = null;
  for (let at = 12; at + 8 <= size; ) {
    const kind = letters(view, at);
    let length = view.getUint32(at + 4, true);
    at += 8;
    if (kind === "data" && (length === UNKNOWN || (length === 0 && at < size))) {
      length = size - at;
    }
    const there = Math.min(length, size - at);
    if (kind === "fmt ") {
      form = formOf(new DataView(buffer, at, there), name);
    } else if (kind === "data" && form) {
      if (there < length) {
        throw new PageError(
          `${name} is truncated: it has ${there} bytes of sound of ${length}`,
        );
      }
      return { samples: samplesOf(new DataView(buffer, at, there), form, name), rate: form.rate };
    } else if (kind === "data") {
      break;
    }
    at += length + (length & 1);
  }
  const lacking = form ? "sound" : "format";
  throw new PageError(`${name} is a WAV file without a ${lacking}, or it is truncated`);
}

const letters = (view, at) =>
  String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));

function formOf(view, name) {
  if (view.byteLength < 16) {
    throw new PageError(`${name}: a format of ${view.byteLength} bytes, expected 16`);
  }
  let kind = view.getUint16(0, true);
  const channels = view.getUint16(2, true);
  const rate = view.getUint32(4, true);
  const step = view.getUint16(12, true);
  const bits = view.getUint16(14, true);
  if (kind === EXTENSIBLE && view.byteLength >= 26) {
    kind = view.getUint16(24, true);
  }
  if (!(BITS[kind] ?? []).includes(bits)) {
    throw new PageError(
      `${name}: ${NAMES[kind] ?? `format ${kind}`} of ${bits} bits; supported: WAV files of 8, ` +
        "16, 24 or 32 bits, or of floats of 32 or 64",
    );
  }
  if (!channels || step !== (channels * bits) / 8 || rate < 1000 || rate > 768000) {
    throw new PageError(
      `${name}: ${channels} channels of ${bits} bits in ${step} bytes, ${rate} times a second; ` +
        "expected 1 channel or more, 1,000 to 768,000 times",
    );
  }
  return { kind, bits, channels, rate };
}

function samplesOf(view, { kind, bits, channels }, name) {
  const wide = bits / 8;
  const count = Math.floor(view.byteLength / (wide * channels));
  if (!count) {
    throw new PageError(`${name} has no samples`);
  }
  const read = {
    8: (at) => (view.getUint8(at) - 128) * 256,
    16: (at) => view.getInt16(at, true),
    24: (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 65536) / 256,
    32: (at) => view.getInt32(at, true) / 65536,
  };
  const real = { 32: (at) => view.getFloat32(at, true), 64: (at) => view.getFloat64(at, true) };
  const one = kind === FLOAT ? (at) => loud(real[bits](at)) : read[bits];
  const out = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) {
      sum += one((i * channels + c) * wide);
    }
    if (!Number.isFinite(sum)) {
      throw new PageError(`${name} has infinite or NaN samples`);
    }
    out[i] = sum / channels;
  }
  return out;
}

/**
 * Where the `length` values that lie together have the largest sum.
 * @param {number} count
 * @param {(i: number) => number} value
 */
function largest(count, length, value) {
  const sums = new Float64Array(count + 1);
  for (let i = 0; i < count; i++) {
    sums[i + 1] = sums[i] + value(i);
  }
  let first = 0;
  for (let i = 1; i + length <= count; i++) {
    if (sums[i + length] - sums[i] > sums[first + length] - sums[first]) {
      first = i;
    }
  }
  return first;
}

/** The loudest part of a sound, of so many samples. @param {Int16Array} samples */
export function loudestPart(samples, length) {
  const first = largest(samples.length, length, (i) => samples[i] ** 2);
  return samples.slice(first, first + length);
}

/**
 * Of rows of sound the `length` that lie together and are the largest.
 * @param {Int16Array} rows
 * @returns {{rows: Int16Array, first: number}} first: of them, the row where they begin
 */
export function loudest(rows, length, bands) {
  const count = rows.length / bands;
  if (count <= length) {
    return { rows, first: 0 };
  }
  const sum = (i) => rows.subarray(i * bands, (i + 1) * bands).reduce((a, b) => a + b, 0);
  const first = largest(count, length, sum);
  return { rows: rows.slice(first * bands, (first + length) * bands), first };
}
