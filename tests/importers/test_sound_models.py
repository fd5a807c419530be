"""Models of sound: what a description says of their front end, and of labels of no event."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import test_keras
import test_keras_signals
from picoformer import importers
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.compile.convert import compiled_bytes
from picoformer.compile.modelfile import parse
from picoformer.features import LogMel
from picoformer.tokenizers.vocabulary import Vocabulary
from signalmodels import CASES, write
from test_pytorch import describe, refused

SOUND = {"rate": 8000, "window": 200, "hop": 80, "bands": 10, "low": 50, "high": 3900.0}
MADE = LogMel(8000, 200, 80, 10, 50.0, 3900.0)
BACKGROUND = ["LABEL_6", "LABEL_0"]


def keywords(folder: Path, sound: Any = SOUND, **fields: Any) -> Path:
    """A Keyword Transformer, whose rows are of sound; None leaves a field out."""
    given = {"sound": sound, "length": 19, "mean": 4000, "std": 900, **fields}
    given = {k: v for k, v in given.items() if v is not None}
    return describe(write(folder, CASES["keywords"]), input=given)


def test_sound_of_a_pytorch_model(tmp_path):
    path = keywords(tmp_path)
    graph = importers.read(path)[0]
    f = graph.frames
    assert f.sound == MADE and (f.length, f.channels) == (19, 10) and f.unit is None
    np.testing.assert_array_equal(f.mean, [4000] * 10)
    assert importers.read(keywords(tmp_path, channels=10))[0].frames.sound == MADE
    # 200 samples and 18 times 80 of them; a little more is as many rows.
    for seconds in (0.205, 0.2149):
        path = keywords(tmp_path, length=None, seconds=seconds)
        assert importers.read(path)[0].frames.length == 19
    few = importers.read(keywords(tmp_path, {"rate": 8000, "bands": 10}, mean=None, std=None))[0]
    assert few.frames.sound == LogMel(8000, bands=10) and few.frames.mean is None


def test_sound_of_a_keras_model(tmp_path):
    pytest.importorskip("h5py")

    def place(**fields: Any) -> Path:
        return test_keras_signals.place(tmp_path, "spectrogram", input=fields)

    sound = {**SOUND, "bands": 9}
    graph = importers.read(place(sound=sound))[0]
    assert graph.frames.sound == LogMel(8000, 200, 80, 9, 50.0, 3900.0)
    assert (graph.frames.length, graph.frames.channels) == (14, 9)
    assert importers.read(place(sound=sound, seconds=0.155))[0].frames.length == 14
    test_keras.refused(place(sound=SOUND), "10 bands of input.sound in m.json")
    test_keras.refused(place(sound=sound, seconds=0.5), "input.length 48")
    test_keras.refused(place(sound={"bands": 9}), "m.json: input.sound.rate is missing")


@pytest.mark.parametrize(
    ("sound", "fields", "words"),
    [
        ({}, {}, "input.sound.rate is missing; expected the samples of a second"),
        ([8000], {}, "input.sound is [8000], expected an object"),
        ({**SOUND, "mels": 4}, {}, "unknown field 'input.sound.mels'; known: rate, window, hop"),
        ({**SOUND, "rate": "8k"}, {}, "input.sound.rate is '8k', expected a whole number"),
        ({**SOUND, "rate": 8000.0}, {}, "input.sound.rate is 8000.0"),
        ({**SOUND, "bands": True}, {}, "input.sound.bands is True"),
        ({**SOUND, "hop": 0}, {}, "input.sound.hop is 0"),
        ({**SOUND, "low": -1}, {}, "input.sound.low is -1, expected a number of Hz"),
        ({**SOUND, "high": "all"}, {}, "input.sound.high is 'all'"),
        ({**SOUND, "high": 4001}, {}, "input.sound: bands from 50.0 to 4001.0 Hz, of sound of 8"),
        ({**SOUND, "window": 2048}, {}, "input.sound: sound of 8000 Hz in windows of 2048"),
        ({**SOUND, "bands": 11}, {"channels": 10}, "input.channels is 10, but its sound has 11"),
        (SOUND, {"channels": "10"}, "input.channels is '10', but its sound has 10 bands"),
        (SOUND, {"unit": 0.5}, "input.unit is 0.5; supported: none of sound"),
        (SOUND, {"length": None}, 'input.length is missing; expected the rows that the model'),
        (SOUND, {"seconds": 0.2}, "input has a length and seconds; expected one of them"),
        (SOUND, {"length": None, "seconds": 0.02}, "input.seconds is 0.02, 0 rows of sound"),
        (SOUND, {"length": None, "seconds": 1e9}, "expected 1 to 32768"),
        (SOUND, {"length": None, "seconds": "1"}, "seconds is '1', expected a positive number"),
        (SOUND, {"mean": [1, 2]}, "input.mean is [1, 2], expected 10 numbers"),
        (None, {"seconds": 1, "channels": 10}, "input.seconds is 1; supported: input.length"),
        (None, {}, "input.channels is missing; expected the numbers of a row"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, sound, fields, words):
    refused(keywords(tmp_path, sound, **fields), "model.json: ", words)


def test_labels_of_the_background(tmp_path):
    path = describe(keywords(tmp_path), background=[*BACKGROUND, "LABEL_0"])
    graph = importers.read(path)[0]
    assert graph.meta["background"] == BACKGROUND
    data = compiled_bytes(graph, Vocabulary([b""]), compile_graph(graph, calibrate(graph)))
    meta = parse(data).meta
    assert meta["background"] == BACKGROUND and meta["sound"] == SOUND
    one = importers.read(describe(path, background="LABEL_2"))[0]
    assert one.meta["background"] == ["LABEL_2"]
    assert "background" not in importers.read(describe(path, background=[]))[0].meta
    refused(describe(path, background=["noise"]), "background has 'noise', expected some of the")
    refused(describe(path, background=3), "background is 3, expected a list of names")
    every = [f"LABEL_{i}" for i in range(7)]
    refused(describe(path, background=every), "background has all labels")
    path = describe(write(tmp_path / "p", CASES["units"]), background=["x"])
    refused(path, "background is ['x']; supported: none where the task is predict")


def test_labels_of_the_background_of_a_keras_model(tmp_path):
    pytest.importorskip("h5py")
    labels = list("abcde")
    path = test_keras_signals.place(tmp_path, "spectrogram", labels=labels, background=["e"])
    assert importers.read(path)[0].meta["background"] == ["e"]
    path = test_keras_signals.place(tmp_path, "spectrogram", labels=labels, background=["f"])
    test_keras.refused(path, "m.json: background has 'f', expected some of the labels: a, b, c")


def test_what_metadata_say_of_sound(tmp_path):
    """What is not that of the program's tables is none."""
    graph = importers.read(keywords(tmp_path))[0]
    data = compiled_bytes(graph, Vocabulary([b""]), compile_graph(graph, calibrate(graph)))
    m = parse(data)
    assert m.frames.sound == MADE
    for wrong in (
        None, [50, 3900], {}, {**SOUND, "high": 3901}, {**SOUND, "bands": 9}, {**SOUND, "x": 1},
        {**SOUND, "rate": 8000.0}, {**SOUND, "low": "50"}, {**SOUND, "window": -4},
        {**SOUND, "low": True}, {n: v for n, v in SOUND.items() if n != "hop"},
    ):  # fmt: skip
        assert replace(m, meta={**m.meta, "sound": wrong}).frames.sound is None
    # Of rows of no sound.
    words = m.program.copy()
    words[17] = 0
    assert replace(m, program=words).frames.sound is None
