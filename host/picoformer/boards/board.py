"""A board on a serial port: put models on it and run them.

    with Board() as board:
        board.deploy("stories.pft")
        for piece in board.generate("stories", "Once upon a time", max_tokens=100):
            print(piece, end="")
"""

from __future__ import annotations

import contextlib
import errno
import operator
import socket
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import serial
from serial.tools import list_ports

from ..compile import modelfile
from ..data.pictures import as_pixels
from ..errors import Error
from ..planning.planner import Budget, Planner
from ..planning.profiles import known
from ..simulate.sampling import thousandths
from . import install as runtime
from .link import (
    EndedError,
    Info,
    Link,
    LinkError,
    Loaded,
    LostError,
    NoMemoryError,
    NoSpaceError,
    NoWeightsError,
    SilentError,
    Stats,
    Stored,
)

# Time limits, in seconds.
WRITE_LIMIT = 20.0  # for the board to take what is sent
POLL = 0.05  # between looks for bytes and at the clock
RAW_LIMIT = 3.0  # for the raw REPL's prompt, each time it is asked for
RESET_LIMIT = 10.0  # for a soft reset
EXEC_LIMIT = 10.0  # for a short script of ours
START_LIMIT = 60.0  # for the runtime to be imported, as .py on a slow board
REST = 0.2  # of silence, after which nothing more is on its way
RETURN_LIMIT = 15.0  # for a port to come back after a reset

BAUD = 115200
RAW_ATTEMPTS = 3
RECOVERIES = 2  # times that a request goes on after the board was reset
CHUNK = 256  # bytes to the raw REPL at once: it has no flow control
CHUNK_PAUSE = 0.01

RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
INTERRUPT = b"\r\x03\x03"
ENTER_RAW = b"\r\x01"
LEAVE_RAW = b"\r\x02"
RUN = b"\x04"

SERVE = "from picoformer.server import serve\nserve()"

Progress = Callable[[str, int, int], object]
T = TypeVar("T")


class PortError(LinkError):
    """The port cannot be opened."""


class NoBoardError(LinkError):
    """No MicroPython answers on the port."""


class ScriptError(Error):
    """A script raised on the board; the message is the board's traceback."""


class NoRuntimeError(Error):
    """The board has no picoformer, or one that does not start."""


def _given(text: str | np.ndarray) -> str | bytes:
    """A text that can be sent, or the bytes of an image."""
    if isinstance(text, str):
        _utf8(text)
        return text
    return as_pixels(text).astype(np.uint8).tobytes()


class SerialPort:
    """A real port, a pseudo-terminal or a pyserial URL. Raises PortError, LostError."""

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            kind = serial.serial_for_url(name, do_not_open=True)
            kind.baudrate = BAUD
            kind.timeout = POLL
            kind.write_timeout = WRITE_LIMIT
            if "://" not in name and sys.platform != "win32":
                kind.exclusive = True
            kind.open()
            network = getattr(kind, "_socket", None)
            if network is not None:  # or a small frame waits for the one before to be confirmed
                network.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, ValueError) as e:
            raise _cannot_open(name, e) from e
        self._serial: Any = kind

    def read(self, limit: float) -> bytes:
        deadline = time.monotonic() + limit
        try:
            while True:
                size = self._serial.in_waiting
                if size or limit > 0:
                    data: bytes = self._serial.read(size or 1)
                    if data:
                        while more := self._serial.in_waiting:  # sockets tell one at a time
                            data += self._serial.read(more)
                        return data
                if time.monotonic() >= deadline:
                    return b""
        except (OSError, TypeError) as e:  # TypeError: pyserial's, when closed meanwhile
            raise LostError(f"{self.name} is gone: was the board unplugged or reset? ({e})") from e

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as e:
            raise SilentError(
                f"the board on {self.name} takes nothing for {WRITE_LIMIT:.0f} s; reset it"
            ) from e
        except (OSError, TypeError) as e:
            raise LostError(f"{self.name} is gone: was the board unplugged or reset? ({e})") from e

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._serial.close()


