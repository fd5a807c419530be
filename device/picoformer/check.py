"""The proof that every step of a program stays inside its memory.

The kernels have no bounds checks. `check` is what stands between them and a bad file: it is run
on the PC and on the board before any kernel, and dropped before a board allocates the rest.
docs/format.md says what it guarantees.
"""

from .errors import Error
from .program import (
    ANSWER,
    ARENA,
    CACHE,
    CLASSIFY,
    EMBED,
    EMBEDDING,
    FOUR,
    GENERATE,
    HEADER,
    LINEAR,
    OPS,
    TABLES,
    TRANSLATE,
    WEIGHTS,
    matrix,
    pair_words,
    steps,
)

# What a step does with words of the frame: read them, make them, change them, add to each (rows
# that only fill a group may be added to nothing, and stay unknown), or read a vector.
_READ, _MADE, _CHANGED, _ADDED, _VECTOR = 0, 1, 2, 3, 4


def check(words, tables, weight_words):
    """Prove that every step of a program stays inside its regions; raise Error if one may not.

    words: the program section; tables: the table section, both indexables of signed 32-bit words;
    weight_words: size of the weights section.
    """
    listing, body, head = steps(words)
    context, stride, outputs, vocab, whole = words[0], words[2], words[3], words[4], words[13]
    n_tables = len(tables)
    f_end = HEADER + stride  # first frame's end
    step = 0
    single = False  # True once `pool` has left one position
    # Of the frame's words, (first, end):
    used = []  # those that this step has named
    written = []  # those that hold a value of this input
    vectors = {}  # first word of a quantized vector: its elements and their bits
    stored = {}  # cache: (heads, head size, bits of keys, of values, whether it is the encoder's)
    task, image = words[12], words[14]  # operand of an image's patches, or 0

    def need(ok, what):
        if not ok:
            raise Error("bad program, step %d: %s" % (step, what))

    def inside(at, n, low, high, what):
        need(n > 0 and at >= low and n <= high - at, what + " is outside its memory")

    def filled(at, end):
        """Whether words at..end of the frame are written."""
        last = -1
        while last < at < end:
            last = at
            for first, behind in written:
                if first <= at < behind:
                    at = behind
        return at >= end

    def forget(at, end):
        written[:] = [
            part
            for a, b in written
            for part in ((a, min(b, at)), (max(a, end), b))
            if part[0] < part[1]
        ]

    def frame(operand, n, what, how):
        need(operand & 63 == ARENA, what + " is not in the arena")
        at = operand >> 6
        # Word 0 of a frame is its token, by which `embed` finds a row: no step may write it.
        inside(at, n, HEADER + 1, f_end, what)
        for first, end in used:
            need(at >= end or at + n <= first, what + " overlaps another operand")
        used.append((at, at + n))
        if how == _MADE and not filled(at, at + n):
            written.append((at, at + n))
        if how in (_READ, _CHANGED):
            need(filled(at, at + n), what + " is read before it is written")
        if how in (_MADE, _CHANGED, _ADDED):
            for first in list(vectors):
                if first < at + n and at < first + 4 + vectors[first][0]:
                    del vectors[first]
        return at

    def table(operand, n, what="table"):
        need(operand & 63 == TABLES, what + " is not in the tables")
        inside(operand >> 6, n, 0, n_tables, what)

    def weights(operand, n, what):
        need(operand & 63 == WEIGHTS, what + " is not in the weights")
        inside(operand >> 6, n, 0, weight_words, what)

    def gains(r, at, n):
        """A norm's gain, and its constants behind it."""
        table(r[at], n, "gain")
        for k in range(n):
            number(tables[(r[at] >> 6) + k], -32767, 32767, "gain")
        at = len(r) - 3
        number(r[at], 0, 20, "shift")
        need(n <= 1 << r[at], "shift too small for %d elements" % n)
        number(r[at + 1], 0, 32767, "epsilon")
        number(r[at + 2], -4096, 4096, "epsilon's exponent")

    def number(v, low, high, what):
        if not low <= v <= high:
            need(False, "%s is %d, not %d to %d" % (what, v, low, high))

    def cached(operand, heads, size, rope, keys, values):
        number(heads, 1, 1024, "heads")
        number(size, 1, 256, "head size")
        known = keys in (8, 12) and values in (4, 8)
        need(known, "keys of %d bits, not 8 or 12, or values of %d, not 4 or 8" % (keys, values))
        layer = (operand & 63) - CACHE
        need(operand >> 6 == 0 and 0 <= layer < words[11], "no such cache")
        need(words[HEADER + layer] == pair_words(heads, size, keys, values), "cache size")
        if rope:
            need(size & 1 == 0, "odd head size with rotation")
            table(rope, context * (size >> 1), "rotation table")

    number(words[7], -1, vocab - 1, "BOS")
    number(words[8], -1, vocab - 1, "EOS")
    padded = (outputs + 3) & ~3
    if task in (GENERATE, TRANSLATE):
        need(outputs == vocab, "%d results, %d tokens" % (outputs, vocab))
    need(not whole or words[1] >= context, "a group does not hold a whole input")
    # Text grows token by token; labels, embeddings and what is translated are of all of it.
    need(whole == (task != GENERATE), "task %d, whole %d" % (task, whole))
    need((body > 0) == (task == TRANSLATE), "task %d, %d steps of an encoder" % (task, body))
    need((head < len(listing)) == (task != ANSWER), "no head, or one too much")
    need(not image or task in (CLASSIFY, EMBED), "no task for an image")
    need(task != ANSWER or outputs == 2, "%d results, not 2" % outputs)
    need(task != TRANSLATE or words[7] >= 0, "a translation needs BOS")
    logits = biased = patched = False
    residual = 0  # what an image's patches become
    embedded = None  # operand and words of what `embed` made
    for op, i, _n in listing:
        # An image's patches are there from the start, as many elements as their `linear` reads.
        if image and op in LINEAR and words[i] == image:
            vectors[image >> 6] = words[i + 3], 8
            break
    for op, i, _n in listing:
        r = words[i : i + _n]
        used.clear()
        if step == body > 0:
            embedded = None
            written.clear()
            vectors.clear()
        if image and not embedded:
            # The patches are in the frames; `linear`, or a bias and `linear`, make the residual.
            if not patched and (op in LINEAR or step):
                need(op in LINEAR and r[0] == image, "an image does not begin with `linear`")
                need(step == 0 or r[1] == residual, "patches are not the residual")
                residual = r[1]
                patched = True
            elif patched:
                need(op in EMBEDDING, "the patches have no positions")
            else:
                need(op == 9, "an image does not begin with `linear`")
                residual = r[0]
        else:
            need(embedded or op in EMBEDDING, "the program does not begin with `embed`")
        if step == head:
            need(OPS[op][0] == "pool", "the head does not begin with `pool`")
        if op in FOUR:
            number(r[_n - 1], 16, 1 << 20, "columns of a scale")
            need(r[_n - 1] & 15 == 0, "%d columns of a scale, no multiple of 16" % r[_n - 1])
        if op in EMBEDDING:
            number(r[7], 0, 2, "position")
            groups, size = matrix(words, op, i)
            weights(r[1], groups * size, "embedding")
            number(r[3], -8, 30, "shift")
            need(r[4] == 0 and r[5] == 0 and r[6] == 0, "embedding window")
            need(not single, "embedding in the head")
            if r[7]:
                known = embedded or (image and (residual, r[2]))
                need(known == (r[0], r[2]), "positions are added to something else")
            else:
                need(embedded is None and not image, "two embeddings")
            frame(r[0], r[2], "result", _CHANGED if r[7] else _MADE)
            embedded = (r[0], r[2])
        elif op == 2:
            n = r[2]
            frame(r[0], n, "input", _READ)
            if r[4]:
                frame(r[4], 1, "exponent", _READ)
            at = frame(r[1], n + 4, "output", _MADE)
            number(r[3], 2, 12, "bits")
            # Some kernels use the sum that stands in it: all of it is read together, or nothing.
            forget(at, at + n + 4)
            vectors[at] = n, r[3]
            number(r[5], 1 << 14, 32767, "scale")
            number(r[6], -4096, 4096, "exponent")
            if r[7]:
                gains(r, 7, n)
        elif op in LINEAR:
            cols, groups = r[3], r[4]
            number(cols, 1, 1 << 20, "columns")
            number(groups, 1, 1 << 16, "row groups")
            at = frame(r[0], cols + 4, "input", _VECTOR)
            n, bits = vectors.get(at, (0, 0))
            need(n == cols, "input is not a vector of %d elements" % cols)
            need(op == 3 or bits <= 9, "input has elements of %d bits, not 9" % bits)
            # An embedding stays where the residual is; other results are behind the frame.
            if single and r[1] == words[5] and (words[12] != EMBED or r[1] >= f_end << 6):
                need(r[1] == f_end << 6, "logits are not behind the first frame")
                need(4 * groups == padded, "logits are not all the results")
                need(r[7] == biased, "logits are added to nothing")
                logits = True
            else:
                frame(r[1], 4 * groups, "output", _ADDED if r[7] else _MADE)
                logits = logits or (task == ANSWER and r[1] == words[5] and 4 * groups == padded)
            groups, size = matrix(words, op, i)
            weights(r[2], groups * size, "matrix")
            number(r[5], -4096, 4096, "shift")
            number(r[6], 0, 14, "room")
            number(r[7], 0, 1, "add")
            need(r[8] == 0 and r[9] == r[4], "row window")
        elif op == 4:
            need(not single, "cache is stored in the head")
            cached(r[2], r[3], r[4], r[5], r[6], r[7])
            frame(r[0], r[3] * r[4], "keys", _CHANGED)
            frame(r[1], r[3] * r[4], "values", _CHANGED)
            # The whole input has gone through one attention before the next stores its own;
            # but a translation grows token by token.
            need(whole and not step >= body > 0 or r[2] not in stored, "cache is stored twice")
            shape = (r[3], r[4], r[6], r[7], step < body)
            need(stored.setdefault(r[2], shape) == shape, "cache is stored in two shapes")
        elif op == 5:
            number(r[3], 1, 1024, "heads")
            cached(r[2], r[4], r[5], r[6], r[17], r[18])
            # Of the positions so far, of all, or of a translation's source.
            number(r[14], 0, 2 if step >= body > 0 else whole, "whole")
            need(r[14] != 1 or not step >= body > 0, "a translation is no whole input")
            source = r[14] == 2 or step < body
            shape = (r[4], r[5], r[17], r[18], source)
            need(stored.get(r[2]) == shape, "cache is not stored before, or otherwise")
            need(r[3] % r[4] == 0, "%d heads share %d key heads" % (r[3], r[4]))
            frame(r[0], r[3] * r[5], "queries", _CHANGED)
            frame(r[1], r[3] * r[5], "output", _MADE)
            table(r[7], 64, "powers of two")
            for k in range(64):
                number(tables[(r[7] >> 6) + k], 0, 32768, "power of two")
            # A largest weight of 2**15 keeps the softmax's divisor away from zero.
            need(tables[r[7] >> 6] == tables[(r[7] >> 6) + 32] == 32768, "2**0 is not 32768")
            need(r[8] == 0, "scores are the loader's to place")
            number(r[9], 1 << 14, 32767, "scale")
            number(r[10], -4096, 4096, "exponent")
            number(r[11], 1 << 28, (1 << 30) - 1, "numerator")
            number(r[12], -4096, 4096, "exponent")
            number(r[13], 0, 8, "shift")
            need(context <= 512 << r[13], "shift too small for %d positions" % context)
            number(r[16], 0, 1 << 16, "biases of a head")
            if r[15]:
                # Of each distance back, and ahead where a query sees what is behind it.
                first = (r[15] >> 6) - context + 1
                n = (r[3] - 1) * r[16] + context + (context - 1 if r[14] else 0)
                need(first >= 0, "biases are outside their memory")
                table(first << 6 | (r[15] & 63), n, "biases")
                for k in range(first, first + n):
                    number(tables[k], -1 << 24, 1 << 24, "bias")
        elif op == 6:
            frame(r[0], r[2], "gate", _CHANGED)
            number(r[4], 8, 16, "fraction bits")
            if r[1]:
                at = frame(r[1], r[2], "input", _CHANGED)
                frame(r[5], 1, "exponent", _MADE)
                # Kernels leave there what they like.
                forget(at, at + r[2])
            else:
                need(r[5] == 0, "an exponent without a product")
            if r[3]:
                table(r[3], 257, "activation")
            number(r[6], 0, 1 if r[3] and not r[1] else 0, "odd")
        elif op == 7:
            at = frame(r[0], r[1], "input", _CHANGED)
            number(r[2], 0, 2 if whole else 0, "kind of pool")
            need(step == head, "`pool` in the middle")
            need((r[0], r[1]) == embedded, "`pool` does not take what `embed` made")
            single = True
            written[:] = [(at, at + r[1])]
            vectors.clear()
        elif op == 8:
            n = r[2]
            number(n, 1, 1 << 14, "elements")
            frame(r[0], n, "input", _READ if r[1] != r[0] else _CHANGED)
            if r[1] != r[0]:
                frame(r[1], n, "output", _MADE)
            number(r[3], 1 << 14, 32767, "scale")
            number(r[4], -4096, 4096, "exponent")
            gains(r, 5, n)
            if r[6]:
                table(r[6], n, "bias")
        elif op == 9:
            number(r[3], 0, 1, "add")
            if single and r[0] == words[5] == f_end << 6:
                need(r[2] == padded and not (r[3] or biased), "bias is not all the logits'")
                biased = True
            else:
                frame(r[0], r[2], "output", _ADDED if r[3] else _MADE)
            weights(r[1], r[2], "bias")
        step += 1
    if task == EMBED:
        # What was pooled stays in the first frame.
        need(single and (words[5], outputs) == embedded, "no embedding comes out")
    else:
        need(logits, "no logits come out")
    if task in (EMBED, ANSWER):
        at = words[5] >> 6
        need(filled(at, at + outputs), "the result is lost")
    need(len(stored) == words[11], "a cache is not stored")
