"""Names of tensors as tools of training leave them, and dictionaries in dictionaries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import architectures
import plain
from architectures import CASES
from picoformer import Error, importers
from picoformer.importers.stored import Stored, _state_dict
from picoformer.importers.wrapping import around, nearest, unwrapped
from test_architectures import change, read, refused, run, same

NAMES = "llama-llama3", "gpt2-bare", "bert-classes", "distilbert-classes"


def renamed(folder: Path, new) -> Path:
    """A folder whose tensors have other names: new(name)."""
    change(folder, lambda t: t.update({new(name): t.pop(name) for name in list(t)}))
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "new",
    [
        lambda n: "_orig_mod." + n,
        lambda n: "module." + n,
        lambda n: "base_model.model." + n,
        lambda n: "module._orig_mod.net." + n,
        lambda n: "lit.wrapper." + n,
        # torch.compile and checkpointing of a part of the model
        lambda n: n.replace("layers.0.", "layers.0._checkpoint_wrapped_module."),
        lambda n: n.replace("h.0.", "h.0._orig_mod."),
    ],
)
def test_wrapped_names_in_a_folder(tmp_path, name, new):
    expected = read(architectures.write(tmp_path / "plain", CASES[name]))
    same(expected, read(renamed(architectures.write(tmp_path / "w", CASES[name]), new)))


def test_what_lies_around_a_wrapped_model(tmp_path):
    """A count of steps belongs to the wrapper; a tensor of another kind does not."""
    case = CASES["llama-llama3"]
    expected = read(architectures.write(tmp_path / "plain", case))
    folder = renamed(architectures.write(tmp_path / "w", case), lambda n: "net." + n)
    change(folder, lambda t: t.update({"n_averaged": np.array(3)}))
    same(expected, read(folder))
    change(folder, lambda t: t.update({"loss.weight": np.ones(5, "f4")}))
    refused(folder, "1 tensors", "loss.weight")


def test_two_models_in_one_file(tmp_path):
    """Neither is nearly all of it: the names that are there are told."""
    folder = architectures.write(tmp_path, CASES["llama-llama3"])
    change(folder, lambda t: t.update({p + n: v for n, v in t.items() for p in ("ema.", "m.")}))
    change(folder, lambda t: [t.pop(n) for n in list(t) if not n.startswith(("ema.", "m."))])
    refused(folder, "no tensor embed_tokens.weight", "ema.model.embed_tokens.weight")


def test_adapters_are_to_be_merged(tmp_path):
    folder = architectures.write(tmp_path, CASES["llama-tied"])
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    change(folder, lambda t: t.update({name: np.ones((2, 52), "f4")}))
    refused(folder, name, "merge_and_unload")
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "adapter", "merge_and_unload")


def test_names_that_would_become_one_stay():
    shape = Stored("F32", (2,), lambda: np.zeros(2))
    assert unwrapped({"a.b": shape, "module.a.b": shape})[0].keys() == {"a.b", "module.a.b"}
    assert unwrapped({"module.a": shape, "module.b": shape})[1] == ""
    assert unwrapped({})[0] == {}
    assert around("b.weight", ["a.b.weight", "a.c", *"xyz"]) == ""


def test_the_nearest_names():
    names = ["h.0.ln_1.weight", "h.0.ln_2.weight", "wte.weight", "wpe.weight"]
    assert nearest("model.wte.weight", names, 1) == ["wte.weight"]
    assert nearest("h.0.ln_1.gamma", names, 1) == ["h.0.ln_1.weight"]
    assert nearest("x", []) == []


def test_single_numbers_beside_a_wrapper():
    """What counts the steps of torch's AveragedModel; a single number of a model is its own."""
    shape, one = (Stored("F32", s, lambda: np.zeros(2)) for s in ((2,), ()))
    for prefix in "module.", "net.", "_orig_mod.net.":
        stored = {prefix + "a": shape, prefix + "b": shape, prefix + "scale": one, "count": one}
        assert sorted(unwrapped(stored)[0]) == ["a", "b", "scale"]
    plain_names = {"a": shape, "module.b": shape, "scale": one}
    assert sorted(unwrapped(plain_names)[0]) == ["a", "b", "scale"]


@pytest.mark.parametrize("prefix", ["_orig_mod.", "net.", "base_model.model."])
def test_a_state_dict_that_is_wrapped(tmp_path, prefix):
    """A description may name modules with or without what wraps the model."""
    name = "classes-pre"
    path = plain.write(tmp_path, plain.CASES[name])
    tokens = [3, 1, 4, 1, 5]
    expected = run(importers.read(path)[0], tokens)
    t = load_file(path)
    save_file({prefix + n: v for n, v in t.items()}, path)
    np.testing.assert_array_equal(run(importers.read(path)[0], tokens), expected)
    beside = path.with_suffix(".json")
    given = json.loads(beside.read_text())

    def wrapped(v):
        return [n if n == "gelu" else prefix + n for n in v] if isinstance(v, list) else prefix + v

    given["modules"] = {role: wrapped(v) for role, v in given.get("modules", {}).items()}
    assert given["modules"]
    beside.write_text(json.dumps(given))
    np.testing.assert_array_equal(run(importers.read(path)[0], tokens), expected)


# Dictionaries in what torch.save wrote

T, ONE = {"a.weight": np.ones((2, 2))}, {"b.weight": np.ones((2, 2))}


def picked(stored):
    return _state_dict(Path("m.pt"), stored, lambda t: isinstance(t, np.ndarray))


@pytest.mark.parametrize(
    "stored",
    [
        T,
        {**T, "epoch": 3, "_metadata": None},
        {"model": T, "optimizer": {}, "epoch": 3},
        {"net": T, "best_loss": np.array(0.5), "args": {"layers": 3}},  # nanoGPT's
        {"state_dict": T, "optimizer": {"state": {0: ONE, 1: ONE}}},
        {"model": T, "model_ema": ONE},
        {"generator": T, "epoch": 1},
        {"checkpoint": {"model": T, "step": 3}},
    ],
)
def test_state_dicts_in_checkpoints(stored):
    assert picked(stored) == T


@pytest.mark.parametrize(
    "stored, words",
    [
        ({"generator": T, "critic": ONE}, "several generator critic state_dict"),
        ({"epoch": 3, "optimizer": {}}, "no dictionary epoch optimizer net"),
        ({}, "no dictionary none"),
        ({1: T}, "no dictionary 1"),
        ([T], "list dictionary"),
    ],
)
def test_checkpoints_without_one(stored, words):
    with pytest.raises(Error) as caught:
        picked(stored)
    for word in words.split():
        assert word in str(caught.value)


@pytest.mark.slow
def test_checkpoint_files(tmp_path):
    """What torch.save writes: wrapped names under "model"."""
    torch = pytest.importorskip("torch")
    path = plain.write(tmp_path, plain.CASES["lm"])
    expected = importers.read(path)[0]
    t = {"_orig_mod." + n: torch.tensor(v) for n, v in load_file(path).items()}
    torch.save({"model": t, "optimizer": {"state": {0: t}}, "epoch": 3}, path.with_suffix(".pt"))
    path.unlink()
    np.testing.assert_array_equal(
        run(importers.read(path.with_suffix(".pt"))[0], [1, 2, 3]), run(expected, [1, 2, 3])
    )
    torch.save({"wte.weight": t, "x": torch.ones(3)}, path.with_suffix(".pt"))
    with pytest.raises(Error, match="several"):
        importers.read(path.with_suffix(".pt"))
