"""The board's half: files are loaded and run in MicroPython's unix port, many a process.

Guard words lie around all that a kernel may write.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from picoformer.boards.emulated.unix import find_micropython
from tools import ROOT
from tools.sweeps.trials import PIXELS, RUN, TEXT, Case, compare

BATCH_LIMIT = 120  # seconds for one process
HEAP = "8M"

# Loads and runs the files of JOBS, with guard words around every array that the loader makes, and
# prints a line for each. The modules stay loaded, as they hold what is replaced here.
BOARD = """
import gc
from array import array
from binascii import crc32
from picoformer import Error, Model, binder, loader, model, regions, weights

# RUN

WORDS = 64
FILL = array("i", [(i * 0x9E3779B) & 0x3FFFFFFF for i in range(WORDS)])
SAME = bytes(memoryview(FILL))
guarded = []


def guard(code, given):
    inner = array(code, given)
    # Two bytes an item is the other code there is.
    fill = FILL if code == "i" else array(code, SAME)
    out = array(code, fill)
    out.extend(inner)
    out.extend(fill)
    k = len(fill)
    guarded.append((out, k))
    return memoryview(out)[k : k + len(inner)]


def intact():
    for out, k in guarded:
        view = memoryview(out)
        if bytes(view[:k]) != SAME or bytes(view[len(out) - k :]) != SAME:
            return False
    return True


class Quiet:
    # Collecting after every few objects would take most of the time.
    def collect(self):
        pass

    def mem_free(self):
        return gc.mem_free()


loader.gc = binder.gc = model.gc = Quiet()
regions.forget = lambda *names: None
regions.threshold = lambda n=0: 0
binder.array = weights.array = guard
regions.array_of = lambda n: guard("i", bytes(4 * n))
loader._zeros = lambda n, native: guard("i", bytes(4 * n))


def constants(m):
    if not m._memory:
        return 0
    held = m._memory[3] if m.weights == "ram" else b""
    return crc32(m._memory[1], crc32(held))


for name, context, where, tokens, texts in JOBS:
    said = "refused"
    try:
        m = Model("%s/%d" % (FOLDER, name), context=context, weights=where, kernels=KERNELS)
        before = m.kernels != "portable" and constants(m)
        result = work(m, tokens, texts)
        said = "ran"
        if before is not False and constants(m) != before:
            said = "constants"
        if not intact():
            said = "guard"
        m.close()
    except Error as e:
        result = str(e)
    except Exception as e:
        said, result = "exception", repr(e)
    m = None
    print("end", said, 2 * WORDS * len(guarded), repr(result))
    guarded.clear()
    gc.collect()
"""


def same_refusal(pc: str, board: str) -> bool:
    """Whether both may say that of one file: a board reads the metadata only if it needs them."""
    return pc == board or "metadata" in pc or "checksum" in pc + board


def run_board(cases: list[Case], folder: Path, kernels: str | None) -> tuple[int, int, int]:
    """Run cases in MicroPython; (files that ran, guard words looked at, processes)."""
    ran = words = processes = 0
    left = list(cases)
    for case in left:
        (folder / str(case.index)).write_bytes(case.data)
    while left:
        processes += 1
        jobs = [
            (c.index, c.context, ("ram", "file")[c.index & 1], c.tokens, c.texts) for c in left
        ]
        head = {
            "FOLDER": str(folder), "JOBS": jobs, "KERNELS": kernels, "TEXT": TEXT,
            "PIXELS": PIXELS,
        }  # fmt: skip
        script = "".join(f"{name} = {value!r}\n" for name, value in head.items()) + BOARD
        (folder / "script.py").write_text(script.replace("# RUN", RUN), "utf-8")
        command = [find_micropython(), "-X", f"heapsize={HEAP}", str(folder / "script.py")]
        try:
            done = subprocess.run(
                command, env={"MICROPYPATH": str(ROOT / "device")}, capture_output=True,
                timeout=BATCH_LIMIT, check=False,
            )  # fmt: skip
            said, code = done.stdout.decode(errors="replace"), done.returncode
            trouble = f"MicroPython ended with {code}: {said[-200:]} {done.stderr.decode()[-500:]}"
        except subprocess.TimeoutExpired as e:
            said = (e.stdout or b"").decode(errors="replace")
            trouble = f"MicroPython hangs, {BATCH_LIMIT} s"
        ended = 0  # cases that this process is done with
        for line in said.splitlines():
            if line.startswith("end "):
                _, outcome, n, result = line.split(" ", 3)
                words += int(n)
                ran += outcome == "ran"
                judge(left[ended], outcome, result)
                ended += 1
        if ended < len(left):
            left[ended].failure = trouble
            ended += 1
        left = left[ended:]
    for case in cases:
        (folder / str(case.index)).unlink()
    return ran, words, processes


def judge(case: Case, outcome: str, result: str) -> None:
    """What MicroPython did with a case, against what the PC did."""
    if case.failure:
        return
    if outcome == "ran":
        if case.refused is not None and "metadata is not" not in case.refused:
            case.failure = f"MicroPython runs it, the PC says: {case.refused}"
        elif case.refused is None:
            compare(case, eval(result, {}), "MicroPython")
        return
    said = eval(result, {})
    if outcome != "refused":
        case.failure = f"{outcome} on MicroPython: {said!r:.500}"
    elif case.refused is None:
        case.outcome = "too large"
        if "not enough memory" not in said and "too scattered" not in said:
            case.failure = f"MicroPython says: {said}; the PC runs it"
    elif not same_refusal(case.refused, said):
        case.outcome = "refused in other words"
