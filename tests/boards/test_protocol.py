"""The link's frames, and both its ends over a line that loses, damages and doubles bytes."""

from __future__ import annotations

import contextlib
import random
import re
import struct
import time
import zlib
from array import array
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from documentframes import DOC, EXAMPLES, documented
from fakeboard import FakeBoard, Line, begin, double, drop, flip
from picoformer.boards import errors, limits
from picoformer.boards.frames import Decoder, Frame, encode_raw, encode_text
from picoformer.boards.link import Link
from picoformer.boards.replies import Labels
from picoformer.boards.upload import Upload
from picoformer.device import server as server_module
from picoformer.device import server_frames as wire
from picoformer.device import server_stream as stream
from picoformer.device.errors import Error
from picoformer.device.server import Server


@pytest.fixture
def board(tmp_path):
    fake = FakeBoard(tmp_path)
    yield fake
    fake.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No time is lost on a line without delays."""
    monkeypatch.setattr(limits, "RESEND", 0.02)
    monkeypatch.setattr(limits, "DRAIN", 0.004)
    monkeypatch.setattr(limits, "STALL", 0.3)
    monkeypatch.setattr(stream, "QUIET", 10)
    monkeypatch.setattr(stream, "AGAIN", 200)


# Frames


def both_ways(kind, seq, body):
    text = encode_text(kind, seq, body)
    assert Decoder().feed(text) == [Frame(kind, seq, body)]
    for frame in (text, encode_raw(kind, seq, body)):
        assert b"\x03" not in frame
        line = Line()
        line.write(frame)
        line.close()
        board = Server(line.read, None, lambda ms, line=line: len(line.bytes) > 0)
        got = board._receive(0)
        assert (got[0], got[1], bytes(got[2])) == (kind, seq, body)


@pytest.mark.parametrize("size", [*range(20), 255, 256, 257, 1000, 1024])
def test_frames_of_all_sizes_pass(size):
    rng = random.Random(size)
    both_ways(rng.randrange(256), rng.randrange(256), rng.randbytes(size))
    both_ways(3, 3, bytes([3]) * size)
    # The bytes that stand in first, and Ctrl-C, in every neighbourhood.
    both_ways(6, 1, bytes(rng.choices(b"\x03 !\"", k=size)))


def test_every_byte_value_passes():
    for value in range(256):
        both_ways(wire.PING, value, bytes([value, value]))
    both_ways(wire.PING, 1, bytes(range(256)))


def test_the_boards_frames_are_the_pcs():
    board = Server(None, None, None)
    assert board._frame(wire.PING, 7, b"abc") == encode_text(wire.PING, 7, b"abc")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_documents_examples(name):
    text, raw = documented(name)
    assert text == encode_text(*EXAMPLES[name])
    if raw is not None:
        assert raw == encode_raw(*EXAMPLES[name])


def test_the_documents_numbers():
    """Kinds and error codes in the tables are those of the code."""
    rows = re.findall(r"^\| (\d+|0x[0-9A-F]+) \| ([A-Z_]+) \|", DOC, re.M)
    names = "HELLO INFO LIST BEGIN DATA COMMIT REMOVE LOAD ARGUMENT LOGITS GENERATE TAKEN STOP"
    names += " PING BYE READ LABELS ANSWER READY TOKEN BUSY ERROR WANT BAD_CRC BAD_VERSION"
    names += " BAD_REQUEST BAD_STATE BAD_OFFSET BAD_NAME NO_FILE NO_SPACE NO_MEMORY BAD_DATA"
    names += " BAD_MODEL"
    assert sorted(name for _, name in rows) == sorted([*names.split(), "UNSUPPORTED", "INTERNAL"])
    for number, name in rows:
        assert int(number, 0) == getattr(wire, name), name


def test_the_decoder_skips_what_is_no_frame():
    frame = encode_text(wire.PING, 1, b"x")
    noise = b"printed\r\n~not base64!\n~AAAA\nno end of line"
    decoder = Decoder()
    frames = [f for b in noise + frame + b"warning: low\n" for f in decoder.feed(bytes([b]))]
    assert frames == [Frame(wire.PING, 1, b"x")]
    assert not decoder.ended
    decoder.feed(b"MPY: soft reboot\r\n")
    assert decoder.ended


# A session


def test_requests(board):
    link = begin(board)
    assert link.hello.nonce == board.server._nonce
    assert link.ping(b"there") == b"there"
    assert link.models() == []
    link.upload("one", b"\x89PFT" + bytes(200))
    (model,) = link.models()
    assert (model.name, model.bytes) == ("one", 204)
    link.remove("one")
    assert link.models() == []
    with pytest.raises(errors.NoModelError, match="'one'.*deploy it first"):
        link.remove("one")
    with pytest.raises(errors.NoModelError):
        link.load("one")
    with pytest.raises(errors.BoardError, match="is not a name"):
        link.upload("a/b", b"x")
    with pytest.raises(errors.BoardError, match="cannot do this now"):
        link.logits([1])
    with pytest.raises(errors.BoardError, match="does not know request 99"):
        link.request(99)
    with pytest.raises(errors.BoardError, match="does not understand"):
        link.request(wire.LOAD, b"")
    link.bye()
    with pytest.raises(errors.EndedError):
        link.ping()


BAD_NAMES = [
    "", "/x", "a/b", "../x", "..", ".", ".x", "lib/picoformer/model", "a" * 65, "é" * 33,
    "main.py\0", "boot.py\0x", "\0", "a\nb", "a\x1b[2J", "\t", "..\\boot", "lib\\x", "x\x03y",
]  # fmt: skip


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_leave_the_folder_or_reach_other_files(board, name, raw):
    (board.folder / "boot.py").write_bytes(b"boot")
    (board.folder / "main.py").write_bytes(b"main")
    link = begin(board, raw)
    for ask in (
        lambda: link.upload(name, b"\x89PFT" + bytes(99)),
        lambda: link.remove(name),
        lambda: link.load(name),
    ):
        with pytest.raises(errors.BoardError, match="is not a name for a model: expected 1 to 64"):
            ask()
    assert link.ping(b"x") == b"x"
    files = {p.name: p.read_bytes() for p in board.folder.rglob("*")}
    assert files == {"boot.py": b"boot", "main.py": b"main"}


@pytest.mark.parametrize("name", ["boot.py", "a.b", "é" * 32, "a" * 64, "x y", "~", "CON", "-n"])
def test_names_of_other_files_are_names_of_models(board, name):
    (board.folder / "boot.py").write_bytes(b"boot")
    link = begin(board)
    link.upload(name, DATA[:200])
    assert [m.name for m in link.models()] == [name]
    assert (board.folder / f"{name}.pft").read_bytes() == DATA[:200]
    assert (board.folder / "boot.py").read_bytes() == b"boot"


@pytest.mark.parametrize("size", [2**31, 2**32 - 1, 101_000])
def test_sizes_beyond_the_space_are_refused_before_the_first_byte(board, monkeypatch, size):
    monkeypatch.setattr(board.server, "_space", lambda: 100_000)
    link = begin(board)
    body = struct.pack("<IIB", size, 0, 0) + b"m"
    with pytest.raises(errors.NoSpaceError, match="100,000 bytes are free"):
        link.request(wire.BEGIN, body)
    with pytest.raises(errors.BoardError, match="cannot do this now"):
        link.request(wire.DATA, bytes(4) + b"data")
    assert not list(board.folder.iterdir())


@pytest.mark.parametrize("text", [b"\xe6\x97", b"a\xff", b"\x80", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_half_a_character_is_refused(board, text):
    link = loaded(board)
    length = struct.pack("<H", len(text))
    for kind, body in (
        (wire.GENERATE, struct.pack("<HIHI", 3, 0, 1000, 1) + text),
        (wire.READ, b"\0" + text),
        (wire.ANSWER, length + text + b"question"),
        (wire.ANSWER, b"\1\0a" + text),
        (wire.LOAD, b"\0\0" + text),
        (wire.REMOVE, text),
        (wire.BEGIN, bytes(9) + text),
    ):
        with pytest.raises(errors.BoardError, match="does not understand a request"):
            link.request(kind, body)
    assert link.ping(b"x") == b"x"
    assert not list(board.folder.iterdir())


def test_one_text_at_a_time(board):
    link = loaded(board, 0.001)
    text = link.generate("p", None, 0, 1000, 1)
    next(text)
    with pytest.raises(errors.BoardError, match="close its iterator"):
        link.models()
    text.close()
    assert link.models() == []


def test_many_models_are_listed(board):
    for i in range(120):
        (board.folder / f"model with a long name {i:03}.pft").write_bytes(bytes(100 + i))
    assert [m.bytes for m in begin(board).models()] == list(range(100, 220))


def test_another_major_is_refused(board):
    link = begin(board)
    with pytest.raises(errors.BoardError, match="speaks version 1 .* picoformer update"):
        link.request(wire.HELLO, bytes([2, 0]))
    assert link.ping(b"1") == b"1"


def test_line_feeds_are_no_frame(board):
    """Their check byte is good. What is no request of this version is not waited for."""
    link = begin(board)
    board.write(b"\x1f" + b"\n" * 11)
    assert link.ping(b"1") == b"1"
    for size, kind in (40000, wire.PING), (2, 99):
        board.write(b"\n~" + encode_text(kind, 1, bytes(size))[2:10] + b"\n")
        assert link.ping(b"2") == b"2"


@pytest.mark.parametrize("raw, payload", [(True, 1024), (False, 128)])
def test_a_damaged_length_with_a_good_check_byte(board, raw, payload):
    """The board waits for much more than was sent; the PC fills it up."""
    link = begin(board, raw, payload)
    board.write(b"\n~" + encode_text(wire.PING, 1, bytes(payload))[2:10])
    assert link.ping(b"1") == b"1"


def test_a_request_is_done_once(board):
    link = begin(board)
    (board.folder / "m.pft").write_bytes(bytes(100))
    frame = encode_text(wire.REMOVE, 77, b"m")
    link.port.write(frame + frame)
    answers = [link.receive(1), link.receive(1)]
    assert answers == [Frame(wire.REMOVE | 0x80, 77, b"")] * 2


def test_prints_between_frames_do_no_harm(board):
    link = begin(board)
    board.to_pc.write(b"Warning: flash is worn")
    assert link.ping(b"x") == b"x"
    link.port.write(b"typed by hand\r\n")
    assert link.ping(b"y") == b"y"


def test_a_silent_board_is_reported():
    class Dead:
        now = 0.0
        sent = 0

        def read(self, limit):
            self.now += limit
            return b""

        def write(self, data):
            self.sent += 1

    port = Dead()
    with pytest.raises(errors.SilentError, match="does not answer"):
        Link(port, lambda: port.now).ping()
    assert limits.REPLY <= port.now < limits.REPLY + 1
    assert 3 <= port.sent <= 20


def test_a_silent_pc_gets_the_repl_back(board, monkeypatch):
    link = begin(board)
    monkeypatch.setattr(server_module, "SILENCE", 20)
    link.ping()
    with pytest.raises(errors.EndedError):
        link.receive(5)


# Uploads


DATA = random.Random(1).randbytes(3000) + bytes(range(256)) * 3


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("payload, credit", [(1024, 4096), (128, 256), (200, 4096)])
def test_an_upload_arrives(board, raw, payload, credit):
    seen = []
    link = begin(board, raw, payload, credit)
    assert link.upload("m", DATA, lambda done, total: seen.append((done, total))) == 0
    assert (board.folder / "m.pft").read_bytes() == DATA
    assert seen[0] == (0, len(DATA)) and seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)
    assert not list(board.folder.glob("*.part"))


def test_the_credit_is_kept(board, monkeypatch):
    link = begin(board, False, 128, 256)
    monkeypatch.setattr(board.server, "_write", lambda data: None)  # nothing is acknowledged
    board.to_board.count = 0
    upload = Upload(link, "m", DATA)
    _, _, frame = upload._frame(0)
    upload.send(0)
    assert board.to_board.count == len(frame) <= 256


def test_a_cut_upload_goes_on(board):
    link = begin(board, True, 256, 512)

    class Cut(Exception):
        pass

    def cut(done, total):
        if done > total // 2:
            raise Cut

    (board.folder / "m.pft").write_bytes(b"old")
    with pytest.raises(Cut):
        link.upload("m", DATA, cut)
    assert (board.folder / "m.pft").read_bytes() == b"old"
    board.close()
    again = FakeBoard(board.folder)
    resumed = begin(again).upload("m", DATA)
    assert len(DATA) // 2 < resumed < len(DATA)
    assert (board.folder / "m.pft").read_bytes() == DATA
    again.close()


@pytest.mark.parametrize("part", [b"something else", DATA + b"longer", DATA[:99] + b"!"])
def test_a_part_of_something_else_is_not_taken(board, part):
    (board.folder / "m.pft.part").write_bytes(part)
    assert begin(board).upload("m", DATA) == 0
    assert (board.folder / "m.pft").read_bytes() == DATA


def test_a_whole_part_is_only_committed(board):
    (board.folder / "m.pft.part").write_bytes(DATA)
    assert begin(board).upload("m", DATA) == len(DATA)


def test_worn_flash_is_noticed_and_the_old_model_stays(board, monkeypatch):
    (board.folder / "m.pft").write_bytes(b"old")
    monkeypatch.setattr(board.server, "_sum", lambda path, size: 1)
    with pytest.raises(errors.BoardError, match="may be worn"):
        begin(board).upload("m", DATA)
    assert [p.name for p in board.folder.iterdir()] == ["m.pft"]
    assert (board.folder / "m.pft").read_bytes() == b"old"


def test_full_flash(board, monkeypatch):
    (board.folder / "m.pft").write_bytes(b"old")
    monkeypatch.setattr(board.server, "_space", lambda: 1000)
    with pytest.raises(errors.NoSpaceError, match="1,000 bytes are free"):
        begin(board).upload("m", DATA)
    assert (board.folder / "m.pft").read_bytes() == b"old"


def test_too_little_memory(board, monkeypatch):
    def load(body):
        raise error

    link = begin(board)
    board.server._handlers[wire.LOAD] = load
    error = MemoryError("memory allocation failed, allocating 5000 bytes")
    with pytest.raises(errors.NoMemoryError, match="5000 bytes; .* free .picoformer plan"):
        link.load("m")
    error = Error("not enough memory for the model; choose a smaller context")
    with pytest.raises(errors.NoMemoryError, match="smaller context"):
        link.load("m")
    error = RuntimeError("a bug")
    with pytest.raises(errors.BoardError, match="the board failed: RuntimeError.*a bug"):
        link.load("m")
    assert link.ping(b"x") == b"x"


# A UART that drops what it has no room for


@pytest.fixture
def uart(board, monkeypatch):
    """A board with the ESP32's ring of 260 bytes and its settings, slow at writing to flash."""
    monkeypatch.setattr(server_module, "PATIENT", ())
    board.to_board.room = 260
    write = board.server._handlers[wire.DATA]

    def slow(body):
        time.sleep(0.002)
        return write(body)

    board.server._handlers[wire.DATA] = slow
    board.server._model = FakeModel(0.0005)
    return board


