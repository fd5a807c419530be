"""Random Llama checkpoints of odd sizes, in every form that an importer reads.

The weights are random, but not tame: kinds have different scales, and a few rows are much larger
than the others, as in trained models. `CASES` are the shapes that the tests run.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from picoformer import Simulator, convert, importers
from picoformer.boards.emulated.unix import find_micropython
from picoformer.compile.calibration import Input, calibrate, inputs
from picoformer.compile.compiler import Compiled, compile_graph
from picoformer.compile.convert import compiled_bytes
from picoformer.compile.rounding import round_graph
from picoformer.errors import Error
from picoformer.features import LogMel
from picoformer.graph.frames import HIGH, LOW, Frames
from picoformer.graph.nodes import (
    Add,
    Attention,
    Embedding,
    Gate,
    Graph,
    Keep,
    LayerNorm,
    Linear,
    Node,
    Patches,
    Pool,
)
from picoformer.importers import t5
from picoformer.importers import translator as translators
from picoformer.tokenizers.tokenizer_json.read import read_tokenizer_json
from picoformer.tokenizers.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[2]
DEVICE = ROOT / "device"
STORIES = ROOT / "models" / "stories"
STORIES260K = ROOT.parent / "shared" / "data" / "stories260K"

BYTE_NAMES = [f"<0x{b:02X}>" for b in range(256)]
WORDS = [" t", "he", " the", " a", "nd", " and", "ing", "é", "日本", " 🙂"]


@dataclass(frozen=True)
class Shape:
    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    context: int
    shared: bool = True
    size: int = 0  # of a head; 0: dim / heads, which is all that llama2.c knows
    outliers: int = 0  # rows and columns that are several times as large
    span: int = 0  # weights have 4 bits, and so many columns share a scale
    keep: str = ""  # but these have 8: names of values end so
    key_bits: int = 12  # of the cache
    value_bits: int = 8

    @property
    def head(self) -> int:
        return self.size or self.dim // self.heads


# fmt: off
CASES = {
    # head size 2, and a hidden size that nothing divides
    "size2": Shape(52, 97, 1, 26, 13, 259, 20),
    # one key head for all, head size 26, its own classifier, an odd context
    "size26": Shape(52, 173, 2, 2, 1, 300, 33, shared=False),
    # eight layers, a key head for each of five heads
    "deep": Shape(30, 97, 8, 5, 5, 261, 40),
    # heads whose sizes do not add up to dim, and a vocabulary without byte tokens
    "size10": Shape(52, 97, 1, 3, 1, 97, 48, shared=False, size=10),
    "outliers": Shape(36, 61, 3, 6, 3, 265, 24, outliers=3),
    # more than 512 positions: probabilities are kept in fewer bits
    "long": Shape(22, 33, 1, 2, 1, 97, 600, size=6),
    # weights of 4 bits: rows that no block divides, all matrices
    "four": Shape(52, 97, 1, 26, 13, 259, 20, span=16),
    # with an embedding and values of 8 bits; several blocks and a rest share a scale
    "four mixed": Shape(36, 172, 2, 6, 3, 265, 24, outliers=3, span=48, keep="xv"),
    # their own classifier; a scale for all columns; half a row group at the end of each matrix
    "four wide": Shape(28, 44, 2, 1, 1, 98, 33, shared=False, size=12, span=1024, keep="k"),
    # narrow caches; the last keys do not fill their words
    "keys of 8": Shape(52, 97, 1, 26, 13, 259, 22, key_bits=8),
    "values of 4": Shape(30, 97, 3, 5, 5, 261, 24, value_bits=4),
    "narrow": Shape(36, 61, 3, 6, 3, 265, 26, key_bits=8, value_bits=4),
    "narrow size10": Shape(52, 97, 1, 3, 1, 97, 46, False, 10, key_bits=8, value_bits=4),
}
# fmt: on
LLAMA2C = [name for name, shape in CASES.items() if not shape.size]


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by llama2.c's names, layers first, q and k in its order of neighbouring pairs."""

    shape: Shape
    tensors: dict[str, np.ndarray]

    def half(self) -> Checkpoint:
        """The same, rounded to float16."""
        rounded = {n: t.astype(np.float16).astype(np.float32) for n, t in self.tensors.items()}
        return replace(self, tensors=rounded)


