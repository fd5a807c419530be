"""llama2.c checkpoints: the legacy header (version 0) and version 1, both float32.

Legacy: seven int32 (dim, hidden, layers, heads, kv heads, vocabulary, context), a negative
vocabulary for a separate classifier, then the tensors kind by kind, and two rotation tables that
are not used. Version 1: "ak42", the version, the same seven, a byte that says whether the
classifier is shared, zeros up to 256 bytes, then norms first. The format's own definition is
llama2.c's export.py.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ..errors import Error
from ..graph.nodes import Array, Graph
from ..tokenizers.llama2c import read_llama2c
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


def read(path: Path, tokenizer: str | Path | None = None) -> tuple[Graph, Vocabulary]:
    """Read a checkpoint and its tokenizer. Raises Error."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise Error(f"cannot read {path}: {e.strerror}") from e
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
    size = dim // heads
    kv = size * kv_heads
    matrices = {
        "self_attn.q_proj": (dim, dim),
        "self_attn.k_proj": (kv, dim),
        "self_attn.v_proj": (kv, dim),
        "self_attn.o_proj": (dim, dim),
        "mlp.gate_proj": (hidden, dim),
        "mlp.down_proj": (dim, hidden),
        "mlp.up_proj": (hidden, dim),
    }
    attention = list(matrices)[:4]
    feed = list(matrices)[4:]
    # The order of kinds; each is stored for all layers, one behind the other.
    per_layer: list[tuple[str, tuple[int, ...]]]
    norms: list[tuple[str, tuple[int, ...]]]
    norms = [("input_layernorm", (dim,)), ("post_attention_layernorm", (dim,))]
    table: tuple[str, tuple[int, ...]] = ("embed_tokens", (vocab, dim))
    norm: tuple[str, tuple[int, ...]] = ("norm", (dim,))
    if version:
        order = [*norms, norm, table, *((n, matrices[n]) for n in attention + feed)]
    else:
        per_layer = [norms[0], *((n, matrices[n]) for n in attention)]
        order = [table, *per_layer, norms[1], *((n, matrices[n]) for n in feed), norm]
    unused = 0 if version else context * (size // 2) * 2
    single = {"embed_tokens", "norm"}
    total = sum(int(np.prod(s)) * (1 if n in single else layers) for n, s in order) + unused
    total += 0 if tied else vocab * dim
    if len(data) != start + 4 * total:
        raise Error(
            f"{path} has {len(data)} bytes, its header (dim {dim}, hidden {hidden}, {layers} "
            f"layers, vocabulary {vocab}, context {context}) says {start + 4 * total}: it is "
            "truncated or not a llama2.c float32 checkpoint"
        )
    floats = np.frombuffer(data, "<f4", total, start)
    tensors: dict[str, Array] = {}
    at = 0

    def take(shape: tuple[int, ...]) -> Array:
        nonlocal at
        n = int(np.prod(shape))
        at += n
        return floats[at - n : at].reshape(shape)

    for name, shape in order:
        if name in single:
            tensors[name + ".weight"] = take(shape)
            continue
        for i in range(layers):
            tensors[f"layers.{i}.{name}.weight"] = take(shape)
    at += unused
    if not tied:
        tensors["lm_head.weight"] = take((vocab, dim))
    for i in range(layers):
        for name, n in (("q_proj", heads), ("k_proj", kv_heads)):
            key = f"layers.{i}.self_attn.{name}.weight"
            tensors[key] = _halves(tensors[key], n)

    file = find_tokenizer(path, tokenizer)
    vocabulary = read_llama2c(file, vocab)
    graph = llama(
        tensors.__getitem__,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        size=size,
        frequencies=10000.0 ** -(np.arange(0, size, 2) / size),
        eps=EPS,
        vocab=vocab,
        context=context,
        bos=vocabulary.bos,
        eos=vocabulary.eos,
        tied=tied,
        meta={"name": path.stem, "source": f"llama2.c checkpoint {path.name}"},
    )
    return graph, vocabulary


def find_tokenizer(path: Path, tokenizer: str | Path | None) -> Path:
    """The tokenizer's file: the one named, or the only candidate beside the checkpoint."""
    if tokenizer is not None:
        return Path(tokenizer)
    found = sorted(p for p in path.parent.glob("tok*.bin") if p != path)
    if len(found) != 1:
        seen = ", ".join(p.name for p in found) or "none"
        raise Error(
            f"a llama2.c checkpoint needs its tokenizer: found {seen} (tok*.bin) beside "
            f"{path.name}; name it with --tokenizer FILE"
        )
    return found[0]
