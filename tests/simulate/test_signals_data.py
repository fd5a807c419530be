"""Signals from files: of every form, and of none."""

from __future__ import annotations

import numpy as np
import pytest

from picoformer import Error
from picoformer.data.examples import random_examples, read_examples
from picoformer.data.signals import read_signals, signal
from picoformer.graph.frames import Frames
from picoformer.graph.nodes import Graph, Linear, Patches, Pool

MEAN, STD = np.array([0.0, 10.0]), np.array([2.0, 100.0])


def frames(channels: int = 2, unit: float | None = None, names: tuple[str, ...] = ()) -> Frames:
    """Of 2 to 4 rows."""
    units = None if unit is None else np.full(channels, unit)
    mean, std = np.resize(MEAN, channels), np.resize(STD, channels)
    size = 2, channels
    return Frames(4, channels, size, size, mean=mean, std=std, unit=units, names=names)


def graph(task: str = "classify", outputs: int = 3, of: Frames | None = None) -> Graph:
    f = of or frames()
    head = Linear("frames", "logits", np.ones((outputs, f.elements)), "head")
    nodes = [Patches("frames", f.elements), Pool("frames", "mean"), head]
    labels = [f"l{i}" for i in range(outputs)] if task == "classify" else []
    return Graph(nodes, 1, f.positions(f.length), task=task, labels=labels, frames=f)


def write(folder, name: str, text: str):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


# One signal


@pytest.mark.parametrize(
    "text",
    [
        "1,-2\n3,4\n5,6\n",
        "1;-2\r\n3;4\r\n5;6\r\n",
        "1\t-2\n3\t4\n5\t6",
        "\ufeffx,y\n1,-2\n3,4\n5,6\n",
        "# x,y\n1,-2\n3,4\n\n5,6\n",
        "Time,x,y\n10:00,1,-2\n10:01,3,4\n10:02,5,6\n",
        ",0,1\n0,1,-2\n1,3,4\n2,5,6\n",
        '"a","b"\n"1","-2",\n"3","4",\n"5","6",\n',
        "index,t2,p\n0,1,-2\n1,3,4\n2,5,6\n",
    ],
)
def test_a_csv(tmp_path, text):
    found = signal(write(tmp_path, "a.csv", text), frames())
    assert found.dtype == np.int64 and found.tolist() == [[1, -2], [3, 4], [5, 6]]


def test_channels_by_their_names(tmp_path):
    f = frames(names=("ax", "Ay"))
    text = "time,AY,button,ax\n0,2,on,1\n1,4,off,3\n"
    assert signal(write(tmp_path, "a.csv", text), f).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(Error, match="has no column ay; the model's channels are ax, Ay"):
        signal(write(tmp_path, "b.csv", "ax,az\n1,2\n3,4\n"), f)
    # A header of other names says nothing.
    assert signal(write(tmp_path, "c.csv", "u,v\n1,2\n3,4\n"), f).tolist() == [[1, 2], [3, 4]]


def test_fractions_are_real_values(tmp_path):
    """Of a unit; whole numbers are the sensor's, as long as all in the file are."""
    f = frames(unit=0.5)
    assert signal(write(tmp_path, "a.csv", "1,2\n3,4\n"), f).tolist() == [[1, 2], [3, 4]]
    assert signal(write(tmp_path, "b.csv", "1,2\n3,4.5\n"), f).tolist() == [[2, 4], [6, 9]]
    assert signal(write(tmp_path, "c.csv", "1;2\n3;4,5\n"), f).tolist() == [[2, 4], [6, 9]]
    assert signal(write(tmp_path, "d.csv", "1e0,2\n3,4\n"), f).tolist() == [[2, 4], [6, 8]]
    np.save(tmp_path / "e.npy", np.array([[1, 2], [3, 4.5]], np.float32))
    assert signal(tmp_path / "e.npy", f).tolist() == [[2, 4], [6, 9]]
    with pytest.raises(Error, match=r"has fractions \(4.5\), and this model knows no unit"):
        signal(tmp_path / "b.csv", frames())
    assert signal(write(tmp_path, "f.csv", "1.0,2\n3,4\n"), frames()).tolist() == [[1, 2], [3, 4]]


