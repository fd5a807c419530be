"""Encoders in torch, with the names that transformers gives their tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-12
SPREAD = 0.05  # of what matrices and embeddings begin with


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q_lin, self.k_lin, self.v_lin, self.out_lin = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        n, t, _ = x.shape
        q, k, v = (
            f(x).view(n, t, self.heads, -1).transpose(1, 2)
            for f in (self.q_lin, self.k_lin, self.v_lin)
        )
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        out: torch.Tensor = self.out_lin(seen.transpose(1, 2).reshape(n, t, -1))
        return out


class _Feed(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.lin2(F.gelu(self.lin1(x)))
        return out


class _Layer(nn.Module):
    def __init__(self, dim: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = _Attention(dim, heads, dropout)
        self.sa_layer_norm = nn.LayerNorm(dim, EPS)
        self.ffn = _Feed(dim, hidden)
        self.output_layer_norm = nn.LayerNorm(dim, EPS)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.sa_layer_norm(x + self.drop(self.attention(x, mask)))
        out: torch.Tensor = self.output_layer_norm(x + self.drop(self.ffn(x)))
        return out


class _Embeddings(nn.Module):
    def __init__(self, vocab: int, positions: int, dim: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab, dim)
        self.position_embeddings = nn.Embedding(positions, dim)
        self.LayerNorm = nn.LayerNorm(dim, EPS)


class _Transformer(nn.Module):
    def __init__(self, layers: list[_Layer]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)


class _DistilBert(nn.Module):
    def __init__(
        self, vocab: int, positions: int, dim: int, hidden: int, heads: int, layers: int,
        dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embeddings = _Embeddings(vocab, positions, dim)
        made = [_Layer(dim, hidden, heads, dropout) for _ in range(layers)]
        self.transformer = _Transformer(made)


class TextClassifier(nn.Module):
    """DistilBertForSequenceClassification: its tensors have the same names."""

    def __init__(
        self, *, vocab: int, positions: int, dim: int, hidden: int, heads: int, layers: int,
        classes: int, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.distilbert = _DistilBert(vocab, positions, dim, hidden, heads, layers, dropout)
        self.pre_classifier = nn.Linear(dim, dim)
        self.classifier = nn.Linear(dim, classes)
        self.drop = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=SPREAD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, ids: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Logits (rows, classes) of ids (rows, tokens), of which those count that are there."""
        e = self.distilbert.embeddings
        at = torch.arange(ids.shape[1])
        x = self.drop(e.LayerNorm(e.word_embeddings(ids) + e.position_embeddings(at)))
        mask = there[:, None, None, :]
        for layer in self.distilbert.transformer.layer:
            x = layer(x, mask)
        logits: torch.Tensor = self.classifier(self.drop(F.relu(self.pre_classifier(x[:, 0]))))
        return logits
