"""Sounds from files: of every form and rate, and of none."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

import wavs
from picoformer import Error
from picoformer.data.signals import read_signals, signal
from picoformer.data.sounds import loudest, resampled, sound
from picoformer.features import LogMel
from picoformer.graph.frames import Frames
from test_signals_data import graph

HEARD = LogMel(8000, 256, 80, 10)
FRAMES = Frames(
    20, 10, (2, 10), (2, 10), mean=np.full(10, 3e3), std=np.full(10, 1e3), sound=HEARD
)  # of 336 to 1,855 samples
SAMPLES = np.array([0, 1, -1, 32767, -32768, 12345, -4321, 256])


def packed(values: np.ndarray, bits: int) -> bytes:
    """Whole numbers of 16 bits in as many as a file has."""
    if bits == 8:
        return ((values >> 8) + 128).astype(np.uint8).tobytes()
    wide = (values.astype(np.int64) << (bits - 16)).astype("<i8").view(np.uint8).reshape(-1, 8)
    return wide[:, : bits // 8].tobytes()


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("extensible", [False, True])
def test_samples_of_whole_numbers(tmp_path, bits, extensible):
    path = tmp_path / "a.WAV"
    path.write_bytes(wavs.wav(packed(SAMPLES, bits), bits=bits, extensible=extensible))
    found = sound(path, 8000)
    assert found.dtype == np.int16
    assert found.tolist() == (SAMPLES if bits > 8 else SAMPLES >> 8 << 8).tolist()


def test_samples_are_rounded(tmp_path):
    path = tmp_path / "a.wav"
    for bits in (24, 32):
        fine = [(5 << 16) + (0xC000), (-7 << 16) + 0x4000, (0x7FFF << 16) + 0xF000]
        path.write_bytes(wavs.wav(b"".join(
            struct.pack("<i", v)[4 - bits // 8 :] for v in fine
        ), bits=bits))  # fmt: skip
        assert sound(path, 8000).tolist() == [6, -7, 32767]


@pytest.mark.parametrize("bits", [32, 64])
def test_floats(tmp_path, bits):
    values = np.array([0, 0.5, -1, 1, -1.5, 3e-5, 1e-9])
    path = tmp_path / "a.wav"
    path.write_bytes(wavs.wav(values.astype(f"<f{bits // 8}").tobytes(), bits=bits, kind=3))
    assert sound(path, 8000).tolist() == [0, 16384, -32768, 32767, -32768, 1, 0]
    path.write_bytes(wavs.wav(np.array([0, np.nan], f"<f{bits // 8}").tobytes(), 8000, bits, 1, 3))
    with pytest.raises(Error, match="a.wav has infinite or NaN samples"):
        sound(path, 8000)
    top = 1.7e308 if bits == 64 else 3e38
    loud = np.array([top, top, -top, -top] * 50, f"<f{bits // 8}")
    path.write_bytes(wavs.wav(loud.tobytes(), 8000, bits, 2, 3))
    with np.errstate(all="raise"):
        assert sound(path, 8000).tolist() == [32767, -32768] * 50


def test_channels_become_their_mean(tmp_path):
    path = tmp_path / "a.wav"
    both = np.stack([SAMPLES, np.roll(SAMPLES, 1), SAMPLES], 1)
    path.write_bytes(wavs.of(both))
    assert sound(path, 8000).tolist() == np.rint(both.mean(1)).tolist()


def test_what_else_may_be_in_a_file(tmp_path):
    """Other chunks, of odd sizes; a length that nobody filled in; half a sample at the end."""
    path = tmp_path / "a.wav"
    data = SAMPLES.astype("<i2").tobytes()
    before = b"LIST" + struct.pack("<I", 5) + b"hello\0" + b"fact" + struct.pack("<I", 4) + b"1234"
    for made in (
        wavs.wav(data, before=before),
        wavs.wav(data, size=0xFFFFFFFF),
        wavs.wav(data, size=0),
        wavs.wav(data) + b"LIST" + struct.pack("<I", 4) + b"more",
        wavs.wav(data + b"x"),
    ):
        path.write_bytes(made)
        assert sound(path, 8000).tolist() == SAMPLES.tolist()


GOOD = wavs.of(SAMPLES)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "a.wav is empty, expected a WAV file"),
        (b"ID3\x04 some music", r"is no WAV file: it begins with b'ID3\\x04 some mu', expected"),
        (b"RIFF", "is no WAV file"),
        (b"RIFF\0\0\0\0AVI LIST", "is no WAV file"),
        (GOOD[:12], "a WAV file without a format, or it is truncated"),
        (GOOD[:30], "a format of 10 bytes, expected 16"),
        (GOOD[:36], "a WAV file without a sound, or it is truncated"),
        (GOOD[:-3], "a.wav is truncated: it has 13 bytes of sound of 16"),
        (GOOD[:12] + GOOD[36:], "a WAV file without a format"),
        (wavs.wav(b"", size=0), "a.wav has no samples"),
        (wavs.wav(b"1"), "a.wav has no samples"),
        (wavs.wav(b"12", bits=8, kind=7), "mu-law of 8 bits; supported: WAV files of 8, 16, 24"),
        (wavs.wav(b"12", bits=0, kind=85), "MP3 of 0 bits"),
        (wavs.wav(b"12", bits=12), "whole numbers of 12 bits"),
        (wavs.wav(b"12", bits=16, kind=3), "floats of 16 bits"),
        (wavs.wav(b"12", bits=16, kind=99), "format 99 of 16 bits"),
        (wavs.wav(b"12", channels=0), "0 channels of 16 bits in 0 bytes, 8,000 times a second"),
        (wavs.wav(b"12", rate=0), "1 channels of 16 bits in 2 bytes, 0 times a second"),
        (wavs.wav(b"12", rate=1_000_000), "expected 1 channel or more, 1,000 to 768,000"),
    ],
)
def test_a_file_that_is_none(tmp_path, data, words):
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(Error, match=words) as caught:
        sound(tmp_path / "a.wav", 8000)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    for name in ("none.wav", "."):
        with pytest.raises(Error, match="cannot read .*: (No such file|Is a directory)"):
            sound(tmp_path / name, 8000)


# Other rates


@pytest.mark.parametrize(
    ("old", "new"), [(44100, 8000), (16000, 8000), (22050, 16000), (8000, 16000), (11025, 8000)]
)
def test_another_rate(old, new):
    """What both rates have stays what it is; what the lower one cannot have goes."""
    x, half, n = np.arange(old // 2) / old, min(old, new) / 2, new // 2
    t, inner = np.arange(n) / new, slice(n // 8, -n // 8)
    for hz in (60, half / 3, 0.9 * half):
        made = resampled(np.sin(2 * np.pi * hz * x), old, new)
        assert len(made) == n
        assert np.abs(made - np.sin(2 * np.pi * hz * t))[inner].max() < 3e-4  # 70 dB
    if old > new:
        for hz in (1.01 * half, 1.3 * half):
            assert np.abs(resampled(np.sin(2 * np.pi * hz * x), old, new))[inner].max() < 3e-4
    # A constant is one, and a click stays where it was.
    assert np.abs(resampled(np.ones(len(x)), old, new)[inner] - 1).max() < 1e-12
    click = (np.arange(len(x)) == len(x) // 3).astype(float)
    at = np.argmax(resampled(click, old, new)) / new
    assert abs(at - (len(x) // 3) / old) <= 0.5 / new + 1e-9


def test_short_sounds_of_another_rate():
    for n in (1, 2, 5, 6, 7):
        made = resampled(np.ones(n), 48000, 8000)
        assert len(made) == -(-n // 6) and np.isfinite(made).all()
    assert len(resampled(np.ones(3), 8000, 44100)) == 17
    assert len(resampled(np.zeros(0), 8000, 44100)) == 0


def test_a_long_sound_is_made_in_parts():
    x = wavs.noise(400_000)
    made = resampled(x, 16000, 8000)
    # As its last part alone, but for what is in front of it.
    part = resampled(x[300_000:], 16000, 8000)
    np.testing.assert_allclose(made[-49_000:], part[-49_000:], atol=1e-6)


def test_a_file_of_another_rate(tmp_path):
    x = wavs.noise(2000)
    path = wavs.write(tmp_path / "a.wav", x, 16000)
    assert sound(path, 8000).tolist() == np.rint(resampled(x, 16000, 8000)).tolist()
    assert sound(path, 16000).tolist() == x.tolist()
    square = np.where(np.arange(2000) % 100 < 50, 32767, -32768)
    made = sound(wavs.write(tmp_path / "b.wav", square, 44100), 8000)
    assert made.max() == 32767 and made.min() == -32768  # not beyond them


def test_a_long_sound_has_its_rows():
    """They are made in parts, each as it is alone."""
    x = wavs.noise(80 * 2500 + 256)
    rows = HEARD(x)
    assert len(rows) == 2501
    for i in (0, 1023, 1024, 2047, 2048, 2500):
        assert rows[i].tolist() == HEARD(x[80 * i : 80 * i + 256])[0].tolist()


# Signals


def test_a_sound_is_its_rows(tmp_path):
    x = wavs.noise(1855)
    path = wavs.write(tmp_path / "a.wav", x)
    found = signal(path, FRAMES)
    assert found.dtype == np.int64 and found.tolist() == HEARD(x).tolist() and len(found) == 20
    assert signal(wavs.write(path, x[:336]), FRAMES).shape == (2, 10)
    wavs.write(path, x[:335])
    with pytest.raises(Error, match="a.wav has 335 samples at 8,000 Hz, expected 336 or more"):
        signal(path, FRAMES)
    wavs.write(path, wavs.noise(1856))
    words = "a.wav has 0.23 s of sound, and this model reads 0.22 s at once: cut it, or let "
    with pytest.raises(Error, match=words + "picoformer listen find what"):
        signal(path, FRAMES)
    with pytest.raises(Error, match="this model reads no sound; expected a .csv or .npy file, 20"):
        signal(path, replace(FRAMES, sound=None))
    words = "expected a .wav, .csv or .npy file, 0.22 s of sound, 20 rows of 10"
    with pytest.raises(Error, match=words):
        signal(tmp_path / "a.mp3", FRAMES)


def test_samples_in_arrays(tmp_path):
    x = np.stack([wavs.noise(1855, i) for i in range(3)])
    np.save(tmp_path / "one.npy", x[0])
    assert signal(tmp_path / "one.npy", FRAMES).tolist() == HEARD(x[0]).tolist()
    np.savez(tmp_path / "many.npz", signals=x.astype(np.int16), labels=["a", "b", "a"])
    found = read_signals(tmp_path / "many.npz", FRAMES)
    assert [w for _, w in found] == ["a", "b", "a"]
    for (rows, _), samples in zip(found, x, strict=True):
        assert rows.tolist() == HEARD(samples).tolist()
    np.save(tmp_path / "long.npy", wavs.noise(8000))
    pieces = read_signals(tmp_path / "long.npy", FRAMES)
    assert [len(rows) for rows, _ in pieces] == [20] * 4
    np.save(tmp_path / "bad.npy", x[0] / 2)
    with pytest.raises(Error, match="bad.npy: samples of float64"):
        read_signals(tmp_path / "bad.npy", FRAMES)
    # Rows are read as of any frames.
    np.save(tmp_path / "rows.npy", HEARD(x[0]))
    assert signal(tmp_path / "rows.npy", FRAMES).tolist() == HEARD(x[0]).tolist()


def test_the_loudest_part():
    rows = np.zeros((9, 2), np.int16)
    assert loudest(rows, 4).tolist() == rows[:4].tolist() and len(loudest(rows, 20)) == 9
    rows[4:6] = 7
    rows[8] = 9
    rows[:, 0] += np.arange(9)
    assert loudest(rows, 2).tolist() == [[11, 7], [12, 7]]
    assert loudest(rows, 1).tolist() == [[17, 9]]
    assert loudest(np.full((40_000, 128), 32767, np.int16), 9).shape == (9, 128)


def test_a_folder_of_sounds(tmp_path):
    """Those that are too long by their loudest part, others as they are."""
    quiet, loud = wavs.noise(4000, 1, 20.0), wavs.noise(1600, 2)
    long = np.concatenate([quiet, loud, quiet])
    wavs.write(tmp_path / "l0" / "a.wav", long)
    wavs.write(tmp_path / "l1" / "b.WAV", wavs.noise(1000))
    np.save(tmp_path / "l1" / "c.npy", HEARD(wavs.noise(1200)))
    (tmp_path / "l1" / "notes.md").write_text("of these")
    found = read_signals(tmp_path, FRAMES)
    assert [w for _, w in found] == ["l0", "l1", "l1"]
    assert [len(rows) for rows, _ in found] == [20, 10, 12]
    rows, at = HEARD(long), 4000 // 80
    starts = [i for i in range(len(rows) - 19) if (rows[i : i + 20] == found[0][0]).all()]
    assert starts and at - 4 <= starts[0] <= at + 4
    (tmp_path / "l1" / "c.npy").unlink()
    with pytest.raises(Error, match="holds no signals"):
        read_signals(tmp_path, replace(FRAMES, sound=None))
    one = read_signals(wavs.write(tmp_path / "long.wav", long), FRAMES)
    assert [len(r) for r, _ in one] == [20] * 5 and {w for _, w in one} == {None}
    with pytest.raises(Error, match="expected signals in a .wav, .npz, .npy, .ts or .csv file"):
        read_signals(tmp_path / "a.ogg", FRAMES)


def test_examples_of_sounds(tmp_path):
    from picoformer.data.examples import read_examples

    for i in range(3):
        wavs.write(tmp_path / f"l{i}" / "a.wav", wavs.noise(1855, i))
    rows = read_examples(tmp_path, None, 99, graph(of=FRAMES))
    assert [e.wanted for e in rows] == [["l0"], ["l1"], ["l2"]]
    assert rows[1].signal.tolist() == HEARD(wavs.noise(1855, 1)).tolist()
