"""llama2.c checkpoints: the legacy header (version 0) and version 1, both float32.

Legacy: seven int32 (dim, hidden, layers, heads, kv heads, vocabulary, context), a negative
vocabulary for a separate classifier, then the tensors kind by kind, and two rotation tables that
are not used. Version 1: "ak42", the version, the same seven, a byte that says whether the
classifier is shared, zeros up to 256 bytes, then norms first. The format's own definition is
llama2.c's export.py.
"""

from __future__ import annotations

import glob
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import Error
from ..graph.nodes import Array, Graph
from ..tokenizers.llama2c import no_tokens, read_llama2c
from ..tokenizers.vocabulary import Vocabulary
from .llama import llama

_MAGIC = 0x616B3432
_NAMES = ("dim", "hidden", "layers", "heads", "kv heads", "vocabulary", "context")
_LIMITS = (1 << 14, 1 << 16, 256, 256, 256, 1 << 17, 1 << 20)
EPS = 1e-5  # llama2.c's RMSNorm


def _halves(w: Array, heads: int) -> Array:
    """Rows of neighbouring rotary pairs to Hugging Face's order: evens first, then odds."""
    rows, cols = w.shape
    return w.reshape(heads, rows // heads // 2, 2, cols).transpose(0, 2, 1, 3).reshape(rows, cols)


@dataclass(frozen=True)
class _Header:
    """What a checkpoint's header says; start: where its tensors begin, in bytes."""

    version: int
    start: int
    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    context: int
    tied: bool

    @property
    def size(self) -> int:
        """Of a head."""
        return self.dim // self.heads

    def order(self) -> list[tuple[str, tuple[int, ...]]]:
        """The kinds of tensors in their order, each stored for all layers one behind the other."""
        dim, hidden, kv = self.dim, self.hidden, self.size * self.kv_heads
        attention: list[tuple[str, tuple[int, ...]]] = [
            ("self_attn.q_proj", (dim, dim)),
            ("self_attn.k_proj", (kv, dim)),
            ("self_attn.v_proj", (kv, dim)),
            ("self_attn.o_proj", (dim, dim)),
        ]
        feed: list[tuple[str, tuple[int, ...]]] = [
            ("mlp.gate_proj", (hidden, dim)),
            ("mlp.down_proj", (dim, hidden)),
            ("mlp.up_proj", (hidden, dim)),
        ]
        before, behind = ("input_layernorm", (dim,)), ("post_attention_layernorm", (dim,))
        table, norm = ("embed_tokens", (self.vocab, dim)), ("norm", (dim,))
        if self.version:
            return [before, behind, norm, table, *attention, *feed]
        return [table, before, *attention, behind, *feed, norm]


_SINGLE = "embed_tokens", "norm"  # there is one, whatever the layers


def read(path: Path, tokenizer: str | Path | None = None) -> tuple[Graph, Vocabulary]:
    """Read a checkpoint and its tokenizer. Raises Error."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise Error(f"cannot read {path}: {e.strerror}") from e
    h = _header(path, data)
    tensors = _tensors(path, data, h)
    found = find_tokenizer(path, tokenizer)
    vocabulary = no_tokens(h.vocab) if found is None else read_llama2c(found, h.vocab)
    graph = llama(
        tensors.__getitem__,
        layers=h.layers,
        heads=h.heads,
        kv_heads=h.kv_heads,
        size=h.size,
        frequencies=10000.0 ** -(np.arange(0, h.size, 2) / h.size),
        eps=EPS,
        vocab=h.vocab,
        context=h.context,
        bos=vocabulary.bos,
        ends=(vocabulary.eos, vocabulary.bos),
        meta={"name": path.stem, "source": f"llama2.c checkpoint {path.name}"},
    )
    return graph, vocabulary


def _header(path: Path, data: bytes) -> _Header:
    if len(data) < 28:
        raise Error(f"{path}: {len(data)} bytes are too few for a llama2.c checkpoint")
    version, start = 0, 28
    if struct.unpack_from("<I", data)[0] == _MAGIC:
        if len(data) < 256:
            raise Error(f"{path} is truncated: {len(data)} bytes, its header alone has 256")
        version, start = struct.unpack_from("<i", data, 4)[0], 256
        if version != 1:
            raise Error(
                f"{path} is a llama2.c checkpoint of version {version}; supported are float32: "
                "legacy and version 1 (export with --version 0 or 1)"
            )
    fields = struct.unpack_from("<7i", data, 8 if version else 0)
    dim, hidden, layers, heads, kv_heads, vocab, context = fields
    tied = data[36] == 1 if version else vocab > 0
    vocab = abs(vocab)
    for name, v, limit in zip(_NAMES, (*fields[:5], vocab, context), _LIMITS, strict=True):
        if not 0 < v <= limit:
            raise Error(f"{path} is not a llama2.c checkpoint: {name} is {v}, not 1 to {limit}")
    if dim % heads or dim // heads % 2 or heads % kv_heads:
        raise Error(
            f"{path} is not a llama2.c checkpoint: dim {dim}, {heads} heads, {kv_heads} kv heads"
        )
    return _Header(version, start, dim, hidden, layers, heads, kv_heads, vocab, context, tied)


def _tensors(path: Path, data: bytes, h: _Header) -> dict[str, Array]:
    """The tensors by Hugging Face's names, rotary pairs in its order."""
    order = h.order()
    unused = 0 if h.version else h.context * (h.size // 2) * 2  # a table of rotations
    total = sum(int(np.prod(s)) * (1 if n in _SINGLE else h.layers) for n, s in order) + unused
    total += 0 if h.tied else h.vocab * h.dim
    if len(data) != h.start + 4 * total:
        raise Error(
            f"{path} has {len(data)} bytes, its header (dim {h.dim}, hidden {h.hidden}, "
            f"{h.layers} layers, vocabulary {h.vocab}, context {h.context}) says "
            f"{h.start + 4 * total}: it is truncated or not a llama2.c float32 checkpoint"
        )
    floats = np.frombuffer(data, "<f4", total, h.start)
    at = 0

    def take(shape: tuple[int, ...]) -> Array:
        nonlocal at
        n = int(np.prod(shape))
        at += n
        return floats[at - n : at].reshape(shape)

    tensors: dict[str, Array] = {}
    for name, shape in order:
        if name in _SINGLE:
            tensors[name + ".weight"] = take(shape)
            continue
        for i in range(h.layers):
            tensors[f"layers.{i}.{name}.weight"] = take(shape)
    at += unused
    head = tensors["embed_tokens.weight"] if h.tied else take((h.vocab, h.dim))
    tensors["lm_head.weight"] = head
    for i in range(h.layers):
        for name, n in (("q_proj", h.heads), ("k_proj", h.kv_heads)):
            key = f"layers.{i}.self_attn.{name}.weight"
            tensors[key] = _halves(tensors[key], n)
    return tensors


def find_tokenizer(path: Path, tokenizer: str | Path | None) -> Path | None:
    """The tokenizer's file: the one named, or the only candidate beside the checkpoint, if any."""
    if tokenizer is not None:
        return Path(tokenizer)
    found: list[Path] = []
    for pattern in "tok*.bin", glob.escape(path.stem) + "*tok*.bin":
        found = found or sorted(p for p in path.parent.glob(pattern) if p != path)
    if len(found) > 1:
        raise Error(
            f"{path.name} has several tokenizers beside it: {', '.join(p.name for p in found)}; "
            "name one with --tokenizer FILE"
        )
    return found[0] if found else None
