"""The shipped model of motions is consistent; with torch, what trained it still works."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from picoformer import Simulator, convert
from picoformer.data.signals import read_signals
from shipped import check_rows, linear, load, torch_shapes

np = pytest.importorskip("numpy")
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models/motions"
DATA = os.environ.get("PICOFORMER_MOTIONS")

# What `motions.py evaluate` printed for the shipped folder, and what it holds.
STORED = {"right": 40, "int8": 40, "total": 40, "parameters": 11_356}
KINDS = "as they are", "with gravity, turned"
CHANNELS = 6


@pytest.fixture(scope="module")
def description():
    return json.loads((FOLDER / "motions.json").read_text())


@pytest.fixture(scope="module")
def tensors():
    load_file = pytest.importorskip("safetensors.numpy").load_file
    return load_file(FOLDER / "motions.safetensors")


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    path = tmp_path_factory.mktemp("motions") / "motions.pft"
    convert(FOLDER, path)
    return Simulator(path)


def shapes(d=24, hidden=48, layers=2, rows=10, classes=4):
    """PyTorch's names and shapes of the layers."""
    found = {"windows.weight": (d, CHANNELS, rows), "windows.bias": (d,)}
    return found | torch_shapes(d, hidden, layers) | linear("head", classes, d)


def test_tensors_are_those_of_the_layers(tensors):
    assert {key: t.shape for key, t in tensors.items()} == shapes()
    assert sum(t.size for t in tensors.values()) == STORED["parameters"]


def test_weights_are_finite_float16_and_small(tensors):
    assert (FOLDER / "motions.safetensors").stat().st_size < 50_000
    for key, tensor in tensors.items():
        assert tensor.dtype == np.float16 and np.isfinite(tensor).all(), key
    check_rows(tensors)


def test_what_stands_still_counts_nothing(tensors, sim):
    """Gravity and a gyroscope's offset: filters sum to zero, and as integers nearly so."""
    weight = tensors["windows.weight"].astype(np.float32)
    assert np.abs(weight.sum(2)).max() < 0.005 * np.abs(weight).max()
    for still in ([0] * 6, [0, 4096, 0, 50, -300, 200], [-2000, 2500, -2600, 0, 0, 0]):
        label, share = sim.probabilities(sim.classify(np.array([still] * 100)))[0]
        assert label == "Standing" and share > 0.9


def test_the_description(description, sim):
    frames = description["input"]
    assert (frames["length"], frames["channels"]) == (100, CHANNELS)
    assert description["labels"] == sim.labels == ["Standing", "Running", "Walking", "Badminton"]
    # 16 bits hold 8 g and 2,000 degrees a second.
    reach = 32768 * np.array(frames["unit"])
    np.testing.assert_allclose(reach, [8 * 9.80665] * 3 + [np.pi / 180 * 2000] * 3, rtol=2e-3)
    assert sim.frames.names == tuple(frames["names"])
    assert sim.context == 10


def test_what_a_window_costs(description, sim):
    """Products of weights and elements, which decide what a board needs."""
    found = [t for t in shapes().items() if len(t[1]) > 1 and t[0] != "head.weight"]
    assert sim.context * sum(int(np.prod(shape)) for _, shape in found) < 250_000


def test_the_example_walks(sim):
    rows = np.loadtxt(FOLDER / "walking.csv", int, delimiter=",", skiprows=1)
    assert rows.shape == (100, CHANNELS)
    label, share = sim.probabilities(sim.classify(rows))[0]
    assert label == "Walking" and share > 0.9
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{label}     {100 * share:.1f}%  #" in card


def test_card_states_the_stored_figures():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{STORED['parameters']:,}" in card
    for key in ("right", "int8"):
        assert STORED[key] / STORED["total"] >= 39 / 40
        assert f"{STORED[key]} of {STORED['total']}" in card


# --- the code that trained it ----------------------------------------------------------------


@pytest.fixture(scope="module")
def training():
    pytest.importorskip("torch")
    return load("motions")


# Classes, turns a second, m/s^2 or rad/s.
MADE_UP = ("Standing", 0.3, 0.1), ("Running", 2.6, 12), ("Walking", 1.1, 3), ("Badminton", 0.7, 8)