def random_checkpoint(shape: Shape, seed: int = 0) -> Checkpoint:
    rng = np.random.default_rng([seed, shape.dim, shape.hidden, shape.vocab])
    s, n = shape, shape.layers
    q, kv = s.heads * s.head, s.kv_heads * s.head

    def normal(*size: int, scale: float = 1.0) -> np.ndarray:
        w = rng.normal(0, scale / np.sqrt(size[-1]), size)
        w = w * np.exp(rng.normal(0, 0.4, (*size[:-1], 1)))
        for _ in range(s.outliers):
            w[..., rng.integers(size[-2]), :] *= 5
            w[..., :, rng.integers(size[-1])] *= 2
        return w.astype(np.float32)

    def gain(*size: int) -> np.ndarray:
        return (np.exp(rng.normal(0, 0.4, size)) * rng.choice([1, 1, 1, -1], size)).astype("f4")

    tensors = {
        "embedding": normal(s.vocab, s.dim, scale=3),
        "norm1": gain(n, s.dim),
        "wq": normal(n, q, s.dim, scale=0.8),
        "wk": normal(n, kv, s.dim, scale=0.8),
        "wv": normal(n, kv, s.dim, scale=0.7),
        "wo": normal(n, s.dim, q, scale=0.7),
        "norm2": gain(n, s.dim),
        "w1": normal(n, s.hidden, s.dim),
        "w2": normal(n, s.dim, s.hidden, scale=0.8),
        "w3": normal(n, s.hidden, s.dim, scale=0.8),
        "norm": gain(s.dim),
    }
    if not shape.shared:
        tensors["head"] = normal(s.vocab, s.dim, scale=2)
    return Checkpoint(shape, tensors)


# llama2.c


def legacy_bytes(c: Checkpoint) -> bytes:
    """A legacy checkpoint, as llama2.c's export.py writes with --version 0."""
    s = c.shape
    assert not s.size
    vocab = s.vocab if s.shared else -s.vocab
    head = struct.pack("<7i", s.dim, s.hidden, s.layers, s.heads, s.kv_heads, vocab, s.context)
    names = ["embedding", "norm1", "wq", "wk", "wv", "wo", "norm2", "w1", "w2", "w3", "norm"]
    parts = [head, *(c.tensors[name].tobytes() for name in names)]
    angle = np.outer(np.arange(s.context), 10000.0 ** -(np.arange(0, s.head, 2) / s.head))
    parts += [np.cos(angle).astype("<f4").tobytes(), np.sin(angle).astype("<f4").tobytes()]
    if not s.shared:
        parts.append(c.tensors["head"].tobytes())
    return b"".join(parts)


def version1_bytes(c: Checkpoint) -> bytes:
    """A checkpoint of --version 1."""
    s = c.shape
    assert not s.size
    head = struct.pack("<Ii7iB", 0x616B3432, 1, s.dim, s.hidden, s.layers, s.heads, s.kv_heads,
                       s.vocab, s.context, s.shared)  # fmt: skip
    names = ["norm1", "norm2", "norm", "embedding", "wq", "wk", "wv", "wo", "w1", "w2", "w3"]
    if not s.shared:
        names.append("head")
    return head.ljust(256, b"\0") + b"".join(c.tensors[name].tobytes() for name in names)


def tokenizer_bytes(vocab: int) -> bytes:
    """A llama2.c tokenizer: controls, bytes, then letters and a few longer pieces."""
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n"] + [name.encode() for name in BYTE_NAMES]
    letters = [c.encode() for c in " etaoinshrdlucmfwypvbgkqjxz.,"]
    pieces += (letters + [w.encode() for w in WORDS])[: vocab - len(pieces)]
    pieces += [b"%d" % i for i in range(vocab - len(pieces))]
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces) - 259)]
    body = b"".join(
        struct.pack("<fi", score, len(p)) + p for score, p in zip(scores, pieces, strict=True)
    )
    return struct.pack("<i", max(map(len, pieces))) + body