def test_nothing_is_lost_on_a_uart(uart, monkeypatch):
    # What a busy PC repeats would be too much for the ring, and so are frames that come at once.
    monkeypatch.setattr(limits, "RESEND", 2)
    monkeypatch.setattr(server_module, "BLOCK", 128)
    link = Link(uart)
    hello = link.start(5)
    assert (hello.raw, hello.payload, hello.credit) == (True, 128, 256)
    link.upload("m", DATA)
    assert (uart.folder / "m.pft").read_bytes() == DATA
    assert link.logits(list(range(200))).tolist() == [t * 1000 - 5 for t in range(200)] * 100
    for prompt in ("p", "p" * 1000):
        assert list(link.generate(prompt, 300, 0, 1000, 1)) == expected(300, prompt)
    assert uart.to_board.lost == 0


def test_long_frames_that_come_at_once_are_given_up(uart, monkeypatch):
    """As native USB may bring them, into a ring that drops what it has no room for."""
    link = Link(uart)
    link.start(5)
    link.upload("m", DATA)
    assert (uart.folder / "m.pft").read_bytes() == DATA
    lost = uart.to_board.lost
    assert 0 < lost < 8 * wire.BLOCK  # not of each frame
    assert link.ping(b"x") == b"x"


def test_slow_tokens_can_be_stopped_on_a_uart(uart, monkeypatch):
    """What the PC repeats while the board computes leaves room in the ring for STOP."""
    for name in "REPLY", "QUIET":
        monkeypatch.setattr(limits, name, 16 * limits.RESEND)
    link = Link(uart)
    link.start(5)
    uart.server._model.delay = 10 * limits.RESEND
    text = link.generate("hello", 60, 0, 1000, 1)
    for _ in range(4):
        next(text)
    at, read = time.monotonic() + 7 * limits.RESEND, uart.read

    def interrupted(limit):
        if time.monotonic() > at:
            uart.read = read
            raise KeyboardInterrupt
        return read(min(limit, limits.RESEND / 4))

    uart.read = interrupted
    with pytest.raises(KeyboardInterrupt):
        next(text)
    assert link.ping(b"x") == b"x"
    assert uart.server._model.written < 8


