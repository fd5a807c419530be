"""The program of a model: what its words mean."""

from .errors import Error
from .regions import caches

# op: (name, one letter a field, the fields). o: operand; w: operand in the weights; -: number.
# A field's limits stand behind its name where they are plain numbers; "?gain": they hold where
# that field is not 0. docs/format.md has the same tables with what each field is.
OPS = {
    1: ("embed", "ow------", "x weights n shift:-8:30 first:0:0 count:0:0 base:0:0 position:0:2"),
    2: (
        "norm",
        "oo--o--o---",
        "x out n bits:2:12 dyn scale:16384:32767 exponent:-4096:4096"
        " gain lg:0:20?gain eps:0:32767?gain eps_e:-4096:4096?gain",
    ),
    3: (
        "linear",
        "oow-------",
        "x out weights cols:1:1048576 groups:1:65536 shift:-4096:4096 room:0:14 add:0:1"
        " first:0:0 count",
    ),
    4: ("store", "ooo--o--", "k v cache heads:1:1024 size:1:256 rotation key_bits value_bits"),
    5: (
        "attend",
        "ooo---ooo------o---",
        "q out cache heads:1:1024 kv_heads:1:1024 size:1:256 rotation exp2 scores:0:0"
        " scale:16384:32767 exponent:-4096:4096 num:268435456:1073741823 num_e:-4096:4096 ps:0:8"
        " whole:0:2 bias row:0:65536 key_bits value_bits",
    ),
    6: ("gate", "oo-o-o-", "g u n table bits:8:16 dyn odd:0:1"),
    7: ("pool", "o--", "x n how:0:2"),
    8: (
        "layernorm",
        "oo---oo---",
        "x out n:1:16384 scale:16384:32767 exponent:-4096:4096 gain bias lg:0:20 eps:0:32767"
        " eps_e:-4096:4096",
    ),
    9: ("bias", "ow--", "out weights n add:0:1"),
    10: (
        "linear4",
        "oow--------",
        "x out weights cols:1:1048576 groups:1:65536 shift:-4096:4096 room:0:14 add:0:1"
        " first:0:0 count span:16:1048576",
    ),
    11: (
        "embed4",
        "ow-------",
        "x weights n shift:-8:30 first:0:0 count:0:0 base:0:0 position:0:2 span:16:1048576",
    ),
    12: (
        "windows",
        "o-----------o",
        "out input:0:0 rows:0:0 length:1:32768 channels:1:4096 height:1:32768 width:1:4096"
        " down:1:32768 right:1:4096 before:0:32767 behind:0:32767 tokens:0:1 table",
    ),
}
WINDOWS = 12
LINEAR, EMBEDDING, FOUR = (3, 10), (1, 11), (10, 11)  # FOUR: with weights of 4 bits
GENERATE, CLASSIFY, EMBED, TRANSLATE, ANSWER, TAG, PREDICT = 0, 1, 2, 3, 4, 5, 6
TASKS = "generate", "classify", "embed", "translate", "answer", "tag", "predict"
POOLED = CLASSIFY, EMBED, PREDICT  # a result of the whole input
EACH = ANSWER, TAG  # a result for each position
LABELLED = CLASSIFY, TAG


def walk(words):
    """Yield (op, first field) of each step of a program that `steps` accepts."""
    i = caches(words) + words[11]
    while i < len(words):
        yield words[i], i + 2
        i += 2 + words[i + 1]


def signal(words):
    """Where the fields of the first step begin, if that reads a signal's windows; else 0."""
    i = caches(words) + words[11]
    return i + 2 if words[i] == WINDOWS else 0


def operands(words):
    """How many fields of a program are operands."""
    return sum([len(OPS[op][1]) - OPS[op][1].count("-") for op, _ in walk(words)])


def matrix(words, op, i):
    """(row groups, words of one) of the weights of the step whose fields begin at word i; of a
    vector (words, 1).
    """
    if op == 9:
        return words[i + 2], 1
    if op in LINEAR:
        cols, rows = words[i + 3], 4 * words[i + 4]
    else:
        cols, rows = words[i + 2], (words[4], words[0], 2)[words[i + 7]]
    if op in FOUR:
        span = words[i + (10 if op == 10 else 8)]
        return (rows + 7) >> 3, cols + (cols + span - 1) // span + 4
    return (rows + 3) >> 2, cols + 2


def image(words, listed):
    """(height, width, channels, patch, class tokens) from metadata, if the program takes such.

    A sixth number is a patch's width, where that is not its height.
    """
    linears = [i for op, i in walk(words) if op in LINEAR]
    sizes = [words[i + 3] for i in linears if words[i] == words[14]]
    # Whole numbers only: JSON also has texts, fractions and truths that compare like them.
    if isinstance(listed, list) and 5 <= len(listed) <= 6 and all(type(v) is int for v in listed):
        height, width, channels, patch, extra = listed[:5]
        wide = listed[-1] if len(listed) > 5 else patch
        if (
            min(height, width, channels, patch, wide) > 0
            and height % patch == width % wide == 0
            and sizes[:1] == [patch * wide * channels]
            and extra in (0, 1)
            and extra + (height // patch) * (width // wide) <= words[0]
        ):
            return height, width, channels, patch, extra, wide
    raise Error("model file is corrupt: its metadata do not fit its image")


def labels(words, listed):
    """The labels' names from metadata, one for each result."""
    if isinstance(listed, list) and len(listed) == words[3]:
        if all(isinstance(name, str) for name in listed):
            return listed
    raise Error("model file is corrupt: its metadata do not name %d labels" % words[3])
