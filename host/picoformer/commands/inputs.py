"""What a model is given on the command line: a text, a picture, a signal."""

from __future__ import annotations

import argparse
from typing import Any

from ..boards.board import Board
from ..compile.modelfile import ModelFile, frames_of
from ..data.pictures import picture
from ..data.signals import kinds, shape_of, signal
from ..errors import Error
from ..graph.frames import Frames
from ..graph.nodes import Array
from .doubts import file_of


def add_image(p: argparse.ArgumentParser, instead: str) -> None:
    text = f"picture to read; it is scaled to the model's size{instead}"
    p.add_argument("--image", metavar="PNG", help=text)


def add_input(p: argparse.ArgumentParser, instead: str) -> None:
    p.add_argument(
        "--input", metavar="FILE",
        help="signal to read: .csv or .npy, with a row for each moment and a column for each "
        f"channel; or sound: .wav{instead}",
    )  # fmt: skip


def given(
    o: argparse.Namespace, text: str, image: tuple[int, int, int], frames: Frames | None
) -> str | Array:
    """What a model is to read; image, frames: that it does, or zeros and None. Raises Error."""
    if frames and not o.input:
        reads = "sound: give it" if frames.sound else "frames of numbers: give them"
        raise Error(
            f"this model reads {reads} with --input FILE ({kinds(frames)}, {shape_of(frames)})"
        )
    if frames:
        return signal(o.input, frames)
    if o.input:
        reads, way = ("images", "--image FILE") if image[2] else ("text", "a text")
        raise Error(f"this model reads {reads}, not frames of numbers: give {way}")
    if image[2] and not o.image:
        size = f"{image[0]} x {image[1]} pixels"
        raise Error(f"this model reads images: give one with --image ({size}, or it is scaled)")
    return picture(o.image, image) if o.image else text


def of_file(o: argparse.Namespace, m: ModelFile) -> str | Array:
    """What a model file is to read, for `simulate`. Raises Error."""
    shape = m.meta["image"] if m.program[14] else (0, 0, 0)
    return given(o, o.prompt, (shape[0], shape[1], shape[2]), m.frames)


def told(board: Board, o: argparse.Namespace, name: str) -> dict[str, Any]:
    """The metadata of a model on a board, before it is loaded: of its file, where that is here."""
    m = file_of(board, name, o.weights)
    return m.meta if m else board.metadata(name)


def names(meta: dict[str, Any], count: int) -> list[str]:
    """Of the numbers that a model predicts, if they have any."""
    found = meta.get("labels")
    if not isinstance(found, list) or len(found) != count:
        return []
    return [str(name) for name in found]


def on_board(
    board: Board, o: argparse.Namespace, name: str, meta: dict[str, Any]
) -> str | Array:
    """What the model that is loaded there is to read; meta: as `told` says. Raises Error."""
    return given(o, o.text or "", board.image_shape(name), frames_there(board, name, meta))


def frames_there(board: Board, name: str, meta: dict[str, Any]) -> Frames | None:
    """What the model that is loaded there reads of signals; meta: as `told` says."""
    length, channels = board.frames_shape(name)
    return frames_of(meta, length, channels) if length else None
