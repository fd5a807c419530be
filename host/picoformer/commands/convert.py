"""The commands about model files: convert and inspect."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from .. import importers
from ..compile.compiler import KEY_BITS, VALUE_BITS
from ..compile.convert import DEFAULT_CONTEXT, DEFAULT_GROUP, convert
from ..compile.distill import STEPS, Training
from ..compile.modelfile import ModelFile, load
from ..compile.report import Report
from ..errors import Error
from ..planning.budget import Budget
from ..planning.planner import Planner
from ..planning.profiles import Profile, profile
from .arguments import add_config, add_json, add_model, add_positions, command, then, warn
from .describing import how_to_simulate, meta_rows
from .printing import Stages, show_json, size, table

# Bits of weights and of keys in the cache, by what they lose.
FORMS = (8, 12), (8, 8), (4, 12), (4, 8)
GAIN = 1.03  # times as fast has another form to be that loses more
MUCH = 0.5  # of the weights' size, that rounding has moved them by


def add_commands(commands: Any) -> None:
    """Add the commands to the subparsers of `picoformer`."""
    _add_convert(commands)

    text = "show what is in a model file and what it needs on a board"
    p = command(commands, "inspect", _inspect, text, "stories.pft", "stories.pft --steps")
    add_model(p)
    p.add_argument("--steps", action="store_true", help="list the model's program, step by step")
    add_json(p)


def _add_convert(commands: Any) -> None:
    p = command(
        commands, "convert", _convert, "turn a checkpoint into a model file for boards",
        "models/stories -o stories.pft", "models/stories -o half.pft --weight-bits 4",
        "models/stories -o long.pft --positions 128 --key-bits 8",
        "models/stories -o pico.pft --for pico",
    )  # fmt: skip
    p.add_argument("source", metavar="SOURCE", help=importers.SOURCES)
    p.add_argument(
        "-o", "--output", metavar="MODEL.pft", help="file to write (default: named after SOURCE)"
    )
    add_config(p, "SOURCE")
    add_positions(p, f"the model's, but at most {DEFAULT_CONTEXT}", old=True)
    p.add_argument(
        "--weight-bits", type=int, default=8, metavar="BITS",
        help="bits for each weight: 8 (default), or 4 for a file of about half the size",
    )  # fmt: skip
    p.add_argument(
        "--group-size", type=int, metavar="N",
        help="4-bit weights: how many columns share a scale, a multiple of 16 (default: "
        f"{DEFAULT_GROUP})",
    )  # fmt: skip
    p.add_argument(
        "--max-bytes", type=int, metavar="N",
        help="4-bit weights: matrices that lose most by rounding keep 8 bits, as long as the file "
        "has at most N bytes",
    )  # fmt: skip
    p.add_argument(
        "--distill", type=int, nargs="?", const=STEPS, metavar="STEPS",
        help="after rounding, train the model to answer as the checkpoint does; takes minutes "
        f"and needs torch (without a number: {STEPS} steps)",
    )  # fmt: skip
    p.add_argument(
        "--key-bits", type=int, default=KEY_BITS[0], metavar="BITS",
        help="bits for each key in the KV cache: 12 (default), or 8 for a smaller cache",
    )  # fmt: skip
    p.add_argument(
        "--value-bits", type=int, default=VALUE_BITS[0], metavar="BITS",
        help="bits for each value in the KV cache: 8 (default), or 4 for a smaller cache",
    )  # fmt: skip
    p.add_argument(
        "--data", metavar="FILE",
        help="examples of what the model will read, in the formats of `picoformer eval --help`; "
        "they set the scales, and --distill learns from them (default: text that the model "
        "writes, or random input)",
    )  # fmt: skip
    p.add_argument("--name", metavar="TITLE", help="title to store in the file")
    p.add_argument(
        "--for", dest="board", metavar="BOARD",
        help="choose --weight-bits and --key-bits for this board of `picoformer plan`: the "
        "fastest that fit, or the most exact that fit where no speed is known",
    )  # fmt: skip
    p.add_argument("--report", action="store_true", help="list the rounding error of each matrix")
    add_json(p)


def _stem(source: Path) -> str:
    name = source.resolve()
    return name.stem if name.suffix in importers.SUFFIXES else name.name


def _convert(o: argparse.Namespace) -> None:
    source = Path(o.source)
    output = Path(o.output or (_stem(source) + ".pft"))
    budgets: dict[tuple[int, int], Budget] = {}
    with Stages(o) as stages:
        if o.board:
            report, budgets = _fastest(o, source, output, profile(o.board), stages)
        else:
            report = _made(o, source, output, o.weight_bits, o.key_bits, stages)
    if o.json:
        plans = [
            {"weight_bits": w, "key_bits": k, **b.to_dict()} for (w, k), b in budgets.items()
        ]
        show_json({**report.to_dict(), **({"plans": plans} if o.board else {})})
        return
    _print_report(report, o.report)
    if budgets:
        print(f"\n{_forms(budgets)}")
    for doubt in _doubts(report):
        warn(o, doubt)
    worst = max(report.errors.values())
    if worst > MUCH:
        reference = f"picoformer eval {output} --reference {o.source}"
        warn(
            o, f"rounding has moved weights by {worst:.0%} of their size. Measure what that "
            f"costs: {reference}. Examples of your own (--data FILE) help, and so do 8 bits for "
            "the worst matrices (--max-bytes N)",
        )  # fmt: skip
    if o.distill and report.calibration.startswith("random"):
        warn(
            o, f"--distill had nothing but {report.calibration} to learn from: give it examples "
            "of what the model will read (--data FILE). They need no labels",
        )  # fmt: skip
    lost = budgets and next(iter(budgets)) != FORMS[0]
    compare = f"picoformer eval {output} --reference {o.source}   # what that form loses"
    then(o, *[compare] * bool(lost), *after_convert(report))


def _made(
    o: argparse.Namespace, source: Path, output: Path, weight_bits: int, key_bits: int,
    stages: Stages,
) -> Report:  # fmt: skip
    four = weight_bits == 4 or not o.board
    return convert(
        source,
        output,
        context=o.positions,
        tokenizer=o.tokenizer,
        config=o.config,
        data=o.data,
        name=o.name,
        weight_bits=weight_bits,
        group_size=o.group_size if four else None,
        max_bytes=o.max_bytes if four else None,
        distill=o.distill if four else None,
        key_bits=key_bits,
        value_bits=o.value_bits,
        progress=stages,
    )


def _fastest(
    o: argparse.Namespace, source: Path, output: Path, board: Profile, stages: Stages
) -> tuple[Report, dict[tuple[int, int], Budget]]:
    """Convert in each of FORMS and keep the one for a board; what each takes there."""
    budgets = {}
    best: tuple[int, int] | None = None
    reports: dict[tuple[int, int], Report] = {}
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".picoformer-") as folder:
        for form in FORMS:
            made = Path(folder, "{}-{}.pft".format(*form))
            reports[form] = _made(o, source, made, *form, stages)
            budgets[form] = b = Planner(made, board).budget()
            if b.fits and (best is None or _rate(b) > GAIN * _rate(budgets[best])):
                best = form
        if best is None:
            longest = max(b.longest for b in budgets.values())
            raise Error(
                f"with no choice of bits does this model fit a {board.title} at a context of "
                f"{b.context}; --positions {longest} would"
                if longest
                else f"with no choice of bits does this model fit a {board.title}; take a smaller "
                "one"
            )
        os.replace(Path(folder, "{}-{}.pft".format(*best)), output)
    reports[best].path = str(output)
    budgets = {best: budgets.pop(best), **budgets}
    return reports[best], budgets


def _rate(b: Budget) -> float:
    return b.speed.with_waits if b.speed else 1.0


def _forms(budgets: dict[tuple[int, int], Budget]) -> str:
    """What each form takes on the board, the chosen one first."""
    first = next(iter(budgets.values()))
    rows: list[tuple[str, ...]] = [
        ("weights", "keys", "model file", "heap needed", "tokens a second", "on both cores", "")
    ]
    for (weights, keys), b in budgets.items():
        s = b.speed
        rates = (f"{s.with_waits:.0f}", f"{s.both_cores_with_waits:.0f}") if s else ("", "")
        said = "chosen" if b is first else "" if b.fits else "does not fit"
        rows.append((
            f"{weights} bits", f"{keys} bits", f"{b.model_flash:,}", f"{b.needed:,}", *rates, said,
        ))  # fmt: skip
    head = f"on {first.board} at {first.context} positions"
    if first.speed:
        head += ", speed estimated, with waits for flash"
    return f"{head}\n{table(rows, right=True)}"


def _doubts(r: Report) -> list[str]:
    """The notes that ask whether this was meant: warnings."""
    return [note for note in r.notes if note.endswith("?")]


def after_convert(r: Report) -> list[str]:
    """What to do with a new model file: try it here, and put it on a board."""
    return [how_to_simulate(load(r.path), r.path, r.text), f"picoformer deploy {r.path}"]


def _print_report(r: Report, every: bool) -> None:
    worst = max(r.errors, key=lambda k: r.errors[k])
    where = r.tensors.get(worst, worst)
    floats = 4 * r.parameters
    more = "; --report lists all" if 4 in r.bits.values() and not every else ""
    print(f"{r.path}: {size(r.bytes)}, in {r.seconds:.1f} s")
    rows = [
        ("parameters", f"{r.parameters:,}: {size(floats)} as float32"),
        ("weights", f"{size(r.sections['weights'])}, {r.sections['weights'] / floats:.0%}"),
        ("rounding", f"weights are off by {r.errors[worst]:.2%}, at worst (in {where}){more}"),
        ("calibrated on", r.calibration),
        ("cache", f"{size(r.cache_bytes)} for {r.context} positions"),
        ("arena", size(r.arena_bytes)),
    ]
    if not r.text:
        rows.append(("tokenizer", "none: it takes token ids, no text"))
    if r.distilled:
        rows.append(("distilled", _gained(r.distilled)))
    rows += [("note", note) for note in r.notes if note not in _doubts(r)]
    print(table(rows))
    if every:
        print("\nrounding, relative to the weights' size")
        print(
            table(
                (r.tensors.get(k, k), f"{r.bits[k]} bits", f"{e:6.2%}")
                for k, e in r.errors.items()
            )
        )


def _gained(t: Training) -> str:
    """What training came to, in a line."""
    apart = f"{t.unit}, on {t.examples:,} example{'s' * (t.examples > 1)} set apart"
    if t.kept:
        return f"in {t.steps:,} steps from {t.rounded:.2g} to {t.trained:.2g} {apart}"
    return (
        f"{t.steps:,} steps gained nothing ({t.rounded:.2g} before, {t.trained:.2g} at best, "
        f"{apart}): the model stays as it was rounded"
    )


def _describe(m: ModelFile) -> dict[str, Any]:
    context = m.context
    return {
        "meta": m.meta,
        "context": context,
        "vocabulary": m.vocab,
        "bos": m.bos,
        "ends": list(m.ends),
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
        show_json(d)
        return
    print(f"{o.model}: {size(d['bytes'])}, all checks passed")
    rows = meta_rows(m)
    rows += [
        ("context", f"{m.context} positions, {m.batch} at a time"),
        ("steps", f"{len(m.steps)} a token, {d['multiplications']:,} multiplications in matrices"),
    ]
    print(table(rows))
    print("\nin the file")
    print(table((k, f"{v:>9,} bytes") for k, v in m.sizes.items()))
    ram = d["cache_bytes"] + d["arena_bytes"] + sum(
        m.sizes[k] for k in ("program", "tables", "tokenizer")
    )  # fmt: skip
    print(f"\non the board, at {m.context} positions")
    parts = {"cache": d["cache_bytes"], "arena": d["arena_bytes"], "all but the weights": ram}
    print(table((k, f"{v:>9,} bytes") for k, v in parts.items()))
    if o.steps:
        print("\nprogram")
        for i, s in enumerate(m.steps):
            head = "  (head)" if i == m.body else ""
            print(f"  {i:3} {s.op:9} {' '.join(map(str, s.fields))}{head}")
    then(o, f"picoformer plan {o.model}")
