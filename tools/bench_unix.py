"""Speed and heap of the unix port, as a table: tokens per second of each kernel family.

    python tools/bench_unix.py [CHECKPOINT] [--llama2c PATH/TO/run] [--tokens 256] [--json]

CHECKPOINT: a llama2.c .bin or a Hugging Face folder (default: models/stories). With --llama2c,
llama2.c's own program (built by you: gcc -O3 -o run run.c -lm) runs the same checkpoint in turn
with the board, so that both see the same machine; medians of --runs turns are printed.
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

from picoformer import Error, convert
from picoformer.emulator import find_micropython
from picoformer.importers.llama2c import find_tokenizer

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


def board(model: Path, kernels: str, weights: str, tokens: int) -> dict[str, Any]:
    """One run on the unix port: tokens, microseconds, heap after loading, growth (bytes)."""
    script = SCRIPT.format(
        device=str(ROOT / "device"), model=str(model), kernels=kernels, weights=weights,
        tokens=tokens,
    )  # fmt: skip
    command = [find_micropython(), "-X", "heapsize=4m", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        last = said.rpartition("\n")[2]
        if last.startswith(("Error: ", "MemoryError: ")):
            raise Error(f"on the board: {last}")
        raise RuntimeError(said)  # a defect of ours: all of it
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def check(o: argparse.Namespace) -> None:
    """Raise Error for options that cannot be, before anything takes time."""
    for name in ("tokens", "runs", "portable_tokens"):
        if getattr(o, name) < 1:
            raise Error(f"--{name.replace('_', '-')} is {getattr(o, name)}, expected at least 1")
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
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    check(o)
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
    for name, values in speeds.items():
        rows.setdefault(name, {})["tokens_per_second"] = statistics.median(values)
        rows[name]["range"] = [min(values), max(values)]
    if o.json:
        print(json.dumps({"model": report.name, "bytes": report.bytes, "runs": rows}))
        return
    print(f"{report.name}: {report.parameters:,} parameters, file {report.bytes:,} bytes")
    print(f"{'':28} {'tokens/s':>9} {'lowest':>8} {'highest':>8} {'heap':>9} {'grown':>6}")
    for name, row in rows.items():
        heap = f"{row['heap']:>9,} {row['grown']:>6}" if "heap" in row else ""
        low, high = row["range"]
        print(f"{name:28} {row['tokens_per_second']:>9,.0f} {low:>8,.0f} {high:>8,.0f} {heap}")


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
