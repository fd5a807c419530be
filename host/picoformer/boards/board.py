"""A board on a serial port: put models on it and run them.

    with Board() as board:
        board.deploy("stories.pft")
        for piece in board.generate("stories", "Once upon a time", max_tokens=100):
            print(piece, end="")
"""

from __future__ import annotations

import base64
import contextlib
import json
import operator
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..compile import modelfile
from ..data.pictures import as_pixels
from ..device.probabilities import probabilities
from ..device.sampling import thousandths
from ..device.spans import named
from ..device.stops import until
from ..errors import Error
from ..planning.budget import Budget
from ..planning.planner import Planner
from ..planning.profiles import Profile, known
from ..runtime.files import FOLDER, readers
from ..runtime.platforms import Platform
from ..tokenizers.tokenizer import utf8
from . import contents
from .closing import Closing
from .connection import Connection
from .contents import Contents, Held, Kept
from .errors import NoMemoryError, NoModelError, NoSpaceError, NoWeightsError
from .install import Progress, install
from .link import ARGUMENT, Link
from .repl import EXEC_LIMIT, Repl
from .replies import Info, Labels, Loaded, Stats, Stored
from .room import Room, ask
from .trouble import check

# Prints a file's first section, which docs/format.md says where to find.
METADATA = """
from binascii import b2a_base64
try:
    f = open({path}, "rb")
    f.seek(20)
    at = int.from_bytes(f.read(4), "little")
    n = int.from_bytes(f.read(4), "little")
    f.seek(at)
    while n > 0:
        b = f.read(min(n, 384))
        if not b:
            break
        n -= len(b)
        print(b2a_base64(b).decode(), end="")
    f.close()
except OSError:
    pass
"""


def _read(link: Link, given: str | np.ndarray, task: str) -> np.ndarray:
    """The loaded model's result for a text, an image or a signal."""
    if isinstance(given, str):
        return link.read(given, task)
    length, channels = link.labels().frames
    if not length:
        return link.read(as_pixels(given).astype(np.uint8).tobytes(), task)
    signal = modelfile.frames_of({}, length, channels).signal(given)
    if signal.nbytes // 4 > ARGUMENT:
        raise Error(
            f"the signal has {signal.nbytes // 4:,} bytes, and the link takes {ARGUMENT:,} at "
            "most: give fewer rows"
        )
    return link.read(signal.astype("<i2").tobytes(), task)


def _check(given: str | np.ndarray) -> None:
    """Raise Error for a text that cannot be sent."""
    if isinstance(given, str):
        utf8(given)


def _model_of(link: Link) -> Loaded:
    """What is loaded behind a link."""
    assert link.loaded
    return link.loaded[1]


