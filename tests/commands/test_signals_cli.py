"""Frames of numbers on the command line: run, described, doubted and scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands import doubts
from picoformer.commands.main import main
from picoformer.simulate import evaluation
from test_json import holds
from test_json import said as told


@pytest.fixture
def files(built, tmp_path):
    """(model file, a signal of it as .csv, the Architecture) by its name."""

    def get(name: str):
        a = built(name)
        path, data = tmp_path / f"{name}.pft", tmp_path / f"{name}.csv"
        path.write_bytes(a.file().read_bytes())
        np.savetxt(data, a.signal(seed=1), fmt="%d", delimiter=",")
        return str(path), str(data), a

    return get


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("picoformer: error: ")
    return err


def test_simulate(files, capsys, tmp_path):
    path, data, a = files("signal")
    on_pc = told(capsys, "simulate", path, "--input", data)
    holds(on_pc, "simulate")
    expected = a.sim().classify(a.signal(seed=1))
    assert [(row["label"], row["logit"]) for row in on_pc["labels"]] == expected
    # Fewer rows are nothing to be said of.
    np.save(tmp_path / "a.npy", a.signal(10, seed=2).astype(np.int16))
    assert main(["simulate", path, "--input", str(tmp_path / "a.npy")]) == 0
    shown = capsys.readouterr()
    assert shown.out.split()[0] == "label" and "warning" not in shown.err

    path, data, a = files("forecast")
    on_pc = told(capsys, "simulate", path, "--input", data)
    holds(on_pc, "simulate")
    assert on_pc["values"] == a.sim().predict(a.signal(seed=1)).tolist()
    assert on_pc["names"] == a.graph.labels
    assert main(["simulate", path, "--input", data]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split() for line in out] == [
        [*name.split(), f"{v:.6g}"]
        for name, v in zip(a.graph.labels, on_pc["values"], strict=True)
    ]


def test_numbers_without_names(built, tmp_path, capsys):
    a = built("forecast")
    graph, a.graph = a.graph, replace(a.graph, labels=[])
    try:
        from picoformer.compile.convert import compiled_bytes

        data = compiled_bytes(a.graph, a.vocabulary, a.compiled(), None)
    finally:
        a.graph = graph
    (tmp_path / "m.pft").write_bytes(data)
    np.save(tmp_path / "a.npy", a.signal(seed=1))
    given = ["simulate", str(tmp_path / "m.pft"), "--input", str(tmp_path / "a.npy")]
    values = told(capsys, *given)
    assert "names" not in values and len(values["values"]) == 3
    assert main(given) == 0
    assert capsys.readouterr().out.split() == [f"{v:.6g}" for v in values["values"]]


def test_what_leads_to_the_option(files, capsys, own, tmp_path):
    path, data, _ = files("signal")
    words = "this model reads frames of numbers: give them with --input FILE (.csv or .npy, 34 r"
    assert words in refused(capsys, "simulate", path, "--prompt", "a text")
    assert words in refused(capsys, "simulate", path, "--image", data)
    assert main(["convert", path]) != 0
    capsys.readouterr()
    said = refused(capsys, "simulate", str(own("intents").path), "--input", data)
    assert "this model reads text, not frames of numbers: give a text" in said
    said = refused(capsys, "simulate", str(own("fashion").path), "--input", data)
    assert "this model reads images, not frames of numbers: give --image FILE" in said
    (tmp_path / "bad.csv").write_text("1,2,3,4\n1,2,3,4\n")
    said = refused(capsys, "simulate", path, "--input", str(tmp_path / "bad.csv"))
    assert "bad.csv: 4 columns, the model reads 5" in said
    assert "cannot read" in refused(capsys, "simulate", path, "--input", "none.csv")


def test_inspect(files, capsys):
    for name, words in (
        ("signal", "frames        34 rows of 5 channels, in windows of 4 rows, one every 3\n"),
        ("forecast", "19 rows of 11 channels, in windows of 3 rows of 4, one every 2 rows"),
    ):
        path = files(name)[0]
        assert main(["inspect", path]) == 0
        said = capsys.readouterr()
        assert words in said.out and "vocabulary" not in said.out and "[" not in said.out
        holds(told(capsys, "inspect", path), "inspect")


def test_what_convert_says_comes_next(files):
    from picoformer.commands.describing import how_to_run, how_to_simulate, in_python
    from picoformer.compile.modelfile import load

    m = load(files("forecast")[0])
    assert how_to_simulate(m, "m.pft") == "picoformer simulate m.pft --input SIGNAL.csv"
    assert how_to_run(m, "m", "P") == "picoformer predict --port P --model m --input SIGNAL.csv"
    assert in_python("predict", "m", "signal").endswith("print(m.predict(signal))")


def test_doubts(built):
    a = built("signal")
    f = replace(a.graph.frames, names=tuple("abcde"))
    good = a.signal(seed=1)
    assert not doubts.of_signal(f, good) and not doubts.of_signal(f, good[:4])
    assert not doubts.of_signal(replace(f, mean=None, std=None), 0 * good)
    # A channel in other units; then two, of which the one that is farther off is named.
    wrong = good.copy()
    wrong[:, 1] = np.rint(f.mean[1] + 7 * f.std[1]) + np.arange(len(good)) % 2
    (said,) = doubts.of_signal(f, wrong)
    assert ": b is about " in said and f"{f.mean[1]:.4g} on average" in said
    assert "are its units right" in said and "other" not in said
    wrong[:, 3] = np.rint(f.mean[3] - 20 * f.std[3]) - np.arange(len(good)) % 2
    (said,) = doubts.of_signal(replace(f, names=()), wrong)
    assert ": channel 4 is about " in said and "(and 1 other channel)" in said
    # A channel that is off.
    still = good.copy()
    still[:, 2] = round(float(f.mean[2]))
    (said,) = doubts.of_signal(f, still)
    assert f"the signal's c is always {still[0, 2]}, but" in said
    assert not doubts.of_signal(f, still[:7])  # which may happen
    assert not doubts.of_signal(replace(f, std=np.minimum(f.std, 1) + 3e4 * (f.std > 9)), good)


def test_a_doubt_is_a_line_in_front(files, capsys, tmp_path):
    path, _, a = files("signal")
    np.save(tmp_path / "a.npy", 0 * a.signal(seed=1))
    assert main(["simulate", path, "--input", str(tmp_path / "a.npy")]) == 0
    err = capsys.readouterr().err.splitlines()
    assert err[0].startswith("warning: the signal") and err[-1].startswith("next")
    assert main(["simulate", path, "--input", str(tmp_path / "a.npy"), "-q"]) == 0
    assert not capsys.readouterr().err


def test_on_a_board(files, capsys, tmp_path, monkeypatch):
    """With the file beside, and with what the board says of a model whose file is not here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, data, a = files("forecast")
    signal_path, signal_data, signal = files("signal")
    with UnixBoard(tmp_path / "flash") as unix:
        port = "--port", unix.port
        for one in (path, signal_path):
            told(capsys, "deploy", one, *port)
        for where in ("here", "away"):
            if where == "away":
                monkeypatch.setattr("picoformer.commands.inputs.file_of", lambda *_: None)
                monkeypatch.setattr("picoformer.commands.run.file_of", lambda *_: None)
            seen = told(capsys, "predict", *port, "--model", "forecast", "--input", data)
            holds(seen, "classify")
            assert seen["values"] == a.sim().predict(a.signal(seed=1)).tolist()
            assert seen["names"] == a.graph.labels
        seen = told(capsys, "classify", *port, "--model", "signal", "--input", signal_data)
        holds(seen, "classify")
        expected = signal.sim().classify(signal.signal(seed=1))
        assert [(row["label"], row["logit"]) for row in seen["labels"]] == expected
        assert main(["predict", *port, "--model", "forecast", "--input", data]) == 0
        shown = capsys.readouterr()
        assert shown.out.splitlines()[0].split()[:2] == ["label", "0"]
        assert "print(m.predict(signal))" in shown.err
        words = "this model reads frames of numbers: give them with --input FILE"
        assert words in refused(capsys, "classify", *port, "--model", "signal", "a text")
        assert words in refused(capsys, "embed", *port, "--model", "signal", "--image", data)
        assert "made to classify, not to predict" in refused(
            capsys, "predict", *port, "--model", "signal", "--input", signal_data
        )
        assert words in refused(capsys, "predict", *port, "--model", "forecast")
        assert "give a TEXT, an --image or an --input, one of them" in refused(
            capsys, "predict", *port, "--model", "forecast", "--image", data, "--input", data
        )
        assert main(["boards", *port]) == 0
        assert "--model forecast --input SIGNAL.csv" in capsys.readouterr().err


