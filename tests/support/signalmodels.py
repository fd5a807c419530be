"""Random models of PyTorch that read frames of numbers: state dicts, without torch.

What PyTorch computes with them is kept in tests/data/signals.json, which this script writes:

    python tests/support/signalmodels.py        (needs torch)
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import architectures
import plain

EXPECTED = Path(__file__).parents[1] / "data" / "signals.json"


@dataclass(frozen=True)
class Case:
    """A model, and what of its description has no default.

    front: "rows" (a linear on each), "windows" (on rows side by side), "unfold" (on what
    torch.Tensor.unfold gives), "patches" (on rectangles), "conv1d" or "conv2d". across: the first
    axis of what it reads is the channels. kernel: of a window, rows and channels.
    """

    given: dict[str, Any]
    front: str
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Any = 0
    across: bool = False
    dim: int = 36
    heads: int = 3
    hidden: int = 50
    layers: int = 1
    positions: str = "parameter"  # or "pe", "" (not in the file)
    extra: int = 0  # positions more than the signal has
    token: bool = False
    first: bool = False  # a norm behind the positions
    bias: bool = True  # of the linear in front
    head: tuple[str, ...] = ("head",)
    outputs: int = 3

    @property
    def input(self) -> dict[str, Any]:
        return self.given["input"]

    @property
    def description(self) -> dict[str, Any]:
        return {"nhead": self.heads, **self.given}

    def windows(self, rows: int) -> int:
        """How many a signal of so many rows has."""
        pad = self.kernel[0] - 1 if self.padding == "same" else 2 * self.padding
        down = (rows + pad - self.kernel[0]) // self.stride[0] + 1
        return down * ((self.input["channels"] - self.kernel[1]) // self.stride[1] + 1)

    @property
    def context(self) -> int:
        return self.token + self.windows(self.input["length"])


def described(task: str, length: int, channels: int, pooling: str = "mean", **more: Any) -> Any:
    """A description; of "input" what is in `more` under that name."""
    fields = {"length": length, "channels": channels, **more.pop("input", {})}
    return {"task": task, "pooling": pooling, "input": fields, **more}


# Channels of a pressure, an acceleration and a switch, as numbers of a sensor.
MEAN, STD = [20000.0, -3.5, 0.25], [7000.0, 11.0, 6.5]
# fmt: off
CASES = {
    "rows": Case(
        described("classify", 13, 3, labels=["walk", "run", "rest"],
                  input={"mean": MEAN, "std": STD, "names": ["p", "a", "s"]}),
        "rows", (1, 3), layers=2,
    ),
    "conv1d": Case(
        described("predict", 23, 5, "first", positions="sinusoidal",
                  input={"mean": 100, "std": [10, 20, 30, 4000, 5], "stride": 3, "padding": 2},
                  output={"mean": [100, -2, 0], "std": [25, 0.5, 1], "names": ["x", "y", "z"]}),
        "conv1d", (5, 5), (3, 5), 2, positions="", token=True, dim=40, heads=5,
    ),
    "conv1d-same": Case(
        described("classify", 11, 2, "mean", positions="none",
                  input={"mean": 0, "std": 300, "stride": 1, "padding": "same"}),
        "conv1d", (4, 2), (1, 2), "same", positions="", outputs=4, bias=False,
    ),
    "windows": Case(
        described("classify", 24, 5, "last", embedding_scale="sqrt", causal=True,
                  labels=["no", "yes"], modules={"embedding_norm": "norm_in"},
                  input={"mean": 7, "std": 90}),
        "windows", (4, 5), (4, 5), positions="pe", extra=9, first=True, outputs=1,
    ),
    "unfold": Case(
        described("embed", 17, 4, input={"std": 250, "order": "ct", "stride": 2}),
        "unfold", (5, 4), (2, 4), bias=False, head=(), positions="pe",
    ),
    "spectrogram": Case(
        described("classify", 14, 11, "first", norm_first=True,
                  input={"mean": -20, "std": 60, "stride": [3, 4]},
                  modules={"head": ["norm_out", "head"]}),
        "conv2d", (4, 3), (3, 4), token=True, head=("norm_out", "head"), outputs=5,
    ),
    "spectrogram-across": Case(
        described("classify", 14, 10, "first", input={"mean": 5, "std": 60, "order": "ct",
                                                      "stride": [2, 3]}),
        "conv2d", (5, 4), (2, 3), token=True, across=True, outputs=4,
    ),
    "patches": Case(
        described("predict", 12, 6, input={"mean": 0, "std": 128, "window": [4, 2]}),
        "patches", (4, 2), (4, 2), outputs=2, positions="pe",
    ),
    "patches-across": Case(
        described("classify", 12, 6, activation="gelu",
                  input={"std": 99, "window": [3, 2], "order": "ct"}),
        "patches", (3, 2), (3, 2), across=True, outputs=6,
    ),
    "keywords": Case(  # as ARM's Keyword Transformer has them: frames of the spectrogram
        described("classify", 19, 10, "first", activation="gelu",
                  input={"mean": 40, "std": 33}),
        "rows", (1, 10), dim=48, heads=1, hidden=70, layers=2, token=True, outputs=7,
    ),
    "units": Case(
        described("predict", 9, 3, "mean",
                  input={"unit": [0.001, 0.25, 8], "mean": [20, -3, 40], "std": [7, 5, 900]},
                  modules={"head": ["up", "relu", "down"]}),
        "rows", (1, 3), head=("up", "relu", "down"), outputs=1, extra=3,
    ),
    "unscaled": Case(
        described("classify", 15, 2, input={"unit": [0.01, 0.02]}),
        "windows", (3, 2), (3, 2), token=True, extra=2,
    ),
}
# fmt: on


def shapes(c: Case) -> dict[str, tuple[int, ...]]:
    """The state dict's names and shapes."""
    d, (k, w), out = c.dim, c.kernel, {}

    def module(name: str, *shape: int, bias: bool = True) -> None:
        out[name + ".weight"] = shape
        if bias:
            out[name + ".bias"] = shape[:1]

    seen = (w, k) if c.across else (k, w)
    kernel = {"conv1d": (d, w, k), "conv2d": (d, 1, *seen)}.get(c.front, (d, k * w))
    module("project", *kernel, bias=c.bias)
    if c.token:
        out["cls_token"] = 1, 1, d
    rows = c.context + c.extra
    if c.positions:
        name = {"pe": "pos_encoder.pe"}.get(c.positions, "pos_embedding")
        out[name] = (rows, 1, d) if c.positions == "pe" else (1, rows, d)
    if c.first:
        module("norm_in", d)
    for i in range(c.layers):
        p = f"encoder.layers.{i}."
        out[p + "self_attn.in_proj_weight"] = 3 * d, d
        out[p + "self_attn.in_proj_bias"] = (3 * d,)
        module(p + "self_attn.out_proj", d, d)
        module(p + "linear1", c.hidden, d)
        module(p + "linear2", d, c.hidden)
        module(p + "norm1", d)
        module(p + "norm2", d)
    shaped = {"up": (2 * d, d), "down": (c.outputs, 2 * d), "norm_out": (d,)}
    for name in c.head:
        if name != "relu":
            module(name, *shaped.get(name, (c.outputs, d)))
    return out


