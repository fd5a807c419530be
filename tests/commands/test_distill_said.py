"""What `convert --distill` says that training came to, in a line and in JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

import models
from picoformer.commands.main import main
from picoformer.compile import convert as compiling
from picoformer.compile.distill import Training
from test_json import holds, said

LINES = {
    True: "in 20 steps from 0.05 to 0.021 nats a prediction, on 32 examples set apart",
    False: "20 steps gained nothing (0.05 before, 0.021 at best, nats a prediction, on 32 "
    "examples set apart): the model stays as it was rounded",
}


@pytest.mark.parametrize("kept", [True, False])
def test_what_training_came_to(
    kept: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def distill(graph, rounded, steps, *_, **__):
        return graph, rounded, Training(steps, 32, 0.05, 0.021, "nats a prediction", kept)

    monkeypatch.setattr(compiling.training, "distill", distill)
    monkeypatch.setattr(compiling.training, "needed", lambda: None)
    arguments = ["convert", str(models.STORIES), "-o", str(tmp_path / "m.pft"), "--distill", "20"]
    assert main(arguments) == 0
    assert LINES[kept] in capsys.readouterr().out
    seen = said(capsys, *arguments)
    holds(seen, "convert")
    assert seen["distilled"]["kept"] == kept
