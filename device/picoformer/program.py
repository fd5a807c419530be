"""The program of a model: its steps, and the proof that each stays inside its memory.

The kernels have no bounds checks. `check` is what stands between them and a bad file: it is run
on the PC and on the board before any kernel. docs/format.md says what it guarantees.
"""

from .errors import Error

ARENA, TABLES, RUNS, WEIGHTS, CACHE = 0, 1, 2, 3, 4  # regions; layer i's cache is CACHE + i
HEADER = 16  # words in front of the arena's frames, and of the program's steps

# op: (name, one letter a field). o: operand; w: operand in the weights; -: number.
OPS = {
    1: ("embed", "ow------"),
    2: ("norm", "oo--o--o---"),
    3: ("linear", "oow-------"),
    4: ("store", "ooo--o"),
    5: ("attend", "ooo---ooo------"),
    6: ("gate", "oo-o-o-"),
    7: ("pool", "o--"),
    8: ("layernorm", "oo---oo---"),
    9: ("bias", "ow--"),
}
GENERATE, CLASSIFY, EMBED, TRANSLATE, ANSWER = 0, 1, 2, 3, 4
TASKS = "generate", "classify", "embed", "translate", "answer"


# Words of the program's head with their limits; what is not named is 0.
_HEAD = {
    0: ("context", 2, 32768),
    1: ("batch", 1, 32768),
    2: ("frame size", 2, 1 << 20),
    3: ("results", 1, 1 << 20),
    4: ("vocabulary", 1, 65535),
    6: ("fraction bits of the result", 0, 24),
    7: ("BOS", -1, 65534),
    8: ("EOS", -1, 65534),
    11: ("caches", 0, 60),
    12: ("task", GENERATE, ANSWER),
    13: ("whole", 0, 1),
}


def steps(words):
    """[(op, first field, fields)] of a program section, and where its body and its head begin.

    Raises Error if the words are not laid out as a program, or numbers of its head are absurd.
    """
    if len(words) < HEADER:
        raise Error("bad program: %d words" % len(words))
    for k in range(HEADER):
        # Operands and the lengths of the lists are checked where they are used.
        if k not in (5, 9, 10, 14, 15):
            name, low, high = _HEAD.get(k, ("reserved word", 0, 0))
            if not low <= words[k] <= high:
                raise Error("bad program: %s is %d, not %d to %d" % (name, words[k], low, high))
    if words[0] & 1:
        raise Error("bad program: odd context")
    # Every word of it must have an operand, whose offset has 25 bits.
    if arena_words(words, words[0]) > 1 << 25:
        raise Error("bad program: arena of %d words" % arena_words(words, words[0]))
    if any(not 0 < n * words[0] < 1 << 29 for n in words[HEADER : HEADER + words[11]]):
        raise Error("bad program: cache size")
    out = []
    i = HEADER + words[11]
    ends = [i]
    for k in (15, 9, 10):
        if not 0 <= words[k] < 1 << 24:
            raise Error("bad program: %d words in a part" % words[k])
        ends.append(ends[-1] + words[k])
    if ends.pop() != len(words):
        raise Error("bad program: %d words, its parts say otherwise" % len(words))
    starts = [0, 0, 0]
    while i < len(words):
        for k in range(3):
            if i == ends[k]:
                starts[k] = len(out)
        op = words[i]
        if op not in OPS or i + 2 > len(words) or words[i + 1] != len(OPS[op][1]):
            raise Error("bad program: unknown step %d at word %d" % (op, i))
        n = words[i + 1]
        if i + 2 + n > len(words) or any(i < end < i + 2 + n for end in ends):
            raise Error("bad program: the step at word %d is cut off" % i)
        out.append((op, i + 2, n))
        i += 2 + n
    for k in range(3):
        if ends[k] == len(words):
            starts[k] = len(out)
    return out, starts[1], starts[2]


