"""The commands that run a model on a board: generate, classify, embed, predict, tag and so on."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from ..boards.board import Board
from ..boards.replies import Loaded, Stats
from ..errors import Error
from ..graph.nodes import Array
from .arguments import add_beams, add_json, add_place, add_sampling, command, then, warn, warned
from .chat import add_chat, check_chat, converse
from .describing import SOUND, in_python
from .doubts import file_of, of_input
from .inputs import add_image, add_input, names, on_board, told
from .open import opened
from .printing import (
    Stages,
    show_embedding,
    show_json,
    show_labels,
    show_tags,
    show_values,
)
from .texts import LINES, each_text, lines

# What the commands read, in words.
_ANY = "a TEXT, an --image or an --input, one of them"
TEXTS = {
    "classify": _ANY, "embed": _ANY, "predict": _ANY,
    "tag": "a TEXT", "translate": "a TEXT", "answer": "a QUESTION",
}  # fmt: skip


def add_commands(commands: Any) -> None:
    """Add the commands to the subparsers of `picoformer`."""
    p = command(
        commands, "generate", _generate, "let a board write text",
        '--model stories --prompt "Once upon a time" -n 100',
        '--model stories --prompt "Tom was" --temperature 0.8 --top-p 0.9 --seed 7 --stop "."',
        "--port emulator --model my-chat --chat",
    )  # fmt: skip
    add_json(p)
    add_place(p)
    add_sampling(p)
    add_chat(p)

    picture = "--model fashion --image models/fashion/boot.png"
    signal = "--model motions --input models/motions/walking.csv"
    for name, text, examples in (
        (
            "classify", "let a board classify a text, a picture, a signal or a sound",
            ('--model intents "will it rain tomorrow?"', picture, signal,
             "--model digits --input models/digits/seven.wav"),
        ),
        (
            "embed", "let a board turn a text into a vector (an embedding)",
            ('--model my-encoder "a sentence"',),
        ),
        (
            "predict", "let a board predict numbers from a signal",
            ("--model my-forecast --input my-sensor.csv",),
        ),
        (
            "tag", "let a board label each word of a text",
            ('--model my-tagger "Anna lives in Lyon"',),
        ),
    ):  # fmt: skip
        p = command(commands, name, _read, text, *examples)
        add_json(p)
        p.add_argument("text", metavar="TEXT", nargs="?", help=f"text to read{LINES}")
        if name != "tag":
            add_image(p, "")
            add_input(p, "")
        add_place(p)
        p.set_defaults(task=name, **({"image": None, "input": None} if name == "tag" else {}))

    p = command(
        commands, "translate", _write, "let a board translate a text",
        '--model english-french "I am tired."', '--model english-french --beams 4 "I am tired."',
    )  # fmt: skip
    add_json(p)
    p.add_argument("text", metavar="TEXT", nargs="?", help=f"text to translate{LINES}")
    add_place(p)
    add_beams(p)
    p.set_defaults(task="translate")

    p = command(
        commands, "answer", _write, "let a board find the answer to a question in a text",
        '--model facts --context "Anna lives in Lyon." "Where does Anna live?"',
    )  # fmt: skip
    add_json(p)
    p.add_argument(
        "text", metavar="QUESTION", nargs="?", help=f"question to answer{LINES}"
    )
    p.add_argument(
        "--context", required=True, metavar="TEXT", help="text to find the answer in"
    )
    add_place(p)
    p.set_defaults(task="answer")


def _generate(o: argparse.Namespace) -> None:
    check_chat(o)
    with opened(o) as board:
        meta = board.metadata(o.model or only_model(board)) if o.chat else {}
        name, loaded = load_model(board, o)
        if o.chat:
            numbers = o.n, o.temperature, o.top_p, o.seed, o.stop, True
            text = converse(o, meta, name, lambda prompt: board.generate(name, prompt, *numbers))
            if o.prompt:
                _report(o, name, text, loaded, board.stats)
            return
        _doubt(board, o, name, o.prompt)
        text = ""
        pieces = board.generate(name, o.prompt, o.n, o.temperature, o.top_p, o.seed, o.stop)
        interrupted = False
        try:
            before = o.prompt  # with the first token: an error has its line to itself
            for piece in pieces:
                text += piece
                if not o.json:
                    print(before + piece, end="", flush=True)
                before = ""
        except KeyboardInterrupt:
            interrupted = True
        finally:
            pieces.close()
        _report(o, name, text, loaded, board.stats)
    if interrupted:
        raise KeyboardInterrupt


def _write(o: argparse.Namespace) -> None:
    with opened(o) as board:
        name, loaded = load_model(board, o)

        def write(given: str) -> int:
            _doubt(board, o, name, given, o.context if o.task == "answer" else None)
            start = time.perf_counter()
            if o.task == "translate":
                text = board.translate(name, given, o.beams, o.length_penalty)
            else:
                text = board.answer(name, o.context, given)
            ms = round(1000 * (time.perf_counter() - start))
            if o.json:
                figures = {"ms": ms, **figures_of(loaded), "warnings": warned(o)}
                show_json({"prompt": given, "text": text, **figures})
            else:
                print(text)
            return ms

        ms = each_text(o, o.text, write, TEXTS[o.task])
    _done(o, loaded, ms, in_python(o.task, name))


def _read(o: argparse.Namespace) -> None:
    if sum(given is not None for given in (o.text, o.image, o.input)) > 1:
        raise Error(f"give {TEXTS[o.task]}")
    with opened(o) as board:
        meta = {}
        if o.input or o.task == "predict":
            meta = told(board, o, o.model or only_model(board))
        name, loaded = load_model(board, o)
        given = on_board(board, o, name, meta)  # which says what is missing

        def read(given: str | Array) -> int:
            _doubt(board, o, name, given)
            start = time.perf_counter()
            found: Any = getattr(board, o.task)(name, given)
            ms = round(1000 * (time.perf_counter() - start))
            figures = {"ms": ms, **figures_of(loaded)}
            if isinstance(given, str):
                figures = {"prompt": given, **figures}
            if o.task == "classify":
                show_labels(o, found, board.probabilities(found), **figures)
            elif o.task == "embed":
                show_embedding(o, found, **figures)
            elif o.task == "predict":
                show_values(o, found, names(meta, len(found)), **figures)
            else:
                show_tags(o, found, **figures)
            return ms

        given = o.text if isinstance(given, str) else given
        ms = each_text(o, given, read, TEXTS[o.task])
    heard = o.input and o.input.lower().endswith(".wav")
    what = SOUND if heard else "signal" if o.input else "pixels" if o.image else '"a text"'
    _done(o, loaded, ms, in_python(o.task, name, what))


def _done(o: argparse.Namespace, loaded: Loaded, ms: list[int], step: str) -> None:
    """Say what it took, and how a program does it; not to those who typed, and saw it."""
    if ms and not o.json and lines(o) != "typed":
        print_cost(ms, loaded)
        _then(o, loaded, step)


def load_model(board: Board, o: argparse.Namespace) -> tuple[str, Loaded]:
    """Load the model that is meant: its name, and what the board says of it."""
    name = o.model or only_model(board)
    with Stages(o) as stages:
        stages.say(f"loading {name}")
        loaded = board.load(name, o.positions or 0, o.weights)
    warn(o, board.notice)
    if o.cores > loaded.cores:
        warn(o, "it runs on one core: the board's other core is missing or in use (docs/board.md)")
    return name, loaded


def _then(o: argparse.Namespace, loaded: Loaded, step: str) -> None:
    """Say how a program on the board does it, if it can."""
    if loaded.weights != "host":
        then(o, step)


def _doubt(
    board: Board, o: argparse.Namespace, name: str, given: Any, context: str | None = None
) -> None:
    """Say what an input has against it, where the model's file is here."""
    m = None if o.quiet and not o.json else file_of(board, name, o.weights)
    if m is None or bool(m.program[14] or m.frames) == isinstance(given, str):
        return  # what it cannot read, the board refuses
    for doubt in of_input(m, given, context):
        warn(o, doubt)


