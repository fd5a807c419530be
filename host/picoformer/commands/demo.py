"""The whole way once: convert a checkpoint, send it to an emulated board, compare with the PC."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..boards.board import Board
from ..boards.emulated.unix import UnixBoard, find_micropython
from ..boards.errors import EmulatorError
from ..boards.replies import Loaded, Stats
from ..compile.convert import convert
from ..errors import Error
from ..simulate.simulator import Simulator
from .arguments import add_json, check_n, command, then
from .printing import Bars, show_json

PROMPT = "text to continue (default: Once upon a time)"


def add_commands(commands: Any) -> None:
    """Add the command to the subparsers of `picoformer`."""
    text = "run a story model on an emulated board and check it"
    p = command(commands, "demo", _demo, text, "", 'models/stories --prompt "Tom was" -n 50')
    p.add_argument(
        "source", nargs="?", metavar="SOURCE",
        help="checkpoint to use (default: our own story model)",
    )
    p.add_argument("--prompt", default="Once upon a time", metavar="TEXT", help=PROMPT)
    p.add_argument("-n", type=int, default=200, metavar="N", help="tokens to write (default: 200)")
    add_json(p)


def _demo(o: argparse.Namespace) -> int:
    """The exit status is 1 where the board and the simulator differ."""
    check_n(o.n)
    result = _run(o.source, o.prompt, o.n, quiet=o.json)
    if o.json:
        show_json(result)
    elif result["equal"] is False:
        raise Error("the board and the simulator differ: please report this, with your system")
    source = o.source or os.path.relpath(_default_source())
    then(
        o, f"picoformer convert {source} -o stories.pft, and deploy it: picoformer ports lists "
        "the ports of your boards",
    )  # fmt: skip
    return result["equal"] is False


def _default_source() -> Path:
    """The story model: in the package, or in the checkout that it runs from."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "stories"
    return inside if inside.is_dir() else package.parents[1] / "models" / "stories"


def _run(source: str | None, prompt: str, n: int, quiet: bool) -> dict[str, Any]:
    """Run the demo; prints unless `quiet`. Returns the figures and whether board equals PC.

    Without an emulated board the PC tells the story by itself, and `equal` is None.
    """

    def say(text: str = "", end: str = "\n") -> None:
        if not quiet:
            print(text, end=end, flush=True)

    checkpoint = Path(source) if source else _default_source()
    name = checkpoint.resolve().name.removesuffix(".bin")
    with tempfile.TemporaryDirectory(prefix="picoformer-") as folder:
        model = Path(folder) / f"{name}.pft"
        report = convert(checkpoint, model)
        say(
            f"1. convert   {checkpoint.name}: {report.parameters:,} parameters, "
            f"{4 * report.parameters:,} bytes as float32, {report.bytes:,} as {model.name}"
        )
        sim = Simulator(model)
        try:
            find_micropython()
        except EmulatorError as e:
            say(f"2. board     none: {e}")
            say("3. story     told by this PC, with a board's integers:\n")
            text = _told(prompt, sim.generate(prompt, n), say)
            say()
            return {"text": text, "equal": None}
        expected = "".join(sim.generate(prompt, n))
        ids = sim.tokenizer.encode(prompt) or [max(sim.tokenizer.bos, 0)]
        text, loaded, stats, logits = _on_a_board(model, prompt, n, ids, say, Bars(quiet))
    same = bool((logits == sim.logits(ids)[-1]).all())
    equal = text == expected and same
    say("\n")
    say(
        f"5. speed     {stats.tokens_per_second:,.0f} tokens a second "
        f"({loaded.kernels} kernels, weights in {loaded.weights}; this is a PC)"
    )
    say(f"   memory    {loaded.heap:,} bytes of the board's heap, weights included")
    if equal:
        say(f"   verdict   equal: all {len(logits)} logits and every token are the simulator's")
    else:
        say("   verdict   DIFFERENT from the simulator")
    return {
        "text": text,
        "tokens": stats.tokens,
        "tokens_per_second": stats.tokens_per_second,
        "heap": loaded.heap,
        "kernels": loaded.kernels,
        "weights": loaded.weights,
        "equal": equal,
    }


def _told(prompt: str, pieces: Iterable[str], say: Callable[..., None]) -> str:
    """The text of the pieces, said as they come."""
    say(prompt, end="")
    text = ""
    for piece in pieces:
        text += piece
        say(piece, end="")
    return text


def _on_a_board(
    model: Path, prompt: str, n: int, ids: list[int], say: Callable[..., None], bars: Bars
) -> tuple[str, Loaded, Stats, Any]:
    """The text that an emulated board writes, its figures, and the logits behind `ids`."""
    with UnixBoard(model.parent / "flash") as unix, Board(unix.port) as board:
        say(f"2. board     MicroPython's unix port behind {unix.port}")
        name = board.deploy(model, progress=bars)
        bars.close()
        say("3. deploy    the runtime and the model are on the board, verified")
        loaded = board.load(name)
        say("4. story     told by the board, as it comes:\n")
        text = _told(prompt, board.generate(name, prompt, n), say)
        return text, loaded, board.stats, board.logits(name, ids)
