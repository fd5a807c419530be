"""What writes a text anew, in torch, with the names that transformers gives Marian's tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..importers.sinusoids import marian

SPREAD = 0.05  # of what matrices and embeddings begin with


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (
            nn.Linear(dim, dim) for _ in range(4)
        )

    def forward(
        self, x: torch.Tensor, seen: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """mask (n, 1, 1, seen): what is there; None: each position sees those up to itself."""
        n, t, _ = x.shape

        def heads(v: torch.Tensor) -> torch.Tensor:
            return v.view(n, v.shape[1], self.heads, -1).transpose(1, 2)

        q, k, v = heads(self.q_proj(x)), heads(self.k_proj(seen)), heads(self.v_proj(seen))
        got = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None)
        out: torch.Tensor = self.out_proj(got.transpose(1, 2).reshape(n, t, -1))
        return out


class _Layer(nn.Module):
    def __init__(self, dim: int, hidden: int, heads: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.self_attn = _Attention(dim, heads)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        if cross:
            self.encoder_attn = _Attention(dim, heads)
            self.encoder_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.final_layer_norm = nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None, source: torch.Tensor | None = None,
        there: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        x = self.self_attn_layer_norm(x + self.drop(self.self_attn(x, x, mask)))
        if source is not None:
            y = self.encoder_attn(x, source, there)
            x = self.encoder_attn_layer_norm(x + self.drop(y))
        y = self.fc2(F.relu(self.fc1(x)))
        out: torch.Tensor = self.final_layer_norm(x + self.drop(y))
        return out


class _Stack(nn.Module):
    def __init__(self, layers: list[_Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class _Both(nn.Module):
    def __init__(self, vocab: int, dim: int, encoder: _Stack, decoder: _Stack) -> None:
        super().__init__()
        self.shared = nn.Embedding(vocab, dim)
        self.encoder, self.decoder = encoder, decoder


class PairModel(nn.Module):
    """MarianMTModel with one vocabulary: its tensors have the same names."""

    def __init__(
        self, *, vocab: int, positions: int, dim: int, hidden: int, layers: int,
        dropout: float, heads: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        heads = heads or dim // 16

        def stack(cross: bool) -> _Stack:
            return _Stack([_Layer(dim, hidden, heads, dropout, cross) for _ in range(layers)])

        self.model = _Both(vocab, dim, stack(False), stack(True))
        self.drop = nn.Dropout(dropout)
        self.scale = dim**0.5
        table = torch.from_numpy(marian(positions, dim))
        self.register_buffer("positions", table, persistent=False)
        self.register_buffer("final_logits_bias", torch.zeros(1, vocab))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=SPREAD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.model.shared(ids) * self.scale + self.positions[: ids.shape[1]]
        out: torch.Tensor = self.drop(x)
        return out

    def encode(self, ids: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """What the decoder attends to, (n, tokens, dim)."""
        x = self._embed(ids)
        for layer in self.model.encoder.layers:
            x = layer(x, there)
        return x

    def decode(
        self, ids: torch.Tensor, source: torch.Tensor, there: torch.Tensor
    ) -> torch.Tensor:
        """Logits (n, tokens, vocab) of what is written, as far as it is."""
        x = self._embed(ids)
        for layer in self.model.decoder.layers:
            x = layer(x, None, source, there)
        return F.linear(x, self.model.shared.weight)

    def forward(
        self, ids: torch.Tensor, there: torch.Tensor, written: torch.Tensor
    ) -> torch.Tensor:
        """Logits of what is written about sources, of which those tokens count that are there."""
        mask = there[:, None, None, :]
        return self.decode(written, self.encode(ids, mask), mask)
