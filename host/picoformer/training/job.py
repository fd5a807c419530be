"""What is trained: data of one kind, the shapes that fit them, a model and its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Error
from .splitting import MOST

if TYPE_CHECKING:
    import torch

Shape = dict[str, int]


def needed() -> Any:
    """torch. Raises Error where the extra is not installed."""
    try:
        import torch

        import tokenizers  # noqa: F401
    except ImportError as e:
        raise Error(f"{e.name} is not installed: pip install 'picoformer[train]'") from e
    return torch


class Job(ABC):
    """Data of one kind, read, checked and split; what subclasses say of them.

    parts: the labels of the examples of train, validation and test, "" for each where there are
    none; doubts: what is odd, in sentences; tokens: of a typical input, by which its milliseconds
    are told.
    """

    kind: str
    what: str  # one example, in a word
    rate = 2e-3  # of learning
    decay = 0.05
    beta = 0.99
    average = 500  # steps over which weights are averaged
    cool = 0.35  # share of the time in which the rate falls
    held_out: str  # the file of the test part, in the folder
    higher = "accuracy"  # what `score` is

    def __init__(self, data: Path, seed: int) -> None:
        self.data, self.seed = data, seed
        self.labels: list[str] = []
        self.parts: dict[str, list[str]] = {}
        self.doubts: list[str] = []
        self.tokens = 0

    @abstractmethod
    def fingerprint(self) -> str:
        """Of the data, as they were read."""

    @abstractmethod
    def shapes(self) -> list[Shape]:
        """Shapes to try, the one that is wanted most first; each takes less than the last one."""

    @abstractmethod
    def model(self, shape: Shape) -> Any:
        """A torch module with random weights."""

    def begin(self, model: Any) -> None:  # noqa: B027
        """Give a model its first weights, where they are not random; choose by them."""

    def memory(self) -> str:
        """What was learnt of the data apart from the weights: a tokenizer, as JSON."""
        return ""

    def recall(self, memory: str) -> None:  # noqa: B027
        """Go on with what an earlier run learnt: learnt again, it may come out otherwise."""

    @abstractmethod
    def export(self, folder: Path, shape: Shape, weights: dict[str, torch.Tensor]) -> None:
        """Write the checkpoint, as an importer reads it."""

    def source(self, folder: Path) -> Path:
        """What `convert` is given of the folder."""
        return folder

    @abstractmethod
    def loss(self, model: Any, step: int) -> torch.Tensor:
        """Of a batch; it depends on nothing but the model, the step and torch's generator."""

    @abstractmethod
    def score(self, model: Any) -> float:
        """How good a model is on the validation part; more is better."""

    def held(self) -> list[tuple[Any, str]]:
        """The validation part as `Simulator.classify` takes it, with labels; empty without."""
        return []

    def read(self) -> str:
        """How much of an example the model reads, in words, where longer ones are cut."""
        return ""

    def finished(self, model: Any) -> None:  # noqa: B027
        """Change the weights that are kept, where that makes them say better how sure they are."""

    @abstractmethod
    def write_test(self, folder: Path) -> None:
        """Write the test part, as `picoformer eval --data` reads it."""

    def shown(self, i: int) -> str:
        """Example i of the test part, in a cell of a table."""
        return str(i)

    def title(self) -> str:
        """What a model does, in a few words."""
        return f"which of {len(self.labels)} labels a {self.what} has"

    def said(self, score: float) -> str:
        """A score in words."""
        return f"{score:.2%}"

    def divided(self) -> str:
        """How the parts came about, as a sentence."""
        return (
            "Where the data did not say the parts themselves, a hash of each example did: a "
            "tenth of each label each; doubles are on one side. Of a large test part "
            f"{MOST:,} are taken."
        )

    @abstractmethod
    def described(self, shape: Shape) -> list[tuple[str, str]]:
        """The rows of the card that say what the model is."""

    @abstractmethod
    def limits(self) -> str:
        """What is to be known before it is used."""

    @abstractmethod
    def augmentation(self) -> str:
        """What was done to the examples in training, as a sentence."""

    def tried(self) -> str:
        """What stands behind `picoformer COMMAND --port PORT --model NAME`."""
        return '"a text"'

    def counts(self) -> dict[str, int]:
        return {part: len(some) for part, some in self.parts.items()}

    def by_label(self) -> list[tuple[str, ...]]:
        """Rows of a table: a label, and how many examples each part has of it."""
        counted = [Counter(some) for some in self.parts.values()]
        return [(label, *(str(c[label]) for c in counted)) for label in self.labels]