def write_data(folder, count=4, shapes=(6, 100)):
    """Recordings as aeon has them: of each class a sine of its own pace and strength."""
    draw = np.random.default_rng(4)
    folder.mkdir(exist_ok=True)
    t = np.arange(shapes[1]) / 10
    for part in ("TRAIN", "TEST"):
        lines = ["#made up", "@problemName BasicMotions", "@data"]
        for label, pace, strength in MADE_UP:
            for _ in range(count):
                phase = draw.uniform(0, 6, (shapes[0], 1))
                rows = strength * np.sin(2 * np.pi * pace * t + phase)
                rows += draw.normal(0, 0.05, rows.shape)
                channels = (",".join(f"{v:.6f}" for v in row) for row in rows)
                lines.append(":".join([*channels, label]))
        (folder / f"BasicMotions_{part}.ts").write_text("\n".join(lines) + "\n")


def test_data_is_read_and_what_is_wrong_is_named(training, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="pip install aeon"):
        training.read_part(None, "train")
    with pytest.raises(SystemExit, match=r"lacks BasicMotions_TRAIN.ts.*--data"):
        training.read_part(tmp_path, "train")
    write_data(tmp_path)
    signals, labels = training.read_part(tmp_path, "test")
    assert signals.shape == (16, 100, 6) and labels.tolist() == sorted([0, 1, 2, 3] * 4)
    first = (tmp_path / "BasicMotions_TEST.ts").read_text().split("@data\n")[1]
    assert signals[0, :2, 0].tolist() == pytest.approx([float(v) for v in first.split(",")[:2]])
    write_data(tmp_path, shapes=(5, 100))
    with pytest.raises(SystemExit, match=r"\(5, 100\).*expected BasicMotions"):
        training.read_part(tmp_path, "train")


