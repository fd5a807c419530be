"""Pages that are being written: what is not asked of them yet. Empty when they are done."""

BLOCKS = {"docs/page.md", "docs/signals.md", "docs/sound.md", "docs/train.md"}  # are run
ANCHORS = {"docs/troubleshooting.md", "docs/board.md"}  # are there
PICTURES = {"docs/images/page.png"}  # are shown