def test_a_small_ring_behind_large_frames(uart, monkeypatch):
    """A link that was taken for one that makes the sender wait: slow, but whole."""
    monkeypatch.setattr(server_module, "BLOCK", 150)
    link = Link(uart)
    link.start(5)
    link.hello.credit = 1024
    link.upload("m", DATA)
    assert (uart.folder / "m.pft").read_bytes() == DATA
    lost = uart.to_board.lost
    assert lost > 0
    link.upload("n", DATA * 4)
    assert uart.to_board.lost < 3 * lost  # after some losses, one block at a time


LETTERS = "abcdefghijklmnopqrstuvwxyz"
STREAMED = 999  # a token that takes weights which are on the PC


class FakeModel:
    """Says the alphabet, a letter a token, without a model."""

    context, vocab, weights, kernels = 512, 26, "ram", "none"

    task = "generate"
    sleep = staticmethod(time.sleep)

    def __init__(self, delay=0.0):
        self.delay = delay
        self.written = 0

    def generate(self, prompt, n, temperature, top_p, seed, raw):
        if prompt == "fail":
            raise Error("temperature is odd")
        for i in range(n or self.context):
            self.sleep(self.delay)
            self.written = i + 1
            yield (prompt + LETTERS)[i % 26]

    def logits(self, tokens):
        if tokens[0] == STREAMED:
            return array("i", [self.streamed(), tokens[1]])
        return array("i", [t * 1000 - 5 for t in tokens] * self.times)

    def streamed(self):
        """Read all weights, which are on the PC, as a loader does: a vector, two steps' tiles."""
        if not self.server._stream:
            self.server._stream = stream.Stream(self.server, 0x1234567)
        last = SimpleNamespace(at=300, size=120, groups=4, some=1, next=None)
        first = SimpleNamespace(at=60, size=48, groups=5, some=2, next=last)
        tiles = [(0, 60, None, 0)]
        for step in (first, last):
            for g in range(0, step.groups, step.some):
                n = min(step.some, step.groups - g) * step.size
                tiles.append((step.at + g * step.size, n, step, g))
        crc = 0
        buffer = bytearray(120)
        for at, n, step, g in tiles:
            self.server._stream.fill(buffer, at, n, step, g)
            crc = zlib.crc32(buffer[:n], crc)
        return crc >> 1

    labels, several, image, frames, bits, times = ["a", "b", "c"], 0, (), (), 9, 100

    def read(self, given, task):
        if task == "predict":
            return array("i", [len(given), zlib.crc32(given) >> 1])
        return array("i", [len(given), -7, 3])

    def answer(self, context, question):
        return context.split()[-1] + question

    def close(self):
        pass


