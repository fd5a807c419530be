"""The teacher of the story model: a llama2.c checkpoint, read here and sampled from in batches."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

BOS = 1
SAMPLE_LENGTH = 288  # teacher tokens a sequence after BOS: about 262 of the student's
BATCH = 64  # sequences sampled at a time: their key-value cache just fits a core's share of L3


class Teacher:
    """A llama2.c legacy checkpoint (version 0) with its tokenizer.

    The header is 7 int32: dim, hidden, layers, heads, kv heads, vocab (positive: tied classifier),
    context. Then float32 tensors, each stacked over the layers.
    """

    def __init__(self, folder: Path):
        raw = (folder / "stories260K.bin").read_bytes()
        self.dim, self.hidden, self.layers, self.heads, self.kv_heads, vocab, _ = struct.unpack(
            "7i", raw[:28]
        )
        self.vocab = abs(vocab)
        self.head_dim = self.dim // self.heads
        flat = torch.from_numpy(np.frombuffer(raw, np.float32, offset=28).copy())
        offset = 0

        def take(*shape: int) -> torch.Tensor:
            nonlocal offset
            offset += math.prod(shape)
            return flat[offset - math.prod(shape) : offset].view(shape)

        n, d, kv = self.layers, self.dim, self.kv_heads * self.head_dim
        self.embedding = take(self.vocab, d)
        self.attention_norm = take(n, d)
        self.qkv = torch.cat([take(n, d, d), take(n, kv, d), take(n, kv, d)], 1).contiguous()
        self.out = take(n, d, d)
        self.ffn_norm = take(n, d)
        gate, self.down = take(n, self.hidden, d), take(n, d, self.hidden)
        up = take(n, self.hidden, d)
        self.gate_up = torch.cat([gate, up], 1).contiguous()
        self.final_norm = take(d)
        half = torch.arange(0, self.head_dim, 2) / self.head_dim
        angle = torch.outer(torch.arange(SAMPLE_LENGTH + 1).float(), 10000.0**-half)
        self.cos, self.sin = angle.cos(), angle.sin()
        self.pieces = read_llama2c_tokenizer(folder / "tok512.bin")

    def decode(self, ids: np.ndarray) -> bytes:
        """The bytes of one story (no BOS inside), without the leading space of its first word."""
        return b"".join(self.pieces[i] for i in ids).removeprefix(b" ")

    @torch.inference_mode()
    def surprise(self, ids: torch.Tensor) -> torch.Tensor:
        """(batch, time + 1) int64 ids -> (batch, time) nats of each id after the first."""
        x = self.embedding[ids[:, :-1]]
        time = x.shape[1]

        def norm(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
            return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * gain

        def rotate(x: torch.Tensor) -> torch.Tensor:
            a, b = x[..., 0::2], x[..., 1::2]
            c, s = self.cos[:time, None], self.sin[:time, None]
            return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2)

        for i in range(self.layers):
            y = F.linear(norm(x, self.attention_norm[i]), self.qkv[i])
            y = y.unflatten(-1, (self.heads + 2 * self.kv_heads, self.head_dim))
            q, k, v = y.split([self.heads, self.kv_heads, self.kv_heads], 2)
            q, k, v = (part.transpose(1, 2) for part in (rotate(q), rotate(k), v))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = x + F.linear(mixed.transpose(1, 2).flatten(2), self.out[i])
            gate, up = F.linear(norm(x, self.ffn_norm[i]), self.gate_up[i]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, self.down[i])
        logits = F.linear(norm(x, self.final_norm), self.embedding)
        return surprise(logits, ids[:, 1:])


def surprise(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(batch, time, vocab) logits, (batch, time) ids -> (batch, time) nats."""
    flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return flat.view(targets.shape)


def read_llama2c_tokenizer(path: Path) -> list[bytes]:
    """The bytes each id stands for. File: int32, then (float32 score, int32 size, text) each."""
    raw = path.read_bytes()
    pieces: list[bytes] = []
    offset = 4
    while offset < len(raw):
        (size,) = struct.unpack_from("i", raw, offset + 4)
        piece = raw[offset + 8 : offset + 8 + size]
        if 3 <= len(pieces) <= 258:
            piece = bytes([len(pieces) - 3])  # written <0x0A>
        pieces.append(piece)
        offset += 8 + size
    return pieces