def tensors_of(c: Case) -> dict[str, np.ndarray]:
    found = {n: architectures.weight(n, shape) for n, shape in shapes(c).items()}
    found["project.weight"] *= np.float32(np.sqrt(found["project.weight"].shape[1])) / np.sqrt(
        np.prod(found["project.weight"].shape[1:], dtype=np.float32)
    )
    return found


def write(folder: Path, c: Case) -> Path:
    """The checkpoint, model.safetensors, with its description beside it."""
    return plain.save(folder, c.description, tensors_of(c))


def signal_of(name: str, rows: int = 0, seed: int = 0) -> np.ndarray:
    """Whole numbers (rows, channels), around the mean of each channel."""
    c = CASES[name]
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    fields, channels = c.input, c.input["channels"]
    unit = np.array(fields.get("unit", 1.0))
    mean, std = np.array(fields.get("mean", 3.0)) / unit, np.array(fields.get("std", 1.0)) / unit
    made = mean + std * rng.normal(0, 1, (rows or fields["length"], channels))
    return np.clip(np.rint(made), -32768, 32767).astype(np.int64)


def module(c: Case, seed: int | None = None) -> Any:
    """The PyTorch module of a case, in double precision; a call gives (1, outputs).

    seed: its weights are PyTorch's own initial ones, biases made random.
    """
    import torch
    from torch import nn

    d, channels = c.dim, c.input["channels"]

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            table = torch.tensor(plain.sinusoids(c.context + c.extra, d))
            self.register_buffer("pe", table[:, None])

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            k, w = c.kernel
            if c.front == "conv1d":
                self.project = nn.Conv1d(channels, d, k, c.stride[0], c.padding, bias=c.bias)
            elif c.front == "conv2d":
                turn = -1 if c.across else 1
                self.project = nn.Conv2d(1, d, c.kernel[::turn], c.stride[::turn])
            else:
                self.project = nn.Linear(k * w, d, bias=c.bias)
            if c.token:
                self.cls_token = nn.Parameter(torch.randn(1, 1, d))
            if c.positions == "pe":
                self.pos_encoder = Positions()
            elif c.positions:
                self.pos_embedding = nn.Parameter(torch.randn(1, c.context + c.extra, d))
            if c.first:
                self.norm_in = nn.LayerNorm(d)
            layer = nn.TransformerEncoderLayer(
                d, c.heads, c.hidden, activation=c.given.get("activation", "relu"),
                batch_first=True, norm_first=c.given.get("norm_first", False),
            )  # fmt: skip
            self.encoder = nn.TransformerEncoder(layer, c.layers, enable_nested_tensor=False)
            for name in c.head:
                if name == "norm_out":
                    self.norm_out = nn.LayerNorm(d)
                elif name == "up":
                    self.up = nn.Linear(d, 2 * d)
                elif name != "relu":
                    setattr(self, name, nn.Linear(2 * d if name == "down" else d, c.outputs))

        def embed(self, x: Any) -> Any:
            """x (1, rows, channels)."""
            k, w = c.kernel
            if c.front == "conv1d":
                return self.project(x.mT).mT
            if c.front == "conv2d":
                return self.project((x.mT if c.across else x)[:, None]).flatten(2).mT
            if c.front == "rows":
                return self.project(x)
            if c.front == "windows":
                n = x.shape[1] // k
                return self.project(x[:, : n * k].reshape(1, n, k * w))
            if c.front == "unfold":
                return self.project(x.unfold(1, k, c.stride[0]).flatten(2))
            x = x[:, : x.shape[1] // k * k]
            if c.across:  # "b (w p2) (h p1) -> b (w h) (p2 p1)"
                x = x.mT.reshape(1, channels // w, w, -1, k).transpose(2, 3)
            else:
                x = x.reshape(1, -1, k, channels // w, w).transpose(2, 3)
            return self.project(x.reshape(1, -1, k * w))

        def forward(self, x: Any) -> Any:
            x = self.embed(x)
            if c.given.get("embedding_scale") == "sqrt":
                x = x * d**0.5
            if c.token:
                x = torch.cat([self.cls_token, x], 1)
            n = x.shape[1]
            if c.positions == "pe":
                x = x + self.pos_encoder.pe[:n, 0]
            elif c.positions:
                x = x + self.pos_embedding[:, :n]
            elif c.given["positions"] == "sinusoidal":
                x = x + torch.tensor(plain.sinusoids(n, d))
            x = self.norm_in(x) if c.first else x
            mask = nn.Transformer.generate_square_subsequent_mask(n, dtype=x.dtype)
            x = self.encoder(x, mask if c.given.get("causal") else None)
            how = c.given["pooling"]
            x = {"mean": x.mean(1), "first": x[:, 0], "last": x[:, -1]}[how]
            for name in c.head:
                x = torch.relu(x) if name == "relu" else getattr(self, name)(x)
            return x

    if seed is not None:
        torch.manual_seed(seed)
    model = Model().double().eval()
    with torch.no_grad():
        if seed is None:
            found = {n: torch.tensor(t) for n, t in tensors_of(c).items()}
            assert set(found) == set(model.state_dict())
            model.load_state_dict(found)
        else:
            for t in model.parameters():
                if t.ndim == 1:
                    t += 0.2 * torch.randn_like(t)
    return model


def framework(c: Case, signal: np.ndarray, model: Any = None) -> np.ndarray:
    """What PyTorch makes of whole numbers (rows, channels): (1, outputs), in float64."""
    import torch

    real = signal * np.array(c.input.get("unit", 1.0))
    x = (real - np.array(c.input.get("mean", 0.0))) / np.array(c.input.get("std", 1.0))
    with torch.no_grad():
        out = (module(c) if model is None else model)(torch.tensor(x)[None]).numpy()
    if c.given["task"] == "predict":
        out = out * np.array(c.given.get("output", {}).get("std", 1.0))
        return out + np.array(c.given.get("output", {}).get("mean", 0.0))
    if c.outputs == 1:
        return np.concatenate([np.zeros_like(out), out], 1)
    return out


def lengths(c: Case) -> list[int]:
    """Rows of the signals whose results are kept: all, and fewer; where that is another model's
    table of positions, all."""
    rows = c.input["length"]
    return [rows] if c.across else [rows, rows - c.kernel[0]]


def main() -> None:
    lines = []
    for name, c in CASES.items():
        entries = []
        for rows in lengths(c):
            result = framework(c, signal_of(name, rows))
            entries.append({"rows": rows, "result": [round(float(v), 6) for v in result[0]]})
            print(name, rows, result.shape, "largest", np.abs(result).max().round(3))
        lines.append(f"{json.dumps(name)}: {json.dumps(entries, separators=(',', ':'))}")
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