# Faults


def to_ctrl(value):
    return b"\x1f"


def noise(value):
    """Half a frame's beginning, of either form, and what is no UTF-8."""
    return bytes([0xFF]) + b"\x1f ~AQ" + bytes([value])


DAMAGES = (flip, to_ctrl, drop, double, noise)
OLD, NEW = b"the old model", random.Random(2).randbytes(250)


class Unplugged:
    """A port that is gone once `left` bytes have passed in one direction."""

    def __init__(self, board, direction, left):
        self.board, self.direction, self.left = board, direction, left

    def read(self, limit):
        data = self.board.read(limit)
        if self.direction == "to_pc":
            if len(data) > self.left:
                raise errors.LostError("unplugged")
            self.left -= len(data)
        return data

    def write(self, data):
        if self.direction == "to_board":
            self.board.write(data[: self.left])
            if len(data) > self.left:
                raise errors.LostError("unplugged")
            self.left -= len(data)
        else:
            self.board.write(data)


class Patient:
    """A port with a clock of its own: a wait in which nothing comes takes no time."""

    def __init__(self, board):
        self.board, self.now = board, 0.0

    def read(self, limit):
        data = self.board.read(min(limit, 0.004))
        if not data:
            self.now += limit
        return data

    def write(self, data):
        self.now += 0.001
        self.board.write(data)


