// Bytes: numbers in them, texts, CRC32, base64.

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const SIZES = { B: 1, H: 2, I: 4, i: 4 };

const CRCS = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let c = i;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  CRCS[i] = c >>> 0;
}

const SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUES = new Map([...SIGNS].map((sign, value) => [sign, value]));

/**
 * zlib's CRC32.
 * @param {Uint8Array} data
 * @param {number} [crc] of what is before it
 * @returns {number}
 */
export function crc32(data, crc = 0) {
  let c = ~crc;
  for (let i = 0; i < data.length; i++) c = CRCS[(c ^ data[i]) & 255] ^ (c >>> 8);
  return ~c >>> 0;
}

/**
 * @param {...(Uint8Array | number[])} parts
 * @returns {Uint8Array}
 */
export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Numbers as little-endian bytes.
 * @param {string} layout a letter for each: B, H, I, i, as Python's struct has them
 * @param {...number} values
 * @returns {Uint8Array}
 */
export function pack(layout, ...values) {
  const size = [...layout].reduce((n, letter) => n + SIZES[letter], 0);
  const whole = new Uint8Array(size);
  let at = 0;
  for (let k = 0; k < layout.length; k++) {
    for (let i = 0; i < SIZES[layout[k]]; i++) whole[at++] = values[k] >>> (8 * i);
  }
  return whole;
}

/**
 * Little-endian numbers of bytes.
 * @param {string} layout as of `pack`
 * @param {Uint8Array} data
 * @param {number} [at]
 * @returns {number[] | null} null where the bytes end before them
 */
export function unpack(layout, data, at = 0) {
  const values = [];
  for (const letter of layout) {
    let value = 0;
    for (let i = 0; i < SIZES[letter]; i++) {
      if (at >= data.length) return null;
      value |= data[at++] << (8 * i);
    }
    values.push(letter === "i" ? value : value >>> 0);
  }
  return values;
}

/**
 * @param {string} text
 * @returns {Uint8Array} its UTF-8
 */
export function utf8(text) {
  return encoder.encode(text);
}

/**
 * @param {Uint8Array} data UTF-8
 * @returns {string}
 */
export function textOf(data) {
  return decoder.decode(data);
}

/**
 * A string of so many characters as there are bytes, each of that code.
 * @param {Uint8Array} data
 * @returns {string}
 */
export function binary(data) {
  let text = "";
  for (let i = 0; i < data.length; i += 4096) {
    text += String.fromCharCode(...data.subarray(i, i + 4096));
  }
  return text;
}

/**
 * The reverse of `binary`.
 * @param {string} text
 * @returns {Uint8Array}
 */
export function bytesOf(text) {
  const data = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) data[i] = text.charCodeAt(i);
  return data;
}

/**
 * @param {Uint8Array} data
 * @returns {string}
 */
export function base64(data) {
  let text = "";
  for (let i = 0; i < data.length; i += 3) {
    const bits = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
    const left = data.length - i;
    text += SIGNS[bits >> 18] + SIGNS[(bits >> 12) & 63];
    text += (left > 1 ? SIGNS[(bits >> 6) & 63] : "=") + (left > 2 ? SIGNS[bits & 63] : "=");
  }
  return text;
}

/**
 * @param {string} text base64, line ends behind it
 * @returns {Uint8Array | null} null where it is none
 */
export function fromBase64(text) {
  const signs = text.trimEnd();
  const full = signs.replace(/={1,2}$/, "");
  if (signs.length % 4 || full.length % 4 === 1) return null;
  const data = new Uint8Array(Math.floor((full.length * 3) / 4));
  let bits = 0;
  let count = 0;
  let at = 0;
  for (const sign of full) {
    const value = VALUES.get(sign);
    if (value === undefined) return null;
    bits = ((bits << 6) | value) & 0xffffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      data[at++] = bits >> count;
    }
  }
  return data;
}
