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
    cosine, cosine_min: mean and least cosine between the embeddings of both. mae_*, rmse_*, r2_*:
    of numbers that are predicted: mean error, root mean square error, and the share of the right
    numbers' variance that is explained, the mean over the outputs; outputs: the same of each.
    off_mean, off_max: mean and largest difference between both, in deviations of what the float
    model predicts. expect_*: against a framework's results: mean cosine (of predicted numbers,
    of all less their mean), largest difference (of embeddings, of length 1), share of the same
    favourites. confusion_*: counts, a row for each true label. pictures: images with the true
    label and the predicted ones. predictions: (examples, outputs) of the right numbers, or None,
    of the float model and of the integers. said: of each example the labels that the float model
    and the integers predict. layers: where the loss arises, in the program's order.
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
    mae_float: float | None = None
    mae_int: float | None = None
    rmse_float: float | None = None
    rmse_int: float | None = None
    r2_float: float | None = None
    r2_int: float | None = None
    off_mean: float | None = None
    off_max: float | None = None
    expect_cosine_float: float | None = None
    expect_cosine_int: float | None = None
    expect_off_float: float | None = None
    expect_off_int: float | None = None
    expect_top1_float: float | None = None
    expect_top1_int: float | None = None
    labels: list[str] | None = None
    confusion_float: list[list[int]] | None = None
    confusion_int: list[list[int]] | None = None
    outputs: list[dict[str, Any]] | None = None
    layers: list[LayerError] = field(default_factory=list)
    examples: list[dict[str, str]] = field(default_factory=list)
    pictures: list[tuple[Array, str, str, str]] = field(default_factory=list, repr=False)
    said: list[tuple[int, int]] = field(default_factory=list, repr=False)
    predictions: tuple[Array | None, Array, Array] | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The figures that apply; not the pictures, and not each prediction."""
        found = asdict(replace(self, pictures=[], said=[], predictions=None))
        return {k: v for k, v in found.items() if v is not None and k not in ("pictures", "said")}
