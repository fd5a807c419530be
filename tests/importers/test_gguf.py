"""GGUF files: the model of the folder that they were made of, and its tokenizer."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

import architectures
import ggufs
import models
import relatives
from ggufs import P, tokens_of
from picoformer import Error, Simulator, convert, importers
from picoformer.graph.float_model import FloatModel
from picoformer.importers import huggingface
from picoformer.importers.gguf_file import _KINDS, GgufFile
from picoformer.tokenizers.section import build
from picoformer.tokenizers.tokenizer import Tokenizer

KEPT = relatives.kept()
TEXTS = ["Once upon a time, there was a girl.", "  two  spaces", "Größe 日本 🙂 12,345", "", " a"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A small Llama with its tokenizer."""
    folder = tmp_path / "hf"
    architectures.write(folder, architectures.CASES["llama-llama3"])
    config = folder / "config.json"
    c = json.loads(config.read_text())
    config.write_text(json.dumps({**c, "rope_scaling": None}))
    (folder / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(c["vocab_size"])))
    return folder


def run(graph, tokens=(3, 1, 4, 1, 5, 9, 2, 6)) -> np.ndarray:
    return FloatModel(graph).forward(np.array([tokens]))[0]


def test_a_file_is_its_folder(folder, tmp_path):
    path = ggufs.write(tmp_path / "m.gguf", folder, **tokens_of(folder))
    graph, vocabulary = importers.read(path)
    expected, theirs = importers.read(folder)
    np.testing.assert_array_equal(run(graph), run(expected))
    assert graph.context == expected.context and graph.meta["name"] == "m"
    assert "m.gguf" in graph.meta["source"]
    assert list(vocabulary.pieces) == list(theirs.pieces)
    convert(path, tmp_path / "m.pft")
    assert Simulator(tmp_path / "m.pft").model.meta["source"] == "GGUF file m.gguf"


def test_our_stories(tmp_path):
    """A real tokenizer: the same tokens as of the folder, in halves and in blocks of 8 bits."""
    says = tokens_of(models.STORIES)
    path = ggufs.write(tmp_path / "m.gguf", models.STORIES, ggufs.halves, **says)
    graph, vocabulary = importers.read(path)
    expected, theirs = importers.read(models.STORIES)
    ours, right = Tokenizer(build(vocabulary)), Tokenizer(build(theirs))
    for text in TEXTS:
        assert ours.encode(text) == right.encode(text), text
    assert (vocabulary.bos, vocabulary.eos) == (theirs.bos, theirs.eos)
    assert np.abs(run(graph) - run(expected)).max() < 0.05
    ggufs.write(path, models.STORIES, ggufs.q8_0, **says)
    assert np.abs(run(importers.read(path)[0]) - run(expected)).max() < 0.5


@pytest.mark.parametrize("name", ["qwen2", "qwen2-tied", "qwen3"])
def test_qwen(tmp_path, name):
    """With biases, byte-level BPE, and the frequencies' factors of Llama 3."""
    folder = relatives.write(tmp_path / "hf", name, KEPT[name]["shapes"])
    letters = [chr(c) for c in range(33, 33 + 94)]
    says = {P + "model": "gpt2", P + "tokens": [*letters, "Ġ", "th", "Ġth"],
            P + "merges": ["t h", "Ġ th"], P + "pre": "gpt-2"}  # fmt: skip
    stored = {n: ggufs.floats(t) for n, t in ggufs.tensors(folder).items()}
    if name == "qwen2-tied":
        config = json.loads((folder / "config.json").read_text())
        plain = 10000.0 ** -(np.arange(0, 12, 2) / 12)
        scaled = next(
            n.frequencies for n in huggingface.graph(folder).nodes if hasattr(n, "frequencies")
        )
        assert config["rope_scaling"]["rope_type"] == "llama3"
        stored["rope_freqs.weight"] = ggufs.floats((plain / scaled).astype("f4"))
    path = ggufs.save(tmp_path / "m.gguf", ggufs.fields(folder, **says), stored)
    graph, vocabulary = importers.read(path)
    expected = np.array(KEPT[name]["result"])
    result = architectures.selected(run(graph, KEPT[name]["tokens"]))
    assert np.abs(result - expected).max() < 1e-4
    assert Tokenizer(build(vocabulary)).encode("this th") == [95, 72, 82, 96]


def test_another_tokenizer(folder, tmp_path):
    """One that is named stands for that in the file."""
    path = ggufs.write(tmp_path / "m.gguf", folder, **{P + "model": "rwkv"})
    with pytest.raises(Error, match="tokenizer.ggml.tokens is missing"):
        importers.read(path)
    _, vocabulary = importers.read(path, folder / "tokenizer.json")
    assert len(vocabulary.pieces) == 97


