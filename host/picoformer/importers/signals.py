"""What is in front of a model of signals: frames as a description tells them, and their nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Error
from ..features import LogMel
from ..graph.frames import Frames
from ..graph.nodes import Array, Embedding, Linear, Node, Patches
from .description import Description

LENGTH, CHANNELS, ELEMENTS = 1 << 15, 1 << 12, 1 << 12  # at most; the last of a window
# What a description's "input" may have, of any framework.
INPUT = "length", "seconds", "sound", "mean", "std", "unit", "names"
_SOUND = "rate", "window", "hop", "bands", "low", "high"
_HERTZ = 1 << 16  # more than any of its numbers


@dataclass(frozen=True)
class Scale:
    """What of a whole number (rows, channels) a model reads: (number - mean) / std.

    mean, std (channels,): in whole numbers, None where nobody tells them: the model reads number
    * unit. unit (channels,): the real value of a step, None where the numbers are all there is.
    """

    mean: Array | None
    std: Array | None
    unit: Array | None
    names: tuple[str, ...]


def sound_of(given: Description, fields: dict[str, Any]) -> LogMel | None:
    """What makes the rows of sound, where a description's "input" has such. Raises Error."""
    told = fields.get("sound")
    if told is None:
        if (seconds := fields.get("seconds")) is not None:
            raise given.refusal("input.seconds", seconds, 'input.length, without "sound"')
        return None
    told = given.within("input.sound", told, _SOUND)
    numbers: dict[str, Any] = {}
    for name in _SOUND:
        v, full = told.get(name), f"input.sound.{name}"
        if v is None and name == "rate":
            raise Error(f"{given.path}: {full} is missing; expected the samples of a second")
        if name in ("low", "high") and v is not None:
            if type(v) not in (int, float) or not 0 <= v <= _HERTZ:
                raise Error(f"{given.path}: {full} is {v!r}, expected a number of Hz")
            numbers[name] = float(v)
        elif v is not None:
            numbers[name] = given.whole(full, v, _HERTZ)
    if fields.get("unit") is not None:
        raise given.refusal("input.unit", fields["unit"], "none of sound: its rows have their own")
    try:
        return LogMel(**numbers)
    except Error as e:
        raise Error(f"{given.path}: input.sound: {e}") from e


def sizes(
    given: Description, fields: dict[str, Any], sound: LogMel | None = None
) -> tuple[int, int]:
    """(rows, channels) of the frames; sound: that their rows are of. Raises Error."""
    length, channels = rows_of(given, fields, sound), fields.get("channels")
    if length is None:
        raise Error(
            f"{given.path}: input.length is missing; expected the rows that the model reads at "
            "once" + (', or "seconds"' if sound else "")
        )
    if channels is None and not sound:
        raise Error(f"{given.path}: input.channels is missing; expected the numbers of a row")
    if sound and channels not in (None, sound.bands):
        raise Error(
            f"{given.path}: input.channels is {channels!r}, but its sound has {sound.bands} "
            "bands, which are the channels: leave it out"
        )
    return length, given.whole("input.channels", sound.bands if sound else channels, CHANNELS)


def rows_of(given: Description, fields: dict[str, Any], sound: LogMel | None) -> int | None:
    """The rows that a description tells, as "length" or of sound as "seconds". Raises Error."""
    length, seconds = fields.get("length"), fields.get("seconds")
    if not sound or seconds is None:
        return None if length is None else given.whole("input.length", length, LENGTH)
    if length is not None:
        raise Error(f"{given.path}: input has a length and seconds; expected one of them")
    s = given.real("seconds", fields=fields)
    rows = sound.rows(round(min(s, LENGTH) * sound.rate))
    if not 1 <= rows <= LENGTH:
        raise Error(
            f"{given.path}: input.seconds is {seconds!r}, {rows} rows of sound; expected 1 to "
            f"{LENGTH}"
        )
    return rows


def scale_of(given: Description, fields: dict[str, Any], channels: int) -> Scale:
    """What a description's "input" tells of the channels. Raises Error."""

    def numbers(name: str, least: float) -> Array | None:
        v = fields.get(name)
        return None if v is None else given.numbers(f"input.{name}", v, channels, least)

    unit, mean, std = numbers("unit", 0), numbers("mean", -np.inf), numbers("std", 0)
    if mean is not None or std is not None:
        mean = np.zeros(channels) if mean is None else mean
        std = np.ones(channels) if std is None else std
        if unit is not None:  # which both are given in
            mean, std = mean / unit, std / unit
    names = given.listed("input.names", fields.get("names"), channels)
    return Scale(mean, std, unit, tuple(names))


def check(where: str, frames: Frames) -> None:
    """Raise Error for frames that cannot be read."""
    if frames.elements > ELEMENTS:
        raise Error(
            f"{where}: a window of {frames.size[0]} rows and {frames.size[1]} channels has "
            f"{frames.elements} numbers, expected at most {ELEMENTS}"
        )
    if frames.stride[0] > frames.length or frames.stride[1] > frames.channels:
        raise Error(
            f"{where}: a stride of {frames.stride[0]} rows and {frames.stride[1]} channels; the "
            f"signal has {frames.length} and {frames.channels}"
        )
    try:
        frames.check()
    except Error as e:
        raise Error(f"{where}: {e}") from e


def real(scale: Scale, weight: Array, size: tuple[int, int]) -> tuple[Scale, Array]:
    """The same, with a weight (dim, elements) that reads whole numbers where it read real ones.

    Only where neither mean nor deviation is known: a model that was trained on values in `unit`.
    """
    unit, channels = scale.unit, size[1]
    if unit is None or scale.mean is not None:
        return scale, weight
    if channels != len(unit) and np.any(unit != unit[0]):  # a weight for channels of all units
        return Scale(np.zeros(len(unit)), 1 / unit, unit, scale.names), weight
    return scale, weight * np.tile(unit[:channels], size[0])


def embed_frames(
    frames: Frames,
    weight: Array,
    bias: Array | None,
    name: str,
    table: Array | None,
    token: Array | None,
) -> list[Node]:
    """The nodes that make x of a signal's windows.

    weight (dim, elements), bias (dim,): the linear, of this name. table (context, dim): the
    positions, if there are any, the first of which is that of the class token (dim,), if there is
    one.
    """
    nodes: list[Node] = [
        Patches("frames", frames.elements),
        Linear("frames", "x", weight, name, bias),
    ]
    if token is not None:
        context = frames.positions(frames.length)
        made = np.zeros((context, len(weight))) if table is None else table.astype(np.float64)
        # The class token's window is all zeros, of which the linear makes its bias.
        made[0] += token if bias is None else token - bias
        table = made
    if table is not None:
        nodes.append(Embedding("x", table, by="position"))
    return nodes
