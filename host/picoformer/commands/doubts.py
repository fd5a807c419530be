"""What an input may have against it: said in a line each, as the result is nonsense else.

Of a model on a board that is known here, by its file: named, beside, or deployed from this PC.
"""

from __future__ import annotations

import contextlib
import json
import unicodedata
from pathlib import Path

import numpy as np

from ..boards.board import Board
from ..boards.emulated.flash import cache
from ..compile.modelfile import ModelFile, header_crc, load
from ..errors import Error
from ..graph.frames import Frames
from ..graph.nodes import Array

SHOWN = 5  # unknown characters or words, of many
LONG = 24  # characters of a word that is shown
SMALL = 300, 4096  # tokens of a vocabulary of one language
FAR = 6  # deviations of a channel's middle
QUIET = 1.5  # deviations of the loudest rows of a sound
ENOUGH, LIVELY = 8, 2.0  # rows and deviation of a channel that should vary
KEPT = 100  # files that are remembered


def of_input(m: ModelFile, text: str | Array, context: str | None = None) -> list[str]:
    """What is to be said of what a model is given: a text, an image, a signal, or a question."""
    if not isinstance(text, str):
        return of_signal(m.frames, text) if m.frames else of_image(m, text)
    if m.task == "generate":
        return _unknown(m, text)  # there may be none
    return of_text(m, text) if context is None else of_question(m, context, text)


def of_text(m: ModelFile, text: str) -> list[str]:
    """What is to be said of a text that a model reads as a whole."""
    if not text.strip():
        return ["the text is empty: the result means nothing"]
    ids = m.tokenizer.encode(text)
    room = m.context - len(m.tokenizer.wrap([]))
    return _cut(len(ids), room) + _unknown(m, text)


def of_question(m: ModelFile, context: str, question: str) -> list[str]:
    """What is to be said of a question and the text that has the answer."""
    for what, text in (("text", context), ("question", question)):
        if not text.strip():
            return [f"the {what} is empty: the result means nothing"]
    asked = m.tokenizer.encode(question)
    size = sum(len(m.tokenizer.encode(word)) for word in context.split())
    room = m.context - len(m.tokenizer.wrap(asked, []))
    return _cut(size, room) + _unknown(m, f"{question} {context}")


def of_image(m: ModelFile, pixels: Array) -> list[str]:
    """What is to be said of an image, (height, width, channels)."""
    known = m.meta.get("pixels")
    if not (isinstance(known, list) and len(known) == 2 and all(type(n) is int for n in known)):
        return []
    mean, deviation = known
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    border = float(np.median(edge))
    dark = mean < 128
    if (border - mean if dark else mean - border) <= deviation:
        return []
    here, there = ("bright", "dark") if dark else ("dark", "bright")
    return [
        f"the picture's edge is {here} ({border:.0f} of 255), but the model learned from {there} "
        f"pictures ({mean} on average): give it the negative of this picture"
    ]


def of_signal(f: Frames, signal: Array) -> list[str]:
    """What is to be said of a signal, (rows, channels) of whole numbers."""
    mean, std = f.mean, f.std
    if mean is None or std is None:
        return []
    if f.sound:
        return _of_sound(signal, mean, std)
    names = f.names or [f"channel {i + 1}" for i in range(f.channels)]

    def usual(i: int) -> str:
        return f"{mean[i]:.4g} on average, give or take {std[i]:.4g}"

    middle = np.median(signal, 0)
    far = np.flatnonzero(np.abs(middle - mean) > FAR * std).tolist()
    still = np.flatnonzero(signal.min(0) == signal.max(0)).tolist()
    still = [i for i in still if len(signal) >= ENOUGH and std[i] > LIVELY and i not in far]
    said = []
    if far:
        i = max(far, key=lambda i: abs(middle[i] - mean[i]) / std[i])
        said.append(
            f"the signal is not like those that the model learned from: {names[i]} is about "
            f"{middle[i]:.4g}, they had {usual(i)}{_others(far)}: are its units right, and the "
            "order of its channels?"
        )
    if still:
        i = still[0]
        said.append(
            f"the signal's {names[i]} is always {signal[0, i]}, but the model learned from "
            f"{usual(i)}{_others(still)}: is the sensor's channel on, and the unit right?"
        )
    return said


