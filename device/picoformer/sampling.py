"""The sampler's numbers, from what a user says to what the kernel takes. docs/numerics.md."""

from .errors import Error


def sampling(temperature, top_p, bits):
    """(mantissa, shift, top-p in 2**-15) for temperature and top_p in thousandths.

    bits: fraction bits of the logits. Mantissa 0 is greedy.
    """
    for name, v, low, high in (("temperature", temperature, 0, 100000), ("top_p", top_p, 1, 1000)):
        if not isinstance(v, int) or not low <= v <= high:
            raise Error(
                "%s is %r, expected a whole number of thousandths, %d to %d (800 is 0.8)"
                % (name, v, low, high)
            )
    mantissa = shift = 0
    if temperature:
        # log2(e) / temperature with 24 fraction bits, cut to 15 bits.
        mantissa = (23637 * 1000 << 10) // temperature
        shift = 14 + bits
        while mantissa >= 32768:
            mantissa >>= 1
            shift -= 1
    return mantissa, shift, (top_p * 32768 + 500) // 1000


def samples(vocab, table):
    """Whether a model can be sampled from: its mass fits 30 bits, and it has powers of two."""
    return vocab < 32768 and table != 0


def seed_word(seed):
    """The generator's state for a seed: its low 32 bits as a signed word, never 0."""
    seed &= 0xFFFFFFFF
    if seed == 0:
        seed = 0x9E3779B9
    return seed - 0x100000000 if seed & 0x80000000 else seed