def write_llama2c(folder: Path, c: Checkpoint, version: int = 0) -> Path:
    """model.bin and its tokenizer in `folder`; returns the checkpoint's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.bin"
    path.write_bytes(version1_bytes(c) if version else legacy_bytes(c))
    (folder / "tok.bin").write_bytes(tokenizer_bytes(c.shape.vocab))
    return path


# Hugging Face


def permuted(w: np.ndarray, heads: int) -> np.ndarray:
    """Rows of neighbouring pairs to the order of Hugging Face: of a head all evens, then odds."""
    rows = np.arange(w.shape[0]).reshape(heads, -1)
    return w[np.concatenate([rows[:, 0::2], rows[:, 1::2]], 1).reshape(-1)]


def config(s: Shape) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": s.dim,
        "intermediate_size": s.hidden,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads,
        "head_dim": s.head,
        "vocab_size": s.vocab,
        "max_position_embeddings": s.context,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": s.shared,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def hf_tensors(c: Checkpoint) -> dict[str, np.ndarray]:
    s, t = c.shape, c.tensors
    out = {"model.embed_tokens.weight": t["embedding"], "model.norm.weight": t["norm"]}
    if not s.shared:
        out["lm_head.weight"] = t["head"]
    for i in range(s.layers):
        p = f"model.layers.{i}."
        out[p + "input_layernorm.weight"] = t["norm1"][i]
        out[p + "post_attention_layernorm.weight"] = t["norm2"][i]
        out[p + "self_attn.q_proj.weight"] = permuted(t["wq"][i], s.heads)
        out[p + "self_attn.k_proj.weight"] = permuted(t["wk"][i], s.kv_heads)
        out[p + "self_attn.v_proj.weight"] = t["wv"][i]
        out[p + "self_attn.o_proj.weight"] = t["wo"][i]
        out[p + "mlp.gate_proj.weight"] = t["w1"][i]
        out[p + "mlp.down_proj.weight"] = t["w2"][i]
        out[p + "mlp.up_proj.weight"] = t["w3"][i]
    return {name: np.ascontiguousarray(w) for name, w in out.items()}


def tokenizer_json(vocab: int) -> dict:
    """A Llama-type BPE tokenizer without byte tokens."""
    pieces = ["<unk>", "<s>", "</s>", "\u2581", *"etaoinshrdlucmfwypvbgkqjxz.,"]
    words = ["\u2581t", "he", "\u2581the", "an", "in"]
    merges = [["\u2581", "t"], ["h", "e"], ["\u2581t", "he"], ["a", "n"], ["i", "n"]]
    pieces += words
    pieces += [chr(0x100 + i) for i in range(vocab - len(pieces))]
    assert len(pieces) == vocab
    return {
        "added_tokens": [
            {"id": i, "content": pieces[i], "special": True} for i in range(3)
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "vocab": {piece: i for i, piece in enumerate(pieces)},
            "merges": merges,
        },
    }  # fmt: skip


def write_hf(folder: Path, c: Checkpoint, dtype: str = "float32") -> Path:
    """A Hugging Face folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(c.shape)))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(c.shape.vocab)))
    tensors = {name: t.astype(dtype) for name, t in hf_tensors(c).items()}
    save_file(tensors, folder / "model.safetensors")
    return folder


# Converted