def _utf8(text: str) -> str:
    """text, if it can be sent. Raises Error."""
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise Error(
            f"the text has a lone surrogate at index {e.start}, which is not a character; "
            "expected text that can be written as UTF-8"
        ) from e
    return text


def _cannot_open(name: str, e: Exception) -> PortError:
    code = getattr(e, "errno", None)
    words = str(e)
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in words or "Access" in words:
        return PortError(
            f"{name} is in use by another program (a terminal, mpremote, an IDE?); close that "
            "one and try again"
        )
    if code == errno.EACCES:
        return PortError(
            f"no permission to open {name}; on Linux, add yourself to the group that owns it "
            "(often dialout) and log in again"
        )
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or "FileNotFound" in words:
        return PortError(f"there is no port {name}; `picoformer ports` lists those that are there")
    return PortError(f"cannot open {name}: {words}")


def ports() -> list[Any]:
    """The serial ports of this computer that a board may be on, as pyserial describes them."""
    # On-board ports of the PC have no USB ids and hold no boards.
    return sorted((p for p in list_ports.comports() if p.vid is not None), key=lambda p: p.device)


def find_port() -> str:
    """The port of the only board that is connected. Raises PortError."""
    found = ports()
    if len(found) == 1:
        return str(found[0].device)
    if not found:
        raise PortError(
            "no board is connected (no USB serial port is there); plug one in, name a port, or "
            "use --port emulator"
        )
    listed = ", ".join(f"{p.device} ({p.description})" for p in found)
    raise PortError(f"several boards may be connected: {listed}; choose one with --port")


class Repl:
    """The raw REPL of the board on a port."""

    def __init__(self, port: SerialPort) -> None:
        self.port = port
        self._seen = bytearray()

    def write(self, data: bytes) -> None:
        self.port.write(data)

    def expect(self, mark: bytes, limit: float) -> bytes:
        """What comes before `mark`. Raises SilentError, with what was seen."""
        deadline = time.monotonic() + limit
        while mark not in self._seen:
            left = deadline - time.monotonic()
            if left <= 0:
                seen = bytes(self._seen[-300:])
                raise SilentError(
                    f"the board did not answer {mark!r} within {limit:g} s; "
                    + (f"it said {seen!r}" if seen else "it said nothing")
                )
            self._seen += self.port.read(left)
        before, _, after = bytes(self._seen).partition(mark)
        self._seen = bytearray(after)
        return before

    def rest(self) -> bytes:
        """What has been read too far."""
        rest = bytes(self._seen)
        self._seen.clear()
        return rest

    def drain(self, quiet: float = 0.1) -> None:
        """Drop what is still coming."""
        self._seen.clear()
        limit = time.monotonic() + 20 * quiet
        while self.port.read(quiet) and time.monotonic() < limit:
            pass

    def enter(self) -> None:
        """Interrupt whatever runs and enter the raw REPL. Raises NoBoardError."""
        seen = b""
        for _ in range(RAW_ATTEMPTS):
            self._seen.clear()
            self.write(INTERRUPT + ENTER_RAW)
            try:
                self.expect(RAW_PROMPT, RAW_LIMIT)
                self.drain(0.02)
                return
            except SilentError:
                seen += bytes(self._seen)
        heard = seen.decode(errors="replace").strip()
        if not heard and self.port.name.startswith("socket://"):
            raise NoBoardError(
                f"{self.port.name} says nothing: another program may have it (an emulated board "
                "serves one at a time); close that one and try again"
            )
        raise NoBoardError(
            f"no MicroPython answers on {self.port.name}: "
            + (f"it said {heard[-200:]!r}" if heard else "it said nothing")
            + "; expected the raw REPL. Check the port, reset the board, or flash MicroPython "
            "(micropython.org/download)"
        )

    def reset(self) -> None:
        """Soft reset: a fresh heap, in which nothing is imported."""
        for left in range(RAW_ATTEMPTS - 1, -1, -1):
            self.write(RUN)
            try:
                self.expect(b"soft reboot", RAW_LIMIT)
                break
            except SilentError:
                if not left:
                    raise
                self.enter()
        try:
            self.expect(RAW_PROMPT, RESET_LIMIT)
        except SilentError:  # boot.py keeps it busy
            self.enter()
        self.drain(0.02)

    def start(self, code: str) -> None:
        """Start a script; what it prints comes next.

        Not by raw paste, in which Ctrl-C does not reach scripts on every unix port.
        """
        data = code.encode() or b"\n"
        self._seen.clear()
        for at in range(0, len(data), CHUNK):
            if at:
                time.sleep(CHUNK_PAUSE)
            self.write(data[at : at + CHUNK])
        self.write(RUN)
        self.expect(b"OK", EXEC_LIMIT)

    def finish(self, limit: float | None = EXEC_LIMIT) -> str:
        """Wait for the script's end; what it printed. Raises ScriptError, TimeoutError's kin."""
        try:
            output = self.expect(RUN, limit if limit is not None else 1e9)
        except SilentError as e:
            said = bytes(self._seen).decode(errors="replace")
            self.enter()
            raise SilentError(
                f"the script did not end within {limit:g} s, and was interrupted; it had printed "
                f"{said[-300:]!r}"
            ) from e
        trace = self.expect(RUN + b">", EXEC_LIMIT)
        if trace:
            raise ScriptError(_lines(trace).strip())
        return _lines(output)

    def run(self, code: str, limit: float | None = EXEC_LIMIT) -> str:
        """Run a script and return what it printed."""
        self.start(code)
        return self.finish(limit)


