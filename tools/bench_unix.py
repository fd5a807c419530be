"""Speed and heap of the unix port: a table, JSON, a picture.

    python tools/bench_unix.py [CHECKPOINT] [--llama2c PATH/TO/run] [--tokens 256]
                               [--position 64] [--json] [--plot FILE.png]

Tokens a second of each kernel family, and against the position; a profile of one token, every step
of the program in microseconds, with what Python costs around them; the heap.

CHECKPOINT: a llama2.c .bin or a Hugging Face folder (default: models/stories). With --llama2c,
llama2.c's own program (built by you: gcc -O3 -o run run.c -lm) runs the same checkpoint in turn
with the board, so that both see the same machine; medians of --runs turns are printed. The profile
and the times by position are means over --rounds tokens, without the outer quarters. The board's
heap has 4 MB; the least that would do is found by trying.
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

import benchmarks
from picoformer import Error, convert
from picoformer.emulator import find_micropython
from picoformer.importers.llama2c import find_tokenizer
from picoformer.modelfile import load

ROOT = Path(__file__).resolve().parents[1]

SCRIPT = """
import gc, json, sys, time
sys.path.insert(0, {device!r})
gc.collect()
free = gc.mem_free()
from picoformer import Model
model = Model({model!r}, kernels={kernels!r}, weights={weights!r})
gc.collect()
loaded = free - gc.mem_free()

for _ in model.generate("", 1):  # compiles nothing new, but touches every page
    pass
gc.collect()
before = gc.mem_alloc()
n = 0
start = time.ticks_us()
for piece in model.generate("", {tokens}):
    n += 1