def test_other_sensors_of_the_same_motion(training):
    """Gravity has its size and stays where it is while the sensor turns; a turn keeps lengths."""
    import torch

    torch.manual_seed(1)
    still = torch.zeros(50, 100, 6)
    felt = training.with_gravity(still)
    assert torch.allclose(felt[:, :1].expand_as(felt), felt)
    assert felt[:, 0, :3].norm(dim=1).numpy() == pytest.approx(9.80665, rel=1e-4)
    assert felt[:, 0, :3].mean(0).abs().max() < 4, "from anywhere"
    # A quarter of a turn each second: after four it is where it was, after two on the other side.
    still[:, :, 5] = np.pi / 2
    felt = training.with_gravity(still)[:, :, :3]
    torch.testing.assert_close(felt[:, 40], felt[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(felt[:, 20, :2], -felt[:, 0, :2], atol=1e-3, rtol=0)
    torch.testing.assert_close(felt[:, :, 2], felt[:, :1, 2].expand(50, 100), atol=1e-3, rtol=0)
    # The sensor turns from x to y, so that what is fixed goes the other way round.
    now, soon = felt[:, 0, :2], felt[:, 1, :2]
    assert (now[:, 0] * soon[:, 1] - now[:, 1] * soon[:, 0] < 0).all()
    signals = torch.randn(50, 100, 6)
    turned = training.turned(signals, torch.full((50,), 2.0))
    for part in (slice(3), slice(3, 6)):
        before, after = signals[:, :, part], turned[:, :, part]
        torch.testing.assert_close(after.norm(dim=2), before.norm(dim=2), atol=1e-4, rtol=0)
    dots = [(s[:, :, :3] * s[:, :, 3:]).sum(2) for s in (signals, turned)]
    torch.testing.assert_close(*dots, atol=1e-4, rtol=0)


def test_augmented_recordings(training):
    import torch

    torch.manual_seed(2)
    t = torch.arange(100) / 10
    signals = (torch.sin(2 * np.pi * t)[None, :, None] * 5).expand(300, 100, 6)
    found = training.augment(signals)
    assert found.shape == (300, 100, 6) and torch.isfinite(found).all()
    rates = found[:, :, 3:].norm(dim=2).amax(1) / (5 * 3**0.5)
    assert 0.6 < rates.min() < 0.8 and 1.3 < rates.max() < 1.7
    heavy = (found[:, :, :3].mean(1).norm(dim=1) > 4).float().mean()
    assert 0.2 < heavy < 0.7, "half of them feel gravity"
    steps = training.counted(torch.tensor([[1e6, -1e6, 0, 0.00106, 0, 0]]))
    assert steps.tolist() == [[32767, -32767, 0, 1, 0, 0]]


def test_the_model_does_not_feel_what_stands_still(training):
    import torch

    torch.manual_seed(3)
    model = training.Motions().eval()
    steps = torch.randint(-3000, 3000, (4, 100, 6)).float()
    with torch.no_grad():
        torch.testing.assert_close(model(steps), model(steps + 2000), atol=1e-4, rtol=0)
        plain = training.Motions().eval()
        plain.load_state_dict(model.exported())
        torch.testing.assert_close(model(steps), plain(steps), atol=1e-5, rtol=0)


def test_all_stages_on_a_small_set(training, tmp_path, monkeypatch, capsys):
    write_data(tmp_path / "data")
    monkeypatch.setattr(training, "FOLDS", 2)
    monkeypatch.chdir(tmp_path)

    def call(stage, *more):
        args = ["motions.py", stage, "--data", tmp_path / "data", "--work", tmp_path]
        args += ["--out", tmp_path / "model", "--steps", "60", *more]
        monkeypatch.setattr(sys, "argv", [str(arg) for arg in args])
        training.main()
        return capsys.readouterr().out

    for stage, lacks in (("export", "train"), ("evaluate", "export")):
        with pytest.raises(SystemExit, match=f"run `{lacks}` first"):
            call(stage)
    said = call("all")
    assert "left out, as they are" in said and f"{STORED['parameters']} parameters" in said
    assert "complete" in call("train")
    found = training.evaluate_folder(tmp_path / "model", tmp_path / "data")
    assert tuple(found) == KINDS and found[KINDS[0]]["right"] > 8, "a fourth is chance"
    call("example")
    example = (tmp_path / "model/walking.csv").read_bytes()
    assert example == (FOLDER / "walking.csv").read_bytes()
    # What it exports is converted, and the integers answer alike.
    call("heldout")
    convert(tmp_path / "model", tmp_path / "motions.pft")
    integers = Simulator(tmp_path / "motions.pft")
    model = training.load_folder(tmp_path / "model")
    with np.load(tmp_path / "test.npz") as held:
        import torch

        with torch.no_grad():
            logits = model(torch.from_numpy(held["signals"].astype(np.float32))).numpy()
        for signal, row in zip(held["signals"], logits, strict=True):
            exact = dict(zip(integers.labels, row, strict=True))
            for label, logit in integers.classify(signal):
                assert logit * integers.logit_scale == pytest.approx(exact[label], abs=0.05)


# --- the recordings --------------------------------------------------------------------------


def recordings() -> Path:
    """The folder of BasicMotions, where the package aeon is; otherwise skips."""
    if DATA:
        return Path(DATA)
    spec = importlib.util.find_spec("aeon")
    if spec is None or spec.origin is None:
        pytest.skip("needs BasicMotions: pip install aeon, or PICOFORMER_MOTIONS")
    return Path(spec.origin).parent / "datasets/data/BasicMotions"


def test_shipped_integers_on_the_test_recordings(sim):
    found = read_signals(recordings() / "BasicMotions_TEST.ts", sim.frames)
    assert len(found) == STORED["total"]
    right = sum(sim.classify(signal)[0][0] == wanted for signal, wanted in found)
    print(f"{right} of {len(found)}")
    assert right >= max(39, STORED["right"] - 1)
    largest = max(np.abs(signal).max() for signal, _ in found)
    assert largest < 32767, "none of 16 bits is at its end"


def test_shipped_folder_scores_what_the_card_says(training):
    found = training.evaluate_folder(FOLDER, recordings())
    for kind in KINDS:
        assert found[kind]["total"] == STORED["total"]
        # another version of torch may decide a close call differently
        assert abs(found[kind]["right"] - STORED["right"]) <= 1
        assert abs(found[kind]["right_int8_weights"] - STORED["int8"]) <= 1
