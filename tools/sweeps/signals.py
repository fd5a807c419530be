"""The program of docs/signals.md on an emulated Pico, for minutes: no heap may be lost.

    python -m tools.sweeps.signals [--minutes 10] [--recording FILE.csv] [--board pico] [--json]

The three files of the page and the model of motions lie in the board's flash, and a recording in
place of the sensor, which is read over and over. The board's watchdog runs. Each minute of the
board's time the garbage is collected and the free heap said: it may not shrink, or the tool ends
with 1. At the end it says how long a window took and how many events there were. --board esp32 is
another emulated board, whose times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from picoformer import Board, convert
from picoformer.boards import emulated
from tools import ROOT
from tools.command import finish
from tools.emulation import rp2040
from tools.emulation.filesystem import runtime

MOTIONS = ROOT / "models/motions"
PROGRAMS = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)

# The program, with the board's watchdog, which looks at the clock and the heap whenever it is fed,
# a model that looks at the clock, and a callback that may not allocate.
WATCHED = """
import gc, machine, micropython, time
gc.collect()
print("heap", gc.mem_free())
t = time.ticks_ms()
import program
print("import", time.ticks_diff(time.ticks_ms(), t))

class Over(BaseException):
    pass

class Model(program.Model):
    took = longest = windows = 0
    def classify(self, x):
        t = time.ticks_us()
        found = super().classify(x)
        t = time.ticks_diff(time.ticks_us(), t)
        Model.longest = max(Model.longest, t)
        Model.took += t
        Model.windows += 1
        return found

class Ring(program.Ring):
    made = None
    def __init__(self, source, rows, spare):
        super().__init__(source, rows, spare)
        Ring.made = self
    def sample(self, timer):
        micropython.heap_lock()
        Plain.sample(self, timer)
        micropython.heap_unlock()

class Watchdog:
    def __init__(self, timeout):
        self.wdt = machine.WDT(timeout=timeout)
        self.start = self.last = time.ticks_ms()
        self.minutes = 0
        gc.collect()
        print("loaded", time.ticks_diff(self.start, t), gc.mem_free())
    def feed(self):
        self.wdt.feed()
        if time.ticks_diff(time.ticks_ms(), self.last) >= 60000:
            self.last = time.ticks_add(self.last, 60000)
            self.minutes += 1
            t = time.ticks_us()
            gc.collect()
            t = time.ticks_diff(time.ticks_us(), t)
            print("minute", self.minutes, gc.mem_free(), Ring.made.rows, Ring.made.failed, t)
            if self.minutes == MINUTES:
                raise Over

Plain = program.Ring
program.Model, program.Ring, program.WDT = Model, Ring, Watchdog
t = time.ticks_ms()
try:
    program.run()
except Over:
    print("windows", Model.windows, Model.took, Model.longest)
"""


def page(name: str) -> str:
    """A page of docs/."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def programs(name: str = "signals") -> dict[str, str]:
    """The files of a page by their names."""
    return dict(PROGRAMS.findall(page(name)))


@dataclass
class Report:
    """What the board said. Times in ms, those of one window and of collections in us."""

    heap: int = 0  # bytes free in the beginning
    importing: int = 0
    loading: int = 0
    free: list[int] = field(default_factory=list)  # first as the watchdog starts, then each minute
    rows: list[int] = field(default_factory=list)
    failed: int = 0
    collection: int = 0  # the longest
    windows: int = 0
    window: float = 0.0  # on average
    longest: int = 0
    events: list[str] = field(default_factory=list)
    busy: float = 0.0  # the share of the time that the processor did not sleep; 0: not known

    def hear(self, line: str) -> None:
        """A line of WATCHED, or one of the program itself."""
        kind, *rest = line.split()
        if kind == "heap":
            self.heap = int(rest[0])
        elif kind == "import":
            self.importing = int(rest[0])
        elif kind == "loaded":
            self.loading, free = map(int, rest)
            self.free.append(free)
        elif kind == "minute":
            _, free, rows, self.failed, collection = map(int, rest)
            self.free.append(free)
            self.rows.append(rows)
            self.collection = max(self.collection, collection)
        elif kind == "windows":
            self.windows, took, self.longest = map(int, rest)
            self.window = took / self.windows
        else:
            self.events.append(line)


def files(recording: bytes, folder: Path) -> dict[str, bytes]:
    """What lies in the flash besides the runtime; the file setup keeps it from running."""
    path = folder / "motions.pft"
    convert(MOTIONS, path)
    found = programs()
    return {
        "/motions.pft": path.read_bytes(),
        "/program.py": found["main.py"].encode(),
        "/sensor.py": found["sensor.py"].encode(),
        "/recording.csv": recording,
        "/setup": b"",
    }


def run(minutes: int, recording: bytes, board: str = "pico") -> Report:
    """Run the program for so many minutes of the board's. Raises Error."""
    script, limit = f"MINUTES = {minutes}\n{WATCHED}", 60.0 * minutes + 60
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        flash = files(recording, folder)
        if board != "pico":
            said = _elsewhere(board, flash, script, limit, folder)
        else:
            rp2040.checked()
            with rp2040.RP2040(flash | runtime()) as pico:
                said = pico.exec(script, limit)
                report.busy = pico.exec_cycles / rp2040.CLOCK_HZ / (60 * minutes)
    for line in said.splitlines():
        report.hear(line)
    return report


def _elsewhere(
    board: str, flash: dict[str, bytes], script: str, limit: float, folder: Path
) -> str:
    """What the script prints on another emulated board."""
    with emulated.board(board)(folder / "flash") as emulator, Board(emulator.port) as link:
        link.deploy(folder / "motions.pft")
        for name, data in flash.items():
            if name != "/motions.pft":
                link.exec(f"f = open({name!r}, 'wb')")
                for i in range(0, len(data), 1024):
                    link.exec(f"f.write({data[i : i + 1024]!r})")
                link.exec("f.close()")
        return link.exec(script, 2 * limit)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 where heap was lost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--recording", type=Path, default=MOTIONS / "walking.csv")
    parser.add_argument("--board", choices=["pico", "esp32"], default="pico")
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args(arguments)
    report = run(o.minutes, o.recording.read_bytes(), o.board)
    if o.json:
        print(json.dumps(asdict(report), indent=2))
        return int(report.free[1] != report.free[-1])
    print(f"{report.heap:,} bytes of heap, of which {report.heap - report.free[-1]:,} are taken")
    print(f"{report.importing} ms to import, {report.loading} ms until the watchdog runs")
    for minute, free in enumerate(report.free):
        print(f"minute {minute}: {free:,} bytes free")
    window, longest, collection = (
        f"{us / 1000:.1f} ms" for us in (report.window, report.longest, report.collection)
    )
    print(f"{report.windows} windows, {window} each, {longest} at most; a collection {collection}")
    print(f"{report.rows[-1]} rows, {report.failed} failed; {len(report.events)} events")
    if report.busy:
        print(f"busy for {100 * report.busy:.1f} % of the time")
    return int(report.free[1] != report.free[-1])


if __name__ == "__main__":
    sys.exit(finish("signals", main))