def arena_words(words, context):
    """Words of the arena: header, frames, a scratch for scores, and a spare word.

    The logits lie behind the first frame: the head needs no other. Kernels that load one element
    ahead read the spare word, and do not use it.
    """
    stride = words[2]
    return max(scratch(words, context) + context, HEADER + stride + ((words[3] + 3) & ~3)) + 1


def scratch(words, context):
    """Where in the arena the scores lie: behind the frames of a group."""
    return HEADER + min(words[1], context) * words[2]


def cache_words(words, layer, context):
    """Words of one layer's cache of keys, values and scales."""
    return context * words[HEADER + layer] >> 1


def image(words, listed):
    """(height, width, channels, patch, class tokens) from metadata, if the program takes such."""
    sizes = [words[i + 3] for op, i, _ in steps(words)[0] if op == 3 and words[i] == words[14]]
    # Whole numbers only: JSON also has texts, fractions and truths that compare like them.
    if isinstance(listed, list) and len(listed) == 5 and all(type(v) is int for v in listed):
        height, width, channels, patch, extra = listed
        if (
            min(height, width, channels, patch) > 0
            and height % patch == width % patch == 0
            and sizes[:1] == [patch * patch * channels]
            and extra in (0, 1)
            and extra + (height // patch) * (width // patch) <= words[0]
        ):
            return height, width, channels, patch, extra
    raise Error("model file is corrupt: its metadata do not fit its image")


def labels(words, listed):
    """The labels' names from metadata, one for each result."""
    if isinstance(listed, list) and len(listed) == words[3]:
        if all(isinstance(name, str) for name in listed):
            return listed
    raise Error("model file is corrupt: its metadata do not name %d labels" % words[3])


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
    used = []  # the frame's words that this step has named, (first, end)
    stored = {}  # cache: its (heads, head size), and whether it is the encoder's
    task, image = words[12], words[14]  # operand of an image's patches, or 0

    def need(ok, what):
        if not ok:
            raise Error("bad program, step %d: %s" % (step, what))

    def inside(at, n, low, high, what):
        need(n > 0 and at >= low and n <= high - at, what + " is outside its memory")

    def frame(operand, n, what="operand"):
        need(operand & 63 == ARENA, what + " is not in the arena")
        at = operand >> 6
        # Word 0 of a frame is its token, by which `embed` finds a row: no step may write it.
        inside(at, n, HEADER + 1, f_end, what)
        for first, end in used:
            need(at >= end or at + n <= first, what + " overlaps another operand")
        used.append((at, at + n))

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

    def cached(operand, heads, size, rope):
        number(heads, 1, 1024, "heads")
        number(size, 1, 256, "head size")
        layer = (operand & 63) - CACHE
        need(operand >> 6 == 0 and 0 <= layer < words[11], "no such cache")
        n = heads * (size + 2 * ((size + 3) >> 2) + 2)
        need(words[HEADER + layer] == n, "cache size")
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
        r = words[i : i + _n]
        used.clear()
        if step == body:
            embedded = None
        if image and not embedded:
            # The patches are in the frames; `linear`, or a bias and `linear`, make the residual.
            if not patched and (op == 3 or step):
                need(op == 3 and r[0] == image, "an image does not begin with `linear`")
                need(step == 0 or r[1] == residual, "patches are not the residual")
                residual = r[1]
                patched = True
            elif patched:
                need(op == 1, "the patches have no positions")
            else:
                need(op == 9, "an image does not begin with `linear`")
                residual = r[0]
        else:
            need(embedded or op == 1, "the program does not begin with `embed`")
        if step == head:
            need(OPS[op][0] == "pool", "the head does not begin with `pool`")
        if op == 1:
            frame(r[0], r[2])
            number(r[7], 0, 2, "position")
            rows = (vocab, context, 2)[r[7]]
            weights(r[1], ((rows + 3) >> 2) * (r[2] + 2), "embedding")
            number(r[3], -8, 30, "shift")
            need(r[4] == 0 and r[5] == 0 and r[6] == 0, "embedding window")
            need(not single, "embedding in the head")
            if r[7]:
                known = embedded or (image and (residual, r[2]))
                need(known == (r[0], r[2]), "positions are added to something else")
            else:
                need(embedded is None and not image, "two embeddings")
            embedded = (r[0], r[2])
        elif op == 2:
            n = r[2]
            frame(r[0], n, "input")
            frame(r[1], n + 4, "output")
            number(r[3], 2, 12, "bits")
            if r[4]:
                frame(r[4], 1, "exponent")
            number(r[5], 1 << 14, 32767, "scale")
            number(r[6], -4096, 4096, "exponent")
            if r[7]:
                gains(r, 7, n)
        elif op == 3:
            cols, groups = r[3], r[4]
            number(cols, 1, 1 << 20, "columns")
            number(groups, 1, 1 << 16, "row groups")
            frame(r[0], cols + 4, "input")
            # An embedding stays where the residual is; other results are behind the frame.
            if single and r[1] == words[5] and (words[12] != EMBED or r[1] >= f_end << 6):
                need(r[1] == f_end << 6, "logits are not behind the first frame")
                need(4 * groups == padded, "logits are not all the results")
                need(r[7] == biased, "logits are added to nothing")
                logits = True
            else:
                frame(r[1], 4 * groups, "output")
                logits = logits or (task == ANSWER and r[1] == words[5] and 4 * groups == padded)
            weights(r[2], groups * (cols + 2), "matrix")
            number(r[5], -4096, 4096, "shift")
            number(r[6], 0, 14, "room")
            number(r[7], 0, 1, "add")
            need(r[8] == 0 and r[9] == groups, "row window")
        elif op == 4:
            cached(r[2], r[3], r[4], r[5])
            frame(r[0], r[3] * r[4], "keys")
            frame(r[1], r[3] * r[4], "values")
            need(not single, "cache is stored in the head")
            # The whole input has gone through one attention before the next stores its own;
            # but a translation grows token by token.
            need(whole and not step >= body > 0 or r[2] not in stored, "cache is stored twice")
            shape = (r[3], r[4], step < body)
            need(stored.setdefault(r[2], shape) == shape, "cache is stored in two shapes")
        elif op == 5:
            number(r[3], 1, 1024, "heads")
            cached(r[2], r[4], r[5], r[6])
            # Of the positions so far, of all, or of a translation's source.
            number(r[14], 0, 2 if step >= body > 0 else whole, "whole")
            need(r[14] != 1 or not step >= body > 0, "a translation is no whole input")
            source = r[14] == 2 or step < body
            need(stored.get(r[2]) == (r[4], r[5], source), "cache is not stored before")
            need(r[3] % r[4] == 0, "%d heads share %d key heads" % (r[3], r[4]))
            frame(r[0], r[3] * r[5], "queries")
            frame(r[1], r[3] * r[5], "output")
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
        elif op == 6:
            frame(r[0], r[2], "gate")
            number(r[4], 8, 16, "fraction bits")
            if r[1]:
                frame(r[1], r[2], "input")
                frame(r[5], 1, "exponent")
            else:
                need(r[5] == 0, "an exponent without a product")
            if r[3]:
                table(r[3], 257, "activation")
            number(r[6], 0, 1 if r[3] and not r[1] else 0, "odd")
        elif op == 7:
            frame(r[0], r[1])
            number(r[2], 0, 2 if whole else 0, "kind of pool")
            need(step == head, "`pool` in the middle")
            need((r[0], r[1]) == embedded, "`pool` does not take what `embed` made")
            single = True
        elif op == 8:
            n = r[2]
            number(n, 1, 1 << 14, "elements")
            frame(r[0], n, "input")
            if r[1] != r[0]:
                frame(r[1], n, "output")
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
                frame(r[0], r[2], "output")
            weights(r[1], r[2], "bias")
        step += 1
    if task == EMBED:
        # What was pooled stays in the first frame.
        need(single and (words[5], outputs) == embedded, "no embedding comes out")
    else:
        need(logits, "no logits come out")
    need(len(stored) == words[11], "a cache is not stored")
