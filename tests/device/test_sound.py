"""Rows of sound: the same integers in numpy, in plain Python, in viper and in assembler."""

from __future__ import annotations

import json
from array import array
from threading import Lock

import numpy as np
import pytest

import models
from picoformer import Error
from picoformer.device import sound_portable
from picoformer.device.errors import Error as BoardError
from picoformer.device.model import Model
from picoformer.device.sound import Features
from picoformer.features import LogMel

KINDS = [
    LogMel(8000), LogMel(16000), LogMel(16000, 400), LogMel(8000, 200, 80, 32),
    LogMel(8000, 256, 160), LogMel(4000, 100, 40, 10), LogMel(44100, 1024, 441, 64),
    LogMel(16000, 512, 160, 40, 60, 7600),
]  # fmt: skip


def inputs(n: int) -> list[np.ndarray]:
    """Windows of samples: random, loud, silent, clipped, a click, a tone, speech-like."""
    rng = np.random.default_rng(n)
    t = np.arange(n)
    return [
        rng.integers(-32768, 32768, n),
        rng.integers(-2, 3, n),
        np.zeros(n, int),
        np.full(n, -32768),
        np.where(np.sin(t / 7) > 0, 32767, -32768),
        (t == n // 2).astype(int),
        np.rint(30000 * np.sin(t / 5)).astype(int),
        np.rint(rng.normal(0, 900, n) * np.sin(t / n * 3) ** 2).astype(int),
    ]


def energies(x: np.ndarray, f: LogMel) -> np.ndarray:
    """The same in floating point, by the book."""
    hann = np.sin(np.pi * np.arange(f.window) / f.window) ** 2
    views = np.lib.stride_tricks.sliding_window_view(x.astype(float), f.window)[:: f.hop]
    power = np.abs(np.fft.rfft(views * hann, f.size)) ** 2
    k, e = np.arange(f.size // 2 + 1), f.edges
    up, down = (k - e[:-2, None]) / np.diff(e)[:-1, None], (e[2:, None] - k) / np.diff(e)[1:, None]
    return np.log2(power @ np.maximum(0, np.minimum(up, down)).T + 1)


@pytest.mark.parametrize("f", KINDS, ids=str)
def test_close_to_floating_point(f):
    rng = np.random.default_rng(1)
    # Noise, coloured as speech is, that swells.
    x = np.cumsum(rng.normal(0, 1, 6 * f.window)) * 30 + rng.normal(0, 40, 6 * f.window)
    x = np.rint(x * (1 + np.sin(np.arange(len(x)) / f.window))).clip(-32768, 32767).astype(int)
    ours, exact = f(x) / 256, energies(x, f)
    assert np.corrcoef(ours.ravel(), exact.ravel())[0, 1] > 0.999
    assert np.abs(ours - exact).max() < 0.5
    noise = rng.integers(-9000, 9000, 4 * f.window)
    assert np.abs(f(noise) / 256 - energies(noise, f)).max() < 0.2
    assert not f(np.zeros(f.window, int)).any()


@pytest.mark.slow
def test_close_to_librosa():
    librosa = pytest.importorskip("librosa")
    for f in (LogMel(8000), LogMel(16000)):
        rng = np.random.default_rng(f.rate)
        x = np.cumsum(rng.normal(0, 30, f.rate)) + rng.normal(0, 40, f.rate)
        x = np.rint(x * (1 + np.sin(np.arange(len(x)) / 900))).clip(-32768, 32767).astype(int)
        theirs = librosa.feature.melspectrogram(
            y=x / 32768, sr=f.rate, n_fft=f.size, hop_length=f.hop, n_mels=f.bands, fmin=f.low,
            fmax=f.high, htk=True, norm=None, center=False,
        )  # fmt: skip
        assert np.corrcoef(f(x).ravel(), np.log(theirs.T + 1e-10).ravel())[0, 1] > 0.999


@pytest.mark.parametrize("f", KINDS, ids=str)
def test_plain_python_equals_numpy(f):
    for x in inputs(f.window):
        out = array("h", bytes(4 * f.bands))
        sound_portable.logmel(f.table.tolist(), [0, 0, f.bands], array("h", x.tolist()), out)
        assert list(out) == f(x)[0].tolist() * 2


NATIVE = """
import json
from array import array
from picoformer.kernels_sound import logmel
with open(FILE) as file:
    cases = json.load(file)
for table, size, bands, windows, rows in cases:
    table = array("i", table)
    guard = array("i", [0x5A5A5A5A] * 4)
    for x, row in zip(windows, rows):
        work = array("i", bytes(4 * (4 + 2 * size))) + guard
        work[0], work[1], work[2] = 3, 2, bands + 4
        out = array("h", [77] * (2 * bands + 6))
        logmel(table, work, array("h", [9, 9, 9] + x), out)
        assert list(out) == [77, 77] + row + [77, 77] + row + [77, 77], (size, list(out), row)
        assert work[-4:] == guard
print("equal")
"""


def test_viper_equals_numpy(unix, families, tmp_path):
    if "viper" not in families:
        pytest.skip("no viper kernels on this port")
    cases = []
    for f in KINDS:
        windows = inputs(f.window)
        rows = [f(x)[0].tolist() for x in windows]
        cases.append((f.table.tolist(), f.size, f.bands, [x.tolist() for x in windows], rows))
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    assert unix(NATIVE, FILE=str(tmp_path / "cases.json")) == "equal\n"


# From samples as they come to what a model says


def sound(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, n) * 2000 * (1 + np.sin(np.arange(n) / 300))
    return np.rint(x).clip(-32768, 32767).astype(int)


def pieces(n: int) -> list[int]:
    """Lengths of buffers, short and long ones."""
    out: list[int] = []
    for k in (1, 79, 80, 81, 500, 0, 1600, 7, 240):
        out.append(min(k, n - sum(out)))
    return [*out, n - sum(out)]


STREAM = """
import json
from array import array
from picoformer import Model
m = Model(FILE, kernels=KERNELS)
f = m.features()
print(json.dumps([f.rate, f.window, f.hop, f.bands]))
x = array("h", SAMPLES)
at = made = 0
for k in PIECES:
    part = x[at : at + k]
    made += f.write(bytes(part) if k & 1 else part)
    at += k
    print(json.dumps([made, f.rows, list(f.last(3))]))
print(json.dumps([list(f.last()), list(m.read(f.last(), "classify"))]))
f.reset()
print(json.dumps([f.rows, len(f.last()), f.write(x[: f.window])]))
"""


@pytest.mark.parametrize("kernels", ["viper", "portable", "PC"])
def test_a_stream(built, unix, families, kernels):
    a = built("sound")
    sim, s = a.sim(), a.graph.frames.sound
    assert sim.frames.sound == s
    n = s.window + 47 * s.hop
    x = sound(n)
    rows, length = s(x), a.graph.frames.length
    expected = [[s.rate, s.window, s.hop, s.bands]]
    at = 0
    for k in pieces(n):
        at += k
        made = s.rows(at)
        expected.append([made, made, rows[max(0, made - 3) : made].reshape(-1).tolist()])
    last = rows[-length:]
    expected.append([last.reshape(-1).tolist(), sim._read(last.astype(int), "classify").tolist()])
    expected.append([0, 0, 1])
    names = {"SAMPLES": x.tolist(), "PIECES": pieces(n), "FILE": str(a.file())}
    if kernels == "PC":
        said: list[str] = []
        names |= {"Model": lambda file, **_: Model(file, kernels="portable"), "print": said.append}
        exec(STREAM.replace("from picoformer import Model", ""), names | {"KERNELS": ""})
    elif kernels not in families:
        pytest.skip(f"no {kernels} kernels on this port")
    else:
        said = unix(STREAM, KERNELS=kernels, **names).splitlines()
    assert [json.loads(line) for line in said] == expected


def test_samples_on_the_pc(built):
    """What is heard in samples, classify makes of them."""
    a = built("sound")
    sim, f = a.sim(), a.graph.frames
    x = sound(f.sound.window + (f.length - 1) * f.sound.hop)
    assert sim.classify(x) == sim.classify(f.sound(x).astype(int))
    with pytest.raises(Error, match="0.01 s: expected 520 to 2,599 at 8,000 Hz; picoformer"):
        sim.classify(x[:100])
    with pytest.raises(Error, match="no sound"):
        Model(str(built("signal").file()), kernels="portable").features()


def test_features_ask_for_no_memory_for_a_row(built):
    model = Model(str(built("sound").file()), kernels="portable")
    assert isinstance(model.features(), Features)
    small = model.features()
    assert small.write(array("h", bytes(2 * small.window))) == 1


def test_what_is_no_front_end():
    for given, said in (
        ({"rate": 100}, "sound of 100 Hz"),
        ({"rate": 10**400}, "sound of 1000"),
        ({"window": 2000}, "windows of 1024 samples at most"),
        ({"hop": 300}, "touch"),
        ({"window": 255}, "an even number"),
        ({"bands": 200}, "1 to 128 bands"),
        ({"low": 3000, "high": 2000}, "bands from 3000 to 2000 Hz"),
        ({"high": 9000}, "9000"),
        ({"window": 100, "hop": 50, "bands": 60}, "has no frequency"),
        ({"rate": 48000, "window": 1024, "bands": 3}, "more bands"),
    ):
        with pytest.raises(Error, match=said):
            LogMel(**given)
    for x, said in ((np.zeros((2, 300), int), "shape"), (np.zeros(300), "float64"),
                    (np.full(300, 32768), "16 bits"),
                    (np.full(300, -(1 << 63)), "16 bits")):  # fmt: skip
        with pytest.raises(Error, match=said):
            LogMel()(x)
    assert LogMel()(np.zeros(10, int)).shape == (0, 40)


def test_the_front_end_is_in_the_file(built):
    data = built("sound").file().read_bytes()
    m = models.Simulator(built("sound").file()).model
    at = int(m.program[17]) >> 6
    table = built("sound").graph.frames.sound.table
    assert m.tables[at : at + table.size].tolist() == table.tolist() and len(data) % 4 == 0


BESIDE = """
import gc
held = bytearray(60 * 1024)
from picoformer import Model
from picoformer.listener import Listener
m = Model("/digits.pft")
class Source:
    def __init__(self):
        self.f = open("/seven.raw", "rb")
        self.left = 3
    def readinto(self, b):
        n = self.f.readinto(b)
        if not n and self.left:
            self.left -= 1
            self.f.seek(0)
            n = self.f.readinto(b)
        return n
listener = Listener(m, Source())
free = []
for event in listener:
    print(event[0], int(event[1] * 32768 + 0.5), event[2])
    gc.collect()
    free.append(gc.mem_free())
print(max(free) - min(free) < 2048, m.in_ram > 0)
"""


@pytest.mark.slow
def test_a_listener_beside_60_kb_of_the_users(tmp_path):
    """The loader leaves room for the rows; events are those of a PC."""
    import io

    from boardscripts import runtime
    from picoformer import Listener, convert
    from tools.emulation import rp2040

    if reason := rp2040.missing():
        pytest.skip(reason)
    folder = models.ROOT / "models" / "digits"
    convert(folder, tmp_path / "digits.pft")
    raw = (folder / "seven.wav").read_bytes()[44:]
    files = runtime() | {"/seven.raw": raw, "/digits.pft": (tmp_path / "digits.pft").read_bytes()}
    found = Listener(models.Simulator(tmp_path / "digits.pft"), io.BytesIO(raw * 4))
    expected = [f"{label} {int(share * 32768 + 0.5)} {ms}" for label, share, ms in found]
    assert expected and expected[0].startswith("seven")
    with rp2040.RP2040(files) as board:
        assert board.exec(BESIDE, timeout=900).splitlines() == [*expected, "True True"]


def test_a_recording(unix, families, tmp_path):
    """Speech, from numpy to kernels."""
    if "viper" not in families:
        pytest.skip("no viper kernels on this port")
    raw = (models.ROOT / "models" / "digits" / "seven.wav").read_bytes()[44:]
    f = LogMel(8000)
    x = np.frombuffer(raw, "<i2").astype(int)
    rows = f(x)
    windows = [x[i * f.hop : i * f.hop + f.window].tolist() for i in range(len(rows))]
    cases = [(f.table.tolist(), f.size, f.bands, windows, rows.tolist())]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    assert len(rows) > 30 and unix(NATIVE, FILE=str(tmp_path / "cases.json")) == "equal\n"
    assert np.corrcoef(rows.ravel(), energies(x, f)[: len(rows)].ravel())[0, 1] > 0.999


class Interrupted(Features):
    """Ctrl-C comes in front of one of the stores to its fields."""

    stores = -2

    def __setattr__(self, name: str, value: object) -> None:
        if name != "stores":
            self.stores -= 1
            if self.stores == -1:
                raise KeyboardInterrupt
        object.__setattr__(self, name, value)


def test_ctrl_c_leaves_indices_inside(built):
    """Wherever it comes: the kernel, which has no bounds checks, is told none outside."""
    model = Model(str(built("sound").file()), kernels="portable")
    f = Interrupted(model, Lock())
    room, rows, bands = len(f._samples), f.length, f.bands
    f._logmel = lambda table, work, samples, out: told.append(list(work[:3]))
    x = array("h", bytes(2 * (f.window + (2 * rows + 3) * f.hop)))
    done = False
    stores = 0
    while not done:
        told: list[list[int]] = []
        f.reset()
        f.stores, stores = stores, stores + 1
        try:
            f.write(x)
            done = True
        except KeyboardInterrupt:
            pass
        f.stores = -2
        f.write(x)
        assert len(told) >= 2 * rows
        for begin, first, second in told:
            assert 0 <= begin <= room - f.window
            assert first % bands == 0 and 0 <= first < rows * bands == second - first
    assert stores > 4 * rows


def test_one_writes_at_a_time(built):
    f = Model(str(built("sound").file()), kernels="portable").features()
    x, kernel = array("h", bytes(2 * f.window)), f._logmel

    def called(*given):
        for call in (lambda: f.write(x), f.reset):
            with pytest.raises(BoardError, match="samples are being written"):
                call()
        kernel(*given)

    f._logmel = called
    assert f.write(x) == 1
    f._logmel = kernel
    assert f.write(x[: f.hop]) == 1 and f.rows == 2


SAMPLES = """
from array import array
from picoformer import Error, Model
f = Model(FILE, kernels=KERNELS).features()
for x in (b"abc", array("i", [1] * 600), array("f", [1] * 600), [0, 40000], (-40000, 0)):
    try:
        print(f.write(x))
    except Error as e:
        print(e)
print(f.write([]), f.write(b""), f.write(array("h")), f.rows)
x = [300, -2, 77] * f.window
rows = []
for given in array("h", x), x, tuple(x), bytes(array("h", x)), memoryview(array("h", x)):
    f.reset()
    f.write(given)
    rows.append(list(f.last()))
print(all(row == rows[0] for row in rows), len(rows[0]) > 0)
"""


@pytest.mark.parametrize("kernels", ["viper", "portable"])
def test_what_samples_may_be(built, unix, families, kernels):
    if kernels not in families:
        pytest.skip(f"no {kernels} kernels on this port")
    assert unix(SAMPLES, FILE=str(built("sound").file()), KERNELS=kernels).splitlines() == [
        "3 bytes of sound, expected two for each sample",
        "samples of 4 bytes, expected array('h')",
        "samples of 4 bytes, expected array('h')",
        "samples from 0 to 40000, not of 16 bits",
        "samples from -40000 to 0, not of 16 bits",
        "0 0 0 0",
        "True True",
    ]
