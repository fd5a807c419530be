"""Events in a sound: the same on a board and on a PC, however the samples come."""

from __future__ import annotations

import asyncio
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from picoformer import Error, Listener, Simulator
from picoformer.simulate.sound import Features
from wavs import changing as samples

SETTINGS = [
    {"hop": 0.05, "threshold": 0.5, "smooth": 1, "rest": 0.1},
    {"hop": 0.03, "threshold": 0.45, "smooth": 4, "rest": 0},
    {"hop": 0.105, "threshold": 0.0, "smooth": 2, "rest": 0.3, "ignore": ["label 1", "label 2"]},
    {"hop": 0.7, "threshold": 0.25, "smooth": 3, "rest": 0.2, "ignore": "label 2"},
]


class Pieces(io.BytesIO):
    """Reads of fewer bytes than were asked for, of odd numbers as well."""

    def readinto(self, buffer):
        self.rng = getattr(self, "rng", np.random.default_rng(len(self.getvalue())))
        return super().readinto(memoryview(buffer)[: self.rng.integers(1, 2 * len(buffer))])


def by_hand(sim: Simulator, x: np.ndarray, hop, threshold, smooth, rest, ignore=()) -> list:
    """The events, from whole windows of rows."""
    f, sound = sim.frames, sim.frames.sound
    labels = sim.labels
    rows = sound(x).astype(int)
    step = max(1, int(hop * sound.rate / sound.hop + 0.5))
    shares, found, last = [], [], None
    for end in range(f.length, len(rows) + 1, step):
        result = dict(sim.probabilities(sim.classify(rows[end - f.length : end])))
        shares = [*shares, [result[name] for name in labels]][-smooth:]
        ms = (sound.window + (end - 1) * sound.hop) * 1000 // sound.rate
        mean = np.mean(shares, 0)
        best = max((i for i in range(len(labels)) if labels[i] not in ignore),
                   key=lambda i: mean[i])  # fmt: skip
        if mean[best] >= threshold and (last is None or ms - last >= 1000 * rest):
            last = ms
            found.append((labels[best], mean[best], ms))
    return found


def same(found: list, expected: list) -> None:
    assert [(label, ms) for label, _, ms in found] == [(label, ms) for label, _, ms in expected]
    for (_, share, _), (_, other, _) in zip(found, expected, strict=True):
        assert abs(share - other) <= 1 / 65536 and share * 32768 % 1 == 0


@pytest.mark.parametrize("given", SETTINGS)
def test_events_are_those_of_whole_windows(built, given):
    sim, x = built("sound").sim(), samples()
    heard = Listener(sim, io.BytesIO(x.tobytes()), **given)
    found = list(heard)
    ignored = given.get("ignore", ())
    ignored = [ignored] if isinstance(ignored, str) else ignored
    same(found, by_hand(sim, x, **{**given, "ignore": ignored}))
    assert found and heard.windows > len(found)
    assert not {label for label, _, _ in found} & set(ignored)
    # However it is read, and again.
    heard = Listener(sim, pieces := Pieces(x.tobytes()), **given)
    assert list(heard) == found and list(heard) == []
    heard.reset()
    pieces.seek(0)
    assert list(heard) == found


def test_async(built):
    sim, x, given = built("sound").sim(), samples(), SETTINGS[0]

    class Stream(Pieces):
        async def readinto(self, buffer):
            await asyncio.sleep(0)
            self.turns = getattr(self, "turns", 0) + 1
            return None if self.turns % 3 == 0 else super().readinto(buffer)

    async def listen():
        return [event async for event in Listener(sim, Stream(x.tobytes()), **given)]

    assert asyncio.run(listen()) == list(Listener(sim, io.BytesIO(x.tobytes()), **given))


BOARD = """
import io, json
from picoformer import Model
from picoformer.listener import Listener

class Pieces(io.BytesIO):
    at = 0
    def readinto(self, buffer):
        Pieces.at = Pieces.at * 5 + 3 & 1023
        part = self.read(min(len(buffer), 1 + Pieces.at))
        buffer[: len(part)] = part
        return len(part)

m = Model(FILE, kernels=KERNELS)
with open(SAMPLES, "rb") as f:
    x = f.read()
for given in SETTINGS:
    print(json.dumps([list(Listener(m, source(x), **given)) for source in (io.BytesIO, Pieces)]))

try:
    import asyncio
except ImportError:
    asyncio = None

class Stream(Pieces):
    turns = 0
    async def readinto(self, buffer):
        await asyncio.sleep(0)
        Stream.turns += 1
        return None if Stream.turns % 3 == 0 else Pieces.readinto(self, buffer)

async def listen():
    found = []
    async for event in Listener(m, Stream(x), **SETTINGS[0]):
        found.append(event)
    print(json.dumps(found))

if asyncio:
    asyncio.run(listen())
"""


