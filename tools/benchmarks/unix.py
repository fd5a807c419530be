"""Speed and heap of the unix port: a table, JSON, a picture.

    python -m tools.benchmarks.unix [CHECKPOINT] [--llama2c PATH/TO/run] [--tokens 256]
                                    [--position 64] [--json] [--plot FILE.png]

Tokens a second of each kernel family, and against the position; a profile of one token, every step
of the program in microseconds, with what Python costs around them; the heap. Of a model that takes
its input whole (a classifier, a sentence encoder), milliseconds of a text of 16 tokens, and for
other numbers of tokens.

CHECKPOINT: a llama2.c .bin or a Hugging Face folder (default: models/stories). With --llama2c,
llama2.c's own program (built by you: gcc -O3 -o run run.c -lm) runs the same checkpoint in turn
with the board, so that both see the same machine; medians of --runs turns are printed. The profile
and the times by position are means over --rounds tokens or texts, without the outer quarters. The
board's heap has 4 MB; the least that would do is found by trying.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from picoformer import Error, Simulator, convert
from picoformer.boards.emulated.unix import find_micropython
from picoformer.importers.llama2c import find_tokenizer
from tools import ROOT
from tools.benchmarks import inputs
from tools.benchmarks.figures import middle, position_table
from tools.benchmarks.plots import need_plots, plot_model
from tools.benchmarks.profile import profile, profile_script, profile_table
from tools.command import finish

# `run(n)` is n tokens, or n times a text; it returns how many there were, and the times of each.
LOAD = """
import gc, json, sys, time
sys.path.insert(0, {device!r})
gc.collect()
free = gc.mem_free()
from picoformer import Model
model = Model({model!r}, kernels={kernels!r}, weights={weights!r})
gc.collect()
loaded = free - gc.mem_free()
clock = time.ticks_us

def pieces(text, n):
    if model.task == "generate":
        return model.generate("", n)
    call = getattr(model, model.task)
    return (call(text) for _ in range(n))
"""

SCRIPT = (
    LOAD
    + """
for _ in pieces({text!r}, 1):  # compiles nothing new, but touches every page
    pass
gc.collect()
before = gc.mem_alloc()
n = 0
start = clock()
for _ in pieces({text!r}, {count}):
    n += 1
