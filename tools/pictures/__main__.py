"""Draw the pictures of the documents anew.

    python -m tools.pictures                       that of README
    python -m tools.pictures stories260K.bin       those of docs/how-it-works.md as well
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from picoformer import convert
from picoformer.planning.planner import Planner
from picoformer.planning.profiles import profile

from . import head, memory, running

FOLDER = head.ROOT / "docs" / "images"


LONGEST = 512  # positions of the picture of contexts


def explaining(checkpoint: str | Path, longest: int = LONGEST) -> dict[str, str]:
    """The pictures of a checkpoint on a Pico, by their files' names."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{Path(checkpoint).stem}.pft"
        convert(checkpoint, path)
        long = Path(folder) / "long.pft"
        convert(checkpoint, long, context=longest)
        planner = Planner(path, profile("pico"))
        return {
            "how-token.svg": running.token(planner.model),
            "how-bytes.svg": memory.total(planner),
            "how-context.svg": memory.contexts(Planner(long, profile("pico"))),
            "how-frame.svg": memory.frame(planner),
            "how-loop.svg": running.loop(planner.model),
        }


def main(arguments: list[str]) -> None:
    drawn = {"picoformer.svg": head.draw()}
    for checkpoint in arguments[:1]:
        drawn |= explaining(checkpoint)
    for name, svg in drawn.items():
        (FOLDER / name).write_text(svg, "utf-8")
        print(f"docs/images/{name}: {len(svg):,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
