"""The whole way once: convert a checkpoint, put it on an emulated board, compare with the PC."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from .converter import convert
from .emulator import UnixBoard
from .errors import Error
from .simulator import Simulator

MARK = "\x1e"  # between the story and the board's report

# What runs on the board. Only `from picoformer import Model` and two calls matter.
SCRIPT = """
import gc, json, time
gc.collect()
free = gc.mem_free()
from picoformer import Model
model = Model("/{name}.pft")
for piece in model.generate({prompt!r}, {n}):
    print(piece, end="")
gc.collect()
used = free - gc.mem_free()
start = time.ticks_us()
n = 0
for piece in model.generate({prompt!r}, {n}):
    n += 1
took = time.ticks_diff(time.ticks_us(), start)
logits = list(model.logits(model.tokenizer.encode({prompt!r})))
print({mark!r} + json.dumps(dict(tokens=n, us=took, heap=used, kernels=model.kernels,
    weights=model.weights, logits=logits)))
"""


def default_source() -> Path:
    """The story model of the checkout that this package runs from."""
    folder = Path(__file__).resolve().parents[2] / "models" / "stories"
    if not folder.is_dir():
        raise Error(
            "the story model is not here (it comes with a checkout of picoformer, not with the "
            "package); name a checkpoint: picoformer demo SOURCE"
        )
    return folder


def mpremote(port: str, *arguments: str, limit: float = 120) -> subprocess.Popen[str]:
    """Start mpremote on a port, its output as text to read from."""
    command = [sys.executable, "-m", "mpremote", "connect", port, *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )


def _finish(process: subprocess.Popen[str], what: str, seen: str = "") -> str:
    assert process.stdout is not None
    seen += process.stdout.read()
    if process.wait():
        raise Error(f"{what} failed; mpremote said: {seen.strip()[-500:]}")
    return seen


def run_demo(source: str | None, prompt: str, n: int, quiet: bool = False) -> dict[str, Any]:
    """Run the demo; prints unless `quiet`. Returns the figures and whether board equals PC."""

    def say(text: str = "", end: str = "\n") -> None:
        if not quiet:
            print(text, end=end, flush=True)

    checkpoint = Path(source) if source else default_source()
    name = checkpoint.resolve().name.removesuffix(".bin")
    with tempfile.TemporaryDirectory(prefix="picoformer-") as folder:
        model = Path(folder) / f"{name}.pft"
        report = convert(checkpoint, model)
        say(
            f"1. convert   {checkpoint.name}: {report.parameters:,} parameters, "
            f"{4 * report.parameters:,} bytes as float32, {report.bytes:,} as {model.name}"
        )
        sim = Simulator(model)
        expected = "".join(sim.generate(prompt, n))
        (Path(folder) / "flash").mkdir()
        with UnixBoard(Path(folder) / "flash") as board:
            say(f"2. board     MicroPython's unix port behind {board.port}")
            runtime = Path(str(files("picoformer.device")))
            sources = sorted(str(p) for p in runtime.glob("*.py"))
            _finish(
                mpremote(
                    board.port, "fs", "mkdir", ":/lib", "+", "fs", "mkdir", ":/lib/picoformer",
                    "+", "fs", "cp", *sources, ":/lib/picoformer/", "+", "fs", "cp", str(model),
                    f":/{model.name}",
                ),
                "copying to the board",
            )  # fmt: skip
            say(f"3. mpremote  copied {len(sources)} files of the runtime, and the model")
            say("4. story     told by the board, as it comes:\n")
            script = SCRIPT.format(name=name, prompt=prompt, n=n, mark=MARK)
            run = mpremote(board.port, "exec", script)
            assert run.stdout is not None
            say(prompt, end="")
            seen = ""
            while MARK not in seen and (c := run.stdout.read(1)):
                seen += c
                if c != MARK:
                    say(c, end="")
            seen = _finish(run, "the story", seen)
    text, _, tail = seen.partition(MARK)
    try:
        figures: dict[str, Any] = json.loads(tail)
    except ValueError as e:
        raise Error(f"the board's report is not JSON: {tail.strip()[-300:]}") from e
    logits = figures.pop("logits")
    same_logits = logits == sim.logits(sim.tokenizer.encode(prompt))[-1].tolist()
    figures["tokens_per_second"] = figures["tokens"] / max(figures["us"], 1) * 1e6
    figures["text"] = text
    figures["equal"] = text == expected and same_logits
    say("\n")
    say(
        f"5. speed     {figures['tokens_per_second']:,.0f} tokens a second "
        f"({figures['kernels']} kernels, weights in {figures['weights']}; this is a PC)"
    )
    say(f"   memory    {figures['heap']:,} bytes of the board's heap, weights included")
    if figures["equal"]:
        say(f"   verdict   equal: all {len(logits)} logits and every token are the simulator's")
    else:
        say("   verdict   DIFFERENT from the simulator")
    return figures