class Case:
    """A checkpoint of CASES with all that is made of it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.shape = CASES[name]
        self.checkpoint = random_checkpoint(self.shape)
        self.folder = folder
        if self.shape.size:
            self.source = write_hf(folder / "hf", self.checkpoint)
        else:
            self.source = write_llama2c(folder / "llama2c", self.checkpoint)
        self.graph: Graph
        self.vocabulary: Vocabulary
        self.graph, self.vocabulary = importers.read(self.source)
        self.amax = calibrate(self.graph)
        self.rounded = {}
        if self.shape.span:
            given = [Input(np.array([self.tokens(self.shape.context)]))]
            kept = {
                id(n.weight) for n in self.graph.nodes
                if isinstance(n, Embedding | Linear) and n.out[-1] in self.shape.keep
            }  # fmt: skip
            self.rounded = round_graph(self.graph, given, self.shape.span, kept)
        self._files: dict[int, Path] = {}
        self._sims: dict[int, Simulator] = {}

    def compiled(self, batch: int = 4) -> Compiled:
        return compile_graph(
            self.graph, self.amax, batch=batch, rounded=self.rounded,
            key_bits=self.shape.key_bits, value_bits=self.shape.value_bits,
        )  # fmt: skip

    def file(self, batch: int = 4) -> Path:
        """A model file that runs `batch` positions at once."""
        if batch not in self._files:
            path = self.folder / f"{self.name}{batch}.pft"
            content = compiled_bytes(self.graph, self.vocabulary, self.compiled(batch))
            path.write_bytes(content)
            self._files[batch] = path
        return self._files[batch]

    def sim(self, batch: int = 4) -> Simulator:
        if batch not in self._sims:
            self._sims[batch] = Simulator(self.file(batch))
        return self._sims[batch]

    def tokens(self, n: int, seed: int = 0) -> list[int]:
        """Random tokens, from BOS on."""
        rng = np.random.default_rng([seed, n, self.shape.vocab])
        return [1, *rng.integers(3, self.shape.vocab, n - 1).tolist()]


# Architectures, as graphs

GPT2, BERT, DISTILBERT, MINILM = "gpt2", "bert", "distilbert", "minilm"
BART, VIT, ASKED, T5, GATED_T5, TAGS = "bart", "vit", "asked", "t5", "gated t5", "tags"
SIGNAL, FORECAST, SOUND = "signal", "forecast", "sound"


def architecture(kind: str, dim: int, hidden: int, layers: int, heads: int, vocab: int,
                 context: int, labels: int = 5, lean: bool = False) -> Graph:  # fmt: skip
    """A graph of random weights with biases everywhere, as `kind` arranges it.

    lean: attention is biased by the distance.
    """
    rng = np.random.default_rng([0, dim, hidden, vocab])

    def normal(*size: int, scale: float = 1.0) -> np.ndarray:
        w = rng.normal(0, scale / np.sqrt(size[-1]), size)
        return (w * np.exp(rng.normal(0, 0.4, (*size[:-1], 1)))).astype(np.float32)

    def vector(size: int, mean: float = 0.0) -> np.ndarray:
        return (mean + rng.normal(0, 0.3, size)).astype(np.float32)

    def norm(x: str, out: str) -> LayerNorm:
        return LayerNorm(x, out, vector(dim, 1), vector(dim), 1e-5)

    def linear(x: str, out: str, rows: int, cols: int, scale: float = 1.0) -> Linear:
        bias = vector(rows) * (np.abs(vector(rows)) * 4) if scale else None
        return Linear(x, out, normal(rows, cols, scale=scale), out, bias)

    def distances(both: bool) -> tuple[np.ndarray, np.ndarray]:
        return 3 * normal(7, heads, scale=np.sqrt(heads)), t5.buckets(context, both, 7, context)

    pre = kind in (GPT2, VIT, SIGNAL, SOUND)
    frames = signals(kind, rng) if kind in (SIGNAL, FORECAST, SOUND) else None
    table = normal(vocab, dim, scale=3)
    if kind in (T5, GATED_T5):
        # The heads' sizes do not add up to dim.
        shape = translators.Shape(
            dim, (layers, layers), (heads, heads), (hidden, hidden),
            "gelu_tanh" if kind == GATED_T5 else "relu", 1e-6,
            pre=True, size=7, scale=0.5, gated=kind == GATED_T5,
        )  # fmt: skip
        encoder, nodes, last = translators.arrange(
            shape, lambda _, rows, cols: (normal(rows, cols), None),
            lambda _: (vector(dim, 1), None), (table, table), (None, None),
            (distances(True), distances(False)),
        )  # fmt: skip
        nodes.append(Linear(last, "logits", table, "head"))
        return Graph(nodes, vocab, context, 1, (1, 2), task="translate", encoder=encoder)
    if kind == BART:
        return translator(dim, hidden, layers, heads, vocab, context, table, normal, norm, linear)
    nodes: list[Node] = [Embedding("x", table)]
    if kind == VIT:
        nodes = [Patches("pixels", 2 * 9), linear("pixels", "x", dim, 18, 0.02)]
    if frames:
        n = frames.elements
        nodes = [Patches("frames", n), linear("frames", "x", dim, n)]
        context, vocab = frames.positions(frames.length), 1
    if kind != FORECAST:
        nodes.append(Embedding("x", normal(context, dim), by="position"))
    if kind == ASKED:
        nodes.append(Embedding("x", normal(2, dim), by="type"))
    if not pre:
        nodes.append(norm("x", "x"))
    for i in range(layers):
        n = {name: f"{i}.{name}" for name in "abqkvoyghz"}
        a = n["a"] if pre else "x"
        nodes += [norm("x", n["a"])] if pre else []
        nodes += [linear(a, n[v], dim, dim, 0.8) for v in "qkv"]
        bias, buckets = distances(kind != GPT2) if lean else (None, None)
        nodes += [
            Attention(
                n["q"], n["k"], n["v"], n["o"], heads, heads, dim // heads, causal=kind == GPT2,
                bias=bias, buckets=buckets,
            ),
            linear(n["o"], n["y"], dim, dim, 0.7),
            Add("x", n["y"]),
            norm("x", n["b"] if pre else "x"),
            linear(n["b"] if pre else "x", n["g"], hidden, dim),
            Gate(n["g"], None, n["h"], "gelu_tanh" if pre else "gelu"),
            linear(n["h"], n["z"], dim, hidden, 0.8),
            Add("x", n["z"]),
        ]
        nodes += [] if pre else [norm("x", "x")]
    if kind == GPT2:
        nodes += [norm("x", "n"), Linear("n", "logits", table, "head")]
        return Graph(nodes, vocab, context, 1, (2,))
    if kind == ASKED:
        nodes.append(linear("x", "span", 2, dim))
        return Graph(nodes, vocab, context, task="answer")
    names = [f"label {i}" for i in range(labels)]
    if kind == TAGS:
        nodes.append(linear("x", "tags", labels, dim))
        return Graph(nodes, vocab, context, task="tag", labels=names, several=labels % 2 > 0)
    nodes.append(Pool("x", "mean" if kind in (MINILM, FORECAST, SOUND) else "first"))
    if frames:
        nodes += [norm("x", "n"), linear("n", "logits", labels, dim)]
        task = "predict" if kind == FORECAST else "classify"
        return Graph(nodes, vocab, context, task=task, labels=names, frames=frames)
    if kind == MINILM:
        return Graph(nodes, vocab, context, task="embed")
    if kind == VIT:
        nodes += [norm("x", "n"), linear("n", "logits", labels, dim)]
        image = 9, 12, 2, 3, 1  # 3 x 4 patches of 3 x 3 x 2 and a class token
        return Graph(nodes, vocab, context, task="classify", labels=names, image=image)
    activation = "tanh" if kind == BERT else "relu"
    nodes += [linear("x", "p", dim, dim), Gate("p", None, "t", activation)]
    nodes.append(linear("t", "logits", labels, dim))
    return Graph(nodes, vocab, context, task="classify", labels=names)


def signals(kind: str, rng: np.random.Generator) -> Frames:
    """Channels whose sizes differ a thousand times, in windows that overlap."""
    if kind == SOUND:
        heard = LogMel(8000, 200, 80, 20, 60.0, 3800.0)
        mean, std = np.linspace(5000, 3000, 20), np.linspace(1500, 900, 20)
        return Frames(30, 20, (5, 20), (5, 1), mean=mean, std=std, sound=heard)
    n = 5 if kind == SIGNAL else 11
    std = 10 ** rng.permutation(np.linspace(0.5, 3.5, n))
    mean = rng.normal(0, 3, n) * std
    if kind == SIGNAL:
        return Frames(34, n, (4, n), (3, 1), tokens=1, mean=mean, std=std)
    return Frames(19, n, (3, 4), (2, 3), (1, 2), mean=mean, std=std)


def translator(dim, hidden, layers, heads, vocab, context, table, normal, norm, linear) -> Graph:
    """Encoder and decoder, post-norm, as BART and Marian arrange them."""
    size = dim // heads
    encoder: list[Node] = []
    nodes: list[Node] = []
    positions = normal(context, dim)
    for part, x in ((encoder, "e"), (nodes, "x")):
        part += [Embedding(x, table), Embedding(x, positions, by="position"), norm(x, x)]
        for i in range(layers):
            n = {name: f"{x}{i}.{name}" for name in "qkvoyghzruw"}
            part += [linear(x, n[v], dim, dim, 0.8) for v in "qkv"]
            part += [
                Attention(n["q"], n["k"], n["v"], n["o"], heads, heads, size, causal=x == "x"),
                linear(n["o"], n["y"], dim, dim, 0.7),
                Add(x, n["y"]),
                norm(x, x),
            ]
            if x == "x":
                k, v = f"{i}.ck", f"{i}.cv"
                encoder += [linear("e", k, dim, dim, 0.8), linear("e", v, dim, dim, 0.8)]
                encoder.append(Keep(k, v, heads, size))
                part += [
                    linear(x, n["r"], dim, dim, 0.8),
                    Attention(n["r"], k, v, n["u"], heads, heads, size, causal=False, cross=True),
                    linear(n["u"], n["w"], dim, dim, 0.7),
                    Add(x, n["w"]),
                    norm(x, x),
                ]
            part += [
                linear(x, n["g"], hidden, dim),
                Gate(n["g"], None, n["h"], "gelu"),
                linear(n["h"], n["z"], dim, hidden, 0.8),
                Add(x, n["z"]),
                norm(x, x),
            ]
    nodes.append(linear("x", "logits", vocab, dim))
    return Graph(nodes, vocab, context, 1, (1, 2), task="translate", encoder=encoder)


# fmt: off
ARCHITECTURES = {
    "gpt2": (GPT2, 52, 97, 2, 4, 97, 33),
    "gpt2 deep": (GPT2, 20, 37, 8, 5, 101, 24),
    "bert": (BERT, 52, 101, 2, 4, 97, 24),
    "bert one": (BERT, 30, 64, 1, 3, 97, 17, 2),
    "distilbert": (DISTILBERT, 36, 61, 8, 6, 97, 13, 7),
    "minilm": (MINILM, 52, 104, 3, 13, 97, 40),
    "gpt2 distances": (GPT2, 36, 61, 2, 6, 97, 25, 5, True),
    "minilm distances": (MINILM, 52, 61, 2, 4, 97, 19, 5, True),
}
# Those that a row of tokens is not enough for.
SPECIAL = {
    "bart": (BART, 52, 97, 2, 4, 97, 24),
    "bart one": (BART, 20, 37, 1, 5, 101, 17),
    "t5": (T5, 52, 97, 2, 3, 97, 21),
    "t5 gated": (GATED_T5, 30, 37, 1, 5, 97, 24),
    "vit": (VIT, 52, 97, 2, 4, 97, 13, 7),
    "asked": (ASKED, 36, 61, 2, 6, 97, 23),
    "tagged": (TAGS, 30, 47, 2, 5, 97, 19, 7),
    "signal": (SIGNAL, 52, 97, 2, 4, 1, 0, 7),
    "forecast": (FORECAST, 30, 61, 1, 5, 1, 0, 3),
    "sound": (SOUND, 36, 61, 1, 4, 1, 0, 4),
}
# fmt: on
FOUR = " four"  # of a name: weights of 4 bits
ARCHITECTURES |= {name + FOUR: ARCHITECTURES[name] for name in ("gpt2", "bert one", "minilm")}
SPECIAL |= {name + FOUR: SPECIAL[name] for name in ("bart one", "vit", "asked", "signal")}
NARROW = " narrow"  # of a name: keys of 8 bits, values of 4
ARCHITECTURES |= {
    name + NARROW: ARCHITECTURES[name] for name in ("gpt2 deep", "bert one", "minilm distances")
}
# A head size of 3, and a context that ends in the middle of a word of keys.
ARCHITECTURES["gpt2 odd" + NARROW] = (GPT2, 21, 37, 2, 7, 97, 30)
SPECIAL |= {
    name + NARROW: SPECIAL[name] for name in ("bart one", "t5", "vit", "asked", "forecast")
}


def vocabulary(vocab: int, folder: Path) -> Vocabulary:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(vocab)))
    return read_tokenizer_json(folder / "tokenizer.json", vocab, 1, 2)


class Architecture:
    """One of ARCHITECTURES with all that is made of it; the interface of `Case`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.graph = architecture(*(ARCHITECTURES | SPECIAL)[name])
        self.graph.check()
        if self.graph.frames:
            self.vocabulary = Vocabulary([b""])
        else:
            self.vocabulary = vocabulary(self.graph.vocab, folder)
        self.amax = calibrate(self.graph)
        self.rounded = {}
        if name.endswith(FOUR):
            self.rounded = round_graph(self.graph, inputs(self.graph, None), 16)
        self.bits = {"key_bits": 8, "value_bits": 4} if name.endswith(NARROW) else {}
        self.whole = self.graph.whole
        self._sim: Simulator | None = None

    def compiled(self) -> Compiled:
        return compile_graph(self.graph, self.amax, rounded=self.rounded, **self.bits)

    def signal(self, rows: int | None = None, seed: int = 0) -> np.ndarray:
        """A random signal of so many rows, as large as the channels are; seed 0: an extreme."""
        f = self.graph.frames
        rows = f.length if rows is None else rows
        rng = np.random.default_rng([seed, rows])
        found = f.mean + f.std * rng.normal(0, 1, (rows, f.channels))
        if not seed:
            found[rng.integers(rows), rng.integers(f.channels)] = LOW
            found[rng.integers(rows), rng.integers(f.channels)] = HIGH
        return np.clip(np.rint(found), LOW, HIGH).astype(np.int64)

    def file(self) -> Path:
        path = self.folder / "model.pft"
        if not path.exists():
            path.write_bytes(compiled_bytes(self.graph, self.vocabulary, self.compiled()))
        return path

    def sim(self) -> Simulator:
        if self._sim is None:
            self._sim = Simulator(self.file())
        return self._sim

    def tokens(self, n: int, seed: int = 0) -> list[int]:
        rng = np.random.default_rng([seed, n, self.graph.vocab])
        return rng.integers(0, self.graph.vocab, n).tolist()