@pytest.mark.parametrize("kernels", ["viper", "portable"])
def test_a_board_finds_the_same(built, unix, families, tmp_path, kernels):
    if kernels not in families:
        pytest.skip(f"no {kernels} kernels on this port")
    a, x = built("sound"), samples(3.0 if kernels == "viper" else 0.9)
    (tmp_path / "x").write_bytes(x.tobytes())
    some = SETTINGS if kernels == "viper" else SETTINGS[:1]
    said = unix(
        BOARD, FILE=str(a.file()), SAMPLES=str(tmp_path / "x"), KERNELS=kernels, SETTINGS=some
    ).splitlines()
    for line, given in zip(said, some, strict=False):
        expected = [[*e] for e in Listener(a.sim(), io.BytesIO(x.tobytes()), **given)]
        assert expected and json.loads(line) == [expected] * 2
    (last,) = said[len(some) :] or [json.dumps(json.loads(said[0])[0])]  # with asyncio
    assert json.loads(last) == json.loads(said[0])[0]


HEAP = """
import gc
from picoformer import Model
from picoformer.listener import Listener

class Source:
    reads = 0
    def readinto(self, buffer):
        Source.reads += 1
        return len(buffer) if Source.reads < 40 else 0

m = Model(FILE)
listener = Listener(m, Source(), hop=10.0)
listener._due = 1 << 20  # no window
gc.collect()
gc.disable()
before = gc.mem_alloc()
list(listener)
print(gc.mem_alloc() - before)
"""


def test_what_a_read_allocates(built, native, unix):
    """A few views, no copies of the samples, no rows."""
    assert int(unix(HEAP, FILE=str(built("sound").file()))) < 40 * 600


# With shares that a test says