class Board(Closing):
    """A board on a serial port. Use it with `with`, or call `close` at the end.

    port: a device path, a pyserial URL, or "emulator" (MicroPython's unix port), "emulator:pico",
        "emulator:pico2" or "emulator:esp32". None: what PICOFORMER_PORT names, else the only board
        that is connected.
    cores: 2 lets models run on both cores of an RP2040 or RP2350.

    Opening it stops the program on the board and soft resets it. Methods that run a model load it
    first if it is not loaded.

    logit_scale: real value of one unit of the last labels' logits. several: whether more than one
    of those labels can hold at once.

    Raises PortError or NoBoardError. All methods raise LinkError if the connection fails, and
    BoardError, or one of its kinds, if the board refuses; all of these are Errors.
    """

    def __init__(self, port: str | None = None, cores: int = 1) -> None:
        self.connection = Connection(port, cores)
        self.logit_scale = 1.0  # the real value of one unit of the last logits of labels
        self.several = False  # and whether each of those labels holds or not by itself
        self._labelled: Labels | None = None  # and what else is known of them
        self._asked = "", 0  # the model and context that load() was asked for
        # Of models whose weights are here: the header's CRC32, and the weights.
        self._weights: dict[str, tuple[int, bytes]] = {}
        self._readers: set[str] = set()  # modules that the board is known to have
        self._room: Room | None = None  # what was free when it was asked
        self.stats = Stats()
        """What the last text took on the board."""
        self.notice = ""
        """Why the board's runtime is .py or slow, where it could not be better."""

    @property
    def port(self) -> str:
        """Name of the port, as mpremote takes it."""
        return self.connection.port

    @property
    def platform(self) -> Platform:
        """The board's MicroPython: `platform`, `machine`, `version`, `architecture`."""
        return self.connection.platform

    @property
    def stopped(self) -> bool:
        """Whether a main.py (or boot.py) ran on the board, which `close` will start again."""
        return self.connection.repl.stopped

    def close(self) -> None:
        """Close the port. Calling it again does no harm.

        If the board's main.py ran before, it starts again. Otherwise the board is at its prompt.
        """
        self.connection.close()

    def reset(self, hard: bool = False) -> str:
        """Restart the board, so that its main.py runs, and close the port.

        hard: True restarts it as its reset button does; otherwise a soft reset.

        Returns what the board printed within a second.
        """
        return self.connection.restart(hard)

    def exec(self, code: str, timeout: float | None = EXEC_LIMIT) -> str:
        """Run a script in the board's REPL. A model that is loaded is dropped.

        code: the script. timeout: seconds without an end that are waited for, None for no limit.

        Returns what it printed. Raises ScriptError with the board's traceback.
        """
        self.connection.stop_server()
        self.connection.fresh = False
        self._room = None  # the script may change boot.py
        return self.connection.repl.run(code, timeout, altogether=True)

    # Models

    def deploy(
        self,
        path: str | Path,
        name: str | None = None,
        progress: Progress | None = None,
        weights: str = "board",
    ) -> str:
        """Put a model on the board, and the runtime if it is not up to date.

        path: the model file.
        name: name of the model on the board (default: the file's, without .pft).
        progress: called with (what, bytes done, all bytes); what is "runtime" or the name.
        weights: "host" leaves the weights on this PC, which then sends them whenever the model
            runs.

        An upload that was cut goes on where it stopped. Returns the name. Raises NoSpaceError if
        the flash is full, and Error if the model fits the heap at no context (see `budget`).
        """
        if weights not in ("board", "host"):
            raise Error(f"weights go to the 'board' or stay on the 'host', not {weights!r}")
        path = Path(path)
        modelfile.load(path)  # a file that is none stays here
        front, rest = modelfile.split(path)
        data = front if weights == "host" else front + rest
        name = name or path.name.removesuffix(".pft")
        self._install(progress, modelfile.tokenizer(front))
        if weights == "board":
            self._check_room(path)
        try:
            self.connection.do(lambda link: self._put(link, name, data, progress))
        except NoSpaceError as e:
            there = self.contents()
            error = contents.full(name, len(data), there)
            if weights == "board" and len(front) <= there.free:
                error.args = (
                    f"{error}. Or leave its weights on this PC: without them it has "
                    f"{len(front):,} bytes (deploy with --weights host)",
                )
            raise error from e
        self._weights.pop(name, None)
        if weights == "host":
            self._weights[name] = modelfile.header_crc(data), rest
        return name

    def _check_room(self, path: Path) -> None:
        planner = Planner(path, self.kind())
        b = planner.budget(server=True)
        if not planner.longest(server=True):
            raise Error(
                f"{path} does not fit this board ({b.board}) at any context: at {b.context} "
                f"it takes {b.needed:,} bytes of heap, {b.largest:,} in one piece; there are "
                f"{b.heap:,} and {b.largest_free:,}. {' '.join(b.advice)} picoformer plan --port "
                "says more; --weights host leaves the weights on this PC"
            )

    def _put(self, link: Link, name: str, data: bytes, progress: Progress | None) -> None:
        """Upload what the board does not have."""
        there = name, len(data), modelfile.header_crc(data)
        if any((m.name, m.bytes, m.crc) == there for m in link.models()):
            if progress:
                progress(name, len(data), len(data))
            return
        if link.loaded and link.loaded[0] == name:
            link.loaded = None
        self._forget(name)
        step = (lambda done, total: progress(name, done, total)) if progress else None
        link.upload(utf8(name), data, step)

    def budget(self, path: str | Path) -> Budget:
        """What a model will need of this board's heap beside the server, and whether it fits.

        path: the model file.

        Returns a Budget. The first time the board is reset and asked what is free; a model that is
        loaded is dropped. Raises Error if the file is no model.
        """
        return Planner(path, self.kind()).budget(server=True)

    def kind(self, path: str | Path | None = None) -> Profile:
        """This board as a Profile, which `picoformer.planning.planner.Planner` makes plans for.

        path: a model file, to count the free flash as well, as if that model were not there.

        Resets the board as `budget` does.
        """
        connection = self.connection
        for attempt in connection.attempts():
            with attempt:
                if self._room is None or path:
                    if connection.link or not connection.fresh:
                        connection.stop_server()
                        connection.reset()
                    size = Path(path).stat().st_size if path else 0
                    self._room = ask(connection.repl, size)
                    connection.fresh = False
                break
        assert self._room
        board, room = known(self.platform), self._room
        flash = room.flash if path and board.flash.bytes else None
        return board.asked(self.port, room.heap, room.pieces, flash, room.grows)

    def update(self, progress: Progress | None = None, path: str | Path | None = None) -> bool:
        """Install the runtime, or bring it up to date.

        progress: as of `deploy`. path: a model file that the board will run besides those it has.

        Returns whether anything was written. Raises NoSpaceError if the flash is full.
        """
        section = modelfile.tokenizer(modelfile.split(path)[0]) if path else b""
        return self._install(progress, section)

    def _install(self, progress: Progress | None, section: bytes = b"") -> bool:
        """The same; section: the tokenizer of the model that is to come, or nothing."""
        sections = [section] * bool(section)
        if self.connection.link:
            if self._readers and readers(sections) <= self._readers:
                return False  # it was brought up to date before
            self.connection.stop_server()
            self.connection.reset()
        repl = self.connection.repl
        try:
            with self.connection.explaining():
                check(repl)
                runtime, written = install(repl, self.platform, sections, progress)
        except NoSpaceError as e:
            raise contents.full_of_runtime(repl, self.platform, sections) from e
        self.notice = runtime.notice
        self._readers = {name.partition(".")[0] for name in runtime.files}
        if written:
            self.connection.reset()
        return written

    def metadata(self, name: str) -> dict[str, Any]:
        """The metadata of a model on the board, a dict. A model that is loaded is dropped.

        name: of the model. Raises NoModelError if it is not there or damaged.
        """
        told = self.exec(METADATA.format(path=repr(f"/{utf8(name)}.pft")), None)
        try:
            meta = json.loads(base64.b64decode("".join(told.split())))
        except ValueError as e:
            raise NoModelError(f"there is no model {name} on the board, or it is damaged") from e
        return meta if isinstance(meta, dict) else {}

    def models(self) -> list[Stored]:
        """The models in the board's flash: a list of `name`, `bytes` and `crc`."""
        return self.connection.do(lambda link: link.models())

    def contents(self) -> Contents:
        """What is in the board's flash, as Contents; works without a runtime.

        A model that is loaded is dropped.
        """
        with self._at_rest() as repl:
            return contents.look(repl)

    def romfs(self) -> list[int]:
        """Bytes of each ROMFS partition of the board, a list. A model that is loaded is dropped.
        """
        with self._at_rest() as repl:
            return contents.romfs(repl)

    def runtime(self) -> Held:
        """The runtime in the board's flash, a Held. A model that is loaded is dropped.

        Raises Error if the board's MicroPython cannot run it.
        """
        with self._at_rest() as repl:
            check(repl)
            return contents.runtime(repl, self.platform)

    def remove(self, *names: str, runtime: bool = False) -> list[Kept]:
        """Delete models, and what is left of uploads that were cut. Works without a runtime.

        names: of the models. runtime: True deletes the runtime as well.

        Returns the deleted files, a list of Kept. A model that is loaded is dropped. Raises
        NoModelError, and deletes nothing, if one of them is not there.
        """
        for name in names:
            utf8(name)
        with self._at_rest() as repl:
            files = contents.look(repl).named(names)
            contents.remove(repl, [m.path for m in files] + [FOLDER] * runtime)
        for name in names:
            self._weights.pop(name, None)
            self._forget(name)
        if runtime:
            self._readers.clear()
        return files

    @contextlib.contextmanager
    def _at_rest(self) -> Iterator[Repl]:
        """The raw REPL, in which nothing of ours runs."""
        self.connection.stop_server()
        self.connection.fresh = False
        with self.connection.explaining():
            yield self.connection.repl

    def _forget(self, name: str) -> None:
        """The board's model of that name goes."""
        if self._asked[0] == name:
            self._asked = "", 0

    def load(self, name: str, context: int = 0, weights: str | Path | None = None) -> Loaded:
        """Load a model into the board's heap, in place of another.

        name: of the model. context: context length in tokens, 0 for the file's.
        weights: the model file, if the model was deployed with weights="host".

        Returns Loaded. Methods that load by themselves use the context and weights that were given
        here. Raises NoModelError, NoMemoryError or NoWeightsError.
        """
        if weights is not None:
            front, rest = modelfile.split(weights)
            self._weights[name] = modelfile.header_crc(front), rest
        if not 0 <= context <= 65535:
            raise Error(f"context is {context}, expected 0 (the file's) to 65535")
        self._asked = name, context

        def work(link: Link) -> Loaded:
            link.loaded = None
            return _model_of(self._load(name))

        return self.connection.do(work)

    def _load(self, name: str) -> Link:
        """The link, with a model loaded behind it."""
        connection = self.connection
        link = connection.server()
        if link.loaded and link.loaded[0] == name:
            return link
        context = self._asked[1] if self._asked[0] == name else 0
        # Requests leave their objects where a large block would have to be.
        fresh, connection.fresh = connection.fresh and not link.requests, False
        try:
            loaded = link.load(utf8(name), context)
        except NoMemoryError as e:
            if fresh:
                raise self._cramped(e) from e
            # What ran before has left the heap in pieces: again, on a new one.
            connection.stop_server()
            connection.reset()
            link = connection.server()
            connection.fresh = False
            try:
                loaded = link.load(utf8(name), context)
            except NoMemoryError as again:
                raise self._cramped(again) from again
        if loaded.weights == "host":
            self._provide(link, name)
        if loaded.kernels == "portable" and self.platform.architecture and not self.notice:
            self.notice = (
                "the board runs the portable kernels, a hundred times slower: its others are for "
                "another processor, or did not fit its heap; picoformer update"
            )
        return link

    def _cramped(self, e: NoMemoryError) -> NoMemoryError:
        """The same error, with why there is so little memory, where boot.py is to blame."""
        note = self.kind().note
        cramped = NoMemoryError(f"{e}; {note}" if note else str(e))
        cramped.code, cramped.number = e.code, e.number
        return cramped

    def _provide(self, link: Link, name: str) -> None:
        """Give the link the weights of the model that is loaded."""
        known = link.streamer.weights = self._weights.get(name)
        crc = next((m.crc for m in link.models() if m.name == name), 0)
        if known and known[0] == crc:
            return
        link.loaded = None
        raise NoWeightsError(
            f"the board has {name} without its weights, of a model file with CRC32 {crc:08x}; "
            + (f"the file that was named has {known[0]:08x}: n" if known else "n")
            + "ame the one that was deployed (--weights MODEL.pft, or Board.load(name, "
            "weights=...)), or deploy again"
        )

    def logits(self, name: str, tokens: Sequence[int]) -> np.ndarray:
        """Logits after the last of some tokens, int32 (vocab,).

        name: of the model. tokens: token ids, 1 to the context of them; no BOS is added.

        Raises Error for other tokens.
        """
        try:
            ids = [operator.index(t) for t in tokens]
        except TypeError:
            ids = [-1]
        if any(not 0 <= t < 65536 for t in ids):
            raise Error("a token is a whole number from 0 to 65535")
        return self.connection.do(lambda link: self._load(name).logits(ids))

    def classify(self, name: str, text: str | np.ndarray) -> list[tuple[str, int]]:
        """Label a text, an image or a signal: [(label, int32 logit)], best first.

        name: of the model.
        text: a str. Or an image: pixels 0 to 255, (height, width) or (height, width, channels). Or
            a signal, (rows, channels): whole numbers of 16 bits; divide real values by the model's
            unit.

        Raises Error if the model does something else, or reads something else.
        """
        _check(text)

        def ask(_: Link) -> list[tuple[str, int]]:
            link = self._load(name)
            logits = _read(link, text, "classify").tolist()
            labels = self._labels(link)
            return sorted(zip(labels, logits, strict=True), key=lambda pair: -pair[1])

        return self.connection.do(ask)

    def _labels(self, link: Link) -> list[str]:
        found = link.labels()
        self.logit_scale, self.several = 2.0**-found.bits, found.several
        self._labelled = found
        return found.names

    def probabilities(self, result: Sequence[Any]) -> list[tuple[str, float]]:
        """Probabilities of what `classify` gave last, [(label, 0 to 1)].

        result: that, or the logits of one word. Raises Error if nothing was classified before.
        """
        known = self._labelled
        if known is None:
            raise Error("no labels are known yet: call classify before probabilities")
        return list(probabilities(result, known.names, known.bits, known.several))

    def tag(self, name: str, text: str) -> list[tuple[str, str, int]]:
        """The likeliest label of each word of a text: [(word, label, int32 logit)].

        name: of the model. text: a str. Raises Error if the model is made for something else.
        """
        utf8(text)

        def ask(_: Link) -> list[tuple[str, str, int]]:
            link = self._load(name)
            labels = self._labels(link)
            rows = link.read(text, "tag").reshape(-1, 1 + len(labels))
            return list(named(text, labels, [(row[0], row[1:]) for row in rows]))

        return self.connection.do(ask)

    def image_shape(self, name: str) -> tuple[int, int, int]:
        """Height, width and channels of the images that a model reads; zeros if it reads none.

        name: of the model.
        """
        return self.connection.do(lambda _: self._load(name).labels().image)

    def frames_shape(self, name: str) -> tuple[int, int]:
        """Rows (at most) and channels of the signals that a model reads; zeros if it reads none.

        name: of the model.
        """
        return self.connection.do(lambda _: self._load(name).labels().frames)

    def embed(self, name: str, text: str | np.ndarray) -> np.ndarray:
        """The embedding of a text, an image or a signal, int32 (outputs,).

        name, text: as of `classify`.

        It has no particular length: compare directions, by the cosine. Raises Error as `classify`.
        """
        _check(text)
        return self.connection.do(lambda _: _read(self._load(name), text, "embed"))

    def predict(self, name: str, signal: str | np.ndarray) -> np.ndarray:
        """The numbers that a model predicts, float64 (outputs,).

        name: of the model. signal: as `text` of `classify`.

        They are whole numbers times `logit_scale`. Raises Error as `classify`.
        """
        _check(signal)

        def ask(_: Link) -> np.ndarray:
            link = self._load(name)
            result = _read(link, signal, "predict")
            self._labels(link)
            return result * self.logit_scale

        return self.connection.do(ask)

    def translate(
        self, name: str, text: str, beams: int = 1, length_penalty: float = 1.0
    ) -> str:
        """The translation of a text, or whatever the model makes of one, a str.

        name: of the model. text: a str.
        beams: 1 takes the likeliest token at each step; 2 to 8 follow that many texts and return
            the likeliest.
        length_penalty: with beams: power of its length that a text's cost is divided by, 0 to 10.
            0 prefers short texts, larger values prefer longer ones.

        Raises Error if the model is made for something else, or an argument is out of range.
        """
        beams = operator.index(beams)
        if not 1 <= beams <= 8:
            raise Error(f"beams is {beams}, expected 1 to 8")
        penalty = thousandths("length_penalty", float(length_penalty), 0, 10000)
        task = self.connection.do(lambda _: _model_of(self._load(name)).task)
        if task != "translate":
            raise Error(f"this model is made to {task}, not to translate")
        # In the place of the temperature, which a translation has not.
        return "".join(self._text(name, text, None, (beams << 16 | penalty, 1000, 1)))

    def answer(self, name: str, context: str, question: str) -> str:
        """The part of a text that answers a question, a str.

        name: of the model. context: the text, at most 65,535 bytes. question: a str.

        Raises Error if the model is made for something else, or the text is longer.
        """
        utf8(context)
        utf8(question)
        if len(context.encode()) > 0xFFFF:
            raise Error(f"the text has {len(context.encode()):,} bytes, expected at most 65,535")
        return self.connection.do(lambda link: self._load(name).answer(context, question))

    def generate(
        self,
        name: str,
        prompt: str = "",
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 1,
        stop: str | Sequence[str] | None = None,
        raw: bool = False,
    ) -> Generator[str, None, None]:
        """Let the board write a text: yields what follows the prompt, one str for each token.

        name: of the model. prompt, max_tokens, temperature, top_p, seed, stop, raw: as of
            `Simulator.generate`, with the same text.

        Closing the iterator stops the board. If the board is reset meanwhile, it writes the same
        text again, and this goes on where it was. Raises Error as `Simulator.generate`.
        """
        if max_tokens is not None:
            max_tokens = operator.index(max_tokens)
            if max_tokens < 1:
                return
            if max_tokens > 65535:
                max_tokens = None
        numbers = (
            thousandths("temperature", float(temperature), 0, 100000),
            thousandths("top_p", float(top_p), 1, 1000) | bool(raw) << 15,
            operator.index(seed),
        )
        pieces = self._text(name, prompt, max_tokens, numbers)
        yield from until(pieces, stop) if stop else pieces

    def _text(
        self, name: str, prompt: str, max_tokens: int | None, numbers: tuple[int, int, int]
    ) -> Generator[str, None, None]:
        """What `generate` yields; numbers are the link's temperature, top_p and seed."""
        utf8(prompt)
        got = 0
        for attempt in self.connection.attempts():
            with attempt:
                link = self._load(name)
                pieces = link.generate(prompt, max_tokens, *numbers)
                try:
                    for index, piece in enumerate(pieces):
                        if index >= got:
                            got = index + 1
                            yield piece
                finally:
                    pieces.close()
                    self.stats = link.stats
                return

    @property
    def info(self) -> dict[str, Any]:
        """What the board is, its memory (bytes) and its models, a dict."""

        def ask(link: Link) -> dict[str, Any]:
            i: Info = link.info()
            return {
                "port": self.port,
                "platform": self.platform.platform,
                "machine": i.machine,
                "micropython": i.version,
                "architecture": self.platform.architecture,
                "protocol": f"{link.hello.major}.{link.hello.minor}",
                "free_heap": i.free_heap,
                "largest_block": i.largest_block,
                "free_flash": i.free_flash,
                "loaded": i.loaded,
                "models": [vars(m) for m in link.models()],
            }

        return self.connection.do(ask)