took = time.ticks_diff(clock(), start)
gc.collect()
print(json.dumps(dict(tokens=n, us=took, heap=loaded, grown=gc.mem_alloc() - before)))
"""
)

# Rounds of the profile (lists), then of all tokens or texts (lists of microseconds).
PROFILE = (
    LOAD
    + """
{profile}
profile(model, {at!r}, {rounds}, clock, lambda: 0, lambda s: None)
for _ in range(max(1, {rounds} // 4)):
    times = []
    for text in {texts!r}:
        start = clock()
        for _ in pieces(text, {count}):
            now = clock()
            times.append(now - start)
            start = now
    print(times)
"""
)

FITS = LOAD + "for _ in pieces({text!r}, 3): pass"
HEAP_STEP = 4096
HEAP_MOST = 4 << 20
TEXTS = 20  # one after the other, for their mean


def micropython(code: str, heap: int = HEAP_MOST) -> subprocess.CompletedProcess[str]:
    """A script on the unix port with a heap of so many bytes."""
    command = [find_micropython(), "-X", f"heapsize={heap}", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def printed(code: str) -> str:
    """What a script on the unix port prints. Raises Error for what it says of the model."""
    done = micropython(code)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        last = said.rpartition("\n")[2]
        if last.startswith(("Error: ", "MemoryError: ")):
            raise Error(f"on the board: {last}")
        raise RuntimeError(said)  # a defect of ours: all of it
    return done.stdout


def script(code: str, model: Path, kernels: str, weights: str, **values: Any) -> str:
    """One of the scripts above for a model and the other values that it names."""
    return code.format(
        device=str(ROOT / "device"), model=str(model), kernels=kernels, weights=weights, **values
    )


def high_water(model: Path, kernels: str, weights: str, text: str) -> int:
    """Bytes of the smallest heap in which the model loads and runs, exact to HEAP_STEP."""
    code = script(FITS, model, kernels, weights, text=text)
    low, high = 0, HEAP_MOST // HEAP_STEP
    while high - low > 1:
        middle = (low + high) // 2
        if micropython(code, middle * HEAP_STEP).returncode:
            low = middle
        else:
            high = middle
    return high * HEAP_STEP


def profiled(
    model: Path, sim: Simulator, at: int, count: int, texts: list[str], rounds: int
) -> tuple[dict[str, Any], list[float]]:
    """The profile of the token or the text of `at`, with viper kernels in RAM, and the
    microseconds of each of `count` tokens, or of each text.
    """
    writes = sim.model.task == "generate"
    code = script(
        PROFILE, model, "viper", "ram", profile=profile_script("m()", (1 << 30) - 1),
        at=at if writes else inputs.text_of(sim, at), texts=texts, rounds=rounds,
        count=count if writes else 1,
    )  # fmt: skip
    lines = [json.loads(line) for line in printed(code).splitlines()]
    parts = profile(sim.model, at, lines[:rounds], "us")
    us = [round(middle(list(at)), 1) for at in zip(*lines[rounds:], strict=True)]
    return parts, us


def check(o: argparse.Namespace) -> None:
    """Raise Error for options that cannot be, before anything takes time."""
    for name in ("tokens", "runs", "portable_tokens", "position", "rounds"):
        if getattr(o, name) is not None and getattr(o, name) < 1:
            raise Error(f"--{name.replace('_', '-')} is {getattr(o, name)}, expected at least 1")
    if o.plot:
        need_plots()
    if o.llama2c is None:
        return
    if shutil.which(o.llama2c) is None:
        raise Error(
            f"--llama2c {o.llama2c}: there is no such program; build llama2.c's with "
            "gcc -O3 -o run run.c -lm and give the path to it"
        )
    if Path(o.checkpoint).is_dir():
        raise Error(f"--llama2c needs a llama2.c checkpoint (.bin), {o.checkpoint} is a folder")
    if Path(o.checkpoint).exists() and find_tokenizer(Path(o.checkpoint), None) is None:
        raise Error(f"--llama2c needs the tokenizer (tok*.bin) of {o.checkpoint} beside it")


def llama2c(program: str, checkpoint: Path, tokens: int) -> float:
    """Tokens per second that llama2.c's run prints."""
    command = [program, str(checkpoint), "-z", str(find_tokenizer(checkpoint, None)), "-t", "0"]
    command += ["-n", str(tokens)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as e:
        raise Error(f"{program} does not run: {e}") from e
    found = re.search(r"achieved tok/s: ([\d.]+)", done.stdout + done.stderr)
    if not found:
        said = " ".join((done.stdout[-200:] + " " + done.stderr[-200:]).split())
        raise Error(f"{program} printed no speed, is it llama2.c's? It said: {said or 'nothing'}")
    return float(found[1])


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", nargs="?", default=str(ROOT / "models" / "stories"))
    parser.add_argument("--llama2c", metavar="RUN", help="llama2.c's program, to compare")
    parser.add_argument("--tokens", type=int, help="to write: 256; to read: 16")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--portable-tokens", type=int, default=16, help="they are slow")
    parser.add_argument("--position", type=int, default=64, help="of the profiled token (64)")
    parser.add_argument("--rounds", type=int, default=100, help="of the profile (100)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", metavar="FILE.png")
    o = parser.parse_args()
    check(o)
    result = measure(o)
    if o.plot:
        if not result["profile"]:
            raise Error(f"--plot needs more than the {result['tokens']} tokens there are")
        plot(result, o.plot)
    print(json.dumps(result) if o.json else table(result))


def in_turn(
    o: argparse.Namespace, model: Path, cases: list[tuple[str, str, int]], text: str
) -> tuple[dict[str, dict[str, Any]], dict[str, list[float]]]:
    """Heap and tokens of each case (kernels, weights, tokens), and its tokens a second in each
    of --runs turns; those of llama2.c as well.
    """
    rows: dict[str, dict[str, Any]] = {}
    speeds: dict[str, list[float]] = {}
    for _ in range(o.runs):
        for kernels, weights, count in cases:
            name = f"{kernels}, weights in {weights}"
            code = script(SCRIPT, model, kernels, weights, text=text, count=count)
            r = json.loads(printed(code))
            speeds.setdefault(name, []).append(r["tokens"] / r["us"] * 1e6)
            rows[name] = {"heap": r["heap"], "grown": r["grown"], "tokens": r["tokens"]}
        if o.llama2c:
            speed = llama2c(o.llama2c, Path(o.checkpoint), cases[0][2])
            speeds.setdefault("llama2.c run", []).append(speed)
    return rows, speeds


def measure(o: argparse.Namespace) -> dict[str, Any]:
    """Everything of one model, as the JSON has it. Times are in microseconds, sizes in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.pft"
        report = convert(Path(o.checkpoint), model)
        sim = Simulator(model)
        writes = sim.model.task == "generate"
        text = longest = ""
        many, few = o.tokens or 256, o.portable_tokens
        counts: list[int] = []
        if not writes:
            text, longest = (inputs.text_of(sim, n) for n in (o.tokens or 16, sim.context))
            counts = inputs.counts(sim.context)
            many, few = TEXTS, 1
        cases = [("viper", "ram", many), ("viper", "file", many), ("portable", "ram", few)]
        rows, speeds = in_turn(o, model, cases, text)
        for kernels, weights, _ in cases:
            rows[f"{kernels}, weights in {weights}"]["high_water"] = high_water(
                model, kernels, weights, longest
            )
        tokens = rows["viper, weights in ram"]["tokens"] if writes else len(sim.encode(text))
        at = min(o.position, tokens - 3) if writes else tokens
        parts: dict[str, Any] | None = None
        us: list[float] = []
        if at > 0:
            texts = [inputs.text_of(sim, n) for n in counts] or [""]
            counts = [len(sim.encode(text)) for text in texts] if counts else []
            parts, us = profiled(model, sim, at, tokens, texts, o.rounds)
    for name, values in speeds.items():
        row = rows.setdefault(name, {})
        row["tokens_per_second" if writes else "texts_per_second"] = statistics.median(values)
        row["range"] = [min(values), max(values)]
        if not writes:
            row["range"] = [1000 / v for v in reversed(row["range"])]
            row["ms"] = 1000 / row.pop("texts_per_second")
    return {
        "board": "unix port on a PC", "model": report.name, "task": sim.model.task,
        "parameters": report.parameters, "bytes": report.bytes, "context": report.context,
        "tokens": tokens, "runs": rows, "us": us, "counts": counts, "profile": parts,
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """A result as text."""
    unit, digits = ("ms", 2) if result["counts"] else ("tokens/s", 0)
    lines = [
        f"{result['model']}: {result['parameters']:,} parameters, file {result['bytes']:,} bytes",
        f"{'':28} {unit:>9} {'lowest':>8} {'highest':>8} {'heap':>9} {'needed':>9} {'grown':>6}",
    ]
    for name, row in result["runs"].items():
        heap = ""
        if "heap" in row:
            heap = f"{row['heap']:>9,} {row['high_water']:>9,} {row['grown']:>6}"
        low, high = row["range"]
        speed = row["ms"] if result["counts"] else row["tokens_per_second"]
        numbers = f"{speed:>9,.{digits}f} {low:>8,.{digits}f} {high:>8,.{digits}f}"
        lines.append(f"{name:28} {numbers} {heap}".rstrip())
    if result["counts"]:
        lines += [f"a text of {result['tokens']} tokens", "", f"{'tokens':>9}{'ms':>10}"]
        for n, us in zip(result["counts"], result["us"], strict=True):
            lines.append(f"{n:>9}{us / 1000:>10.2f}")
    elif result["profile"]:
        lines += ["", position_table(result["us"])]
    if result["profile"]:
        lines += ["", profile_table(result["profile"])]
    return "\n".join(lines)


def plot(result: dict[str, Any], path: str) -> None:
    """The picture of a result."""
    where = f"{result['model']}, {result['board']}, viper kernels"
    plot_model(
        path, where, {"": result["us"]}, result["profile"], result.get("counts", ())
    )


if __name__ == "__main__":
    sys.exit(finish("unix", run))