# The sampler keeps the batch as the last axis: every operation of a step then runs over contiguous
# lanes, and one compiled loop serves all heads. Attention is unrolled over the 8 head dimensions.


def _norm_columns(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(0, keepdim=True) + 1e-5) * gain[:, None]


def _project(
    x: torch.Tensor,
    gain: torch.Tensor,
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    heads: int,
    kv_heads: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(dim, batch) -> rotated q (heads, hd, batch) and k, and v (kv heads, hd, batch)."""
    y = qkv @ _norm_columns(x, gain)
    hd = qkv.shape[0] // (heads + 2 * kv_heads)
    y = y.view(heads + 2 * kv_heads, hd, -1)
    pairs = y[: heads + kv_heads].unflatten(1, (hd // 2, 2))  # llama2.c rotates neighbours
    a, b = pairs[:, :, 0], pairs[:, :, 1]
    c, s = cos[None, :, None], sin[None, :, None]
    rotated = torch.stack([a * c - b * s, a * s + b * c], 2).flatten(1, 2)
    return rotated[:heads], rotated[heads:], y[heads + kv_heads :]


def _attend(
    x: torch.Tensor,
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    out: torch.Tensor,
    gain: torch.Tensor,
    gate_up: torch.Tensor,
    down: torch.Tensor,
) -> torch.Tensor:
    """The rest of a layer. keys, values: (time, kv heads, hd, batch); mask: (time,) 0 or -1e9."""
    kv_heads, hd = keys.shape[1:3]
    q = q.unflatten(0, (kv_heads, -1))
    scores = mask[:, None, None, None]
    for d in range(hd):
        scores = scores + q[None, :, :, d] * (keys[:, :, None, d] * hd**-0.5)
    weights = scores.exp()  # this teacher's scores are small: no overflow without the maximum
    total = weights.sum(0)
    mixed = [(weights * values[:, :, None, d]).sum(0) / total for d in range(hd)]
    x = x + out @ torch.stack(mixed, 2).view(-1, x.shape[1])
    gate, up = (gate_up @ _norm_columns(x, gain)).chunk(2)
    return x + down @ (F.silu(gate) * up)


def _draw(
    x: torch.Tensor, gain: torch.Tensor, embedding: torch.Tensor, uniform: torch.Tensor
) -> torch.Tensor:
    """One id a column from the full distribution at temperature 1, by an exponential race."""
    logits = embedding @ _norm_columns(x, gain)
    weights = (logits - logits.max(0, keepdim=True).values).exp()
    return (weights / -uniform.log()).argmax(0)


class Sampler:
    """Draws BATCH sequences at a time from the teacher, from BOS, with a key-value cache."""

    def __init__(self, teacher: Teacher, compiled: bool = True):
        self.teacher = teacher
        shape = (teacher.layers, SAMPLE_LENGTH, teacher.kv_heads, teacher.head_dim, BATCH)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
        self.steps: list[Callable[..., Any]] = [_project, _attend, _draw]
        if compiled:
            torch._dynamo.config.recompile_limit = 64
            self.steps = [torch.compile(step, dynamic=False) for step in self.steps]

    @torch.inference_mode()
    def batch(self, generator: torch.Generator) -> np.ndarray:
        """(BATCH, 1 + SAMPLE_LENGTH) uint16, BOS first."""
        t, (project, attend, draw) = self.teacher, self.steps
        ids = torch.full((BATCH,), BOS)
        history = [ids]
        for position in range(SAMPLE_LENGTH):
            reach = (position // 32 + 1) * 32  # few distinct cache lengths, few compilations
            mask = torch.where(torch.arange(reach) <= position, 0.0, -1e9)
            x = t.embedding[ids].T.contiguous()
            for i in range(t.layers):
                q, k, v = project(
                    x, t.attention_norm[i], t.qkv[i], t.cos[position], t.sin[position],
                    t.heads, t.kv_heads,
                )  # fmt: skip
                self.keys[i, position], self.values[i, position] = k, v
                x = attend(
                    x, q, self.keys[i, :reach], self.values[i, :reach], mask,
                    t.out[i], t.ffn_norm[i], t.gate_up[i], t.down[i],
                )  # fmt: skip
            uniform = torch.rand(t.vocab, BATCH, generator=generator)
            ids = draw(x, t.final_norm, t.embedding, uniform)
            history.append(ids)
        return torch.stack(history, 1).numpy().astype(np.uint16)