class Fake:
    """A model whose windows have shares one after the other, of 8 rows of 10 ms each."""

    labels = ["yes", "no", "noise"]
    background = ("noise",)

    def __init__(self, *shares):
        self.shares, self.seen = list(shares), []

    def features(self):
        f = SimpleNamespace(rate=1000, window=20, hop=10, length=8, rows=0, samples=[])

        def reset():
            f.rows, f.samples = 0, []

        def write(x):
            f.samples += list(x)
            f.rows = max(0, (len(f.samples) - 20) // 10 + 1)

        f.reset, f.write, f.last = reset, write, lambda: list(f.samples[-90:])
        return f

    def classify(self, x):
        self.seen.append(x)
        return self.shares.pop(0)

    def probabilities(self, shares):
        found = zip(self.labels, shares, strict=True)
        return sorted(found, key=lambda pair: -pair[1])


def counted(ms: int) -> io.BytesIO:
    return io.BytesIO(np.arange(ms, dtype="<i2").tobytes())


Y, N, Z = (1, 0, 0), (0, 1, 0), (0, 0, 1)


def events(*shares, ms: int = 0, **given) -> list:
    sound = counted(ms or 90 + 20 * (len(shares) - 1))
    given = {"hop": 0.02, "threshold": 0.5, "smooth": 1, "rest": 0, **given}
    return list(Listener(Fake(*shares), sound, **given))


def test_windows_are_where_they_belong():
    model = Fake(*[Z] * 6)
    heard = Listener(model, counted(90 + 5 * 20 + 19), hop=0.02)
    assert not list(heard) and heard.windows == 6
    assert [(x[0], x[-1]) for x in model.seen] == [(i, i + 89) for i in range(0, 120, 20)]
    # A hop of no whole number of rows is rounded.
    for hop, step in ((0.014, 10), (0.015, 20), (0.001, 10), (0.1, 100)):
        model = Fake(*[Z] * 3)
        list(Listener(model, counted(90 + 2 * step), hop=hop))
        assert [x[0] for x in model.seen] == [0, step, 2 * step]


def test_threshold_and_background():
    half = (0.5, 0.4, 0.1)
    assert events(Z, Y, half, N, Z) == [("yes", 1, 110), ("yes", 0.5, 130), ("no", 1, 150)]
    assert events(half, threshold=0.501) == [] and events((0.4, 0.3, 0.3)) == []
    assert events(Z, Y, ignore=()) == [("noise", 1, 90), ("yes", 1, 110)]
    assert events(Y, N, ignore="yes") == [("no", 1, 110)]
    assert events(Y, N, Z, ignore=["yes", "no", "noise"]) == []
    # A share below that of the background is one as well, if it is enough.
    assert events((0.4, 0, 0.6), threshold=0.3) == [("yes", int(0.4 * 32768) / 32768, 90)]


def test_shares_are_averaged():
    assert events(Y, Z, Z, Y, Y, smooth=3) == [
        ("yes", 1, 90), ("yes", 0.5, 110), ("yes", 21845 / 32768, 170),
    ]  # fmt: skip
    assert events(Y, N, N, smooth=3, threshold=0.66)[-1] == ("no", 21845 / 32768, 130)


def test_rest():
    assert [ms for *_, ms in events(*[Y] * 6, rest=0.04)] == [90, 130, 170]
    assert [ms for *_, ms in events(Y, N, Y, N, rest=0.041)] == [90, 150]
    assert [ms for *_, ms in events(Z, Z, Y, Y, rest=10)] == [130]


def test_a_sound_shorter_than_a_window_is_one():
    model = Fake(Y)
    heard = Listener(model, counted(55))
    assert list(heard) == [("yes", 1, 55)] and list(heard) == []
    assert model.seen == [list(range(55))]
    assert events(ms=19) == []  # of no row
    assert events(Z, ms=109) == []  # the rest of it is no window more


def test_what_is_wrong():
    for given in (
        {"hop": 0}, {"threshold": 1.1}, {"threshold": -0.1}, {"smooth": 0}, {"rest": -1},
    ):  # fmt: skip
        with pytest.raises(Error, match="hop .* ms: expected a hop, threshold 0 to 1"):
            events(**given)
    for value in float("nan"), float("inf"):
        with pytest.raises(Error, match="expected numbers"):
            events(hop=value)
    with pytest.raises(Error, match="no label 'nose' to ignore: yes, no, noise"):
        events(ignore=["nose"])


def test_of_a_model_without_sound(built):
    with pytest.raises(Error, match="this model reads no sound"):
        Listener(built("signal").sim(), io.BytesIO())


# The PC's front end


def test_features_on_the_pc(built):
    sim, x = built("sound").sim(), samples(1.0)
    f, sound = sim.features(), sim.frames.sound
    assert (f.rate, f.window, f.hop, f.bands) == (8000, 200, 80, 20) and f.length == 30
    rows, made = sound(x), 0
    for form in (bytes, bytearray, memoryview, list, np.asarray):
        f.reset()
        assert f.rows == 0 and f.last().shape == (0, 20)
        made = at = 0
        for n in (1, 199, 0, 79, 81, 2000, 7):
            part = x[at : at + n]
            made += f.write(form(part.tobytes() if form in (bytes, bytearray) else part))
            at += n
            assert made == f.rows == sound.rows(at)
            assert f.last().tolist() == rows[max(0, made - 30) : made].tolist()
            assert f.last(2).tolist() == rows[max(0, made - 2) : made].tolist()
            assert f.last(0).shape == (0, 20)
    for bad, words in (
        (b"123", "3 bytes of sound, expected two"), (x / 2, "samples of float64"),
        ([40000], "expected whole numbers of 16 bits"), (x.reshape(2, -1), "shape"),
    ):  # fmt: skip
        with pytest.raises(Error, match=words):
            f.write(bad)
    assert isinstance(f, Features)


def test_the_background(built, tmp_path, unix):
    """Of the file, on the PC and on a board; what is no list of labels is none."""
    from dataclasses import replace

    from picoformer.compile.convert import compiled_bytes

    a = built("sound")
    for told, expected in (
        (["label 2", "label 0", "label 9"], ("label 0", "label 2")), ("label 1", ()), (None, ()),
        ([1], ()),
    ):  # fmt: skip
        graph = replace(a.graph, meta={"background": told})
        path = tmp_path / "m.pft"
        path.write_bytes(compiled_bytes(graph, a.vocabulary, a.compiled()))
        assert Simulator(path).background == expected
        said = unix("from picoformer import Model\nprint(Model(FILE).background)", FILE=str(path))
        assert said == f"{expected}\n"