def only_model(board: Board) -> str:
    """The name of the model on a board that has one. Raises Error."""
    names = [m.name for m in board.models()]
    if len(names) == 1:
        return names[0]
    if not names:
        raise Error("there is no model on the board; deploy one: picoformer deploy MODEL.pft")
    raise Error(f"there are several models on the board, choose with --model: {', '.join(names)}")


def figures_of(loaded: Loaded) -> dict[str, Any]:
    """What a loaded model takes, for JSON."""
    return {
        "heap": loaded.heap,
        "free_heap": loaded.free_heap,
        "context": loaded.context,
        "weights": loaded.weights,
        "in_ram": loaded.in_ram,
        "kernels": loaded.kernels,
        "cores": loaded.cores,
    }


def print_cost(ms: list[int], loaded: Loaded) -> None:
    """Say how long it took, each of some, and what the model takes."""
    each = f"{len(ms):,} texts, each " if len(ms) > 1 else ""
    print(
        f"\n{each}{sum(ms) / len(ms) / 1000:.2f} s with the cable; {loaded.heap:,} bytes of heap "
        f"({loaded.way}), {loaded.free_heap:,} free",
        file=sys.stderr,
    )


def _report(o: argparse.Namespace, name: str, text: str, loaded: Loaded, stats: Stats) -> None:
    figures = {
        "tokens": stats.tokens,
        "tokens_per_second": stats.tokens_per_second,
        "prompt_ms": stats.first_ms,
        "ms": stats.ms,
        "stopped": stats.stopped,
        "heap": loaded.heap,
        "free_heap": stats.free_heap,
        "context": loaded.context,
        "weights": loaded.weights,
        "in_ram": loaded.in_ram,
        "kernels": loaded.kernels,
        "cores": loaded.cores,
    }
    if o.json:
        show_json({"prompt": o.prompt, "text": text, **figures, "warnings": warned(o)})
        return
    print("\n")
    print(
        f"{stats.tokens} tokens, {stats.tokens_per_second:,.1f} a second on the board; "
        f"{stats.first_ms / 1000:.2f} s to the first",
        file=sys.stderr,
    )
    print(
        f"model {loaded.heap:,} bytes of heap ({loaded.way}, "
        f"{loaded.context} positions), {stats.free_heap:,} free",
        file=sys.stderr,
    )
    _then(o, loaded, in_python("generate", name))