def test_one_channel(tmp_path):
    for text in ("1\n2\n3\n", "x\n1\n2\n3\n", "t,x\n0,1\n1,2\n2,3\n"):
        found = signal(write(tmp_path, "a.csv", text), frames(1))
        assert found.tolist() == [[1], [2], [3]]
    for one in (np.arange(3), np.arange(3)[:, None].astype(np.int16)):
        np.save(tmp_path / "a.npy", one)
        assert signal(tmp_path / "a.npy", frames(1)).tolist() == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty, expected 4 rows of 2"),
        ("\n \n", "is empty"),
        ("x,y\n", "a signal of 0 rows, expected 2 to 4"),
        ("1,2\n", "a signal of 1 rows, expected 2 to 4"),
        ("1,2\n" * 5, "has more than 4 rows, and this model reads 4 rows of 2"),
        ("1,2\n" * 1000 + "no number", "has more than 4 rows"),
        ("1,2\n3\n", "line 2: 1 columns, expected 2 as in line 1"),
        ("x,y\n\n1,2,3\n", "line 3: 3 columns, expected 2 as in line 1"),
        ("1,2\n3,four\n", "line 2: 'four' is no number"),
        ("1,2\n3,\n4,5\n", "line 2: 1 columns, expected 2"),
        ("1,2\n,3\n", "line 2: a value is missing"),
        ("1,2\n3,nan\n", "line 2: a value is missing, or infinite"),
        ("1,2\n3,inf\n", "line 2: a value is missing, or infinite"),
        ("1,2\n3,99999999999999999999999\n", "values from 1 to 1e"),
        ("1,2\n3,40000\n", "values from 1 to 40000, expected whole numbers from -32768 to 32767"),
        ("1,x\n3,4\n", "line 1: 'x' is no number"),
        ("1,2,3\n4,5,6\n", "3 columns, the model reads 2; expected numbers between commas"),
        ("1 2\n4 5\n", "line 1: '1 2' is no number|1 columns, the model reads 2"),
        ("a,b,c\n4,5,6\n", "3 columns, the model reads 2"),
        ('"1,2\n' + "3,4\n" * 50000, "line [0-9]+: field larger|no number|1 columns"),
        ("1,2\n\0,4\n", "line 2: "),
    ],
)
def test_a_csv_that_is_none(tmp_path, text, words):
    with pytest.raises(Error, match=words):
        signal(write(tmp_path, "a.csv", text), frames())