class Remembering(Simulator):
    """A simulator that writes a text once: tests ask for the same texts, and their beginnings."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._texts: dict[tuple, tuple[float, list[str]]] = {}

    def generate(
        self, prompt="", max_tokens=None, temperature=0.0, top_p=1.0, seed=1, stop=None, raw=False
    ):
        if stop or raw:
            return super().generate(prompt, max_tokens, temperature, top_p, seed, stop, raw)
        key = (prompt, temperature, top_p, seed)
        n = float("inf") if max_tokens is None else max_tokens
        if key not in self._texts or self._texts[key][0] < n:
            pieces = list(super().generate(prompt, max_tokens, temperature, top_p, seed))
            self._texts[key] = n, pieces
        most, pieces = self._texts[key]
        if n == most or "".join(pieces).isascii():
            return iter(pieces[: min(n, len(pieces))])
        # What is left of a character at the end comes as a piece more.
        return super().generate(prompt, max_tokens, temperature, top_p, seed)


class Converted:
    """A converted checkpoint that is not random."""

    def __init__(self, source: Path, path: Path) -> None:
        self.source = source
        self.report = convert(source, path)
        self.path = path
        self.sim = Remembering(path)


# The guide


def example(section: str) -> str:
    """The first Python program in a section of docs/convert.md."""
    text = (ROOT / "docs" / "convert.md").read_text("utf-8").partition(f"\n## {section}\n")[2]
    return text.partition("```python\n")[2].partition("```")[0]


# MicroPython


def no_micropython() -> str:
    """Why the unix port cannot run here; empty if it can."""
    try:
        find_micropython()
    except Error as e:
        return str(e)
    return ""


def no_board() -> str:
    """Why no emulated unix board can run here; empty if one can."""
    try:
        find_micropython()
        for file in os.openpty():
            os.close(file)
    except (AttributeError, Error, OSError) as e:
        return f"no emulated board here: {e}"
    return ""


def run_unix(script: str, heap: str = "4M", timeout: float = 120, **names: object) -> str:
    """Run a script on MicroPython's unix port, with `names` as its globals; what it printed."""
    head = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    done = subprocess.run(
        [find_micropython(), "-X", f"heapsize={heap}", "-c", head + script],
        env={**os.environ, "MICROPYPATH": f"{DEVICE}:.frozen"},
        capture_output=True,
        timeout=timeout,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode()[-3000:]
        pytest.fail(f"MicroPython ended with {done.returncode}:\n{said}")
    return done.stdout.decode()