def upload(link, folder):
    link.upload("m", NEW)
    return (folder / "m.pft").read_bytes()


def remove(link, folder):
    with contextlib.suppress(errors.NoModelError):  # again, after a reset: it is gone
        link.remove("m")
    return [m.name for m in link.models()]


WEIGHTS = random.Random(3).randbytes(780)
SIGNAL = array("h", range(-900, 900, 13)).tobytes()  # more than a frame takes


def from_host(link, folder):
    link.streamer.weights = 0x1234567, WEIGHTS
    return link.logits([STREAMED, 1]).tolist()


# What is asked, and the answer.
EXCHANGES = {
    "upload": (upload, NEW),
    "list and remove": (remove, []),
    "generate": (
        lambda link, _: list(link.generate("p" * 90, 40, 0, 1000, 1)),
        [("p" * 90 + LETTERS)[i % 26] for i in range(40)],
    ),
    "logits": (
        lambda link, _: link.logits(list(range(60))).tolist(),
        [t * 1000 - 5 for t in range(60)] * 5,
    ),
    "classify": (
        lambda link, _: (link.read("some text " * 12, "classify").tolist(), link.labels()),
        ([120, -7, 3], Labels(["a", "b", "c"], 9, False, (0, 0, 0))),
    ),
    "embed": (lambda link, _: link.read(bytes(range(250)), "embed").tolist(), [250, -7, 3]),
    "predict": (
        lambda link, _: link.read(SIGNAL, "predict").tolist(),
        [len(SIGNAL), zlib.crc32(SIGNAL) >> 1],
    ),
    "answer": (lambda link, _: link.answer("the text " * 15, "what?"), "textwhat?"),
    "weights from the host": (from_host, [zlib.crc32(WEIGHTS) >> 1, 1]),
}