took = time.ticks_diff(time.ticks_us(), start)
gc.collect()
print(json.dumps(dict(tokens=n, us=took, heap=loaded, grown=gc.mem_alloc() - before)))
"""

# Rounds of the profile (lists), then of the whole text (lists of microseconds).
PROFILE = """
import sys, time
sys.path.insert(0, {device!r})
from picoformer import Model
model = Model({model!r}, kernels="viper", weights="ram")
{profile}
clock = time.ticks_us
{call}
for _ in range(max(1, {rounds} // 4)):
    times = []
    start = clock()
    for piece in model.generate("", {tokens}):
        now = clock()
        times.append(now - start)
        start = now
    print(times)
"""

FITS = """
import sys
sys.path.insert(0, {device!r})
from picoformer import Model
for _ in Model({model!r}, kernels={kernels!r}, weights={weights!r}).generate("", 3):
    pass
"""
HEAP_STEP = 4096
HEAP_MOST = 4 << 20


def micropython(script: str, heap: int = HEAP_MOST) -> subprocess.CompletedProcess[str]:
    """A script on the unix port with a heap of so many bytes."""
    command = [find_micropython(), "-X", f"heapsize={heap}", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def printed(script: str) -> str:
    """What a script on the unix port prints. Raises Error for what it says of the model."""
    done = micropython(script)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        last = said.rpartition("\n")[2]
        if last.startswith(("Error: ", "MemoryError: ")):
            raise Error(f"on the board: {last}")
        raise RuntimeError(said)  # a defect of ours: all of it
    return done.stdout


def high_water(model: Path, kernels: str, weights: str) -> int:
    """Bytes of the smallest heap in which the model loads and runs, exact to HEAP_STEP."""
    script = FITS.format(
        device=str(ROOT / "device"), model=str(model), kernels=kernels, weights=weights
    )
    low, high = 0, HEAP_MOST // HEAP_STEP
    while high - low > 1:
        middle = (low + high) // 2
        if micropython(script, middle * HEAP_STEP).returncode:
            low = middle
        else:
            high = middle
    return high * HEAP_STEP


def profile(
    model: Path, position: int, tokens: int, rounds: int
) -> tuple[dict[str, Any], list[float]]:
    """The profile of a token and the microseconds of every one, with viper kernels in RAM."""
    script = PROFILE.format(
        device=str(ROOT / "device"), model=str(model), tokens=tokens, rounds=rounds,
        profile=benchmarks.profile_script("m()", (1 << 30) - 1),
        call=f"profile(model, {position}, {rounds}, clock, lambda: 0, lambda s: None)",
    )  # fmt: skip
    lines = [json.loads(line) for line in printed(script).splitlines()]
    parts = benchmarks.profile(load(model), position, lines[:rounds], "us")
    us = [round(benchmarks.middle(list(at)), 1) for at in zip(*lines[rounds:], strict=True)]
    return parts, us


def board(model: Path, kernels: str, weights: str, tokens: int) -> dict[str, Any]:
    """One run on the unix port: tokens, microseconds, heap after loading, growth (bytes)."""
    script = SCRIPT.format(
        device=str(ROOT / "device"), model=str(model), kernels=kernels, weights=weights,
        tokens=tokens,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(printed(script))
    return result


def check(o: argparse.Namespace) -> None:
    """Raise Error for options that cannot be, before anything takes time."""
    for name in ("tokens", "runs", "portable_tokens", "position", "rounds"):
        if getattr(o, name) < 1:
            raise Error(f"--{name.replace('_', '-')} is {getattr(o, name)}, expected at least 1")
    if o.plot:
        benchmarks.need_plots()
    if o.llama2c is None:
        return
    if shutil.which(o.llama2c) is None:
        raise Error(
            f"--llama2c {o.llama2c}: there is no such program; build llama2.c's with "
            "gcc -O3 -o run run.c -lm and give the path to it"
        )
    if Path(o.checkpoint).is_dir():
        raise Error(f"--llama2c needs a llama2.c checkpoint (.bin), {o.checkpoint} is a folder")
    if Path(o.checkpoint).exists():
        find_tokenizer(Path(o.checkpoint), None)


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
    parser.add_argument("--tokens", type=int, default=256)
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


def measure(o: argparse.Namespace) -> dict[str, Any]:
    """Everything of one model, as the JSON has it. Times are in microseconds, sizes in bytes."""
    checkpoint = Path(o.checkpoint)
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.pft"
        report = convert(checkpoint, model)
        cases = [("viper", "ram", o.tokens), ("viper", "file", o.tokens)]
        cases.append(("portable", "ram", o.portable_tokens))
        speeds: dict[str, list[float]] = {}
        for _ in range(o.runs):
            for kernels, weights, tokens in cases:
                name = f"{kernels}, weights in {weights}"
                r = board(model, kernels, weights, tokens)
                speeds.setdefault(name, []).append(r["tokens"] / r["us"] * 1e6)
                rows[name] = {"heap": r["heap"], "grown": r["grown"], "tokens": r["tokens"]}
            if o.llama2c:
                speed = llama2c(o.llama2c, checkpoint, o.tokens)
                speeds.setdefault("llama2.c run", []).append(speed)
        for kernels, weights, _ in cases:
            rows[f"{kernels}, weights in {weights}"]["high_water"] = high_water(
                model, kernels, weights
            )
        tokens = rows["viper, weights in ram"]["tokens"]
        position = min(o.position, tokens - 3)
        parts: dict[str, Any] | None = None
        us: list[float] = []
        if position > 0:
            parts, us = profile(model, position, tokens, o.rounds)
    for name, values in speeds.items():
        row = rows.setdefault(name, {})
        row["tokens_per_second"] = round(statistics.median(values), 1)
        row["range"] = [round(min(values), 1), round(max(values), 1)]
    return {
        "board": "unix port on a PC", "model": report.name, "parameters": report.parameters,
        "bytes": report.bytes, "context": report.context, "tokens": tokens, "runs": rows,
        "us": us, "profile": parts,
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """A result as text."""
    lines = [
        f"{result['model']}: {result['parameters']:,} parameters, file {result['bytes']:,} bytes",
        f"{'':28} {'tokens/s':>9} {'lowest':>8} {'highest':>8} {'heap':>9} {'needed':>9}"
        f" {'grown':>6}",
    ]
    for name, row in result["runs"].items():
        heap = ""
        if "heap" in row:
            heap = f"{row['heap']:>9,} {row['high_water']:>9,} {row['grown']:>6}"
        low, high = row["range"]
        speed = f"{row['tokens_per_second']:>9,.0f} {low:>8,.0f} {high:>8,.0f}"
        lines.append(f"{name:28} {speed} {heap}".rstrip())
    if result["profile"]:
        lines += ["", benchmarks.position_table(result["us"])]
        lines += ["", benchmarks.profile_table(result["profile"])]
    return "\n".join(lines)


def plot(result: dict[str, Any], path: str) -> None:
    """The picture of a result."""
    where = f"{result['model']}, {result['board']}, viper kernels"
    benchmarks.plot_model(path, where, {"": result["us"]}, result["profile"])


def main() -> int:
    """The command line; returns the exit status. A user's mistake is one line, no traceback."""
    try:
        run()
    except Error as e:
        print(f"bench_unix: error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
