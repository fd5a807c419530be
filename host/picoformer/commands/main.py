"""The `picoformer` command."""

from __future__ import annotations

import os

# The matrices are too small to share among threads; several make it three times slower. Numpy
# reads this when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse  # noqa: E402
import io
import json
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from .. import importers
from ..compile.compiler import KEY_BITS, VALUE_BITS
from ..compile.convert import DEFAULT_CONTEXT, DEFAULT_GROUP, convert
from ..compile.distill import STEPS
from ..compile.modelfile import ModelFile, load
from ..compile.report import Report
from ..data.pictures import picture
from ..errors import Error
from ..version import __version__
from . import boards as boards_cli
from . import plan as plan_cli
from .boards import show_embedding, show_labels

_CONFIG = "description of a PyTorch or Keras file (default: the file beside it, NAME.json)"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status. A user's mistake is one line, no traceback."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character gets its code, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        options.run(options)
        sys.stdout.flush()
    except Error as e:
        print(f"picoformer: error: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone, as `| head` does; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"picoformer: error: {e.strerror or e}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="picoformer", description="Transformers on microcontrollers with stock MicroPython."
    )
    parser.add_argument("--version", action="version", version=f"picoformer {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> Any:
        p = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        p.set_defaults(run=run)
        return p

    def add_json(p: argparse.ArgumentParser) -> None:
        p.add_argument("--json", action="store_true", help="print one JSON object, for scripts")

    p = command("convert", _convert, "turn a checkpoint into a model file")
    p.add_argument("source", help=importers.SOURCES)
    p.add_argument("-o", "--output", metavar="MODEL.pft", help="default: the source's name")
    p.add_argument("--tokenizer", metavar="FILE", help="where it is not beside the source")
    p.add_argument("--config", metavar="FILE", help=_CONFIG)
    p.add_argument(
        "--context", type=int, metavar="N",
        help=f"positions (default: the model's, at most {DEFAULT_CONTEXT})",
    )  # fmt: skip
    p.add_argument("--weight-bits", type=int, default=8, metavar="BITS", help="8 (default) or 4")
    p.add_argument(
        "--group-size", type=int, metavar="N",
        help=f"columns that share a scale of 4-bit weights (default: {DEFAULT_GROUP})",
    )  # fmt: skip
    p.add_argument(
        "--max-bytes", type=int, metavar="N",
        help="of the file: of 4-bit matrices those that lose most get 8 bits, while they fit",
    )  # fmt: skip
    p.add_argument(
        "--distill", type=int, nargs="?", const=STEPS, metavar="STEPS",
        help=f"train 4-bit weights to predict what the model did, {STEPS} steps by default: "
        "minutes, and needs torch",
    )  # fmt: skip
    p.add_argument(
        "--key-bits", type=int, default=KEY_BITS[0], metavar="BITS",
        help="of a key in the cache: 12 (default) or 8",
    )  # fmt: skip
    p.add_argument(
        "--value-bits", type=int, default=VALUE_BITS[0], metavar="BITS",
        help="of a value in the cache: 8 (default) or 4",
    )  # fmt: skip
    p.add_argument(
        "--data", metavar="FILE",
        help="examples to calibrate on, as eval takes them (default: what the model writes)",
    )  # fmt: skip
    p.add_argument("--name", metavar="TITLE", help="title kept in the file")
    add_json(p)

    p = command("inspect", _inspect, "say what a model file holds and what it costs a board")
    p.add_argument("model", metavar="MODEL.pft")
    p.add_argument("--steps", action="store_true", help="list the program, step by step")
    add_json(p)

    p = command("simulate", _simulate, "run a model on the PC with a board's integers")
    p.add_argument("model", metavar="MODEL.pft")
    p.add_argument("--image", metavar="PNG", help="in place of a prompt, for a model of images")
    p.add_argument("--context", metavar="TEXT", help="where the answer to the prompt is")
    boards_cli.add_sampling(p)
    boards_cli.add_beams(p)
    add_json(p)

    p = command("eval", _eval, "compare a model file with the float checkpoint it was made of")
    p.add_argument("model", metavar="MODEL.pft")
    p.add_argument("--reference", required=True, metavar="SOURCE", help="the checkpoint")
    p.add_argument("--tokenizer", metavar="FILE", help="where it is not beside the reference")
    p.add_argument("--config", metavar="FILE", help=_CONFIG)
    p.add_argument(
        "--data", metavar="FILE",
        help="text, .npy token ids, .tsv of label and text, of source and target or of text, "
        "question and answer, .npz of images and labels, or a folder with a folder of pictures a "
        "label (default: what the float model writes, or random input for one that reads)",
    )  # fmt: skip
    p.add_argument(
        "--layers", action="store_true", help="say where the loss arises, value by value"
    )
    p.add_argument("--plot", metavar="FILE.png", help="draw confusion matrices, images and layers")
    add_json(p)

    p = command("emulate", _emulate, "run an emulated board behind a serial port")
    p.add_argument("--board", default="unix", metavar="BOARD", help="unix (default) or pico")
    p.add_argument(
        "--folder", metavar="PATH",
        help="its flash: a folder, for pico a file (default: in the user's cache)",
    )  # fmt: skip
    p.add_argument("--firmware", metavar="UF2", help="for pico: MicroPython's official RPI_PICO")
    p.add_argument(
        "--socket", action="store_true",
        help="a TCP port of this computer instead of a pseudo-terminal",
    )  # fmt: skip

    p = command("demo", _demo, "a story from an emulated board, checked against the PC")
    p.add_argument(
        "source", nargs="?", help="a checkpoint (default: the checkout's models/stories)"
    )
    p.add_argument("--prompt", default="Once upon a time", metavar="TEXT")
    p.add_argument("-n", type=int, default=200, metavar="N", help="tokens (default: 200)")
    add_json(p)
    plan_cli.add_commands(commands)
    boards_cli.add_commands(commands)
    return parser


def _show(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _size(n: int) -> str:
    return f"{n:,} bytes"


def _table(rows: Iterable[tuple[str, ...]], indent: str = "  ") -> None:
    """Print rows in columns; the last column flows."""
    listed = list(rows)
    widths = [max(len(r[i]) for r in listed) for i in range(len(listed[0]) - 1)]
    for row in listed:
        cells = [cell.ljust(w) for cell, w in zip(row, widths, strict=False)]
        print(indent + "  ".join([*cells, row[-1]]).rstrip())


def _progress(items: Iterable[Any], unit: str = "example") -> Iterable[Any]:
    from tqdm import tqdm

    # disable=None: only where a person can see it.
    bar: Iterable[Any] = tqdm(items, unit=unit, leave=False, disable=None)
    return bar


# convert


def _stem(source: Path) -> str:
    name = source.resolve()
    return name.stem if name.suffix in importers.SUFFIXES else name.name


def _convert(o: argparse.Namespace) -> None:
    source = Path(o.source)
    output = Path(o.output or (_stem(source) + ".pft"))
    report = convert(
        source,
        output,
        context=o.context,
        tokenizer=o.tokenizer,
        config=o.config,
        data=o.data,
        name=o.name,
        weight_bits=o.weight_bits,
        group_size=o.group_size,
        max_bytes=o.max_bytes,
        distill=o.distill,
        key_bits=o.key_bits,
        value_bits=o.value_bits,
        progress=partial(_progress, unit=""),
    )
    if o.json:
        _show(report.to_dict())
    else:
        _print_report(report)


def _print_report(r: Report) -> None:
    worst = max(r.errors, key=lambda k: r.errors[k])
    floats = 4 * r.parameters
    print(f"{r.path}: {_size(r.bytes)}, in {r.seconds:.1f} s")
    _table(
        [
            ("parameters", f"{r.parameters:,}: {_size(floats)} as float32"),
            ("weights", f"{_size(r.sections['weights'])}, {r.sections['weights'] / floats:.0%}"),
            ("rounding", f"{max(r.errors.values()):.2%} of the weights' size at worst ({worst})"),
            ("calibrated on", r.calibration),
            ("cache", f"{_size(r.cache_bytes)} for {r.context} positions"),
            ("arena", _size(r.arena_bytes)),
            *([] if r.text else [("tokenizer", "none: it takes token ids, no text")]),
        ]
    )
    if 4 in r.bits.values():
        print("\nrounding, relative to the weights' size")
        _table((name, f"{r.bits[name]} bits", f"{e:6.2%}") for name, e in r.errors.items())


# inspect


def _describe(m: ModelFile) -> dict[str, Any]:
    context = m.context
    return {
        "meta": m.meta,
        "context": context,
        "vocabulary": m.vocab,
        "bos": m.bos,
        "eos": m.eos,
        "batch": m.batch,
        "logit_bits": m.logit_bits,
        "bytes": 100 + sum(m.sizes.values()),
        "sections": m.sizes,
        "cache_bytes": m.cache_bytes(context),
        "arena_bytes": m.arena_bytes(context),
        "steps": len(m.steps),
        "multiplications": _products(m),
    }


def _products(m: ModelFile) -> int:
    """Multiply-accumulates of a token in the matrices."""
    return sum(s["cols"] * 4 * s["groups"] for s in m.steps if s.kind == "linear")


def _inspect(o: argparse.Namespace) -> None:
    m = load(o.model)
    d = _describe(m)
    if o.json:
        if o.steps:
            d["program"] = [{"op": s.op, "fields": s.fields} for s in m.steps]
        _show(d)
        return
    print(f"{o.model}: {_size(d['bytes'])}, all checks passed")
    rows = [(k, str(v)) for k, v in m.meta.items() if v != ""]
    rows += [
        ("context", f"{m.context} positions, {m.batch} at a time"),
        ("vocabulary", f"{m.vocab} tokens, BOS {m.bos}, EOS {m.eos}"),
        ("steps", f"{len(m.steps)} a token, {d['multiplications']:,} multiplications in matrices"),
    ]
    _table(rows)
    print("\nin the file")
    _table([(k, f"{v:>9,} bytes") for k, v in m.sizes.items()])
    ram = d["cache_bytes"] + d["arena_bytes"] + sum(
        m.sizes[k] for k in ("program", "tables", "tokenizer")
    )  # fmt: skip
    print(f"\non the board, at {m.context} positions")
    _table(
        [
            ("cache", f"{d['cache_bytes']:>9,} bytes"),
            ("arena", f"{d['arena_bytes']:>9,} bytes"),
            ("all but the weights", f"{ram:>9,} bytes"),
        ]
    )
    if o.steps:
        print("\nprogram")
        for i, s in enumerate(m.steps):
            head = "  (head)" if i == m.body else ""
            print(f"  {i:3} {s.op:9} {' '.join(map(str, s.fields))}{head}")


# simulate


def _simulate(o: argparse.Namespace) -> None:
    from ..simulate.simulator import Simulator

    sim = Simulator(o.model)
    _check_n(o.n)
    task = sim.model.task
    shape = tuple(sim.model.meta["image"][:3]) if sim.model.program[14] else (0, 0, 0)
    given = picture(o.image, shape) if o.image else o.prompt
    if task == "classify":
        show_labels(o, sim.classify(given), sim.logit_scale)
    elif task == "embed":
        show_embedding(o, sim.embed(given))
    elif task == "translate" or task == "answer":
        if task == "answer" and o.context is None:
            raise Error("this model answers questions: give the text with --context")
        if task == "translate":
            text = sim.translate(o.prompt, o.beams, o.length_penalty)
        else:
            text = sim.answer(o.context, o.prompt)
        if o.json:
            _show({"prompt": o.prompt, "text": text})
        else:
            print(text)
    if task != "generate":
        return
    start = time.perf_counter()
    pieces: list[str] = []
    for piece in sim.generate(o.prompt, o.n, o.temperature, o.top_p, o.seed):
        if not o.json:
            print(piece if pieces else o.prompt + piece, end="", flush=True)
        pieces.append(piece)
    seconds = time.perf_counter() - start
    if o.json:
        _show(
            {
                "prompt": o.prompt,
                "text": "".join(pieces),
                "tokens": len(pieces),
                "seconds": seconds,
            }
        )
    else:
        print(f"\n\n{len(pieces)} tokens in {seconds:.1f} s, on the PC")


def _check_n(n: int | None) -> None:
    if n is not None and n < 1:
        raise Error(f"-n is {n}, expected at least 1 token")


# eval


def _eval(o: argparse.Namespace) -> None:
    from ..simulate.evaluation import evaluate
    from ..simulate.plot import plot, plotter

    if o.plot:
        plotter()  # what is missing is better said before the work than after it
    start = time.perf_counter()
    s = evaluate(
        o.model, o.reference, data=o.data, tokenizer=o.tokenizer, config=o.config,
        progress=_progress,
    )  # fmt: skip
    if o.plot:
        plot(s, o.plot)
    if o.json:
        _show(s.to_dict())
        return
    print(f"{s.tokens:,} tokens, {s.sequences:,} examples: {s.data}")
    rows: list[tuple[str, ...]] = []
    if s.kl is not None and s.top1 is not None:
        rows.append(("kl", f"{s.kl:.6f}", "nats a prediction from the float model"))
        rows.append(("top1", f"{s.top1:.2%}", "of the predictions are the same"))
    if s.perplexity_float is not None and s.perplexity_int is not None:
        change = s.perplexity_int / s.perplexity_float - 1
        rows.append(("perplexity_float", f"{s.perplexity_float:.4f}", ""))
        rows.append(("perplexity_int", f"{s.perplexity_int:.4f}", f"{change:+.3%}"))
    if s.accuracy_float is not None and s.accuracy_int is not None:
        points = 100 * (s.accuracy_int - s.accuracy_float)
        rows.append(("accuracy_float", f"{s.accuracy_float:.2%}", ""))
        rows.append(("accuracy_int", f"{s.accuracy_int:.2%}", f"{points:+.2f} points"))
    for name, a, b in (
        ("exact", s.exact_float, s.exact_int),
        ("cer", s.cer_float, s.cer_int),
        ("chrf", s.chrf_float, s.chrf_int),
    ):
        if a is not None and b is not None:
            one = "{:.2f}" if name == "chrf" else "{:.2%}"
            off = f"{b - a:+.2f}" if name == "chrf" else f"{100 * (b - a):+.2f} points"
            rows.append((name + "_float", one.format(a), ""))
            rows.append((name + "_int", one.format(b), off))
    if s.cosine is not None:
        rows.append(("cosine", f"{s.cosine:.6f}", f"at worst {s.cosine_min:.6f}"))
    _table(rows)
    for example in s.examples:
        print()
        _table(list(example.items()))
    if s.confusion_int and s.labels:
        print("\nintegers; a row for each true label")
        counts = [[str(n) for n in row] for row in s.confusion_int]
        _table([(name, *row, "") for name, row in zip(s.labels, counts, strict=True)])
    if o.layers:
        print("\nerror of each value, relative to its size")
        widest = max((e.error for e in s.layers), default=0.0)
        for e in s.layers:
            bar = "#" * round(40 * e.error / widest) if widest else ""
            print(f"  {e.value:12} {e.error:8.3%}  {bar}")
    if o.plot:
        print(f"\n{o.plot} shows it")
    print(f"in {time.perf_counter() - start:.1f} s")


# emulate and demo


def _emulate(o: argparse.Namespace) -> None:
    if o.board == "pico":
        from ..boards.emulated import pico

        pico.run_emulate(o.folder, o.firmware, o.socket)
        return
    from ..boards.emulated.unix import run_emulate

    run_emulate(o.board, o.folder, socket=o.socket)


def _demo(o: argparse.Namespace) -> None:
    from .demo import run_demo

    _check_n(o.n)
    result = run_demo(o.source, o.prompt, o.n, quiet=o.json)
    if o.json:
        _show(result)
    if not result["equal"]:
        raise Error("the board and the simulator differ: please report this, with your system")


if __name__ == "__main__":
    sys.exit(main())