def test_files_that_are_none(tmp_path):
    f = frames()
    (tmp_path / "a.csv").write_bytes(b"x,y\n\xff\xfe,2\n")
    with pytest.raises(Error, match="a.csv: it is no UTF-8 text"):
        signal(tmp_path / "a.csv", f)
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "text.npy").write_bytes(b"1,2\n3,4\n")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and nothing")
    np.save(tmp_path / "object.npy", np.array([{}, {}], object), allow_pickle=True)
    for name in ("none.csv", "none.npy", "empty.npy", "text.npy", "object.npy", "."):
        with pytest.raises(Error, match="cannot read|expected a .csv or .npy file, 4 rows of 2"):
            signal(tmp_path / name, f)
    for name in ("cut.npz", "none.npz", "none.ts"):
        with pytest.raises(Error, match="cannot read"):
            read_signals(tmp_path / name, f)
    with pytest.raises(Error, match="expected signals in a .npz, .npy, .ts or .csv file"):
        read_signals(tmp_path / "a.mp3", f)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(Error, match="cannot read"):
        signal(tmp_path / "folder.csv", f)
    with pytest.raises(Error, match="holds no signals"):
        read_signals(tmp_path / "folder.csv", f)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 3), int), r"shape \(3, 3\); expected \(rows, 2\): 2 to 4 rows"),
        (np.zeros((2, 4), int), "these are channels of rows: transpose them"),
        (np.zeros((2, 3, 2), int), "shape"),
        (np.zeros((3, 2), complex), "a signal of complex128"),
        (np.array([["a", "b"]]), "a signal of <U1"),
        (np.array([[1, np.nan], [3, 4]]), "infinite or NaN"),
        (np.zeros((0, 2), int), "0 rows, expected 2 to 4"),
        (np.zeros((5, 2), int), "5 rows, expected 2 to 4"),
        (np.int64(3), "shape"),
        (np.full((2, 2), 1 << 63, np.uint64), "expected whole numbers from -32768"),
    ],
)
def test_an_array_that_is_no_signal(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(Error, match=words):
        signal(tmp_path / "a.npy", frames())


# Many


def listed(path, f: Frames | None = None) -> list[tuple[list[list[int]], object]]:
    return [
        (one.tolist(), w if isinstance(w, str | None) else np.asarray(w).tolist())
        for one, w in read_signals(path, f or frames())
    ]


A, B = [[1, 2], [3, 4]], [[5, 6], [7, 8], [9, 10]]


def test_an_npz(tmp_path):
    for names in ("signals labels", "X y", "x y"):
        of, by = names.split()
        np.savez(tmp_path / "a.npz", **{of: np.array([A, A]), by: np.array(["run", "sit"])})
        assert listed(tmp_path / "a.npz") == [(A, "run"), (A, "sit")]
    np.savez(tmp_path / "b.npz", X=np.array([A, A]), y=[2, 0])
    assert listed(tmp_path / "b.npz") == [(A, [2]), (A, [0])]
    np.savez(tmp_path / "c.npz", X=np.array([A, A]), y=[[0.5, 1], [2, 3]])
    assert listed(tmp_path / "c.npz") == [(A, [0.5, 1]), (A, [2, 3])]
    # A shorter one among longer ones, as others write it.
    both = np.array([[*A, [np.nan] * 2], B])
    np.savez(tmp_path / "d.npz", signals=both)
    assert listed(tmp_path / "d.npz") == [(A, None), (B, None)]
    both[1, 1, 0] = np.nan
    np.savez(tmp_path / "e.npz", signals=both)
    with pytest.raises(Error, match="signal 1: a signal has infinite or NaN values"):
        read_signals(tmp_path / "e.npz", frames())


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": [1]}, r"holds images, expected signals \(n, rows, channels\) and labels"),
        ({}, "holds nothing, expected signals"),
        ({"X": np.array([A, A]), "y": [1]}, r"X of shape \(2, 2, 2\), y of shape \(1,\)"),
        ({"X": np.array([A, A]), "y": 1}, "expected as many"),
        ({"X": np.array([A]).reshape(1, 4), "y": [1]}, r"shape \(1, 4\), expected \(signals, r"),
        ({"X": np.zeros((1, 2, 3), int)}, "channels of rows: X.transpose"),
        ({"X": np.zeros((0, 3, 2), int)}, "holds no signals"),
        ({"X": np.zeros((0, 3, 2), int), "y": np.zeros(0, int)}, "holds no signals"),
        ({"X": np.zeros((1, 9, 2), int)}, "signal 0: a signal of 9 rows, expected 2 to 4"),
        ({"X": np.array([A, A], object)}, "cannot read"),
    ],
)
def test_an_npz_that_is_none(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(Error, match=words):
        read_signals(tmp_path / "a.npz", frames())


def test_an_npy(tmp_path):
    np.save(tmp_path / "a.npy", np.array([A, A]))
    assert listed(tmp_path / "a.npy") == [(A, None)] * 2
    # A recording, in pieces of four rows.
    np.save(tmp_path / "b.npy", np.arange(22).reshape(11, 2))
    assert [one[0] for one, _ in listed(tmp_path / "b.npy")] == [[0, 1], [8, 9]]
    np.save(tmp_path / "c.npy", np.array([[1, 2, 3], [4, 5, 6]]))
    assert listed(tmp_path / "c.npy", frames(1))[1] == ([[4], [5], [6]], None)
    np.save(tmp_path / "d.npy", np.arange(9))
    assert [len(one) for one, _ in listed(tmp_path / "d.npy", frames(1))] == [4, 4]


TS = """# from somewhere
@problemName Both
@timeStamps false
@univariate false
@classLabel true run sit
@data
1,3:2,4:run
5,7,9:6,8,10:sit
"""


def test_a_ts(tmp_path):
    assert listed(write(tmp_path, "a.ts", TS)) == [(A, "run"), (B, "sit")]
    inferred = "\n".join(x for x in TS.split("\n") if "classLabel" not in x)
    assert listed(write(tmp_path, "b.ts", inferred)) == [(A, "run"), (B, "sit")]
    bare = TS.replace(":run", "").replace(":sit", "").replace("true run sit", "false")
    assert listed(write(tmp_path, "c.ts", bare)) == [(A, None), (B, None)]
    number = TS.replace("classLabel true run sit", "targetLabel true").replace(":run", ":0.5")
    assert listed(write(tmp_path, "d.ts", number))[0] == (A, "0.5")
    one = "@classLabel true 1 2\n@data\n1,2,3:1\n4,5:2\n"
    assert listed(write(tmp_path, "e.ts", one), frames(1))[1] == ([[4], [5]], "2")
    # One fraction, and all are real values.
    real = listed(write(tmp_path, "f.ts", TS.replace("10", "10.5")), frames(unit=0.5))
    assert real[0] == ([[2, 4], [6, 8]], "run")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1,3:", "1,x:", "line 7: 'x' is no number"),
        ("1,3:", "1,?:", r"line 7: '\?' is no number"),
        ("1,3:", "1,NaN:", "line 7: a value is missing"),
        ("1,3:", "1,3,5:", "line 7: channels of 3 and 2 values"),
        ("1,3:", "1,3:1,3:", "line 7: 3 channels, the model reads 2"),
        (":sit", "", "line 8: 1 channels, the model reads 2"),
        ("@timeStamps false", "@timeStamps true", "line 3: series with time stamps"),
        ("@data", "", "line 7: expected a line that begins with @"),
        ("1,3:2,4:run\n", "1:2:run\n", "line 7: a signal of 1 rows"),
    ],
)
def test_a_ts_that_is_none(tmp_path, old, new, words):
    with pytest.raises(Error, match=words):
        read_signals(write(tmp_path, "a.ts", TS.replace(old, new)), frames())


