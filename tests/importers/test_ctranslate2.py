"""The importer of CTranslate2 folders. As a script it writes what ctranslate2 itself computes:

python tests/importers/test_ctranslate2.py        (needs ctranslate2)
"""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest

from picoformer import Error, Simulator, convert, importers
from picoformer.graph.float_model import FloatModel, log_softmax
from picoformer.graph.nodes import Graph
from picoformer.tokenizers.section import build
from picoformer.tokenizers.tokenizer import Tokenizer
from picoformer.tokenizers.vocabulary import Vocabulary
from turns import some

EXPECTED = Path(__file__).parents[1] / "data" / "ctranslate2.json"
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "transliteration_ar_en"
SOURCE = ["<blank>", "<s>", "</s>", *"يورنلستبکabx"]
TARGET = ["<blank>", "<s>", "</s>", *"aeirnoxß"]
DIM, HIDDEN = 24, 37
# Older files: the name of the model tells heads, norms in front and all else.
NEW = {"num_heads": 3, "pre_norm": 0, "activation": 3, "scale_embeddings": 0}
CASES = {"old": (2, "TransformerBase", {}), "new": (6, "TransformerSpec", NEW)}
TEXTS = [("يور", "aex"), ("bax", "noß"), ("?ی", "e"), ("نلستب", "xnoraa")]


