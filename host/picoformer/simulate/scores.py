"""What an evaluation measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..graph.nodes import Array

PICTURES = (4, 8)  # rows and columns of images at most, as a plot has them


@dataclass
class LayerError:
    """A value of the model: root mean square error of the integers, relative to its size."""

    value: str
    error: float


@dataclass
class Scores:
    """What was measured; None where it does not apply to the model or to the data.

    kl: Kullback-Leibler divergence of the integers from the float model, nats a prediction.
    top1: share of predictions that agree. perplexity_*: of the data's own next tokens.
    accuracy_*: share of examples whose label is predicted. exact_*, cer_*, chrf_*: texts equal to
    a wanted one (a share), character error rate, chrF in per cent; examples: a few of them.
    cosine, cosine_min: mean and least cosine between the embeddings of both. expect_*: against a
    framework's results: mean cosine, largest difference (of embeddings, of length 1), share of
    the same favourites. confusion_*: counts,
    a row for each true label. pictures: images with the true label and the predicted ones.
    layers: where the loss arises, in the program's order.
    """

    task: str
    data: str
    sequences: int
    tokens: int
    kl: float | None = None
    top1: float | None = None
    perplexity_float: float | None = None
    perplexity_int: float | None = None
    accuracy_float: float | None = None
    accuracy_int: float | None = None
    exact_float: float | None = None
    exact_int: float | None = None
    cer_float: float | None = None
    cer_int: float | None = None
    chrf_float: float | None = None
    chrf_int: float | None = None
    cosine: float | None = None
    cosine_min: float | None = None
    expect_cosine_float: float | None = None
    expect_cosine_int: float | None = None
    expect_off_float: float | None = None
    expect_off_int: float | None = None
    expect_top1_float: float | None = None
    expect_top1_int: float | None = None
    labels: list[str] | None = None
    confusion_float: list[list[int]] | None = None
    confusion_int: list[list[int]] | None = None
    layers: list[LayerError] = field(default_factory=list)
    examples: list[dict[str, str]] = field(default_factory=list)
    pictures: list[tuple[Array, str, str, str]] = field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The figures that apply; not the pictures."""
        found = asdict(replace(self, pictures=[]))
        return {k: v for k, v in found.items() if v is not None and k != "pictures"}