def test_a_csv_of_many(tmp_path):
    text = "series,x,y,label\n1,1,2,run\n2,5,6,sit\n1,3,4,run\n2,7,8,sit\n2,9,10,sit\n"
    assert listed(write(tmp_path, "a.csv", text)) == [(A, "run"), (B, "sit")]
    text = "id;t;x;y;target1;target2\n1;0;1;2;0,5;7\n1;1;3;4;0,5;7\n"
    assert listed(write(tmp_path, "b.csv", text)) == [(A, [0.5, 7])]
    with pytest.raises(Error, match="line 3: series 1 has 0,5 8 here and 0,5 7 above"):
        read_signals(write(tmp_path, "c.csv", text[:-2] + "8"), frames())
    # A recording: cut where its label changes, and where the model has read enough.
    rows = [f"{i},{-i},{'sit' if i < 6 else 'run'}" for i in range(13)]
    found = listed(write(tmp_path, "d.csv", "\n".join(["ax,ay,Label", *rows])))
    assert [(one[0][0], len(one), w) for one, w in found] == [(0, 4, "sit"), (6, 4, "run")]
    assert len(listed(write(tmp_path, "e.csv", "1,2\n3,4\n5,6\n" * 3))) == 2
    assert listed(write(tmp_path, "f.csv", "label,x,y\n2,1,2\n2,3,4\n")) == [(A, [2])]


def test_a_csv_of_a_signal_in_each_line(tmp_path):
    f = frames(1)
    expected = [([[1], [2], [3]], "up"), ([[4], [5]], "down")]
    text = "label,0,1,2\nup,1,2,3\ndown,4,5,\n"
    assert listed(write(tmp_path, "a.csv", text), f) == expected
    assert listed(write(tmp_path, "b.csv", "a,b,c,label\n1,2,3,up\n4,5,,down\n"), f) == expected
    bare = [(one, None) for one, _ in expected]
    assert listed(write(tmp_path, "c.csv", "1,2,3\n4,5\n"), f) == bare
    assert listed(write(tmp_path, "d.csv", ",0,1,2\n0,1,2,3\n1,4,5\n"), f) == bare
    # A number that no array holds is a name.
    text = "label,0,1\n" + "9" * 5000 + ",1,2\n"
    assert listed(write(tmp_path, "long.csv", text), f) == [([[1], [2]], "9" * 5000)]
    # A column is a recording.
    assert listed(write(tmp_path, "e.csv", "t,x\n0,1\n1,2\n2,3\n"), f) == bare[:1]


@pytest.mark.parametrize(
    ("text", "channels", "words"),
    [
        ("", 2, "holds no signals"),
        ("series,x\n1,2\n", 2, "1 columns, the model reads 2"),
        ("series,x,y\n1,2,3\n", 2, "series 1: a signal of 1 rows"),
        ("series,x,y\n" + "1,2,3\n" * 5, 2, "series 1: a signal of 5 rows, expected 2 to 4"),
        ("target,x,y\n1,2,3\n", 2, "has targets: expected a column `series`"),
        ("series,target,label,x,y\n1,2,3,4,5\n", 2, "columns of labels and of targets"),
        ("label,a,b\nup,1,2\ndown\n", 1, "line 3: a signal of 0 rows"),
        ("label,a,b\nup,1,2,3\n", 1, "line 2: 4 columns, the header has 3"),
        ("label,a,b\nup,1,two\n", 1, "line 2: 'two' is no number"),
    ],
)
def test_a_csv_of_many_that_is_none(tmp_path, text, channels, words):
    with pytest.raises(Error, match=words):
        read_signals(write(tmp_path, "a.csv", text), frames(channels))


