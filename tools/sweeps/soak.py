"""Many requests of mixed kinds to an emulated board: answers are checked, no heap may be lost.

    python -m tools.sweeps.soak [--board unix] [--requests 10000] [--seed 1] [--reconnect 500]
                                [--late 0] [--cores 1] [--json]

Small random models of nine kinds lie on the board. Texts are written, sampled and broken off;
labels, embeddings, answers, translations, predictions and logits asked for; models replaced,
removed and loaded with other contexts; scripts run; and requests made that must be refused. Every
answer must be the simulator's. After each --reconnect requests the port is closed and opened
again. Every 50 requests one and the same model is loaded and the free heap noted: within a session
it may not shrink by more than 2 KB between the third look and the last, or the tool ends with 1.
--board pico is the emulated Raspberry Pi Pico, for which 200 requests take some minutes. --late
SECONDS puts a cable between that takes so long, in each direction. --cores 2 is for boards that
have two.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from picoformer import Board, Error, Simulator
from picoformer.boards import emulated
from picoformer.boards.errors import LinkError
from tools.command import finish
from tools.sweeps.late import LateCable
from tools.sweeps.small_models import IMAGE, made
from tools.sweeps.support import models

PROBE = 50  # requests between two looks at the heap
SAID = 20.0  # seconds between two lines
SHRINK = 2048  # bytes of heap that a session may lose: what stays interned, fragments
FIRST = 3  # probes until all has been imported that the requests need
MODELS = {
    "generates": "llama", "writes": models.GPT2, "classifies": models.BERT,
    "embeds": models.MINILM, "translates": models.BART, "answers": models.ASKED,
    "sees": models.VIT, "senses": models.SIGNAL, "foretells": models.FORECAST,
}  # fmt: skip
LETTERS = " abcdefgh"


@dataclass
class Report:
    """What was asked, and the heap of each session."""

    requests: Counter[str] = field(default_factory=Counter)
    reconnects: int = 0
    wrong: list[str] = field(default_factory=list)
    heap: list[list[int]] = field(default_factory=list)  # of each session, bytes free
    seconds: float = 0.0

    @property
    def grown(self) -> list[int]:
        """Bytes of heap that each session lost from its first probes to its last."""
        return [h[FIRST - 1] - h[-1] for h in self.heap if len(h) > FIRST]

    def table(self) -> str:
        rows = [f"| {kind} | {n:,} |" for kind, n in sorted(self.requests.items())]
        free = [v for h in self.heap for v in h]
        lines = ["| request | times |", "| --- | ---: |", *rows]
        lines.append(f"| all | {self.requests.total():,} |")
        lines.append("")
        lines.append(
            f"{self.seconds:,.0f} s, {self.reconnects:,} reconnects, "
            f"{len(self.wrong)} wrong answers."
        )
        if free:
            lines.append(
                f"Heap free with one model loaded, bytes: {free[0]:,} at the start, least "
                f"{min(free):,}, {free[-1]:,} at the end, median "
                f"{statistics.median(free):,.0f}; a session lost {max(self.grown, default=0):,} "
                "at most."
            )
        return "\n".join(lines)


class Soak:
    """Requests to the board on `port`, whose models are those of `folder`."""

    def __init__(self, port: str, folder: Path, seed: int, cores: int = 1) -> None:
        self.port = port
        self.cores = cores
        self.folder = folder
        self.rng = random.Random(seed)
        self.report = Report()
        self.sims = {}
        for name, kind in MODELS.items():
            (folder / f"{name}.pft").write_bytes(made(kind))
            self.sims[name] = Simulator(folder / f"{name}.pft")
        self.asks: dict[str, Callable[[], tuple[Any, Any]]] = {
            "text": self.text, "sampled text": self.sampled, "broken text": self.broken,
            "logits": self.logits, "labels": self.labels, "labels of an image": self.image,
            "labels of a signal": self.signal, "prediction": self.prediction,
            "embedding": self.embedding, "answer": self.answer, "translation": self.translation,
            "beams": self.beams, "another context": self.context, "upload": self.upload,
            "removal": self.removal, "script": self.script, "refused": self.refused,
        }  # fmt: skip
        self.board = self.connect()

    def connect(self) -> Board:
        board = Board(self.port, self.cores)
        for name in MODELS:
            board.deploy(self.folder / f"{name}.pft")
        self.report.heap.append([])
        return board

    def words(self, most: int = 12) -> str:
        return "".join(self.rng.choices(LETTERS, k=self.rng.randrange(1, most)))

    # Each of these gives what the board said and what it should have said.

    def text(self) -> tuple[Any, Any]:
        name, text, n = (
            self.rng.choice(("generates", "writes")),
            self.words(5),
            self.rng.randrange(1, 9),
        )
        return list(self.board.generate(name, text, n)), list(self.sims[name].generate(text, n))

    def sampled(self) -> tuple[Any, Any]:
        options: dict[str, Any] = {"temperature": 0.9, "top_p": 0.8}
        options["seed"] = self.rng.randrange(1 << 32)
        name, text = self.rng.choice(("generates", "writes")), self.words(4)
        got = list(self.board.generate(name, text, 8, **options))
        return got, list(self.sims[name].generate(text, 8, **options))

    def broken(self) -> tuple[Any, Any]:
        text = self.board.generate("generates", "a")
        with contextlib.suppress(StopIteration):
            next(text)
        text.close()
        return None, None

    def logits(self) -> tuple[Any, Any]:
        name = self.rng.choice(("generates", "writes", "classifies", "embeds"))
        tokens = [self.rng.randrange(13) for _ in range(self.rng.randrange(1, 9))]
        return self.board.logits(name, tokens).tolist(), self.sims[name].logits(tokens)[
            -1
        ].tolist()

    def labels(self) -> tuple[Any, Any]:
        text = self.words()
        return self.board.classify("classifies", text), self.sims["classifies"].classify(text)

    def image(self) -> tuple[Any, Any]:
        shape = IMAGE[:3]
        pixels = np.frombuffer(self.rng.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
        return self.board.classify("sees", pixels), self.sims["sees"].classify(pixels)

    def rows(self, name: str) -> np.ndarray:
        """A random signal (rows, channels) for a model, as long as it may be or shorter."""
        frames = self.sims[name].frames
        assert frames
        rows = self.rng.randrange(frames.least, frames.length + 1)
        data = self.rng.randbytes(2 * rows * frames.channels)
        return np.frombuffer(data, "<i2").reshape(rows, frames.channels)

    def signal(self) -> tuple[Any, Any]:
        rows = self.rows("senses")
        return self.board.classify("senses", rows), self.sims["senses"].classify(rows)

    def prediction(self) -> tuple[Any, Any]:
        rows = self.rows("foretells")
        got = self.board.predict("foretells", rows).tolist()
        return got, self.sims["foretells"].predict(rows).tolist()

    def embedding(self) -> tuple[Any, Any]:
        text = self.words()
        return self.board.embed("embeds", text).tolist(), self.sims["embeds"].embed(text).tolist()

    def answer(self) -> tuple[Any, Any]:
        text, question = self.words(), self.words(3)
        return same_error(
            lambda: self.board.answer("answers", text, question),
            lambda: self.sims["answers"].answer(text, question),
        )

    def translation(self) -> tuple[Any, Any]:
        text = self.words()
        return self.board.translate("translates", text), self.sims["translates"].translate(text)

    def beams(self) -> tuple[Any, Any]:
        text = self.words()
        got = self.board.translate("translates", text, beams=3)
        return got, self.sims["translates"].translate(text, beams=3)

    def context(self) -> tuple[Any, Any]:
        name, context = self.rng.choice(list(MODELS)), self.rng.choice((2, 4, 6, 8))
        got = self.board.load(name, context).context
        self.board.load(name)
        return got, min(context, self.sims[name].context)

    def upload(self) -> tuple[Any, Any]:
        self.board.deploy(self.folder / f"{self.rng.choice(list(MODELS))}.pft", "again")
        return self.removal()

    def removal(self) -> tuple[Any, Any]:
        with contextlib.suppress(Error):
            self.board.remove("again")
        return sorted(m.name for m in self.board.models()), sorted(MODELS)

    def script(self) -> tuple[Any, Any]:
        n = self.rng.randrange(1000)
        return self.board.exec(f"print({n} * 2)"), f"{n * 2}\n"

    def refused(self) -> tuple[Any, Any]:
        for ask in (
            lambda: self.board.logits("generates", [99]),
            lambda: self.board.logits("generates", [1] * 99),
            lambda: list(self.board.generate("generates", self.words(99) + "ab" * 20)),
            lambda: self.board.load("is not there"),
            lambda: self.board.classify("generates", "a"),
            lambda: self.board.classify("senses", self.rows("foretells")),
        ):
            try:
                ask()
            except LinkError:
                raise
            except Error:
                continue
            return "no error", "an error"
        return None, None

    def probe(self) -> None:
        """Note the heap, with one and the same model loaded, and all modules.

        An upload soft resets the board, and what was imported before is gone.
        """
        for ask in self.image, self.signal, self.answer, self.beams, self.sampled:
            ask()
        for name in MODELS:
            self.board.load(name)
        self.board.load("generates")
        self.report.heap[-1].append(self.board.info["free_heap"])

    def run(self, requests: int, reconnect: int, say: Callable[[str], object]) -> Report:
        """Ask so many times, or until Ctrl-C; the report."""
        start = time.monotonic()
        try:
            self.ask(requests, reconnect, say)
        except KeyboardInterrupt:
            say("interrupted: the report is of what was asked so far")
        self.board.close()
        self.report.seconds = time.monotonic() - start
        return self.report

    def ask(self, requests: int, reconnect: int, say: Callable[[str], object]) -> None:
        start = said = time.monotonic()
        kinds = list(self.asks)
        for i in range(requests):
            # A session begins with each of them once: what they need is then imported.
            nth = i % reconnect
            kind = kinds[nth] if nth < len(kinds) else self.rng.choice(kinds)
            got, wanted = self.asks[kind]()
            self.report.requests[kind] += 1
            if got != wanted:
                self.report.wrong.append(f"request {i}, {kind}: {got!r:.200}, not {wanted!r:.200}")
                say(self.report.wrong[-1])
            if i % PROBE == PROBE - 1:
                self.probe()
            if i % reconnect == reconnect - 1 and i < requests - 1:
                self.board.close()
                self.board = self.connect()
                self.report.reconnects += 1
            if time.monotonic() - said > SAID:
                said = time.monotonic()
                heap = self.report.heap[-1]
                free = f", {heap[-1]:,} bytes of heap free" if heap else ""
                say(f"{i + 1:,} requests, {said - start:,.0f} s{free}")
        self.probe()


def same_error(ask: Callable[[], Any], simulate: Callable[[], Any]) -> tuple[Any, Any]:
    """What both give, or their errors' words."""
    said = []
    for call in (ask, simulate):
        try:
            said.append(call())
        except LinkError:
            raise
        except Error as e:
            said.append(str(e))
    return said[0], said[1]


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--board", choices=emulated.NAMES, default="unix")
    parser.add_argument("--requests", type=int, default=10000, help="(default 10000)")
    parser.add_argument("--reconnect", type=int, default=500, help="requests of one session")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--late", type=float, default=0.0, help="seconds, each way (default 0)")
    parser.add_argument("--cores", type=int, default=1, help="of the board (default 1)")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    arguments = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = Path(folder)
        board = emulated.board(arguments.board)
        port = stack.enter_context(board(files / "flash")).port
        cable = LateCable(port) if arguments.late else None
        if cable:
            stack.callback(cable.close)
        soak = Soak(cable.port if cable else port, files, arguments.seed, arguments.cores)
        if cable:
            cable.delay = arguments.late  # once the models are there
        report = soak.run(arguments.requests, arguments.reconnect, say)
    if arguments.json:
        print(
            json.dumps({**vars(report), "requests": dict(report.requests), "grown": report.grown})
        )
    else:
        print(report.table())
    return 1 if report.wrong or max(report.grown, default=0) > SHRINK else 0


if __name__ == "__main__":
    sys.exit(finish("soak", run))