def test_eval(files, capsys, tmp_path, monkeypatch):
    path, _, a = files("forecast")
    monkeypatch.setattr(evaluation.importers, "read", lambda *_: (a.graph, a.vocabulary))
    given = ["eval", path, "--reference", "made"]
    seen = told(capsys, *given)
    holds(seen, "eval")
    assert seen["data"] == "random signals" and 0 < seen["off_mean"] < seen["off_max"] < 0.2
    assert "mae_int" not in seen
    signals = np.stack([a.signal(seed=i) for i in range(1, 9)])
    exact = np.stack([a.sim().predict(s) for s in signals])
    np.savez(tmp_path / "d.npz", X=signals, y=exact)
    np.save(tmp_path / "out.npy", exact.astype(np.float32))
    given += ["--data", str(tmp_path / "d.npz"), "--expect", str(tmp_path / "out.npy")]
    seen = told(capsys, *given, "--layers")
    holds(seen, "eval")
    assert seen["mae_int"] == 0 and seen["r2_int"] == 1 > seen["r2_float"] > 0.9
    assert seen["expect_off_int"] < 1e-6 and seen["outputs"][0]["name"] == "label 0"
    assert main(given) == 0
    out = capsys.readouterr().out
    figures = "mae_float", "rmse_int", "r2_int", "off_max"
    for words in ("windows, 8 examples", *figures, "of each number", "label 2"):
        assert words in out

    path, _, a = files("signal")
    signals = np.stack([a.signal(seed=i) for i in range(1, 9)])
    names = [a.sim().classify(s)[0][0] for s in signals]
    np.savez(tmp_path / "d.npz", X=signals, y=[a.graph.labels.index(name) for name in names])
    assert main(["eval", path, "--reference", "made", "--data", str(tmp_path / "d.npz")]) == 0
    out = capsys.readouterr().out
    assert "accuracy_int" in out and "a column for each predicted one" in out
    assert f"  {names[0]}" in out