def test_a_folder_for_each_label(tmp_path):
    for label, rows in (("sit", B), ("run", A)):
        (tmp_path / label).mkdir()
        np.save(tmp_path / label / "1.npy", np.array(rows))
        write(tmp_path / label, "notes.md", "no signal")
    write(tmp_path / "run", "2.csv", "x,y\n1,2\n3,4\n")
    write(tmp_path, "all.csv", "elsewhere")
    assert listed(tmp_path) == [(A, "run"), (A, "run"), (B, "sit")]
    write(tmp_path / "run", "3.csv", "1,2\n")
    with pytest.raises(Error, match="3.csv: a signal of 1 rows"):
        read_signals(tmp_path, frames())


# Examples


def examples(folder, of: Graph, **arrays):
    np.savez(folder / "a.npz", X=np.array([A, A]), **arrays)
    return read_examples(folder / "a.npz", None, of.context, of)


def test_labels_by_name_and_number(tmp_path):
    g = graph()
    first, second = examples(tmp_path, g, y=[2, 0])
    assert (first.wanted, second.wanted) == (["l2"], ["l0"]) and first.signal.tolist() == A
    np.testing.assert_array_equal(first.tokens, [[0.5, -0.08, 1.5, -0.06]])
    assert examples(tmp_path, g, y=["l1", "else"])[1].wanted == ["else"]  # which scoring refuses
    assert examples(tmp_path, g)[0].wanted == []
    assert [e.wanted for e in examples(tmp_path, g, y=[1.0, 2.0])] == [["l1"], ["l2"]]
    # Where labels are numbers, these are meant.
    g.labels = ["1", "2", "3"]
    assert [e.wanted for e in examples(tmp_path, g, y=[1, 3])] == [["1"], ["3"]]
    assert [e.wanted for e in examples(tmp_path, g, y=[0, 1])] == [["1"], ["2"]]
    for y, words in (
        ([1, 4], "label 4, the model has 3"),
        ([0.5, 1], "label 0.5, expected a name, or one whole number"),
        ([np.nan, 1], "label nan"),
        ([np.inf, 1], "label inf"),
        ([[], []], "label , expected a name"),
        (np.zeros((2, 0), str), "label , expected a name"),
        ([[1, 0, 0], [0, 1, 0]], "label 1 0 0"),
    ):
        with pytest.raises(Error, match=words):
            examples(tmp_path, g, y=y)
    g.several = True
    assert examples(tmp_path, g, y=[[1, 0, 1], [0, 0, 0]])[0].wanted == ["1,3"]


def test_targets(tmp_path):
    g = graph("predict")
    first, second = examples(tmp_path, g, y=[[1, 2, 3], [0.5, 1, -1]])
    assert second.target.tolist() == [0.5, 1, -1] and first.wanted == []
    assert examples(tmp_path, g)[0].target is None
    for y in ([1, 2], [[1, 2], [3, 4]], [[1, 2, np.nan]] * 2):
        with pytest.raises(Error, match="numbers are to be predicted .*, the model predicts 3"):
            examples(tmp_path, g, y=y)
    with pytest.raises(Error, match="'up' is to be predicted, expected numbers"):
        examples(tmp_path, g, y=["up", "down"])
    text = TS.replace(":run", ":0.5").replace(":sit", ":2")
    one = read_examples(write(tmp_path, "a.ts", text), None, 1, graph("predict", 1))
    assert [e.target.tolist() for e in one] == [[0.5], [2]]


def test_random_signals_are_as_large_as_those_it_learned_from():
    found = np.concatenate([e.signal for e in random_examples(graph(), 500, 2)])
    assert found.shape == (2000, 2) and found.dtype == np.int64
    assert np.allclose(found.mean(0), MEAN, atol=5) and np.allclose(found.std(0), STD, rtol=0.1)
    nameless = Frames(4, 2, (2, 2), (2, 2))
    with pytest.raises(Error, match="--data"):
        random_examples(graph(of=nameless), 1, 2)