def variables(spec: str, flags: dict[str, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(len(spec))
    out: dict[str, np.ndarray] = {}

    def linear(name: str, rows: int, columns: int) -> None:
        out[name + "/weight"] = rng.normal(0, 1.5 / np.sqrt(columns), (rows, columns))
        out[name + "/bias"] = rng.normal(0, 0.3, rows)

    def norm(name: str) -> None:
        out[name + "/gamma"], out[name + "/beta"] = (
            rng.normal(1, 0.3, DIM),
            rng.normal(0, 0.3, DIM),
        )

    pre = flags.get("pre_norm", 1)
    for part, tokens in (("encoder", SOURCE), ("decoder", TARGET)):
        name = "embeddings_0" if flags and part == "encoder" else "embeddings"
        out[f"{part}/{name}/weight"] = rng.normal(0, 0.7, (len(tokens) + 1, DIM))
        for i in range(2):
            p = f"{part}/layer_{i}/"
            linear(p + "self_attention/linear_0", 3 * DIM, DIM)
            linear(p + "self_attention/linear_1", DIM, DIM)
            norm(p + "self_attention/layer_norm")
            if part == "decoder":
                linear(p + "attention/linear_0", DIM, DIM)
                linear(p + "attention/linear_1", 2 * DIM, DIM)
                linear(p + "attention/linear_2", DIM, DIM)
                norm(p + "attention/layer_norm")
            linear(p + "ffn/linear_0", HIDDEN, DIM)
            linear(p + "ffn/linear_1", DIM, HIDDEN)
            norm(p + "ffn/layer_norm")
        if pre:
            norm(part + "/layer_norm")
    linear("decoder/projection", len(TARGET) + 1, DIM)
    out = {name: value.astype(np.float32) for name, value in out.items()}
    for name, value in flags.items():
        for part in "encoder", "decoder":
            out[f"{part}/{name}"] = np.array(value, "i2" if name == "num_heads" else "i1")
    return out


def write(folder: Path, name: str) -> Path:
    version, spec, flags = CASES[name]
    folder.mkdir(exist_ok=True)

    def text(s: str) -> bytes:
        return struct.pack("<H", len(s) + 1) + s.encode() + b"\0"

    found = variables(spec, flags)
    revision = 2 if version == 2 else 7
    parts = [struct.pack("<I", version), text(spec), struct.pack("<II", revision, len(found))]
    for key, v in found.items():
        parts.append(text(key) + struct.pack(f"<B{v.ndim}I", v.ndim, *v.shape))
        if version < 4:
            parts.append(struct.pack("<BI", v.itemsize, v.size))
        else:
            kind = {"float32": 0, "int8": 1, "int16": 2}[v.dtype.name]
            parts.append(struct.pack("<BI", kind, v.nbytes))
        parts.append(v.tobytes())
    if version > 2:
        parts.append(struct.pack("<I", 0))
    (folder / "model.bin").write_bytes(b"".join(parts))
    for which, tokens in (("source", SOURCE), ("target", TARGET)):
        if flags:
            path = folder / f"{which}_vocabulary.json"
            path.write_text(json.dumps([*tokens, "<unk>"]))
        else:
            (folder / f"{which}_vocabulary.txt").write_text("".join(t + "\n" for t in tokens))
    if flags:
        config = {"layer_norm_epsilon": 1e-4, "add_source_eos": True, "add_source_bos": False}
        names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
        config |= {**names, "decoder_start_token": "<s>"}
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def framework(folder: Path, pairs: list[tuple[str, str]]) -> list[list[float]]:
    """The logarithm of the probability of each character of the target, and of its end."""
    import ctranslate2

    model = ctranslate2.Translator(str(folder), device="cpu", compute_type="float32")
    scores = model.score_batch([list(s) for s, _ in pairs], [list(t) for _, t in pairs])
    return [s.log_probs for s in scores]


def probabilities(
    graph: Graph, vocabulary: Vocabulary, pairs: list[tuple[str, str]]
) -> list[list[float]]:
    tokenizer = Tokenizer(build(vocabulary))
    out = []
    for s, t in pairs:
        written = [vocabulary.pieces.index(c.encode()) for c in t]
        read = tokenizer.wrap(tokenizer.encode(s))
        logits = FloatModel(graph).forward(
            np.array([[graph.bos, *written]]), source=np.array([read])
        )[0]
        rows = log_softmax(logits)
        out.append([float(rows[i, c]) for i, c in enumerate([*written, 2])])
    return out


def distance(found: list[list[float]], expected: list[list[float]]) -> float:
    return max(np.abs(np.subtract(f, e)).max() for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_float_graph_equals_ctranslate2(tmp_path, name):
    graph, vocabulary = importers.read(write(tmp_path / "m", name))
    expected = json.loads(EXPECTED.read_text())[name]
    assert distance(probabilities(graph, vocabulary, TEXTS), expected) < 1e-4
    assert graph.vocab == len({*SOURCE, *TARGET, "<unk>"})
    assert (graph.bos, graph.ends) == (1, (1, 2))


@pytest.mark.parametrize("name", some(CASES, 2))
def test_in_a_model_file(tmp_path, name):
    convert(write(tmp_path / "m", name), tmp_path / "m.pft")
    said = Simulator(tmp_path / "m.pft").translate("يور")
    assert set(said) <= set("".join(TARGET))  # the source's own characters are never written


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(Error) as caught:
        importers.read(folder)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_what_is_refused(tmp_path):
    folder = write(tmp_path / "m", "old")
    path = folder / "model.bin"
    good = path.read_bytes()
    path.write_bytes(good[:-9])
    refused(folder, "truncated")
    path.write_bytes(good + b"\0")
    refused(folder, "truncated or not")
    path.write_bytes(b"\x09" + good[1:])
    refused(folder, "version 9", "2 to 6")
    path.write_bytes(good.replace(b"TransformerBase", b"TransformerRoot"))
    refused(folder, "TransformerRoot", "TransformerBase")
    path.write_bytes(
        good.replace(b"encoder/layer_1/ffn/linear_1/bias", b"encoder/layer_1/ffn/linear_1/bent")
    )
    refused(folder, "1 variables", "bent")
    path.write_bytes(good)
    with pytest.raises(Error, match="its own vocabularies"):
        importers.read(folder, folder / "tokenizer.json")
    tokens = folder / "source_vocabulary.txt"
    tokens.write_text(tokens.read_text().replace("x", "xy"))
    refused(folder, "'xy'", "characters")
    tokens.write_text("a\n")
    refused(folder, "1 tokens", "16 in the model")
    tokens.unlink()
    refused(folder, "no vocabulary", "source_vocabulary.txt")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_expected_results_are_ctranslate2s(tmp_path, name):
    pytest.importorskip("ctranslate2")
    expected = json.loads(EXPECTED.read_text())[name]
    assert distance(framework(write(tmp_path / "m", name), TEXTS), expected) < 1e-4


@pytest.mark.slow
def test_transliteration():
    """A hundred names, greedy: the float graph writes what ctranslate2 writes."""
    ctranslate2 = pytest.importorskip("ctranslate2")
    if not DATA.is_dir():
        pytest.skip("no transliteration data")
    folder = DATA / "ctranslate2_fp32"
    lines = (DATA / "ar2en-test.txt").read_text("utf-8").splitlines()[:100]
    pairs = [(line.split("\t")[0], line.split("\t")[1]) for line in lines]
    graph, vocabulary = importers.read(folder)
    tokenizer = Tokenizer(build(vocabulary))
    model = ctranslate2.Translator(str(folder), device="cpu", compute_type="float32")
    results = model.translate_batch([list(s) for s, _ in pairs], beam_size=1)
    for (text, _), result in zip(pairs, results, strict=True):
        running, tokens = FloatModel(graph), [graph.bos]
        source = np.array([tokenizer.wrap(tokenizer.encode(text))])
        while tokens[-1] != graph.ends[1] and len(tokens) < 60:
            logits = running.forward(
                np.array([tokens[-1:]]), source=source if len(tokens) == 1 else None
            )
            tokens.append(int(logits[0, -1].argmax()))
        assert tokenizer.decode(tokens[1:-1]) == "".join(result.hypotheses[0])
    assert distance(probabilities(graph, vocabulary, pairs), framework(folder, pairs)) < 1e-3


def main() -> None:
    out = {}
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            rows = framework(write(Path(folder) / "m", name), TEXTS)
        out[name] = [[round(v, 6) for v in row] for row in rows]
    EXPECTED.write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
