"""The command that finds events in a recording of sound: listen."""

from __future__ import annotations

import argparse
import inspect
import io
import time
from pathlib import Path
from typing import Any

from ..boards.board import Board
from ..compile.modelfile import load
from ..data.signals import WAV
from ..data.sounds import lasting, sound
from ..device.listener import Listener
from ..errors import Error
from ..features import LogMel
from ..graph.frames import Frames
from ..graph.nodes import Array
from ..simulate.simulator import Simulator
from ..simulate.sound import Features
from .arguments import add_file, add_json, add_place, command, then, warn, warned
from .doubts import of_signal
from .inputs import frames_there, told
from .open import opened
from .printing import show_json
from .run import figures_of, load_model, only_model, print_cost

WHOLE = """
It slides a window over the recording and prints a line for each event. With a
MODEL.pft all of it runs on this PC. Otherwise the PC prepares the sound, and the
board classifies each window. In your own program on a board, use Listener.
"""
# Listener's arguments that the command takes: letter and meaning.
RULE = {
    "hop": ("S", "classify a window of sound every S seconds"),
    "threshold": ("P", "report a label from this probability on, 0 to 1"),
    "smooth": ("N", "average the probabilities of the last N windows"),
    "rest": ("S", "wait at least S seconds between two events"),
}
DEFAULTS = {name: inspect.signature(Listener).parameters[name].default for name in RULE}


def add_commands(commands: Any) -> None:
    """Add the command to the subparsers of `picoformer`."""
    p = command(
        commands, "listen", _listen, "find events in a recording of sound",
        "digits.pft --input models/digits/seven.wav --threshold 0.8",
        "--model digits --input models/digits/seven.wav",
    )  # fmt: skip
    p.description = f"{p.description}\n{WHOLE.rstrip()}"
    add_file(p)
    p.add_argument(
        "--input", metavar="FILE.wav", required=True,
        help="recording, of any sample rate; channels are averaged",
    )
    for name, (letter, text) in RULE.items():
        default = DEFAULTS[name]
        p.add_argument(
            f"--{name}", type=type(default), default=default, metavar=letter,
            help=f"{text} (default: {default:g})",
        )  # fmt: skip
    add_place(p)
    add_json(p)


class _There:
    """A board's model as a Listener takes it: rows are made here, windows classified there."""

    def __init__(self, board: Board, name: str, meta: dict[str, Any], frames: Frames) -> None:
        self._board, self._name = board, name
        self._frames = frames
        self.labels = _texts(meta, "labels")
        self.background = [name for name in _texts(meta, "background") if name in self.labels]
        self.probabilities = board.probabilities

    def features(self) -> Features:
        return Features(_heard(self._frames, ""), self._frames.length)

    def classify(self, rows: Array) -> list[tuple[str, int]]:
        return self._board.classify(self._name, rows)


def _texts(meta: dict[str, Any], name: str) -> list[str]:
    found = meta.get(name)
    return [str(v) for v in found] if isinstance(found, list) else []


def _heard(frames: Frames | None, task: str) -> LogMel:
    """The front end of a model; task: what it does. Raises Error for one that cannot listen."""
    if not frames or not frames.sound:
        raise Error("this model reads no sound: picoformer listen is for one that does")
    if task not in ("classify", ""):
        raise Error(f"this model is made to {task}, not to classify: it finds no events")
    return frames.sound


def _listen(o: argparse.Namespace) -> None:
    if Path(o.input).suffix.lower() != WAV:
        raise Error(f"{o.input}: expected a {WAV} file")
    if o.file is None:
        _on_board(o)
        return
    if o.port or o.model or o.weights or o.positions:
        raise Error(
            "a MODEL.pft runs on this PC, without --port, --model, --weights and --positions: "
            "leave it out to run a model on the board"
        )
    sim = Simulator(load(o.file))
    heard = _heard(sim.frames, sim.model.task)
    _find(o, sim, sim.frames, sound(o.input, heard.rate))
    then(o, f"picoformer deploy {o.file}", _program(o, Path(o.file).stem))


def _on_board(o: argparse.Namespace) -> None:
    with opened(o) as board:
        name = o.model or only_model(board)
        meta = told(board, o, name)
        name, loaded = load_model(board, o)
        frames = frames_there(board, name, meta)
        heard = _heard(frames, str(meta.get("task", "")))
        assert frames
        there = _There(board, name, meta, frames)
        figures = figures_of(loaded)
        ms = _find(o, there, frames, sound(o.input, heard.rate), **figures)
    if not o.json:
        print_cost([ms], loaded)
        then(o, _program(o, name))


def _find(
    o: argparse.Namespace, model: Any, frames: Frames | None, samples: Array, **more: Any
) -> int:
    """Print the events in samples; returns the ms that it took."""
    assert frames and frames.sound
    heard = frames.sound
    rows = heard.rows(len(samples))
    if rows < frames.least:
        raise Error(
            f"{o.input} has {len(samples):,} samples at {heard.rate:,} Hz, and a window of the "
            f"model is {lasting(heard, frames.least)} at least"
        )
    if rows < frames.length:
        window = lasting(heard, frames.length)
        warn(o, f"the recording is shorter than the {window} that the model reads: one window")
    for doubt in of_signal(frames, heard(samples)):
        warn(o, doubt)
    given = {name: getattr(o, name) for name in RULE}
    listener = Listener(model, io.BytesIO(samples.astype("<i2").tobytes()), **given)
    width = max(map(len, model.labels))
    events = []
    start = time.perf_counter()
    for label, share, ms in listener:
        events.append({"label": label, "share": share, "ms": ms})
        if not o.json:
            print(f"{ms / 1000:8.2f} s  {label:{width}}  {100 * share:3.0f} %", flush=True)
    took = round(1000 * (time.perf_counter() - start))
    seconds = len(samples) / heard.rate
    if o.json:
        show_json({
            "events": events, "seconds": seconds, "windows": listener.windows, **given,
            "ignored": list(model.background), "ms": took, **more,
            "warnings": warned(o),
        })  # fmt: skip
        return took
    where = "with the cable" if more else "on the PC"
    found, windows = (
        f"{n} {what}{'s'[: n != 1]}"
        for n, what in ((len(events), "event"), (listener.windows, "window"))
    )
    print(f"{found} in {seconds:.2f} s of sound, {windows}; {took / 1000:.1f} s {where}")
    return took


def _program(o: argparse.Namespace, name: str) -> str:
    """How a program on the board does it."""
    given = "".join(f", {k}={getattr(o, k)}" for k, v in DEFAULTS.items() if getattr(o, k) != v)
    return (
        "on the board: from picoformer import Model; from picoformer.listener import Listener; "
        f'for event in Listener(Model("/{name}.pft"), i2s{given}): print(event) (docs/sound.md)'
    )