@dataclass
class Tried:
    """What the tests below have tried, for the report at the end of the run."""

    faults: Counter = field(default_factory=Counter)

    def report(self):
        listed = ", ".join(f"{name} {n:,}" for name, n in sorted(self.faults.items()))
        return f"faults on the link: {self.faults.total():,} tried ({listed})"


TRIED = Tried()


class Bench:
    """A board, and a link that starts anew when the board was reset, as connection.py does."""

    def __init__(self, folder, raw, kind=FakeBoard):
        self.folder, self.raw, self.kind = folder, raw, kind
        folder.mkdir()
        (folder / "m.pft").write_bytes(OLD)
        self.board = None
        self.plug()

    def plug(self):
        if self.board:
            self.board.interrupt()
        self.board = self.kind(self.folder)
        self.board.server._model = FakeModel()
        self.board.server._model.times = 5
        self.board.server._model.server = self.board.server
        self.link = begin(self.board, self.raw, 100, 300)

    def whole(self):
        """Old or new, nothing between."""
        path = self.folder / "m.pft"
        assert not path.exists() or path.read_bytes() in (OLD, NEW)

    def run(self, exchange):
        """The answer, if need be after a reset; the errors on the way."""
        met = []
        while True:
            try:
                return EXCHANGES[exchange][0](self.link, self.folder), met
            except errors.LinkError as e:
                assert len(str(e)) > 20 or "unplugged" in str(e)
                met.append(e)
                self.whole()
                if len(met) > 2:
                    raise
                self.plug()

    def close(self):
        self.whole()
        self.board.interrupt()


