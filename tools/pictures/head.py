"""The picture at the head of README: from a checkpoint to a board that answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from picoformer import Simulator, convert

from .pen import arrow, box, file, pico, picture, text

PROMPT = "Once upon a time"
LETTERS = 54  # of a line of the board's answer
LINES = 2
ROOT = Path(__file__).resolve().parents[2]


def answer() -> tuple[int, list[str]]:
    """The bytes of our story model as a file, and the lines that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "stories.pft"
        convert(ROOT / "models" / "stories", model)
        words = (PROMPT + "".join(Simulator(model).generate(PROMPT, 60))).split()
        size = model.stat().st_size
    lines = [""]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > LETTERS - 4 * (len(lines) == LINES):
            if len(lines) == LINES:
                break
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    lines[-1] += " ..."
    return size, lines


def draw() -> str:
    size, lines = answer()
    formats = ("Hugging Face", "PyTorch, Keras", "GGUF", "llama2.c")
    inside = [
        box(16, 16, 226, 216),
        text(129, 56, "your checkpoint", 23, "bold", "middle"),
        *(text(129, 98 + 37 * i, s, 24, "", "middle") for i, s in enumerate(formats)),
        text(320, 84, "picoformer", 21, "mono soft", "middle"),
        text(320, 111, "convert", 21, "mono bold", "middle"),
        arrow([(254, 132), (386, 132)]),
        file(398, 42, 140, 164),
        text(468, 120, "stories.pft", 21, "bold", "middle"),
        text(468, 154, f"{size / 1000:.0f} KB", 24, "", "middle"),
        text(612, 84, "picoformer", 21, "mono soft", "middle"),
        text(612, 111, "deploy", 21, "mono bold", "middle"),
        arrow([(550, 132), (676, 132)]),
        pico(690, 21, 92),
        arrow([(736, 240), (736, 284)]),
        text(722, 270, "it writes, over USB", 22, "soft", "end"),
        box(16, 288, 768, 102),
        text(36, 330, PROMPT, 22.5, "mono given"),
        text(36, 330, lines[0].replace(PROMPT, " " * len(PROMPT), 1), 22.5, "mono"),
        text(36, 368, lines[1], 22.5, "mono"),
        text(400, 438, "the same integers on your PC and on the board", 27, "bold", "middle"),
    ]
    seen = "picoformer turns your checkpoint into one small file and puts it on a board, "
    seen += "which then writes: " + " ".join(lines)
    return picture(800, 464, seen, inside)
