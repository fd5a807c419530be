"""Random models of plain PyTorch, as people save them: state dicts, without torch.

The weights come from numpy's generators, as `architectures.weight` makes them; what PyTorch
computes with exactly these is kept in tests/data/pytorch.json, which this script writes:

    python tests/support/plain.py        (needs torch)
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import architectures

EXPECTED = Path(__file__).parents[1] / "data" / "pytorch.json"
VOCAB, CONTEXT, LENGTH = 97, 24, 12
SIDES, CHANNELS, PATCH = (9, 12), 2, 3


@dataclass(frozen=True)
class Case:
    """A model, and the description that lies beside its state dict."""

    given: dict[str, Any]
    dim: int = 52
    heads: int = 4
    hidden: int = 83
    layers: tuple[int, ...] = (2,)
    norm_first: bool = False
    activation: str = "relu"
    bias: bool = True
    last: bool = False  # a norm behind the layers
    positions: str = "pe"  # a buffer; or "learned", "parameter", "" (not in the file)
    first: bool = False  # a norm behind the embeddings
    head: tuple[Any, ...] = ("head",)  # names of linears and norms, and activations
    outputs: int = VOCAB
    tied: bool = False
    patches: str = ""  # "conv" or "linear"
    token: bool = False
    prefix: str = ""  # of the names, as torch.compile or Lightning put it there

    @property
    def description(self) -> dict[str, Any]:
        out = {"nhead": self.heads, **self.given}
        if self.norm_first:
            out["norm_first"] = True
        if self.activation != "relu":
            out["activation"] = self.activation
        return out

    @property
    def context(self) -> int:
        patches = SIDES[0] * SIDES[1] // PATCH**2
        return patches + self.token if self.patches else CONTEXT


IMAGE = {"height": 9, "width": 12, "channels": 2, "patch": 3}
# fmt: off
CASES = {
    "lm": Case({"task": "generate", "embedding_scale": "sqrt", "bos": 1, "eos": 2}),
    "lm-pre": Case(
        {"task": "generate"}, heads=13, layers=(1,), norm_first=True, activation="gelu",
        bias=False, last=True, positions="learned", tied=True,
    ),
    "lm-deep": Case(
        {"task": "generate", "embedding_scale": 2.5}, dim=30, heads=5, hidden=61, layers=(5,),
        last=True, prefix="model._orig_mod.",
    ),
    "classes": Case(
        {"task": "classify", "pooling": "mean", "labels": ["sun", "snow", "rain"],
         "modules": {"embedding_norm": "norm_in"}},
        layers=(3,), heads=2, positions="parameter", first=True, outputs=3,
    ),
    "classes-pre": Case(
        {"task": "classify", "pooling": "first", "positions": "sinusoidal", "context": CONTEXT,
         "modules": {"head": ["norm_out", "up", "gelu", "down"]}},
        heads=26, norm_first=True, positions="", head=("norm_out", "up", "gelu", "down"),
        outputs=5,
    ),
    "binary": Case(
        {"task": "classify", "pooling": "last", "causal": True, "labels": ["no", "yes"],
         "positions": "none", "context": CONTEXT, "layer_norm_eps": 0.001},
        activation="gelu", positions="", outputs=1, bias=False,
    ),
    "embed": Case(
        {"task": "embed", "pooling": "mean"}, norm_first=True, last=True, head=(),
    ),
    "translator": Case(
        {"task": "translate", "bos": 1, "eos": 2, "embedding_scale": "sqrt"}, layers=(1, 2),
        last=True,
    ),
    "translator-pre": Case(
        {"task": "translate", "bos": 95}, dim=36, heads=6, hidden=61, layers=(2, 1),
        norm_first=True, activation="gelu", bias=False, last=True, positions="learned", tied=True,
    ),
    "image": Case(
        {"task": "classify", "pooling": "first",
         "image": {**IMAGE, "mean": [0.4, 0.5], "std": 0.25}},
        norm_first=True, activation="gelu", last=True, positions="parameter", outputs=7,
        patches="conv", token=True,
    ),
    "image-linear": Case(
        {"task": "classify", "pooling": "mean", "image": {**IMAGE, "order": "hwc"}},
        positions="learned", outputs=4, patches="linear", layers=(1,),
    ),
}
# fmt: on


def shapes(c: Case) -> dict[str, tuple[int, ...]]:
    """The state dict's names and shapes."""
    d, out = c.dim, {}

    def module(name: str, *shape: int, bias: bool = True) -> None:
        out[name + ".weight"] = shape
        if bias:
            out[name + ".bias"] = shape[:1]

    if c.patches == "conv":
        module("projection", d, CHANNELS, PATCH, PATCH)
    elif c.patches:
        module("projection", d, CHANNELS * PATCH**2)
    else:
        module("embedding", VOCAB, d, bias=False)
    if len(c.layers) == 2 and not c.tied:
        module("src_embedding", VOCAB, d, bias=False)
    if c.token:
        out["cls_token"] = 1, 1, d
    if c.positions:
        names = {"pe": "pos_encoder.pe", "learned": "pos_embedding.weight"}
        rows = {"pe": (c.context, 1, d), "parameter": (1, c.context, d)}
        out[names.get(c.positions, "positions")] = rows.get(c.positions, (c.context, d))
    if c.first:
        module("norm_in", d)
    both = len(c.layers) == 2
    for part, count in zip(("encoder", "decoder"), c.layers, strict=False):
        p = f"transformer.{part}" if both else "transformer_encoder"
        for i in range(count):
            crossed = ("multihead_attn",) if part == "decoder" else ()
            for attention in "self_attn", *crossed:
                name = f"{p}.layers.{i}.{attention}"
                out[name + ".in_proj_weight"] = 3 * d, d
                if c.bias:
                    out[name + ".in_proj_bias"] = (3 * d,)
                module(name + ".out_proj", d, d, bias=c.bias)
            module(f"{p}.layers.{i}.linear1", c.hidden, d, bias=c.bias)
            module(f"{p}.layers.{i}.linear2", d, c.hidden, bias=c.bias)
            for n in range(2 + (part == "decoder")):
                module(f"{p}.layers.{i}.norm{n + 1}", d, bias=c.bias)
        if c.last:
            module(f"{p}.norm", d, bias=c.bias)
    rows = {"up": (2 * d, d), "down": (c.outputs, 2 * d), "norm_out": (d,)}
    for name in c.head:
        if name != "gelu":
            module(name, *rows.get(name, (c.outputs, d)), bias=name != "head" or not c.tied)
    return {c.prefix + name: shape for name, shape in out.items()}


