"""docs/train.md names what there is; tests/docs/test_blocks.py runs its walks."""

from __future__ import annotations

import models
from picoformer.commands.train import KINDS
from tools.markdown import Page
from walkdata import SAYS

PAGE = Page("docs/train.md")


def test_the_page_has_the_commands_kinds():
    for kind in KINDS:
        assert f"| `train {kind}` |" in (models.ROOT / PAGE.path).read_text("utf-8")


def test_a_walk_is_four_commands_at_most():
    blocks = [b.code.splitlines() for b in PAGE.blocks() if b.words == ("sh",)]
    walks = [lines for lines in blocks if lines[0].startswith("picoformer train ")]
    assert len(walks) == 3
    for lines in walks:
        assert len(lines) == 4 and lines[-1].startswith("picoformer classify ")
    run = [line for lines in walks for line in lines]
    more = [b for b in Page("docs/your-commands.md").blocks() if b.words == ("sh",)]
    run += [line for b in more for line in b.code.splitlines()]
    assert set(SAYS) <= set(run), "what is expected of commands that the page has no more"
