"""What the page makes of pictures, tables and sounds is what the PC makes of them."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
import wavs
from conftest import no_node
from picoformer.data.pictures import picture
from picoformer.data.signals import signal
from picoformer.data.sounds import loudest, resampled, sound
from picoformer.errors import Error
from picoformer.graph.frames import Frames

UI = models.ROOT / "web" / "ui"

pytestmark = pytest.mark.skipif(bool(no_node()), reason=no_node())

PROGRAM = """
const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const out = [];
const take = (make) => {
  try {
    const made = make();
    out.push({type: made.constructor.name, data: Buffer.from(made.buffer).toString("base64")});
  } catch (error) {
    if (error.name !== "PageError") throw error;
    out.push({error: error.message});
  }
};
(async () => {
const ui = await import("MODULE");
SCRIPT
console.log(JSON.stringify(out));
})();
"""
TYPES = {"Uint8Array": np.uint8, "Int16Array": np.int16, "Float64Array": np.float64}


def run(module: str, script: str, given: Any) -> list[Any]:
    """What `take` took in a script with a module as `ui`: arrays, or the messages of errors."""
    text = PROGRAM.replace("MODULE", (UI / module).as_uri()).replace("SCRIPT", script)
    done = subprocess.run(
        ["node", "-e", text], input=json.dumps(given), capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return [
        one["error"] if "error" in one
        else np.frombuffer(base64.b64decode(one["data"]), TYPES[one["type"]])
        for one in json.loads(done.stdout)
    ]  # fmt: skip


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


# Pictures

SIZES = [(28, 28), (56, 56), (29, 31), (300, 200), (17, 64), (1, 1), (3, 500)]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_scaled_as_on_the_pc(channels, tmp_path) -> None:
    image = pytest.importorskip("PIL.Image")
    file = tmp_path / "picture.png"
    rng = np.random.default_rng(channels)
    given, expected = [], []
    for width, height in SIZES:
        for to in (28, 28), (32, 20), (1, 3):
            rgba = rng.integers(0, 256, (height, width, 4), np.uint8)
            image.fromarray(rgba).save(file)
            expected.append(picture(file, (to[1], to[0], channels)).reshape(-1))
            given.append([coded(rgba.tobytes()), channels, width, height, *to])
    script = """
    for (const [data, n, width, height, ...to] of given) {
      take(() => ui.resize(ui.convert(bytes(data), n), width, height, n, ...to));
    }
    """
    made = run("pixels.js", script, given)
    for a, b in zip(made, expected, strict=True):
        assert np.array_equal(a, b)


# Signals

PLAIN = Frames(6, 2, (2, 2), (2, 2))
NAMED = Frames(6, 2, (2, 2), (2, 2), names=("ax", "ay"), unit=np.array([0.5, 0.3]))
ONE = Frames(6, 1, (1, 1), (1, 1), unit=np.array([0.1]))
TABLES = [
    (PLAIN, "1,2\n3,4\n"),
    (PLAIN, "\ufeff\r\n\r\na,b\r\n1,-2\r\n3,4,\r\n\r\n"),
    (PLAIN, "# x,y\n1,2\n3,4"),
    (PLAIN, "time,a,b\n0,1,2\n1,3,4\n"),
    (PLAIN, "time;a;b\n0,5;1;2\n1;3;4\n"),
    (PLAIN, "1;2,0\n3;4\n"),
    (PLAIN, '"a","b ""c"""\n"1","2"\n3, 4 \n'),
    (PLAIN, "1\t2\n3\t4\n"),
    (PLAIN, "1.0,2\n3,4e1\n"),
    (PLAIN, "1_000,+2\n3,4\n"),
    (PLAIN, "1.5,2\n3,4\n"),
    (PLAIN, "1,2,3\n"),
    (PLAIN, "1,2\n3\n"),
    (PLAIN, "1,2\n3,x\n"),
    (PLAIN, "1,2\n,3\n"),
    (PLAIN, "1,nan\n"),
    (PLAIN, "1,x\n1,2\n"),
    (PLAIN, ""),
    (PLAIN, "a,b\n"),
    (PLAIN, "1,2\n" * 7),
    (PLAIN, "1,40000\n3,4\n"),
    (PLAIN, "9007199254740993,1\n2,3\n"),
    (NAMED, "ay,ax,t\n1,2,3\n4,5,6\n"),
    (NAMED, "ax,b\n1,2\n3,4\n"),
    (NAMED, "ay,ax\n.75,.25\n-.15,1.25\n1e3,-7.\n"),
    (NAMED, "1.25,0.45\n-1.25,-0.75\n"),
    (ONE, "0.25\n0.35\n-.45\n"),
    (ONE, "index,x\n0,1\n1,2\n"),
]