def counts(folder, exchange, raw, kind=FakeBoard):
    """Bytes of an exchange without faults: to the board, to the PC."""
    bench = Bench(folder, raw, kind)
    before = bench.board.to_board.count, bench.board.to_pc.count
    assert bench.run(exchange) == (EXCHANGES[exchange][1], [])
    time.sleep(0.01)  # the last acknowledgement
    after = bench.board.to_board.count, bench.board.to_pc.count
    bench.close()
    return {"to_board": after[0] - before[0], "to_pc": after[1] - before[1]}


def spoil(bench, fault, direction, at):
    """Let a fault come at byte `at` of what follows."""
    line = getattr(bench.board, direction)
    if fault in DAMAGES:
        line.damage[line.count + at] = fault
    elif fault == "stall":
        line.stall = line.count + at
    elif fault == "reset":
        line.damage[line.count + at] = lambda v: bench.board.reset()
    elif fault == "unplug":
        bench.link.port = Unplugged(bench.board, direction, at)
    else:
        raise AssertionError(fault)


STEPS = pytest.mark.parametrize("step", [293, pytest.param(1, marks=pytest.mark.slow)])


@STEPS
@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("fault", [*DAMAGES, "stall", "reset", "unplug"])
def test_one_fault_anywhere(tmp_path, exchange, fault, step):
    """The right answer, and a model that is the old or the new one; in turns over both forms."""
    name = getattr(fault, "__name__", fault)
    sizes = {raw: counts(tmp_path / f"clean {raw}", exchange, raw) for raw in (True, False)}
    for direction in ("to_board", "to_pc"):
        for at in range(zlib.crc32(f"{exchange}{name}".encode()) % step, 1 << 20, step):
            raw = at // step % 2 == 0
            if at >= max(size[direction] for size in sizes.values()):
                break
            if at >= sizes[raw][direction]:
                continue
            bench = Bench(tmp_path / f"{direction} {at}", raw)
            spoil(bench, fault, direction, at)
            start = time.monotonic()
            got, met = bench.run(exchange)
            assert got == EXCHANGES[exchange][1]
            # A link does not mend what ends it; whoever holds it starts again.
            assert not met or fault in ("reset", "unplug"), (at, met)
            assert time.monotonic() - start < 10
            bench.close()
            TRIED.faults[name] += 1


