"""Sound on the command line: classified, described, doubted, scored, and listened to."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import wavs
from picoformer import Listener
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands import doubts
from picoformer.commands.main import main
from picoformer.compile.convert import compiled_bytes
from picoformer.data.sounds import sound
from picoformer.simulate import evaluation
from test_json import holds
from test_json import said as told
from test_signals_cli import refused
from wavs import changing as samples

GIVEN = ["--hop", "0.1", "--threshold", "0.5", "--rest", "0.2"]
SETTINGS = {"hop": 0.1, "threshold": 0.5, "smooth": 3, "rest": 0.2}


@pytest.fixture
def files(built, tmp_path):
    """(model file, a window of sound, a long one as .wav, the Architecture)."""
    a = built("sound")
    graph = replace(a.graph, meta={"background": ["label 1"]})
    path = tmp_path / "heard.pft"
    path.write_bytes(compiled_bytes(graph, a.vocabulary, a.compiled()))
    long = wavs.write(tmp_path / "long.wav", samples(2.25), 16000)
    short = wavs.write(tmp_path / "short.wav", samples()[9000:11500])
    return str(path), str(short), str(long), a


def events(a, path: str) -> list:
    heard = io.BytesIO(sound(path, 8000).tobytes())
    return list(Listener(a.sim(), heard, **SETTINGS, ignore=["label 1"]))


def test_a_sound_is_classified(files, capsys, tmp_path):
    path, short, long, a = files
    on_pc = told(capsys, "simulate", path, "--input", short)
    holds(on_pc, "simulate")
    expected = a.sim().classify(sound(short, 8000))
    assert [(row["label"], row["logit"]) for row in on_pc["labels"]] == expected
    said = refused(capsys, "simulate", path, "--input", long)
    assert "long.wav has 1.12 s of sound, and this model reads 0.32 s at once" in said
    assert "picoformer listen" in said
    said = refused(capsys, "simulate", path, "--prompt", "text")
    assert "this model reads sound: give it with --input FILE (.wav, .csv or .npy, 0.32 s" in said
    Path(short).write_bytes(b"OggS")
    assert "short.wav is no WAV file" in refused(capsys, "simulate", path, "--input", short)


def test_listen(files, capsys):
    path, short, long, a = files
    expected = events(a, long)
    assert len(expected) > 1
    seen = told(capsys, "listen", path, "--input", long, *GIVEN)
    holds(seen, "listen")
    assert [(e["label"], e["share"], e["ms"]) for e in seen["events"]] == expected
    assert seen["seconds"] == 1.125 and seen["ignored"] == ["label 1"] and seen["windows"] == 9
    assert {k: seen[k] for k in SETTINGS} == SETTINGS and "heap" not in seen
    assert main(["listen", path, "--input", long, *GIVEN]) == 0
    out, err = capsys.readouterr()
    *lines, last = out.splitlines()
    assert lines == [f"{ms / 1000:8.2f} s  {la}  {100 * s:3.0f} %" for la, s, ms in expected]
    words = rf"{len(expected)} events in 1.12 s of sound, 9 windows; .* s on the PC"
    assert re.fullmatch(words, last)
    first, program = err.splitlines()
    assert first == f"next   picoformer deploy {path}"
    assert program.endswith(
        'for event in Listener(Model("/heard.pft"), i2s, hop=0.1, threshold=0.5, rest=0.2): '
        "print(event) (docs/sound.md)"
    )
    # What is shorter than a window is one.
    wavs.write(Path(short), samples()[:2000])
    assert main(["listen", path, "--input", short, "--threshold", "0"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("    0.25 s  label ") and "1 event in 0.25 s" in out
    assert err.startswith("warning: the recording is shorter than the 0.32 s that the model reads")


def test_a_doubt_is_a_line_in_front(files, capsys):
    path, short, *_ = files
    wavs.write(Path(short), 0 * samples())
    assert main(["listen", path, "--input", short]) == 0
    assert "warning: the sound is silent" in capsys.readouterr().err
    assert main(["listen", path, "--input", short, "-q"]) == 0
    assert not capsys.readouterr().err


def test_what_cannot_be_listened_to(files, built, capsys, tmp_path):
    path, short, long, a = files
    signal = tmp_path / "signal.pft"
    signal.write_bytes(built("signal").file().read_bytes())
    said = refused(capsys, "listen", str(signal), "--input", short)
    assert "this model reads no sound: picoformer listen is for one that does" in said
    graph = replace(a.graph, task="predict")
    (tmp_path / "p.pft").write_bytes(compiled_bytes(graph, a.vocabulary, _compiled(graph)))
    said = refused(capsys, "listen", str(tmp_path / "p.pft"), "--input", short)
    assert "this model is made to predict, not to classify" in said
    assert "expected a .wav file" in refused(capsys, "listen", path, "--input", "a.csv")
    said = refused(capsys, "listen", path, "--input", short, "--model", "heard")
    assert "a MODEL.pft runs on this PC, without --port" in said
    assert "did you mean heard.pft?" in refused(
        capsys, "listen", path.replace("heard", "herd"), "--input", short
    )
    wavs.write(Path(short), samples()[:519])
    said = refused(capsys, "listen", path, "--input", short)
    assert "short.wav has 519 samples at 8,000 Hz, and a window of the model is 0.07 s" in said
    said = refused(capsys, "listen", path, "--input", long, "--hop", "0")
    assert "expected a hop" in said


def _compiled(graph):
    from picoformer.compile.calibration import calibrate
    from picoformer.compile.compiler import compile_graph

    return compile_graph(graph, calibrate(graph))


@pytest.mark.parametrize("where", ["here", "away"])
def test_on_a_board(files, capsys, tmp_path, monkeypatch, where):
    """With the file here, and with what the board says of a model whose file is not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, short, long, a = files
    if where == "away":
        monkeypatch.setattr("picoformer.commands.inputs.file_of", lambda *_: None)
        monkeypatch.setattr("picoformer.commands.run.file_of", lambda *_: None)
    with UnixBoard(tmp_path / "flash") as unix:
        port = "--port", unix.port
        told(capsys, "deploy", path, *port)
        seen = told(capsys, "classify", *port, "--input", short)
        holds(seen, "classify")
        expected = a.sim().classify(sound(short, 8000))
        assert [(row["label"], row["logit"]) for row in seen["labels"]] == expected
        seen = told(capsys, "listen", *port, "--input", long, *GIVEN)
        holds(seen, "listen")
        assert [(e["label"], e["share"], e["ms"]) for e in seen["events"]] == events(a, long)
        assert seen["ignored"] == ["label 1"] and seen["heap"] > 0
        assert main(["listen", *port, "--model", "heard", "--input", long, *GIVEN]) == 0
        out, err = capsys.readouterr()
        assert out.splitlines()[-1].endswith("s with the cable") and "bytes of heap" in err
        assert 'Listener(Model("/heard.pft"), i2s, hop=0.1' in err
        assert "a long" not in refused(capsys, "classify", *port, "--input", long)
        said = refused(capsys, "listen", *port, "--model", "herd", "--input", long)
        assert "did you mean heard?" in said
        assert main(["classify", *port, "--input", short]) == 0
        assert "f.write(samples); print(m.classify(f.last()))" in capsys.readouterr().err


