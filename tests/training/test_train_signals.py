"""`picoformer train signals`: sensors and sounds, from files to a model file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from picoformer.commands.main import main
from picoformer.errors import Error
from picoformer.training.signals import SensorJob, SoundJob, signal_job
from trainingdata import gestures, tones, trained, write_wav

DIGITS = Path(os.environ.get("PICOFORMER_DIGITS", ""))


def folders(path: Path, values: np.ndarray, labels: np.ndarray) -> Path:
    """A folder of .csv files for each label."""
    for i, (one, label) in enumerate(zip(values, labels, strict=True)):
        (path / label).mkdir(parents=True, exist_ok=True)
        text = "ax,ay,az\n" + "".join(",".join(map(str, row)) + "\n" for row in one.tolist())
        (path / label / f"{i}.csv").write_text(text)
    return path


def test_sensors_from_a_folder_of_tables(tmp_path, capsys):
    values, labels = gestures()
    data = folders(tmp_path / "data", values, labels)
    found, sim = trained(capsys, "signals", data, tmp_path / "moves", 200)
    assert found["labels"] == ["fast", "slow", "still"] and found["milliseconds"] < 40
    assert found["scores"]["accuracy_int"] == 1
    told = [sim.classify(one)[0][0] for one in gestures(5, seed=2)[0]]
    assert told == ["slow"] * 5 + ["fast"] * 5 + ["still"] * 5
    assert list(sim.frames.names) == ["ax", "ay", "az"]


def test_real_values_get_a_unit(tmp_path):
    values, labels = gestures(12)
    path = tmp_path / "a.npz"
    np.savez(path, X=values / 204.8, y=labels)
    job = SensorJob(path, 1)
    assert job.unit is not None and 0.0003 < job.unit[0] < 0.0008
    rows = np.concatenate(job.rows_of("train"))
    assert 15_000 < np.abs(rows).max() <= 32767 * 2 / 3 + 50
    job.write_test(tmp_path)
    kept = np.load(tmp_path / "test.npz")
    assert np.nanmax(np.abs(kept["signals"])) < 15 and set(kept["labels"]) == set(labels)


def test_parts_that_files_are_named_after(tmp_path):
    values, labels = gestures(12)
    np.savez(tmp_path / "Moves_TRAIN.npz", signals=values[::2], labels=labels[::2])
    np.savez(tmp_path / "Moves_TEST.npz", signals=values[1::2], labels=labels[1::2])
    counts = SensorJob(tmp_path, 1).counts()
    assert counts["test"] == 18 and counts["train"] + counts["validation"] == 18


def test_sounds_from_a_folder_of_recordings(tmp_path, capsys):
    data = tones(tmp_path / "data")
    found, sim = trained(capsys, "signals", data, tmp_path / "tones", 150)
    assert found["labels"] == ["high", "low", "background"]
    assert found["scores"]["accuracy_int"] == 1 and any("no folder" in d for d in found["doubts"])
    assert sim.frames.sound.rate == 8000 and sim.model.meta["background"] == ["background"]
    assert main(["listen", str(tmp_path / "tones.pft"), "--input", str(data / "low/0.wav")]) == 0


def test_background_of_ones_own(tmp_path):
    data = tones(tmp_path / "data", 12)
    write_wav(data / "noise/room.wav", np.random.default_rng(1).normal(0, 300, 80_000))
    job = SoundJob(data, 1)
    assert job.background == ("noise",) and job.labels == ["high", "low", "noise"]
    assert sum(label == "noise" for part in job.parts.values() for label in part) == 10


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: (p / "a.txt").write_text("1"), r"is a folder of a.txt; expected a folder for"),
        (lambda p: (p / "x").mkdir() or np.save(p / "x/a.npy", np.zeros((9, 2), int)),
         "has 1 signal, expected at least 8"),
        (lambda p: folders(p, *(v[:20] for v in gestures())), "all 20 signals have the label"),
        (lambda p: (p / "train").mkdir() or (p / "train/x").mkdir(), "is a folder of x"),
    ],
)  # fmt: skip
def test_a_fault_is_one_clear_line(make, said, tmp_path):
    make(tmp_path)
    with pytest.raises(Error, match=said) as e:
        signal_job(tmp_path, 1)
    assert "\n" not in str(e.value)


def test_files_with_faults(tmp_path):
    np.savez(tmp_path / "a.npz", signals=np.zeros((9, 5, 2), np.int16))
    with pytest.raises(Error, match=r"holds signals, expected signals \(n, rows, channels\)"):
        signal_job(tmp_path / "a.npz", 1)
    (tmp_path / "b.npz").write_bytes(b"PK\3\4 no archive")
    with pytest.raises(Error, match="cannot read .*b.npz"):
        signal_job(tmp_path / "b.npz", 1)
    with pytest.raises(Error, match="expected a folder with a folder of .wav"):
        signal_job(Path(__file__), 1)
    with pytest.raises(Error, match="there is none"):
        signal_job(tmp_path / "gone", 1)
    (tmp_path / "w/x").mkdir(parents=True)
    (tmp_path / "w/x/a.wav").write_bytes(b"ID3 an mp3")
    with pytest.raises(Error, match="is no WAV file"):
        signal_job(tmp_path / "w", 1)


@pytest.mark.slow
@pytest.mark.skipif(not DIGITS.name, reason="needs PICOFORMER_DIGITS, with spoken_digits.npz")
def test_spoken_digits_in_fifteen_minutes(tmp_path, capsys):
    pytest.importorskip("torch", reason="torch is missing")
    with np.load(DIGITS / "spoken_digits.npz") as file:
        held = dict(file)
    for i, at in enumerate(held["start"][:-1]):
        part = "test" if held["index"][i] < 5 else "train"
        samples = held["samples"][at : held["start"][i + 1]]
        write_wav(tmp_path / "data" / part / str(held["label"][i]) / f"{i}.wav", samples)
    out = str(tmp_path / "out")
    given = ["train", "signals", str(tmp_path / "data"), "-o", out, "--minutes", "15", "--json"]
    assert main(given) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["sequences"] == 300 and found["scores"]["accuracy_int"] >= 0.96