@pytest.mark.parametrize(
    "says, words",
    [
        ({"general.architecture": "mamba"}, "architecture is 'mamba'; supported: llama, qwen2"),
        ({"llama.embedding_length": "x"}, "llama.embedding_length is 'x', expected int"),
        ({"llama.rope.dimension_count": 4}, "dimension_count is 4"),
        ({"llama.rope.scaling.type": "yarn"}, "m.gguf/config.json: rope_type is 'yarn'"),
        ({"llama.feed_forward_length": 96}, "has shape"),
        ({P + "model": "bert"}, "model is 'bert'; supported: llama, gpt2"),
        ({P + "scores": [1.0]}, "97 tokens and 1 scores"),
        ({P + "token_type": [1]}, "97 tokens and 1 types"),
        ({P + "model": "gpt2", P + "merges": [], P + "pre": "tekken"}, "pre is 'tekken'"),
        ({"general.alignment": 0}, "general.alignment is 0"),
    ],
)
def test_what_is_not_supported_is_named(folder, tmp_path, says, words):
    path = ggufs.write(tmp_path / "m.gguf", folder, **{**tokens_of(folder), **says})
    with pytest.raises(Error, match=words) as caught:
        importers.read(path)
    assert "\n" not in str(caught.value) and "/tmp/tmp" not in str(caught.value)


def test_other_types_and_tensors(folder, tmp_path):
    says = {**ggufs.fields(folder), **tokens_of(folder)}
    stored = {n: ggufs.floats(t) for n, t in ggufs.tensors(folder).items()}
    kind, shape, data = stored["output.weight"]
    path = tmp_path / "m.gguf"
    ggufs.save(path, says, {**stored, "output.weight": (12, shape, data)})
    with pytest.raises(Error, match="output.weight is of ggml's type 12; .*--outtype f16"):
        importers.read(path)
    ggufs.save(path, says, {**stored, "blk.0.ssm.weight": (kind, shape, data)})
    with pytest.raises(Error, match="blk.0.ssm.weight is not one of a llama"):
        importers.read(path)
    ggufs.save(path, says, {**stored, "output.weight": (kind, shape, data[:100])})
    with pytest.raises(Error, match="truncated or damaged|no tensor|has shape"):
        importers.read(path)
    del stored["token_embd.weight"]
    ggufs.save(path, says, stored)
    with pytest.raises(Error, match="not a whole model"):
        importers.read(path)


@pytest.mark.parametrize("seed", range(3))
def test_spoiled_files_are_one_error(folder, tmp_path, seed):
    """Bytes changed, or the end missing: an error of one line, or a model; and no long wait."""
    path = tmp_path / "m.gguf"
    data = ggufs.write(path, folder, **tokens_of(folder)).read_bytes()
    rng, failed = random.Random(seed), 0
    for _ in range(60):
        spoiled = bytearray(data)
        for _ in range(rng.choice((1, 1, 4))):
            spoiled[rng.randrange(4, 6000)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        path.write_bytes(spoiled if rng.random() < 0.7 else spoiled[: rng.randrange(len(data))])
        try:
            importers.read(path)
        except Error as e:
            assert "\n" not in str(e)
            failed += 1
    assert failed > 10


@pytest.mark.parametrize("kind", _KINDS)
def test_numbers_are_ggml_s(tmp_path, kind):
    """Each type, against the package of llama.cpp."""
    gguf = pytest.importorskip("gguf")
    kinds = gguf.GGMLQuantizationType(kind)
    x = np.random.default_rng(kind).normal(0, 1, (3, 64)).astype(np.float32)
    data = gguf.quants.quantize(x, kinds)
    expected = gguf.quants.dequantize(data, kinds)
    path = ggufs.save(tmp_path / "m.gguf", {}, {"a": (kind, (3, 64), data.tobytes())})
    np.testing.assert_array_equal(GgufFile(path).array("a"), expected)
    assert 0 < np.abs(expected - x).max() < 0.5 or kind == 0


def test_files_of_the_library(folder, tmp_path):
    """What llama.cpp's own writer writes."""
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    says = ggufs.fields(folder)
    for name, value in says.items():
        if isinstance(value, int) and name != "general.architecture":
            writer.add_uint32(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
    for name, value in tokens_of(folder).items():
        if isinstance(value, list):
            writer.add_array(name, value)
        else:
            add = writer.add_string if isinstance(value, str) else writer.add_uint32
            add(name, value)
    for name, t in ggufs.tensors(folder).items():
        writer.add_tensor(name, t)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    np.testing.assert_array_equal(run(importers.read(path)[0]), run(importers.read(folder)[0]))