@STEPS
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_line_that_dies_anywhere(tmp_path, monkeypatch, exchange, step):
    """Nothing passes any more: one clear error, in bounded time; the next session goes well."""
    monkeypatch.setattr(limits, "RESEND", 1.5)
    monkeypatch.setattr(limits, "DRAIN", 0.1)
    sizes = counts(tmp_path / "clean", exchange, True)
    for direction in ("to_board", "to_pc"):
        for at in range(step // 2, sizes[direction], 2 * step):
            bench = Bench(tmp_path / f"{direction} {at}", True)
            line = getattr(bench.board, direction)
            line.dead = line.count + at
            port = Patient(bench.board)
            bench.link.port, bench.link.clock = port, lambda port=port: port.now
            try:
                assert EXCHANGES[exchange][0](bench.link, bench.folder) == EXCHANGES[exchange][1]
                # What nobody waits for: the last acknowledgement, line feeds behind a tile.
                assert direction == "to_board" and at > sizes[direction] - 40
            except errors.LinkError as e:
                assert re.search("does not answer|has not said|stopped|whole", str(e))
            assert port.now < 2 * max(limits.TOKEN, limits.REPLY) + 60
            bench.whole()
            bench.plug()
            assert bench.run(exchange)[0] == EXCHANGES[exchange][1]
            bench.close()
            TRIED.faults["dies"] += 1


@STEPS
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_burst_of_noise_into_a_ring(tmp_path, monkeypatch, exchange, step):
    """260 bytes of room, and another program's output in the middle: some of ours is lost."""
    monkeypatch.setattr(server_module, "PATIENT", ())
    size = counts(tmp_path / "clean", exchange, False)["to_board"]
    for at in range(step // 3, size, step):
        bench = Bench(tmp_path / str(at), False)
        line = bench.board.to_board
        line.room = 260
        line.damage[line.count + at] = lambda v: bytes([v]) + b"\r\nlog: ~something\r\n" * 20
        assert bench.run(exchange) == (EXCHANGES[exchange][1], [])
        bench.close()
        TRIED.faults["burst"] += 1


def test_a_bad_line_is_reported_and_keeps_the_old_model(board, monkeypatch):
    (board.folder / "m.pft").write_bytes(b"old")
    link = begin(board, True, 200, 400)
    rng = random.Random(5)
    start = board.to_board.count
    board.to_board.damage = {start + 60 + i: flip for i in range(4000) if rng.random() < 0.2}
    for name in "REPLY", "FLASH":
        monkeypatch.setattr(limits, name, 0.3)
    with pytest.raises(errors.LinkError):
        link.upload("m", DATA)
    assert (board.folder / "m.pft").read_bytes() == b"old"


def test_a_line_with_many_faults_gets_there(board):
    link = begin(board, True)
    rng = random.Random(6)
    for line in (board.to_board, board.to_pc):
        faults = (flip, drop, double)
        line.damage = {
            line.count + i: rng.choice(faults) for i in range(50, 9000) if rng.random() < 0.001
        }
    link.upload("m", DATA * 2)
    assert (board.folder / "m.pft").read_bytes() == DATA * 2


# Text


def expected(n, prompt="p"):
    return [(prompt + LETTERS)[i % 26] for i in range(n)]


def loaded(board, delay=0.0, **options):
    board.server._model = FakeModel(delay)
    return begin(board, **options)


def test_text(board):
    link = loaded(board)
    assert list(link.generate("p", 300, 0, 1000, 1)) == expected(300)
    assert link.stats.tokens == 300 and not link.stats.stopped
    with pytest.raises(errors.BoardError, match="temperature is odd"):
        list(link.generate("fail", 3, 0, 1000, 1))
    assert list(link.generate("p", 2, 0, 1000, 1)) == expected(2)


def test_a_long_prompt_and_many_tokens_go_in_pieces(board):
    link = loaded(board, payload=64, credit=128)
    prompt = "é" * 700
    assert list(link.generate(prompt, 3, 0, 1000, 1)) == ["é"] * 3
    tokens = list(range(100))
    assert link.logits(tokens).tolist() == [t * 1000 - 5 for t in tokens] * 100


def test_closing_stops_the_board(board):
    link = loaded(board, 0.005)
    text = link.generate("p", None, 0, 1000, 1)
    assert [next(text), next(text)] == ["p", "a"]
    text.close()
    stopped_at = board.server._model.written
    assert stopped_at < 20
    assert link.stats.stopped and link.stats.tokens <= stopped_at
    assert link.ping(b"x") == b"x"
    assert board.server._model.written == stopped_at


def test_a_slow_reader_makes_the_board_wait(board):
    link = loaded(board)
    text = link.generate("p", None, 0, 1000, 1)
    next(text)
    time.sleep(0.1)
    assert board.server._model.written <= wire.WINDOW
    assert ["p", *text] == expected(512)


@pytest.mark.parametrize("direction", ["to_board", "to_pc"])
@pytest.mark.parametrize("fault", [flip, drop, double])
def test_text_survives_faults(board, direction, fault):
    link = loaded(board)
    line = getattr(board, direction)
    for i in range(7):
        line.damage = {line.count + 13 * i + 1: fault, line.count + 300 + 3 * i: fault}
        assert list(link.generate("p", 150, 0, 1000, 1)) == expected(150)
        values = link.logits([1, 2])
        assert values.tolist() == [995, 1995] * 100
