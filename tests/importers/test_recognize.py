"""Files that are something else: told by their first bytes, with the way to what is read."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

import architectures
import models
from picoformer import Error, importers
from picoformer.commands.main import main
from picoformer.importers.recognize import KERAS, PICKLE, SAFETENSORS, TORCH, recognize

TEXT = b"# A model\n\nThis is what it does. Here is how.\n" * 3
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 1\n"
FILES = {
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(300), "is a picture, not a checkpoint"),
    "zip": (b"PK\x03\x04" + bytes(range(256)) * 4, "a zip archive: unpack it"),
    "gzip": (b"\x1f\x8b\x08" + bytes(99), "a gzip archive: unpack it"),
    "text": (b"#!/usr/bin/env python3\nprint('hello')\n" * 20, "is text, not a checkpoint"),
    "utf-8": ("Größe\n".encode() * 999, "is text, not a checkpoint"),
    "json": (b'{"model_type": "llama"}', "is JSON, not a checkpoint"),
    "html": (b"<!DOCTYPE html>\n<html></html>", "a web page: it is what a download gave"),
    "lfs": (LFS, "Git LFS, not the file that it stands for: run `git lfs pull`"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(99), "ONNX model: .*save_pretrained"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(99), "TFLite model: save the Keras model"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), r"HDF5 file: .*model.save\('NAME.keras'\)"),
    "ggml": (b"tjgg\x03\0\0\0" + bytes(99), "GGML file: its Hugging Face folder"),
    "numpy": (b"\x93NUMPY\x01\0" + bytes(99), "is a numpy array, not a checkpoint"),
    "empty": (b"", "is an empty file, not a checkpoint"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("file", ["m.bin", "m.pt", "m.safetensors", "m.keras", "m"])
def test_a_file_of_another_kind(tmp_path, file, name):
    """Whatever its name, the error says what it is, and what is read."""
    data, words = FILES[name]
    path = tmp_path / file
    path.write_bytes(data)
    with pytest.raises(Error, match=words) as caught:
        importers.read(path)
    assert importers.SOURCES in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("m.onnx", "is an ONNX model: .*save_pretrained"),
        ("m.TFLITE", "is a TFLite model: save the Keras model"),
        ("m.h5", r"is an HDF5 file: .*model.save\('NAME.keras'\)"),
        ("m.pb", r"is a TensorFlow graph: .*model.save\('NAME.keras'\)"),
    ],
)
def test_a_name_tells_what_the_content_does_not(tmp_path, name, words):
    """A damaged file of theirs is no llama2.c checkpoint."""
    path = tmp_path / name
    path.write_bytes(bytes.fromhex("e7c2855d") * 99)
    assert recognize(path) == ""
    with pytest.raises(Error, match=words):
        importers.read(path)


def test_a_tokenizer_with_few_tokens_is_doubted(tmp_path, capsys):
    folder = architectures.write(tmp_path / "m", architectures.CASES["gpt2"])
    (folder / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(40)))
    _, vocabulary = importers.read(folder)
    (note,) = vocabulary.notes
    assert re.search(r"has 97 tokens and its tokenizer 40: .* Is it this model's tok", note)
    assert main(["convert", str(folder), "-o", str(tmp_path / "m.pft")]) == 0
    said = capsys.readouterr()
    assert f"warning: {note}" in said.err and note not in said.out
    full = models.tokenizer_json(architectures.VOCAB)
    (folder / "tokenizer.json").write_text(json.dumps(full))
    assert not importers.read(folder)[1].notes


def test_a_readme(tmp_path):
    (tmp_path / "README.md").write_bytes(TEXT)
    with pytest.raises(Error, match="is a README, not a checkpoint"):
        importers.read(tmp_path / "README.md")


def test_what_is_read_is_told_by_its_content(tmp_path):
    folder = architectures.write(tmp_path / "m", architectures.CASES["gpt2"])
    assert recognize(folder / "model.safetensors") == SAFETENSORS
    keras = Path(__file__).parents[1] / "data" / "keras" / "minigpt.keras"
    assert recognize(keras) == KERAS
    (tmp_path / "part.keras").write_bytes(keras.read_bytes()[:2000])
    assert recognize(tmp_path / "part.keras") == KERAS
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"a": 1}))
    assert recognize(tmp_path / "old.pt") == PICKLE
    with zipfile.ZipFile(tmp_path / "new.pt", "w") as z:
        z.writestr("model/data.pkl", b"")
    assert recognize(tmp_path / "new.pt") == TORCH


def test_a_file_with_another_name(tmp_path):
    """A Keras model whose name does not end in .keras."""
    keras = Path(__file__).parents[1] / "data" / "keras" / "minigpt.keras"
    (tmp_path / "model.zip").write_bytes(keras.read_bytes())
    assert importers.read(tmp_path / "model.zip")[0].task == "generate"


@pytest.mark.parametrize("dim", [8, 32, 80, 123, 128, 288, 640, 896, 1152, 1408, 4096])
@pytest.mark.parametrize("layers", [5, 123])
def test_llama2c_is_nothing_else(tmp_path, dim, layers):
    """Its header is numbers, which no other kind of file begins with."""
    header = np.array([dim, 172, layers, 8, 4, 512, 512], "<i4").tobytes()
    (tmp_path / "m.bin").write_bytes(header + np.ones(2000, "<f4").tobytes())
    assert recognize(tmp_path / "m.bin") == ""


@pytest.mark.parametrize("version", [0, 1])
def test_llama2c_files(tmp_path, version):
    checkpoint = models.random_checkpoint(models.Shape(52, 97, 1, 2, 1, 97, 48))
    path = models.write_llama2c(tmp_path, checkpoint, version)
    assert recognize(path) == ""


@pytest.mark.parametrize("name", ["gpt2", "org/SmolLM-135M", "openai-community/gpt2"])
def test_names_of_a_hub(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Error, match=f"`hf download {name} --local-dir FOLDER`"):
        importers.read(name)


@pytest.mark.parametrize("name", ["stories.bin", "a/b/c", "/x", "model.pt"])
def test_names_of_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Error, match="does not exist; expected"):
        importers.read(name)


def test_a_folder_whose_weights_are_a_pointer(tmp_path):
    folder = architectures.write(tmp_path, architectures.CASES["gpt2"])
    (folder / "model.safetensors").write_bytes(LFS)
    with pytest.raises(Error, match="git lfs pull"):
        importers.read(folder)
