"""The shipped picture classifier is consistent; with torch, what trained it still works."""

import gzip
import json
import os
import sys
from pathlib import Path

import pytest

from picoformer.errors import Error
from shipped import (
    check_card,
    check_rows,
    check_weights,
    linear,
    load,
    norm,
    read_tensors,
)

np = pytest.importorskip("numpy")
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models/fashion"
DATA = Path(os.environ.get("PICOFORMER_FASHION", "/usr/share/datasets/fashion-mnist"))

# What `vision.py evaluate` printed for the shipped folder, and what it holds.
STORED = {"right": 8881, "int8": 8875, "total": 10_000, "parameters": 105_546}


@pytest.fixture(scope="module")
def config():
    return json.loads((FOLDER / "config.json").read_text())


@pytest.fixture(scope="module")
def tensors():
    return read_tensors(FOLDER)


def vit_shapes(c):
    """Hugging Face's names and shapes of ViTForImageClassification."""
    d, hidden, patch = c["hidden_size"], c["intermediate_size"], c["patch_size"]
    at = "vit.embeddings."
    shapes = {
        at + "cls_token": (1, 1, d),
        at + "position_embeddings": (1, (c["image_size"] // patch) ** 2 + 1, d),
        at + "patch_embeddings.projection.weight": (d, c["num_channels"], patch, patch),
        at + "patch_embeddings.projection.bias": (d,),
        **norm("vit.layernorm", d),
        **linear("classifier", len(c["id2label"]), d),
    }
    for i in range(c["num_hidden_layers"]):
        at = f"vit.encoder.layer.{i}."
        for part in ("attention.query", "attention.key", "attention.value", "output.dense"):
            shapes |= linear(f"{at}attention.{part}", d, d)
        shapes |= norm(at + "layernorm_before", d) | norm(at + "layernorm_after", d)
        shapes |= linear(at + "intermediate.dense", hidden, d)
        shapes |= linear(at + "output.dense", d, hidden)
    return shapes


def test_tensors_match_the_configuration(config, tensors):
    assert {key: t.shape for key, t in tensors.items()} == vit_shapes(config)
    assert sum(t.size for t in tensors.values()) == STORED["parameters"] <= 250_000


def test_weights_are_finite_float16_and_small(tensors):
    check_weights(FOLDER, tensors, 600_000)


def test_rows_have_no_extreme_outliers(tensors):
    check_rows(tensors)


def test_labels_and_sizes(config):
    assert config["architectures"] == ["ViTForImageClassification"]
    assert [config["id2label"][str(i)] for i in range(10)] == list(config["label2id"])
    assert list(config["label2id"].values()) == list(range(10))
    assert config["image_size"] == 28 and 28 % config["patch_size"] == 0
    width, heads = config["hidden_size"], config["num_attention_heads"]
    assert width % heads == 0 and width // heads % 4 == 0
    tokens = (28 // config["patch_size"]) ** 2 + 1
    # float32 activations of a picture, as a board without float would hold in int32
    assert 4 * (6 * width + config["intermediate_size"]) * tokens <= 105_000


def test_preprocessor_says_how_to_normalize(config):
    found = json.loads((FOLDER / "preprocessor_config.json").read_text())
    assert found["do_rescale"] and found["rescale_factor"] == 1 / 255
    assert found["do_normalize"] and len(found["image_mean"]) == len(found["image_std"]) == 1
    assert 0.2 < found["image_mean"][0] < 0.4 and 0.3 < found["image_std"][0] < 0.4
    assert found["size"] == {"height": config["image_size"], "width": config["image_size"]}


def test_card_states_the_stored_figures():
    keys = "right", "int8"
    check_card(FOLDER, STORED, keys)
    assert all(STORED[key] / STORED["total"] >= 0.88 for key in keys)


# --- the code that trained it ----------------------------------------------------------------


@pytest.fixture(scope="module")
def training():
    pytest.importorskip("torch")
    return load("vision")


def write_idx(path, array):
    shape = np.array(array.shape, ">u4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(bytes((0, 0, 8, array.ndim)) + shape + array.tobytes()))


def write_data(folder, count):
    draw = np.random.default_rng(5)
    for prefix in ("train", "t10k"):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = draw.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 4 : 2 * label + 6] = 250
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)


def test_data_is_read_and_what_is_wrong_is_named(training, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="t10k-images-idx3-ubyte.gz.*dataset-fashion-mnist"):
        training.read_part(tmp_path, "test")
    monkeypatch.setattr(training, "VALIDATION", 10)
    write_data(tmp_path / "usr/share", 40)
    images, labels = training.read_part(tmp_path, "train")
    assert images.shape == (30, 28, 28) and labels.tolist() == list(range(10)) * 3
    assert training.read_part(tmp_path, "validation")[0].shape == (10, 28, 28)
    assert training.read_part(tmp_path, "test")[0].shape == (40, 28, 28)
    path = tmp_path / "usr/share/train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-3]))
    with pytest.raises(SystemExit, match="cut short"):
        training.read_part(tmp_path, "train")
    path.write_bytes(b"<html>")
    with pytest.raises(SystemExit, match="train-labels"):
        training.read_part(tmp_path, "train")
    path.write_bytes(gzip.compress(b"hello"))
    with pytest.raises(SystemExit, match="not an IDX"):
        training.read_part(tmp_path, "train")
    write_idx(path, np.zeros(7, np.uint8))
    with pytest.raises(SystemExit, match="7 labels"):
        training.read_part(tmp_path, "train")


def test_augmented_pictures_are_moved_or_mirrored_copies(training):
    import torch

    torch.manual_seed(3)
    images = np.zeros((200, 28, 28), np.uint8)
    images[:, 10:14, 5:7] = 255
    found = training.augment(training.normalize(images), 1)
    assert found.shape == (200, 1, 28, 28)
    bright = (found > 1).float()
    assert (bright.sum((1, 2, 3)) == 8).all(), "a margin wider than the shift loses nothing"
    left = bright[:, :, :, :14].sum((1, 2, 3)) == 8
    assert 60 < left.sum() < 140
    assert {int(row.argmax()) for row in bright.amax((1, 3))} == {9, 10, 11}
    full = training.normalize(np.full((200, 28, 28), 255, np.uint8))
    holes = (training.erase(full, 0.5) < 0).sum((1, 2, 3))
    assert 60 < (holes > 0).sum() < 140 and holes[holes > 0].min() >= 16 and holes.max() <= 144
    assert not (training.erase(full, 0.0) < 0).any()


def test_an_epoch_draws_every_picture_once(training):
    steps = [training.drawn(100, 10, step, seed=1) for step in range(1, 21)]
    assert (
        sorted(np.concatenate(steps[:10])) == sorted(np.concatenate(steps[10:])) == [*range(100)]
    )
    assert not np.array_equal(steps[0], steps[10])


def test_all_stages_on_a_small_set(training, tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    monkeypatch.setattr(training, "VALIDATION", 40)
    monkeypatch.setitem(training.CONFIG, "num_hidden_layers", 1)
    write_data(tmp_path / "data", 424)

    def call(stage, *more):
        args = ["vision.py", stage, "--data", tmp_path / "data", "--work", tmp_path]
        args += ["--out", tmp_path / "model", "--epochs", "15", "--teacher-epochs", "2", *more]
        monkeypatch.setattr(sys, "argv", [str(arg) for arg in args])
        training.main()
        return capsys.readouterr().out

    for stage, lacks in (("teacher", "prepare"), ("export", "train"), ("evaluate", "export")):
        with pytest.raises(SystemExit, match=f"run `{lacks}` first"):
            call(stage)
    assert "424" in call("all")
    assert "complete" in call("train")
    with pytest.raises(SystemExit, match="nothing.pt is not complete"):
        call("train", "--run", "longer", "--start", "nothing")
    assert "longer: validation" in call("train", "--run", "longer", "--start", "small")
    with pytest.raises(Error, match="remove it"):
        call("train", "--epochs", "16")
    found = training.evaluate_folder(tmp_path / "model", tmp_path / "data", "validation")
    assert found["total"] == 40 and sum(map(sum, found["confusion"])) == 40
    assert found["right"] > 10, "a tenth is chance"


@pytest.mark.slow
def test_shipped_folder_scores_what_the_card_says(training):
    """With transformers, on the 10,000 test pictures: PICOFORMER_FASHION names their folder."""
    pytest.importorskip("transformers")
    if not list(DATA.rglob("t10k-images-idx3-ubyte.gz")):
        pytest.skip("needs dataset-fashion-mnist: PICOFORMER_FASHION")
    found = training.evaluate_folder(FOLDER, DATA)
    assert found["total"] == STORED["total"]
    # another version of torch may decide a close call differently
    assert abs(found["right"] - STORED["right"]) <= 3
    assert abs(found["right_int8_weights"] - STORED["int8"]) <= 3
