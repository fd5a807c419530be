"""What pictures are learned by, in torch, with the names that transformers gives ViT's tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-12
SPREAD = 0.05  # of what matrices and embeddings begin with


class _Holder(nn.Module):
    """Modules by their names, to have the names of a checkpoint."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class _Layer(nn.Module):
    def __init__(self, dim: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        query, key, value = (nn.Linear(dim, dim) for _ in range(3))
        self.attention = _Holder(
            attention=_Holder(query=query, key=key, value=value),
            output=_Holder(dense=nn.Linear(dim, dim)),
        )
        self.intermediate = _Holder(dense=nn.Linear(dim, hidden))
        self.output = _Holder(dense=nn.Linear(hidden, dim))
        self.layernorm_before, self.layernorm_after = (nn.LayerNorm(dim, EPS) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, _ = x.shape
        y = self.layernorm_before(x)
        a = self.attention.attention
        q, k, v = (
            f(y).view(n, t, self.heads, -1).transpose(1, 2) for f in (a.query, a.key, a.value)
        )
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, -1)
        x = x + self.attention.output.dense(seen)
        y = F.gelu(self.intermediate.dense(self.layernorm_after(x)))
        out: torch.Tensor = x + self.output.dense(y)
        return out


class ImageClassifier(nn.Module):
    """ViTForImageClassification: its tensors have the same names. mean, std: of pixels, 0 to 1."""

    def __init__(
        self, *, side: int, channels: int, patch: int, dim: int, hidden: int, layers: int,
        classes: int, mean: list[float], std: list[float],
    ) -> None:  # fmt: skip
        super().__init__()
        count = (side // patch) ** 2
        projection = nn.Conv2d(channels, dim, patch, stride=patch)
        embeddings = _Holder(patch_embeddings=_Holder(projection=projection))
        embeddings.cls_token = nn.Parameter(SPREAD * torch.randn(1, 1, dim))
        embeddings.position_embeddings = nn.Parameter(SPREAD * torch.randn(1, count + 1, dim))
        made = nn.ModuleList(_Layer(dim, hidden, dim // 16) for _ in range(layers))
        self.vit = _Holder(
            embeddings=embeddings, encoder=_Holder(layer=made), layernorm=nn.LayerNorm(dim, EPS)
        )
        self.classifier = nn.Linear(dim, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.normal_(module.weight, std=SPREAD)
                nn.init.zeros_(module.bias)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of pixels (n, channels, side, side), 0 to 255."""
        e = self.vit.embeddings
        x = e.patch_embeddings.projection((pixels / 255 - self.mean) / self.std)
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([e.cls_token.expand(len(x), -1, -1), x], 1) + e.position_embeddings
        for layer in self.vit.encoder.layer:
            x = layer(x)
        logits: torch.Tensor = self.classifier(self.vit.layernorm(x[:, 0]))
        return logits


def other_picture(pixels: torch.Tensor, shift: int, mirror: bool, holes: float) -> torch.Tensor:
    """Pixels (n, channels, side, side) moved by up to `shift`, mirrored or not, some with a hole.

    What comes in at an edge is what was there.
    """
    n, channels, side, _ = pixels.shape
    across = torch.arange(side).expand(n, side)
    columns = torch.where(torch.rand(n, 1) < 0.5 * mirror, side - 1 - across, across)
    rows = (across + torch.randint(-shift, shift + 1, (n, 1))).clamp(0, side - 1)
    columns = (columns + torch.randint(-shift, shift + 1, (n, 1))).clamp(0, side - 1)
    which = torch.arange(n)[:, None, None]
    out = pixels.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
    light = 1 + 0.1 * torch.randn(n, 1, 1, 1)
    out = (out.permute(0, 3, 1, 2) * light).clamp(0, 255)
    size = torch.randint(side // 7, side // 2, (2, n, 1)) * (torch.rand(1, n, 1) < holes)
    start = (torch.rand(2, n, 1) * (side + 1 - size)).long()
    at = torch.arange(side)
    inside = (at >= start) & (at < start + size)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return out.masked_fill(hole, 0.0)
