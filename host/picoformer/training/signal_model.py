"""What signals are learned by, in torch: windows of rows, an encoder, their mean, a head."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class SignalClassifier(nn.Module):
    """Windows of the rows through a linear layer, a transformer's encoder, their mean, a head.

    mean, std: of each channel.
    """

    def __init__(
        self, *, channels: int, length: int, window: int, dim: int, hidden: int, layers: int,
        heads: int, classes: int, mean: np.ndarray, std: np.ndarray, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.window = window
        self.count = (length - window) // window + 1
        self.windows = nn.Conv1d(channels, dim, window, stride=window)
        self.positions = nn.Parameter(0.02 * torch.randn(self.count, dim))
        layer = nn.TransformerEncoderLayer(
            dim, heads, hidden, dropout, "relu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(dim), enable_nested_tensor=False
        )
        self.head = nn.Linear(dim, classes)
        self.register_buffer("mean", torch.from_numpy(mean).float(), persistent=False)
        self.register_buffer("std", torch.from_numpy(std).float(), persistent=False)

    def forward(self, rows: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of rows (n, length, channels), of which the first `counts` count."""
        there = torch.arange(self.count) < ((counts - self.window) // self.window + 1)[:, None]
        x = self.windows(((rows - self.mean) / self.std).transpose(1, 2)).transpose(1, 2)
        x = self.encoder(
            x + self.positions, src_key_padding_mask=None if there.all() else ~there
        )
        mean = (x * there[:, :, None]).sum(1) / there.sum(1)[:, None]
        logits: torch.Tensor = self.head(mean)
        return logits


def other_microphone(rows: torch.Tensor, mean: float) -> torch.Tensor:
    """Rows (n, rows, bands) of sound by another microphone, with bands and moments not heard."""
    n, length, bands = rows.shape
    heard = rows > 0
    # Curves of 11 points, some decibels up and down.
    curve = F.interpolate(torch.randn(n, 1, 11), bands, mode="linear", align_corners=True)
    curve = curve.squeeze(1) * (300 * torch.rand(n, 1)) + 150 * torch.randn(n, 1)
    out = torch.where(heard, (rows + curve[:, None]).clamp_min(0), rows)

    def hidden(total: int, widest: int, chance: float) -> torch.Tensor:
        width = torch.rand(n, 1) * (widest + 1) * (torch.rand(n, 1) < chance)
        at = torch.rand(n, 1) * (total - width)
        place = torch.arange(total)
        return (place >= at) & (place < at + width.floor())

    off = torch.zeros_like(heard)
    for _ in range(2):
        off |= hidden(bands, 7, 0.5)[:, None] | hidden(length, 10, 0.5)[:, :, None]
    return torch.where(off & (rows >= 0), mean, out)


def other_sensor(rows: torch.Tensor, counts: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Rows (n, rows, channels) a little earlier or later, faster, stronger, with noise."""
    n, length, channels = rows.shape

    def between(low: float, high: float, *size: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(size)

    at = torch.arange(length) * between(0.9, 1.1, n, 1) + between(-0.1, 0.1, n, 1) * length
    at = torch.minimum(at.clamp_min(0), (counts - 1)[:, None].float())
    before, share = at.long(), (at - at.floor())[:, :, None]
    which = torch.arange(n)[:, None]
    behind = torch.minimum(before + 1, (counts - 1)[:, None])
    first, second = rows[which, before], rows[which, behind]
    moved = first + share * (second - first)
    gain = between(0.85, 1.15, n, 1, 1) * between(0.95, 1.05, n, 1, channels)
    noise = torch.randn(moved.shape) * between(0, 0.08, n, 1, 1) * std
    offset = torch.randn(n, 1, channels) * 0.05 * std
    return moved * gain + noise + offset
