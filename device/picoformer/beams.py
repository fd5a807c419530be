"""Beam search: of several texts at a time the likeliest. docs/numerics.md, "Beams"."""

from .errors import Error
from .sampling import samples, sampling, thousandths


def log2(v):
    """Logarithm of v >= 1 to the base 2, with 10 fraction bits."""
    e = 14
    while v >= 32768:
        v >>= 1
        e += 1
    while v < 16384:
        v <<= 1
        e -= 1
    for _ in range(10):
        v = v * v >> 14
        e <<= 1
        if v >= 32768:
            v >>= 1
            e += 1
    return e


def costs(logits, best, mass, m, s):
    """What tokens cost of these logits: -log2 of their likelihood, with 10 fraction bits.

    best: the largest logit of all; mass: the sum of their weights; m, s: as `sampling` has them.
    """
    s = min(max(s, 11), 47)
    rest = log2(mass) - (15 << 10)
    out = []
    for logit in logits:
        d = (min(best - logit, 1 << 24) * m + (1 << (s - 1))) >> s
        out.append(min(d, 1 << 20) + rest)
    return out


def search(likeliest, first, ends, width, penalty, room):
    """The tokens of the text with the lowest cost, of those that `width` beams come upon.

    likeliest(tokens, n) gives [(token, cost)] of the n likeliest behind some tokens; first: the
    token that a text begins with; ends: those that end it; penalty: of the length, as
    `thousandths` takes it; room: tokens at most. Raises Error.
    """
    if not isinstance(width, int) or not 1 <= width <= 8:
        raise Error("beams is %r, expected a whole number, 1 to 8" % (width,))
    penalty = thousandths("length_penalty", penalty, 0, 10000)

    def rated(cost, n):
        return 1000 * log2(max(cost, 1)) - penalty * log2(n)

    live = [(0, [first])]
    done = []
    for n in range(1, room + 1):
        found = []
        # Neighbours in this order have most in common, which is run once; and the next step
        # begins where this one ends.
        order = [(live[i][1], i) for i in range(len(live))]
        for tokens, at in sorted(order, reverse=n & 1 > 0):
            for rank, (token, more) in enumerate(likeliest(tokens, 2 * width)):
                found.append((live[at][0] + more, at, rank, token))
        found.sort()
        before = live
        live = []
        for i in range(min(2 * width, len(found))):
            cost, at, _, token = found[i]
            tokens = before[at][1] + ([] if token in ends else [token])
            if n == room or token in ends:
                if i < width:
                    done.append((rated(cost, n), tokens[1:]))
            elif len(live) < width:
                live.append((cost, tokens))
        done = sorted(done)[:width]
        if not live or (len(done) == width and rated(live[0][0], n) >= done[-1][0]):
            break
    return done[0][1] if done else []


def likeliest(model, tokens, n):
    """[(token, cost)] of the n likeliest tokens behind some, by the kernels of `model`."""
    model._feed(tokens)
    arena, at, pick = model._arena, model._logits, model._pick
    pick[3] = 0
    found = []
    for _ in range(min(n, model.vocab)):
        model._sample(pick, model._space)
        found.append((pick[7], arena[at + pick[7]]))
        arena[at + pick[7]] = -0x80000000
    for token, logit in found:
        arena[at + token] = logit
    # The sampler leaves the weights in the place of the logits.
    pick[3], pick[4], pick[5] = sampling(1000, 1000, model.bits)
    model._sample(pick, model._space)
    mass = sum(memoryview(arena)[at : at + model.vocab])
    more = costs([logit for _, logit in found], found[0][1], mass, pick[3], pick[4])
    return [(found[i][0], more[i]) for i in range(len(found))]


def translation(model, max_tokens, beams, penalty):
    """The pieces of the likeliest translation of what `model` has read. Raises Error."""
    if not samples(model.vocab, model._exp2):
        raise Error("this model cannot be searched; use one beam")
    before = model.bos
    room = model.context if max_tokens is None else min(max_tokens, model.context)
    tokens = search(
        lambda tokens, n: likeliest(model, tokens, n),
        before, model.ends, beams, penalty, room,
    )  # fmt: skip
    model.tokenizer.reset()
    pieces = []
    for token in tokens:
        pieces.append(model.tokenizer.decode(token, before))
        before = token
    pieces.append(model.tokenizer.flush())
    return pieces if pieces[-1] else pieces[:-1]