def test_tables_are_read_as_on_the_pc(tmp_path) -> None:
    given, expected = [], []
    for i, (frames, text) in enumerate(TABLES):
        file = tmp_path / f"{i}.csv"
        file.write_bytes(text.encode())
        try:
            expected.append(signal(file, frames).reshape(-1))
        except Error as e:
            expected.append(str(e))
        unit = None if frames.unit is None else frames.unit.tolist()
        names = list(frames.names)
        of = {"length": frames.length, "channels": frames.channels, "names": names, "unit": unit}
        given.append([text, str(file), of])
    script = "for (const [text, name, frames] of given) take(() => ui.signal(text, name, frames));"
    made = run("signals.js", script, given)
    for (_, text), a, b in zip(TABLES, made, expected, strict=True):
        if isinstance(a, str) or isinstance(b, str):
            assert isinstance(a, str) and isinstance(b, str), (text, a, b)
        else:
            assert np.array_equal(a, b), text


# Sounds


def test_sounds_are_read_as_on_the_pc(tmp_path) -> None:
    rng = np.random.default_rng(0)
    loud = wavs.noise(700, 1)
    files = [
        wavs.of(loud),
        wavs.of(loud, 16000),
        wavs.of(loud, 44100),
        wavs.of(loud, 11025),
        wavs.of(loud, 6000),
        wavs.of(loud.reshape(-1, 2), 8000),
        wavs.of(loud[:699].reshape(-1, 3), 22050, extensible=True),
        wavs.wav(rng.bytes(500), bits=8),
        wavs.wav(rng.bytes(600), bits=24),
        wavs.wav(rng.bytes(800), 48000, bits=32),
        wavs.wav(rng.normal(0, 0.5, 300).astype("<f4").tobytes(), bits=32, kind=3),
        wavs.wav(rng.normal(0, 0.5, 300).astype("<f8").tobytes(), 12345, bits=64, kind=3),
        wavs.wav(bytes(100), size=0xFFFFFFFF, before=b"LIST\3\0\0\0abc\0"),
        wavs.wav(np.array([np.nan], "<f4").tobytes(), bits=32, kind=3),
        wavs.wav(bytes(100), size=200),
        wavs.wav(bytes(100), bits=12),
        wavs.wav(bytes(100), kind=85),
        wavs.wav(bytes(100), rate=10),
        wavs.wav(b""),
        b"RIFF____WAVE",
        b"ID3 and so on",
        b"",
    ]
    given, expected = [], []
    for i, data in enumerate(files):
        file = tmp_path / f"{i}.wav"
        file.write_bytes(data)
        try:
            expected.append(sound(file, 8000))
        except Error as e:
            expected.append(str(e))
        given.append([coded(data), str(file)])
    script = "for (const [d, name] of given) take(() => ui.sound(bytes(d).buffer, name, 8000));"
    for i, (a, b) in enumerate(zip(run("sounds.js", script, given), expected, strict=True)):
        if isinstance(a, str) or isinstance(b, str):
            assert isinstance(a, str) and isinstance(b, str), (i, a, b)
        else:
            assert np.array_equal(a, b), i


def test_what_takes_too_long_is_refused() -> None:
    """A cell of very many digits, and a sound of a quarter of an hour."""
    script = """
    const cell = `${"1".repeat(300_000)}x`;
    take(() => ui.numbers(ui.table(`1;1\n${cell};1\n`, "a.csv"), 2, []).values);"""
    assert run("tables.js", script, None)[0].startswith('a.csv, line 2: "1111')
    script = """
    for (const [seconds, rate] of [[900, 44100], [1, 44100]]) {
      take(() => ui.resampled(new Float64Array(seconds * rate), rate, 16000));
    }"""
    long, short = run("sounds.js", script, None)
    assert long.startswith("900 s of sound with 44100 samples a second are too much")
    assert len(short) == 16000


def test_samples_of_a_microphone_are_those_of_a_file_of_floats() -> None:
    floats = np.random.default_rng(3).normal(0, 0.6, 3000).astype(np.float32)
    made = np.rint(resampled(floats.astype(np.float64) * 32768, 48000, 16000))
    script = "take(() => ui.recorded(new Float32Array(bytes(given).buffer), 48000, 16000));"
    (found,) = run("sounds.js", script, coded(floats.tobytes()))
    assert np.array_equal(found, made.clip(-32768, 32767))


def test_loudest_rows_are_those_of_the_pc() -> None:
    rows = np.random.default_rng(2).integers(0, 9000, (50, 4)).astype(np.int16)
    script = "take(() => ui.loudest(new Int16Array(bytes(given).buffer), 9, 4).rows);"
    (found,) = run("sounds.js", script, coded(rows.tobytes()))
    assert np.array_equal(found, loudest(rows, 9).reshape(-1))


def test_our_own_examples(tmp_path: Path) -> None:
    """The ones that the page offers."""
    frames = Frames(100, 6, (10, 6), (10, 6), names=("ax", "ay", "az", "gx", "gy", "gz"))
    file = models.ROOT / "models" / "motions" / "walking.csv"
    given = [file.read_text(), file.name, {"length": 100, "channels": 6,
                                           "names": list(frames.names), "unit": None}]  # fmt: skip
    (found,) = run("signals.js", "take(() => ui.signal(...given));", given)
    assert np.array_equal(found, signal(file, frames).reshape(-1))
