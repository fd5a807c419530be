"""Plans for a model file, read and checked."""

from __future__ import annotations

from pathlib import Path

from ..compile import modelfile
from ..compile.modelfile import ModelFile
from .plans import Plans
from .profiles import Profile


class Planner(Plans):
    """Budgets of one model on one board.

    path: the model file. Raises Error for one that is not.
    """

    model: ModelFile

    def __init__(self, path: str | Path, board: Profile) -> None:
        super().__init__(modelfile.load(path), Path(path).read_bytes(), board)