def sinusoids(positions: int, dim: int) -> np.ndarray:
    """Written as PyTorch's tutorials have it, element by element."""
    return np.array(
        [
            [
                (math.cos if j % 2 else math.sin)(p / 10000 ** ((j - j % 2) / dim))
                for j in range(dim)
            ]
            for p in range(positions)
        ]
    ).astype(np.float32)


def tensors_of(c: Case) -> dict[str, np.ndarray]:
    found = {name: architectures.weight(name, shape) for name, shape in shapes(c).items()}
    if c.positions == "pe":
        name = c.prefix + "pos_encoder.pe"
        found[name] = sinusoids(c.context, c.dim)[:, None]
    if c.tied:
        found["head.weight"] = found["embedding.weight"]
    return found


def write(folder: Path, c: Case) -> Path:
    """The checkpoint, model.safetensors, with its description beside it."""
    return save(folder, c.description, tensors_of(c))


def save(folder: Path, description: dict, tensors: dict[str, np.ndarray]) -> Path:
    """A checkpoint, model.safetensors, with its description beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(description))
    architectures.save(folder / "model.safetensors", tensors)
    return folder / "model.safetensors"


def tokens_of(name: str) -> list[int]:
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, VOCAB, LENGTH).tolist()


def inputs(c: Case, tokens: list[int]) -> dict[str, np.ndarray]:
    """What a model takes, made of some tokens: tokens, and a source; or an image."""
    if c.patches:
        return {"image": np.random.default_rng(tokens).integers(0, 256, (*SIDES, CHANNELS))}
    if len(c.layers) == 2:
        return {"tokens": np.array([tokens[: len(tokens) // 2 + 1]]), "source": np.array([tokens])}
    return {"tokens": np.array([tokens])}


def module(c: Case, seed: int | None = None) -> Any:
    """The PyTorch module of a case, in double precision; a call gives (positions, outputs).

    seed: its weights are PyTorch's own initial ones, biases made random.
    """
    import torch
    from torch import nn

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("pe", torch.tensor(sinusoids(c.context, c.dim))[:, None])

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            d = c.dim
            if c.patches == "conv":
                self.projection = nn.Conv2d(CHANNELS, d, PATCH, PATCH)
            elif c.patches:
                self.projection = nn.Linear(CHANNELS * PATCH**2, d)
            else:
                self.embedding = nn.Embedding(VOCAB, d)
            if len(c.layers) == 2 and not c.tied:
                self.src_embedding = nn.Embedding(VOCAB, d)
            if c.token:
                self.cls_token = nn.Parameter(torch.randn(1, 1, d))
            if c.positions == "pe":
                self.pos_encoder = Positions()
            elif c.positions == "learned":
                self.pos_embedding = nn.Embedding(c.context, d)
            elif c.positions == "parameter":
                self.positions = nn.Parameter(torch.randn(1, c.context, d))
            if c.first:
                self.norm_in = nn.LayerNorm(d)
            eps = c.given.get("layer_norm_eps", 1e-5)
            like = {
                "dim_feedforward": c.hidden, "activation": c.activation, "batch_first": True,
                "norm_first": c.norm_first, "bias": c.bias, "layer_norm_eps": eps,
            }  # fmt: skip
            if len(c.layers) == 2:
                self.transformer = nn.Transformer(d, c.heads, *c.layers, **like)
            else:
                layer = nn.TransformerEncoderLayer(d, c.heads, **like)
                norm = nn.LayerNorm(d, eps, bias=c.bias) if c.last else None
                self.transformer_encoder = nn.TransformerEncoder(
                    layer, c.layers[0], norm, enable_nested_tensor=False
                )
            for name in c.head:
                if name == "norm_out":
                    self.norm_out = nn.LayerNorm(d)
                elif name == "up":
                    self.up = nn.Linear(d, 2 * d)
                elif name != "gelu":
                    columns = 2 * d if name == "down" else d
                    setattr(self, name, nn.Linear(columns, c.outputs, bias=not c.tied))
            if c.tied:
                self.head.weight = self.embedding.weight

        def embed(self, table: Any, ids: np.ndarray) -> Any:
            scale = c.given.get("embedding_scale", 1)
            x = table(torch.tensor(ids)) * (math.sqrt(c.dim) if scale == "sqrt" else scale)
            return self.place(x)

        def place(self, x: Any) -> Any:
            n = x.shape[1]
            if c.positions == "pe":
                x = x + self.pos_encoder.pe[:n, 0]
            elif c.positions == "learned":
                x = x + self.pos_embedding(torch.arange(n))
            elif c.positions == "parameter":
                x = x + self.positions[:, :n]
            elif c.given["positions"] == "sinusoidal":
                x = x + torch.tensor(sinusoids(n, c.dim))
            return self.norm_in(x) if c.first else x

        def patches(self, image: np.ndarray) -> Any:
            p = c.given["image"]
            mean, std = np.array(p.get("mean", 0.0)), np.array(p.get("std", 1.0))
            x = torch.tensor((image / 255 - mean) / std)[None]
            if c.patches == "conv":
                x = self.projection(x.permute(0, 3, 1, 2)).flatten(2).mT
            else:
                n, m = SIDES[0] // PATCH, SIDES[1] // PATCH
                x = x.reshape(n, PATCH, m, PATCH, CHANNELS).transpose(1, 2)
                x = self.projection(x.reshape(1, n * m, -1))
            return self.place(torch.cat([self.cls_token, x], 1) if c.token else x)

        def forward(
            self,
            tokens: np.ndarray | None = None,
            source: np.ndarray | None = None,
            image: np.ndarray | None = None,
        ) -> np.ndarray:
            x = self.embed(self.embedding, tokens) if image is None else self.patches(image)
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
            if source is not None:
                read = self.embed(self.embedding if c.tied else self.src_embedding, source)
                x = self.transformer(read, x, tgt_mask=mask)
            else:
                causal = c.given["task"] == "generate" or c.given.get("causal")
                x = self.transformer_encoder(x, mask if causal else None)
            how = c.given.get("pooling")
            if how:
                x = {"mean": x.mean(1), "first": x[:, 0], "last": x[:, -1]}[how][:, None]
            for name in c.head:
                x = nn.functional.gelu(x) if name == "gelu" else getattr(self, name)(x)
            if c.outputs == 1:
                x = torch.cat([torch.zeros_like(x), x], -1)
            return x[0]

    if seed is not None:
        torch.manual_seed(seed)
    model = Model().double().eval()
    with torch.no_grad():
        if seed is None:
            found = {n.removeprefix(c.prefix): torch.tensor(t) for n, t in tensors_of(c).items()}
            assert set(found) == set(model.state_dict())
            model.load_state_dict(found)
        else:
            for t in model.parameters():
                if t.ndim == 1:
                    t += 0.2 * torch.randn_like(t)
    return model


def framework(c: Case, tokens: list[int], model: Any = None) -> np.ndarray:
    """The result (positions, outputs) of PyTorch in float64; one position where pooled."""
    import torch

    with torch.no_grad():
        return (module(c) if model is None else model)(**inputs(c, tokens)).numpy()


def main() -> None:
    lines = []
    for name, c in CASES.items():
        result = framework(c, tokens_of(name))
        rows = [[round(float(v), 6) for v in row] for row in architectures.selected(result)]
        entry = {"tokens": tokens_of(name), "result": rows}
        lines.append(f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}")
        print(name, result.shape, "largest", np.abs(result).max().round(3))
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
