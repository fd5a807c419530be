// Pictures as the PC's `data/pictures.py` makes them, which is Pillow: the same bytes.

const BITS = 22; // of a weight of the filter

/**
 * Pixels of an image with alpha, without it: alpha is dropped, as Pillow's convert does.
 * @param {Uint8Array|Uint8ClampedArray} rgba
 * @param {number} channels 1: brightness, 3: red, green, blue
 * @returns {Uint8Array}
 */
export function convert(rgba, channels) {
  const count = rgba.length / 4;
  const out = new Uint8Array(count * channels);
  for (let i = 0; i < count; i++) {
    const [r, g, b] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]];
    if (channels === 1) {
      out[i] = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;
    } else {
      out.set([r, g, b], 3 * i);
    }
  }
  return out;
}

/**
 * Bilinear, over as many pixels as make one: across, then down.
 * @param {Uint8Array} pixels of width x height, row by row
 * @returns {Uint8Array}
 */
export function resize(pixels, width, height, channels, toWidth, toHeight) {
  let made = pixels;
  if (toWidth !== width) {
    made = stretch(made, width, toWidth, height, width * channels, channels, channels, true);
  }
  if (toHeight !== height) {
    made = stretch(made, height, toHeight, toWidth, channels, toWidth * channels, channels, false);
  }
  return made;
}

/** One direction: `lines` lines, each `between` apart, whose pixels are `step` apart. */
function stretch(pixels, from, to, lines, between, step, channels, across) {
  const out = new Uint8Array(lines * to * channels);
  const [outBetween, outStep] = across ? [to * channels, channels] : [channels, step];
  for (let x = 0; x < to; x++) {
    const { first, weights } = weightsAt(x, from, to);
    for (let line = 0; line < lines; line++) {
      for (let c = 0; c < channels; c++) {
        let sum = 1 << (BITS - 1);
        let at = line * between + first * step + c;
        for (const weight of weights) {
          sum += pixels[at] * weight;
          at += step;
        }
        out[line * outBetween + x * outStep + c] = Math.min(255, Math.max(0, sum >> BITS));
      }
    }
  }
  return out;
}

function weightsAt(x, from, to) {
  const scale = from / to;
  const reach = Math.max(1, scale);
  const center = (x + 0.5) * scale;
  const first = Math.max(0, Math.trunc(center - reach + 0.5));
  const end = Math.min(from, Math.trunc(center + reach + 0.5));
  const shares = [];
  let sum = 0;
  for (let i = first; i < end; i++) {
    const share = Math.max(0, 1 - Math.abs((i - center + 0.5) * (1 / reach)));
    shares.push(share);
    sum += share;
  }
  const weights = shares.map((share) => Math.trunc(0.5 + (share / sum) * (1 << BITS)));
  return { first, weights };
}

/**
 * Whether a picture looks like the negative of those that a model learned from.
 * @param {Uint8Array} pixels
 * @param {number[]|undefined} known mean and deviation of those
 */
export function looksNegative(pixels, [height, width, channels], known) {
  if (!Array.isArray(known) || known.length !== 2) {
    return false;
  }
  const [mean, deviation] = known;
  const row = width * channels;
  const edge = [...pixels.subarray(0, row), ...pixels.subarray((height - 1) * row)];
  for (let y = 0; y < height; y++) {
    edge.push(...pixels.subarray(y * row, y * row + channels));
    edge.push(...pixels.subarray((y + 1) * row - channels, (y + 1) * row));
  }
  edge.sort((a, b) => a - b);
  const half = edge.length / 2;
  const border = (edge[Math.ceil(half) - 1] + edge[Math.floor(half)]) / 2;
  return (mean < 128 ? border - mean : mean - border) > deviation;
}
