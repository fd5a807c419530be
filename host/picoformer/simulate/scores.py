"""What an evaluation measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..graph.nodes import Array

PICTURES = (4, 8)  # rows and columns of images at most, as a plot has them


@dataclass
class LayerError:
    """How far one value of the model is off.

    value: its name. error: root mean square error of the integers, relative to its size.
    """

    value: str
    error: float


@dataclass
class Scores:
    """What `evaluate` measured. Fields that do not apply are None.

    Names that end in `_float` are of the checkpoint, those in `_int` of the board's integers.

    task: what the model does. data: what it was measured on, in words.
    sequences, tokens: number of examples, and of all their tokens.
    kl: Kullback-Leibler divergence of the integers from the float model, nats a prediction.
    top1: share of predictions that are the same, 0 to 1.
    perplexity_float, perplexity_int: of the next tokens of `data`.
    accuracy_float, accuracy_int: share of examples whose label is predicted, 0 to 1.
    exact_float, exact_int: share of texts that equal a wanted one to the letter.
    cer_float, cer_int: character error rate. chrf_float, chrf_int: chrF2 in per cent.
    cosine, cosine_min: mean and least cosine between the embeddings of both.
    mae_float, mae_int, rmse_float, rmse_int, r2_float, r2_int: of predicted numbers: mean absolute
    error, root mean square error, and share of the variance that is explained.
    off_mean, off_max: mean and largest difference of both, in deviations of the float outputs.
    expect_cosine_float, expect_cosine_int: mean cosine with another framework's results.
    expect_off_float, expect_off_int: the largest difference from them.
    expect_top1_float, expect_top1_int: share of predictions that are the same as theirs.
    labels: names of the labels. confusion_float, confusion_int: counts, a row for each true one.
    outputs: of each predicted number its `name` and its mae, rmse and r2.
    layers: a LayerError for each value of the model, in the order in which it computes them.
    examples: a few texts, those first in which both differ.
    pictures: some images, each with its true label and the two predicted ones.
    said: of each example the labels that float model and integers predict, as numbers.
    predictions: arrays (examples, outputs): the right numbers (or None), float and integers.
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
        """The figures that apply, as a dict for JSON: no pictures, no single predictions."""
        found = asdict(replace(self, pictures=[], said=[], predictions=None))
        return {k: v for k, v in found.items() if v is not None and k not in ("pictures", "said")}
