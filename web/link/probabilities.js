// Probabilities of labels, by the powers of two that the steps use: docs/numerics.md, and
// device/picoformer/probabilities.py, whose numbers these are.

const power = (x) => Math.round(2 ** (15 - x));
const COARSE = Array.from({ length: 32 }, (_, i) => power(i / 32));
const FINE = Array.from({ length: 32 }, (_, j) => power(j / 1024));

/** log2(e) in 15 bits, and the shift that belongs to it, for logits of so many fraction bits. */
function scale(bits) {
  let mantissa = Math.floor((23637 * 1000 * 1024) / 1000);
  let shift = 14 + bits;
  while (mantissa >= 32768) {
    mantissa >>= 1;
    shift--;
  }
  return [mantissa, shift];
}

/**
 * Probabilities, 0 to 1, for the logits of all labels.
 * @param {ArrayLike<number>} logits int32
 * @param {number} bits fraction bits of the logits
 * @param {boolean} several each label holds or not by itself; otherwise they share 1
 * @returns {number[]} in units of 2**-15
 */
export function probabilities(logits, bits, several) {
  const [mantissa, shift] = scale(bits);
  const half = shift > 0 ? 2 ** (shift - 1) : 0;
  const weight = (difference) => {
    // Above 53 bits only where the weight is 0 by far.
    const d = Math.floor((difference * mantissa + half) / 2 ** shift);
    if (d >= 16384) return 0;
    const product = COARSE[(d >> 5) & 31] * FINE[d & 31] + 16384;
    return Math.floor(product / 2 ** (15 + (d >> 10)));
  };
  const values = Array.from(logits);
  const best = Math.max(...values);
  const found = values.map((v) => weight((several ? Math.max(v, 0) : best) - v));
  const mass = found.reduce((sum, v) => sum + v, 0);
  return found.map((part, i) => {
    const all = several ? part + weight(Math.max(values[i], 0)) : mass;
    return Math.floor((part * 32768 + Math.floor(all / 2)) / all) / 32768;
  });
}