def test_inspect(files, capsys):
    path = files[0]
    assert main(["inspect", path]) == 0
    said = capsys.readouterr().out
    words = "8,000 Hz, in rows of 25 ms, one every 10 ms; 20 bands from 60 to 3800 Hz"
    assert f"sound         {words}\n" in said and "background    1: label 1" in said
    assert "frames        0.32 s of sound, 30 rows of 20 channels, in windows of 5 rows\n" in said
    holds(told(capsys, "inspect", path), "inspect")


def test_what_convert_says_comes_next(files):
    from picoformer.commands.describing import how_to_run, how_to_simulate
    from picoformer.compile.modelfile import load

    m = load(files[0])
    assert how_to_simulate(m, "m.pft") == "picoformer simulate m.pft --input SOUND.wav"
    assert how_to_run(m, "m", "P") == "picoformer classify --port P --model m --input SOUND.wav"


def test_doubts(built):
    f = built("sound").graph.frames
    good = f.sound(wavs.noise(2500)).astype(int)
    assert not doubts.of_signal(f, good)
    assert doubts.of_signal(f, 0 * good) == ["the sound is silent: the result means nothing"]
    quiet = np.rint(f.mean - 2 * f.std + 0 * good).astype(int)
    (said,) = doubts.of_signal(f, quiet)
    decibels = round(2 * f.std.mean() / 256 * 3.0103)
    assert said.startswith(f"the sound is quiet: it stays {decibels} dB below the average")
    (said,) = doubts.of_signal(f, np.rint(f.mean + 7 * f.std + 0 * good).astype(int))
    assert said.startswith("the sound is loud: it stays ")
    quiet[3] = f.mean  # in which there is something
    assert not doubts.of_signal(f, quiet)


def test_eval_of_a_folder(files, capsys, tmp_path, monkeypatch):
    path, short, long, a = files
    monkeypatch.setattr(evaluation.importers, "read", lambda *_: (a.graph, a.vocabulary))
    label = a.sim().classify(sound(short, 8000))[0][0]
    folder = tmp_path / "data" / label
    wavs.write(folder / "a.wav", sound(short, 8000))
    wavs.write(folder / "b.wav", samples()[:12000])
    given = ["eval", path, "--reference", "made", "--data", str(tmp_path / "data")]
    seen = told(capsys, *given)
    holds(seen, "eval")
    assert seen["sequences"] == 2 and seen["accuracy_int"] >= 0.5
