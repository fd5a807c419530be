"""Pages that are being written: what is not asked of them yet. Empty when they are done."""

BLOCKS = {"docs/page.md"}  # are run
ANCHORS: set[str] = set()  # are there
PICTURES = {"docs/images/page.png"}  # are shown