def _lines(data: bytes) -> str:
    return data.decode(errors="replace").replace("\r\n", "\n")


class Board:
    """A board on a serial port; a context manager.

    port: a device path, a pyserial URL, "emulator" or "emulator:pico"; None for the only board
    that is connected. The board is soft reset, as mpremote does. Methods raise Error.
    """

    def __init__(self, port: str | None = None) -> None:
        self._emulator: Any = None
        self._usb: Any = None  # by which to find a port again that has changed its name
        self._link: Link | None = None
        self._loaded: tuple[str, Loaded] | None = None
        self.logit_scale = 1.0  # the real value of one unit of `classify`'s logits
        self._asked = "", 0  # the model and context that load() was asked for
        # Of models whose weights are here: the header's CRC32, and the weights.
        self._weights: dict[str, tuple[int, bytes]] = {}
        self._fresh = False  # has the heap held nothing since the last reset?
        self._closed = False
        name = port or find_port()
        if name == "emulator":
            from .emulated.unix import UnixBoard

            self._emulator = UnixBoard()
            name = self._emulator.port
        elif name == "emulator:pico":
            from .emulated.pico import PicoBoard

            self._emulator = PicoBoard()
            name = self._emulator.port
        elif name.startswith("emulator:"):
            raise PortError(f"no emulated board {name!r}: there are emulator and emulator:pico")
        self.port = name
        """The port's name: what mpremote connects to."""
        self.stats = Stats()
        """What the last text took on the board."""
        try:
            for p in list_ports.comports():
                if p.device == name and p.vid is not None:
                    self._usb = (p.vid, p.pid, p.serial_number)
            self._connect()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the board at its prompt and close the port; harmless when done before."""
        if self._closed:
            return
        self._closed = True
        port = getattr(self, "_serial", None)
        if port:
            with contextlib.suppress(Error):
                self._stop_server()
                port.write(LEAVE_RAW)
            port.close()
        if self._emulator:
            self._emulator.close()

    # The port and the REPL

    def _connect(self) -> None:
        self._serial = SerialPort(self.port)
        self._repl = Repl(self._serial)
        self._repl.enter()
        self._reset()
        self.platform = runtime.probe(self._repl)
        """The board's MicroPython."""

    def _reset(self) -> None:
        self._repl.reset()
        self._fresh = True

    def _reconnect(self) -> None:
        """Find the board again after it was reset."""
        self._link = None
        self._loaded = None
        deadline = time.monotonic() + RETURN_LIMIT
        lost = False
        while True:
            try:
                if lost:
                    self._serial.close()
                    self.port = self._find_again()
                    self._connect()
                else:
                    # What was on its way is being typed into a REPL: let it pass.
                    self._repl.drain(REST)
                    self._repl.enter()
                    self._reset()
                return
            except LinkError:
                # Its port may have gone and come back, under another name.
                lost = True
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _find_again(self) -> str:
        for p in list_ports.comports() if self._usb else ():
            if (p.vid, p.pid, p.serial_number) == self._usb:
                return str(p.device)
        return self.port

    def _stop_server(self) -> None:
        """Back to the raw REPL."""
        link, self._link, self._loaded = self._link, None, None
        if link is None:
            return
        with contextlib.suppress(LinkError):
            link.bye()
        self._repl.enter()

    def _server(self) -> Link:
        """The link, with the server running behind it."""
        if self._closed:
            raise LinkError("this Board is closed; open another")
        if self._link is None:
            link = Link(self._serial)
            self._repl.start(SERVE)
            try:
                link.feed(self._repl.rest())
                link.start(START_LIMIT)
            except EndedError as e:
                heard = link.heard()
                while more := self._serial.read(0.1):  # the traceback
                    heard += _lines(more)
                heard = " ".join(heard.replace("\x04", "").strip("> ").split())
                self._repl.enter()
                if "ImportError" in heard:
                    raise NoRuntimeError(
                        "there is no picoformer on the board, or only part of it; `picoformer "
                        f"deploy` installs it. The board said: {heard[-200:]}"
                    ) from e
                raise NoRuntimeError(f"picoformer does not start on the board: {heard}") from e
            except SilentError:
                self._repl.enter()
                raise
            self._link = link
        return self._link

    def _do(self, work: Callable[[Link], T]) -> T:
        """Do something over the link, again where the board was reset meanwhile."""
        for left in range(RECOVERIES, -1, -1):
            try:
                return work(self._server())
            except LinkError:
                if self._closed or not left:
                    raise
                self._reconnect()
        raise AssertionError

    def exec(self, code: str, timeout: float | None = EXEC_LIMIT) -> str:
        """Run a script on the board's REPL; what it printed. timeout in seconds, None for none.

        Raises ScriptError with the board's traceback.
        """
        self._stop_server()
        self._fresh = False
        return self._repl.run(code, timeout)

    # Models

    def deploy(
        self,
        path: str | Path,
        name: str | None = None,
        progress: Progress | None = None,
        weights: str = "board",
    ) -> str:
        """Put a model file, and the runtime where it is not up to date, on the board.

        Goes on with an earlier upload that was cut. Returns the name by which the model is
        known there. progress(what, bytes done, all bytes); what: "runtime" or the name.
        weights "host": all but the weights, which this Board then sends whenever the model runs;
        another one is told by load() where they are. Raises Error for a model that no context
        would make fit (see `budget`), unless its weights stay on the host.
        """
        if weights not in ("board", "host"):
            raise Error(f"weights go to the 'board' or stay on the 'host', not {weights!r}")
        path = Path(path)
        modelfile.load(path)  # a file that is none stays here
        front, rest = modelfile.split(path)
        data = front if weights == "host" else front + rest
        name = name or path.name.removesuffix(".pft")
        self.update(progress)
        if weights == "board":
            b = self.budget(path)
            if not b.longest:
                raise Error(
                    f"{path} does not fit this board ({b.board}) at any context: at {b.context} "
                    f"it takes {b.needed:,} bytes of heap, {b.largest:,} in one piece; there are "
                    f"{b.heap:,} and {b.largest_free:,}. picoformer plan says more; --weights "
                    "host leaves the weights on this PC"
                )
        crc = modelfile.header_crc(data)

        def put(link: Link) -> None:
            if any((m.name, m.bytes, m.crc) == (name, len(data), crc) for m in link.models()):
                if progress:
                    progress(name, len(data), len(data))
                return
            self._forget(name)
            step = (lambda done, total: progress(name, done, total)) if progress else None
            try:
                link.upload(_utf8(name), data, step)
            except NoSpaceError as e:
                if len(front) > e.number or data is front:
                    raise
                raise NoSpaceError(
                    f"{e}. Or leave its weights on this PC: without them it has {len(front):,} "
                    "bytes (deploy with --weights host)"
                ) from e

        self._do(put)
        self._weights.pop(name, None)
        if weights == "host":
            self._weights[name] = crc, rest
        return name

    def budget(self, path: str | Path) -> Budget:
        """What a model will take of this board's heap beside the server, and whether it fits.

        Where the board has no model loaded, of what is free there; else of what boards of its
        kind have at boot. Changes nothing. Raises Error for a file that is no model.
        """
        kind = known(self.platform)
        info = self._do(lambda link: link.info())
        if not info.loaded:
            # The server has taken its part of what was free at boot.
            started = kind.code.started
            kind = kind.with_memory(info.free_heap + started, info.largest_block + started)
        return Planner(path, kind).budget(server=True)

    def update(self, progress: Progress | None = None) -> bool:
        """Install or update the runtime. Returns whether anything was written."""
        if self._link is not None:
            return False  # it was up to date, or good enough, when the server started
        written = runtime.install(self._repl, self.platform, progress)
        if written:
            self._reset()
        return written

    def models(self) -> list[Stored]:
        """The models in the board's flash."""
        return self._do(lambda link: link.models())

    def remove(self, name: str) -> None:
        """Delete a model from the board's flash."""
        self._do(lambda link: link.remove(_utf8(name)))
        self._forget(name)
        self._weights.pop(name, None)

    def _forget(self, name: str) -> None:
        if self._loaded and self._loaded[0] == name:
            self._loaded = None
        if self._asked[0] == name:
            self._asked = "", 0

    def load(self, name: str, context: int = 0, weights: str | Path | None = None) -> Loaded:
        """Load a model into the board's memory, in place of another. context 0: the file's.

        weights: the model file, where the board has it without its weights. Other methods load by
        themselves, with the context and the weights that were last named here.
        """
        if weights is not None:
            front, rest = modelfile.split(weights)
            self._weights[name] = modelfile.header_crc(front), rest
        if not 0 <= context <= 65535:
            raise Error(f"context is {context}, expected 0 (the file's) to 65535")
        self._loaded = None
        self._asked = name, context
        self._do(lambda link: self._load(name))
        assert self._loaded is not None
        return self._loaded[1]

    def _load(self, name: str) -> Link:
        """The link, with a model loaded behind it."""
        link = self._server()
        if self._loaded and self._loaded[0] == name:
            return link
        context = self._asked[1] if self._asked[0] == name else 0
        self._loaded = None
        # Requests leave their objects where a large block would have to be.
        fresh, self._fresh = self._fresh and not link.requests, False
        try:
            self._loaded = name, link.load(_utf8(name), context)
        except NoMemoryError:
            if fresh:
                raise
            # What ran before has left the heap in pieces: again, on a new one.
            self._stop_server()
            self._reset()
            link = self._server()
            self._fresh = False
            self._loaded = name, link.load(name, context)
        if self._loaded[1].weights == "host":
            self._provide(link, name)
        return link

    def _provide(self, link: Link, name: str) -> None:
        """Give the link the weights of the model that is loaded."""
        link.weights = self._weights.get(name)
        crc = next((m.crc for m in link.models() if m.name == name), 0)
        if link.weights and link.weights[0] == crc:
            return
        self._loaded = None
        known = link.weights
        raise NoWeightsError(
            f"the board has {name} without its weights, of a model file with CRC32 {crc:08x}; "
            + (f"the file that was named has {known[0]:08x}: n" if known else "n")
            + "ame the one that was deployed (--weights MODEL.pft, or Board.load(name, "
            "weights=...)), or deploy again"
        )

    def logits(self, name: str, tokens: Sequence[int]) -> np.ndarray:
        """int32 logits (vocab,) behind the last of `tokens`; no BOS is added."""
        try:
            ids = [operator.index(t) for t in tokens]
        except TypeError:
            ids = [-1]
        if any(not 0 <= t < 65536 for t in ids):
            raise Error("a token is a whole number from 0 to 65535")
        return self._do(lambda link: self._load(name).logits(ids))

    def classify(self, name: str, text: str | np.ndarray) -> list[tuple[str, int]]:
        """[(label, int32 logit)] for a text or an image, best first.

        An image is an array of pixels, 0 to 255, (height, width) or (height, width, channels).
        """
        given = _given(text)

        def ask(_: Link) -> list[tuple[str, int]]:
            link = self._load(name)
            logits = link.read(given, "classify").tolist()
            labels, bits, _shape = link.labels()
            self.logit_scale = 2.0**-bits
            return sorted(zip(labels, logits, strict=True), key=lambda pair: -pair[1])

        return self._do(ask)

    def image_shape(self, name: str) -> tuple[int, int, int]:
        """Height, width and channels of the images that a model reads; zeros if it reads text."""
        return self._do(lambda _: self._load(name).labels()[2])

    def embed(self, name: str, text: str | np.ndarray) -> np.ndarray:
        """The embedding of a text or an image, int32 (outputs,); only its direction counts."""
        given = _given(text)
        return self._do(lambda link: self._load(name).read(given, "embed"))

    def translate(
        self, name: str, text: str, beams: int = 1, length_penalty: float = 1.0
    ) -> str:
        """The translation of a text, or whatever a model makes of one.

        beams: 1 takes the likeliest token at each step; 2 to 8 follow as many texts and take the
        likeliest. length_penalty: the power of its length that a text's cost is divided by.
        """
        beams = operator.index(beams)
        if not 1 <= beams <= 8:
            raise Error(f"beams is {beams}, expected 1 to 8")
        penalty = thousandths("length_penalty", length_penalty, 0, 10)
        self._do(lambda _: self._load(name))
        task = self._loaded[1].task if self._loaded else ""
        if task != "translate":
            raise Error(f"this model is made to {task}, not to translate")
        # In the place of the temperature, which a translation has not.
        return "".join(self._text(name, text, None, (beams << 16 | penalty, 1000, 1)))

    def answer(self, name: str, context: str, question: str) -> str:
        """The part of the text `context` that answers a question."""
        _utf8(context)
        _utf8(question)
        if len(context.encode()) > 0xFFFF:
            raise Error(f"the text has {len(context.encode()):,} bytes, expected at most 65,535")
        return self._do(lambda link: self._load(name).answer(context, question))

    def generate(
        self,
        name: str,
        prompt: str = "",
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 1,
    ) -> Generator[str, None, None]:
        """Yield the text that follows `prompt`, one str per token.

        temperature 0 is greedy. Closing the iterator stops the board. Where the board is reset
        meanwhile, it writes the same text again, and this goes on where it was.
        """
        if max_tokens is not None:
            max_tokens = operator.index(max_tokens)
            if max_tokens < 1:
                return
            if max_tokens > 65535:
                max_tokens = None
        numbers = (
            thousandths("temperature", temperature, 0, 100),
            thousandths("top_p", top_p, 0.001, 1),
            operator.index(seed),
        )
        yield from self._text(name, prompt, max_tokens, numbers)

    def _text(
        self, name: str, prompt: str, max_tokens: int | None, numbers: tuple[int, int, int]
    ) -> Generator[str, None, None]:
        """What `generate` yields; numbers are the link's temperature, top_p and seed."""
        _utf8(prompt)
        got = 0
        for left in range(RECOVERIES, -1, -1):
            try:
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
            except LinkError:
                if self._closed or not left:
                    raise
                self._reconnect()

    @property
    def info(self) -> dict[str, Any]:
        """What the board is, its memory (bytes) and its models."""

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

        return self._do(ask)