def _of_sound(rows: Array, mean: Array, std: Array) -> list[str]:
    """What is to be said of rows of sound."""
    if not rows.any():
        return ["the sound is silent: the result means nothing"]
    most, least = (edge - mean for edge in (rows.max(0), rows.min(0)))
    if np.mean(most / std) < -QUIET:
        return [
            f"the sound is quiet: it stays {_decibels(-most)} dB below the average of those that "
            "the model learned from"
        ]
    if np.mean(least / std) > FAR:
        return [
            f"the sound is loud: it stays {_decibels(least)} dB above the average of those that "
            "the model learned from"
        ]
    return []


def _decibels(off: Array) -> int:
    """Of differences between rows of sound, on the average."""
    return round(float(off.mean()) / 256 * 3.0103)


def _others(channels: list[int]) -> str:
    n = len(channels) - 1
    return f" (and {n} other channel{'s'[: n > 1]})" if n else ""


def _cut(size: int, room: int) -> list[str]:
    if size <= room:
        return []
    return [f"the text has {size:,} tokens, the model reads the first {room:,}: the rest is cut"]


def _unknown(m: ModelFile, text: str) -> list[str]:
    """Characters that have no token; else words that have none."""
    encode, unk = m.tokenizer.encode, m.tokenizer.unk

    def none(part: str) -> bool:
        ids = encode(part)
        return not ids or unk in ids

    letters = [c for c in dict.fromkeys(text) if _visible(c)]
    # Where words are whole pieces, their letters may have none.
    missed = text if unk < 0 else "".join(w for w in text.split() if unk in encode(w))
    found = [c for c in letters if c in missed and none(c)]
    what = "character"
    if not found and SMALL[0] < m.vocab < SMALL[1]:
        # A vocabulary that is small has the characters of its language, and bytes for all others.
        bare = len(encode("a")) - 1
        spelt = [c for c in letters if ord(c) > 127 and not none(c)]
        found = [c for c in spelt if len(encode(c)) - bare >= len(c.encode())]
    if not found or any(c.isascii() and c.isalpha() for c in found):
        what = "word"
        found = [w for w in dict.fromkeys(text.split()) if unk in encode(w)]
    if not found:
        return []
    shown = " ".join(part[:LONG] for part in found[:SHOWN])
    shown += f" and {len(found) - SHOWN} more" * (len(found) > SHOWN)
    return [f"{what}{'s' * (len(found) > 1)} that the model does not know: {shown}"]


def _visible(c: str) -> bool:
    """Whether a character is one that a tokenizer has no business to drop."""
    return unicodedata.category(c)[0] in "LNPS"


# Files of models on boards


def _notes() -> Path:
    return cache() / "deployed.json"


def remember(path: str) -> None:
    """That this file was put on a board."""
    with contextlib.suppress(OSError, ValueError):
        with open(path, "rb") as file:
            crc = f"{header_crc(file.read(100)):08x}"
        known = _remembered()
        known.pop(crc, None)
        known[crc] = str(Path(path).resolve())
        _notes().parent.mkdir(parents=True, exist_ok=True)
        _notes().write_text(json.dumps(dict(list(known.items())[-KEPT:])), "utf-8")


def _remembered() -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(_notes().read_text("utf-8"))
        if isinstance(known, dict):
            return {str(k): str(v) for k, v in known.items()}
    return {}


def file_of(board: Board, name: str, given: str | None) -> ModelFile | None:
    """The file of a model on a board, where it is here; given: by a name."""
    crc = next((m.crc for m in board.models() if m.name == name), None)
    if crc is None:
        return None
    for path in (given, f"{name}.pft", _remembered().get(f"{crc:08x}")):
        with contextlib.suppress(OSError, Error):
            if path:
                with open(path, "rb") as file:
                    if header_crc(file.read(100)) == crc:
                        return load(path)
    return None
