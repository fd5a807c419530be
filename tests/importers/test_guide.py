"""docs/convert.md says what `convert` does: its tables, its commands, its examples."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import architectures
import models
import relatives
from picoformer import Simulator, importers
from picoformer.commands.main import main
from picoformer.data.examples import COLUMNS
from picoformer.importers import (
    description,
    gguf,
    gguf_file,
    huggingface,
    keras,
    keras_layers,
    pytorch,
    pytorch_frames,
    signals,
)
from picoformer.importers.pytorch_modules import ROLES
from picoformer.importers.sentences import _POOLING
from picoformer.simulate.scoring import SCORING

GUIDE = (models.ROOT / "docs" / "convert.md").read_text("utf-8")


def section(title: str) -> str:
    return GUIDE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def column(text: str, head: str, at: int = 0) -> list[str]:
    """The cells of a column of the table that begins with this cell."""
    rows = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    return [row.strip("|").split("|")[at].strip() for row in rows]


def quoted(text: str) -> list[str]:
    return re.findall(r"`\"?([^`\"]+)\"?`", text)


def test_each_model_type_is_in_the_table():
    listed = quoted(" ".join(column(GUIDE, "Hugging Face's `model_type`")))
    assert sorted(listed) == sorted(huggingface._FAMILIES)
    tried = {a.config["model_type"] for cases in (
        architectures.CASES, architectures.SPECIAL, relatives.CASES
    ) for a in cases.values()}  # fmt: skip
    assert tried == set(listed)


def test_each_kind_of_source_is_in_the_table():
    listed = quoted(" ".join(column(GUIDE, "source")))
    assert {s for s in listed if s[0] == "."} == {*importers.SUFFIXES} - {".ckpt"}


def test_types_of_gguf_numbers_and_splits():
    text = section("Folders and llama2.c")
    names = [kind[0] for kind in gguf_file._KINDS.values()]
    assert all(re.search(rf"\b{name}\b", text) for name in names)
    assert {"llama", "qwen2", "qwen3"} == set(gguf._ARCHITECTURES)
    assert {*gguf._SPLITS, *gguf._DIGITS} == {"gpt-2", "default", "llama-bpe", "qwen2", "smollm"}
    assert set(_POOLING.values()) == {"mean", "first", "last"}


def test_fields_of_a_description():
    table = section("PyTorch")
    fields = [name for cell in column(table, "field") for name in quoted(cell)]
    assert sorted(fields) == sorted(pytorch._FIELDS)
    cells = dict(zip(column(table, "field"), column(table, "field", 2), strict=True))
    assert [n for n in quoted(cells["`task`"]) if n in description.TASKS] == [*description.TASKS]
    assert quoted(cells["`activation`"]) == [*description.ACTIVATIONS]
    assert quoted(cells["`pooling`"]) == [*description.POOLING]
    assert quoted(cells["`modules`"]) == [*ROLES]


def test_fields_of_a_signal():
    fields = quoted(" ".join(column(section("Signals"), "`input`")))
    assert sorted(fields) == sorted(pytorch_frames._INPUT)
    text = section("Signals")
    assert f"up to {signals.LENGTH}," in text and f"up to {signals.CHANNELS} |" in text
    assert f"at most {signals.ELEMENTS}\nnumbers" in text
    text = section("Keras")
    assert all(f"`{name}`" in text for name in (*signals.INPUT, *keras._FIELDS))
    fields = quoted(" ".join(column(section("Signals"), "`input.sound`")))
    assert fields == [*signals._SOUND]


def test_layers_of_keras():
    cells = " ".join(column(section("Keras"), "layers"))
    named = [n.split("(")[0] for n in quoted(cells) if n[0].isupper()]
    assert set(named) <= {*keras_layers.LAYERS, "Input", "Sequential", "Model"}


def commands() -> list[list[str]]:
    lines = re.findall(r"^picoformer .*$", GUIDE, re.M)
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("given", commands(), ids=lambda given: " ".join(given)[:40])
def test_commands_are_understood(given, capsys):
    """The options are those of the command; what is in brackets is optional."""
    options = [a.strip("[]") for a in given if a.strip("[]").startswith("-")]
    with pytest.raises(SystemExit) as caught:
        main([given[0], "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert all(option in said for option in options)


def test_eval_scores_every_task():
    assert {*SCORING} == {*COLUMNS, "generate"} and "does not score" not in GUIDE


@pytest.mark.slow
def test_the_example_of_expected_results(tmp_path, monkeypatch, capsys):
    """Both programs and both commands: the same model, then one with another number of heads."""
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"torch": torch, "np": np}
    exec(models.example("PyTorch"), names)
    exec(models.example("Is it the same model?"), names)
    asked = next(c for c in commands() if "--expect" in c)
    assert main(["convert", "writer.pt"]) == 0 and main(asked) == 0
    said = capsys.readouterr().out
    assert "expect_cosine_float  1.000000" in said and "expect_top1_float    100.00%" in said
    beside = Path("writer.json")
    beside.write_text(beside.read_text().replace('"nhead": 4', '"nhead": 2'))
    assert main(["convert", "writer.pt"]) == 0 and main(asked) == 0
    assert "is what describes it right?" in capsys.readouterr().out


@pytest.mark.slow
def test_the_examples_of_signals(tmp_path, monkeypatch):
    """Both programs: the files that they write are their models."""
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    _, first, second = section("Signals").split("```python\n")
    names: dict[str, Any] = {}
    exec(first.partition("```")[0], names)
    rng = np.random.default_rng(0)
    unit = np.array(names["description"]["input"]["unit"])
    real = names["mean"].numpy() + names["std"].numpy() * rng.normal(0, 1, (100, 6))
    signal = np.rint(real / unit).astype(np.int16)
    x = (torch.tensor(signal * unit) - names["mean"]) / names["std"]
    with torch.no_grad():
        expected = names["model"].double().eval()(x[None]).numpy()[0]
    assert main(["convert", "gestures.pt"]) == 0
    assert np.abs(logits("gestures.pft", signal) - expected).max() < 0.1
    exec(second.partition("```")[0], names)
    x = torch.tensor(signal[None] / 1000, dtype=torch.float32)
    names["normalization"].adapt(x.numpy() * 1000)
    names["model"].save("motion.keras")
    with torch.no_grad():
        expected = np.log(names["model"](x * 1000).numpy()[0])
    assert main(["convert", "motion.keras"]) == 0
    made = logits("motion.pft", signal)
    assert np.abs(made - made.mean() - expected + expected.mean()).max() < 0.1


def logits(file: str, signal: np.ndarray) -> np.ndarray:
    sim = Simulator(file)
    found = dict(sim.classify(signal))
    return np.array([found[label] for label in sim.labels]) * sim.logit_scale
