"""The sampler's numbers, from what a user says to what the kernel takes. docs/numerics.md."""

from .errors import Error


def thousandths(name, v, low, high):
    """A number in whole thousandths, low to high: a float says 0.8, an int 800.

    Ints of 1 to 9 meant something else. Raises Error.
    """
    n = -1
    if isinstance(v, float):
        if 0 <= v < 1000:
            # Not 0.5: so floats of 32 bits, or of 30, give the same for all of four decimals.
            n = int(v * 1000 + 0.45)
    elif isinstance(v, int):
        if 0 < v < 10:
            if 1000 * v <= high:
                raise Error("%s is %d: write %d.0, or %d000 thousandths" % (name, v, v, v))
        else:
            n = v
    if not low <= n <= high:
        text = "%s is %r, expected %s to %s" % (name, v, low / 1000, high / 1000)
        if not isinstance(v, float):
            text += ", a float, or whole thousandths, 10 to %d" % high
        raise Error(text)
    return n


def sampling(temperature, top_p, bits):
    """(mantissa, shift, top-p in 2**-15) for a temperature and top_p, as `thousandths` takes them.

    bits: fraction bits of the logits. Mantissa 0 is greedy. Raises Error.
    """
    temperature = thousandths("temperature", temperature, 0, 100000)
    top_p = thousandths("top_p", top_p, 1, 1000)
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
