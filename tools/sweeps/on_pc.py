"""The PC's half: a file is read and run in the simulator, and some in plain Python."""

from __future__ import annotations

import contextlib
import gc
import random
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from picoformer import Error, Simulator
from picoformer.compile import modelfile
from picoformer.compile.modelfile import ModelFile
from picoformer.device import regions
from picoformer.device.model import Model
from tools.sweeps.trials import (
    GROUP,
    LIMIT,
    LONGER,
    PIXELS,
    RUN,
    TEXT,
    Case,
    Hang,
    compare,
    limited,
    numbers,
    pixels,
)

OVERFLOW = "does not fit"  # what the simulator says of values that leave 32 bits

RUN_NAMES: dict[str, Any] = {"Error": Error, "TEXT": TEXT, "PIXELS": PIXELS, "array": array}
exec(RUN, RUN_NAMES)
portable_work = RUN_NAMES["work"]


class Guarded(array):
    """Words without the negative indices by which Python would hide an address that is wrong."""

    def __getitem__(self, i: Any) -> Any:
        assert not isinstance(i, int) or i >= 0
        return super().__getitem__(i)

    def __setitem__(self, i: Any, v: Any) -> None:
        assert i >= 0
        super().__setitem__(i, v)


def guard(board: Any) -> None:
    """Make the regions of a model with portable kernels Guarded."""
    space = board._space
    for i, region in enumerate(space):
        if region is not None:  # which is a signal's
            space[i] = Guarded("i", region)
    board._arena = space[regions.ARENA]
    for kernel, _ in board._encoder + board._body + board._head:
        if hasattr(kernel, "__self__"):
            tiles = kernel.__self__.tiles
            tiles.arena, tiles.buffer = board._arena, space[regions.WEIGHTS]


def simulated_numbers(sim: Simulator, tokens: list[int]) -> list[int]:
    """What `numbers` gives on a board. Raises Error."""
    n = len(tokens)
    if sim.model.task == "translate":
        sim.source(tokens[1:])
    elif sim.model.task in ("answer", "tag"):
        asked = sim.model.task == "answer"
        sim.machine.run(tokens, types=[int(2 * i > n) for i in range(n)] if asked else None)
        flat: list[int] = sim.machine.result().reshape(-1).tolist()
        return flat
    elif sim.model.program[14]:
        image = sim.model.meta["image"]
        if image[0] * image[1] * image[2] > PIXELS:
            return []
        out: list[int] = sim._read(np.frombuffer(pixels(image), np.uint8), sim.model.task).tolist()
        return out
    elif f := sim.frames:
        if n % 2 == 0:
            tokens = [0] * n
        elif f.length * f.channels > PIXELS:
            return []
        else:
            signal = np.array(numbers(f.length, f.channels)).reshape(-1, f.channels)
            result: list[int] = sim._read(signal, sim.model.task).tolist()
            return result
    last: list[int] = sim.logits(tokens)[-1].tolist()
    return last


def simulated_words(sim: Simulator) -> list[str]:
    """What `words` gives on a board. Raises Error."""
    task = sim.model.task
    if task == "generate":
        greedy = list(sim.generate(TEXT, 4))
        return greedy + list(sim.generate(TEXT[:2], 4, 0.8, 0.9, 7))
    if task == "translate":
        sim.source(sim._some(TEXT))
        greedy = list(sim._write([sim.model.bos], 4, (0, 0, 0), 1))
        sim.source(sim._some(TEXT[:2]))
        found = sim.search(3, 0.6, 4)
        decoder = sim.tokenizer.decoder()
        before = [sim.model.bos, *found]
        pieces = [decoder.decode(t, b) for b, t in zip(before, found, strict=False)]
        rest = decoder.flush()
        return greedy + pieces + ([rest] if rest else [])
    if task == "answer":
        return [sim.answer(TEXT, TEXT[:2])]
    if task == "tag":
        return [f"{word} {label} {logit}" for word, label, logit in sim.tag(TEXT)]
    if task == "classify":
        return [label for label, _ in sim.classify(TEXT)]
    return [str(v) for v in sim._read(TEXT, task).tolist()]


def simulated(m: ModelFile, tokens: list[list[int]], texts: bool) -> list[Any] | None:
    """What `work` gives on a board; None where values leave 32 bits."""
    sim = Simulator(m)
    out: list[Any] = []
    jobs: list[Callable[[], Any]] = [lambda t=t: simulated_numbers(sim, t) for t in tokens]  # type: ignore[misc]
    if texts:
        jobs.append(lambda: [list(s.encode()) for s in simulated_words(sim)])
    for job in jobs:
        try:
            out.append(job())
        except Error as e:
            if OVERFLOW in str(e):
                return None
            out.append(str(e))
    return out


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without collecting garbage, which takes 100 times as long here as loading a file."""
    before = gc.collect
    gc.collect = lambda *_: 0
    try:
        yield
    finally:
        gc.collect = before


def check_on_pc(case: Case, folder: Path) -> None:
    """Read and run a case on the PC; every eighth in portable kernels, too."""
    options = random.Random(case.index)
    try:
        with limited(LIMIT):
            m = modelfile.parse(case.data)
            if options.random() < 0.3:
                case.context = min(4, m.context)
            room = ((case.context or m.context) + 1) & ~1
            case.tokens = [GROUP[:room], LONGER[:room]]
            # Texts take as long as all the rest.
            case.texts = case.change == "tokenizer" or options.random() < 0.3
            case.wanted = simulated(m, case.tokens, case.texts)
            if case.index % 8 == 0:
                check_portable(case, folder)
    except Error as e:
        case.refused = str(e)
    except Hang:
        case.failure = f"hangs on the PC, {LIMIT} s"
    except Exception as e:
        case.failure = f"on the PC: {type(e).__name__}: {e}"


def check_portable(case: Case, folder: Path) -> None:
    """Run a case in plain Python, which checks each index."""
    path = folder / "portable"
    path.write_bytes(case.data)
    where = ("ram", "file")[case.index >> 3 & 1]
    with quiet():
        board = Model(str(path), context=case.context, weights=where, kernels="portable")
        guard(board)
        try:
            got = portable_work(board, case.tokens, case.texts)
        except OverflowError:
            # Plain Python notices what a native kernel does not: a word that overflows.
            if case.wanted is not None:
                case.failure = "portable kernels overflow, the simulator does not"
            return
        finally:
            board.close()
    compare(case, got, "portable kernels")
