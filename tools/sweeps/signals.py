"""The program of docs/signals.md, or docs/sound.md, on an emulated Pico: no heap may be lost.

    python -m tools.sweeps.signals [--minutes 10] [--recording FILE.csv] [--board pico] [--json]
    python -m tools.sweeps.signals --page sound [--recording FILE.wav] [--model FILE.pft] ...

The files of the page and its model (motions, digits) lie in the board's flash, and a recording in
place of the sensor, which is read over and over; of sound that is samples of a .wav file, which a
`machine.I2S` of ours gives at the pace of a microphone. The board's watchdog runs. Each minute of
the board's time (or --every S) the garbage is collected and the free heap said: it may not shrink,
or the tool ends with 1. At the end it says how long a window took and how many events there were.
--board esp32 is another emulated board, whose times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from picoformer import Board, Error, convert
from picoformer.boards import emulated
from picoformer.compile.modelfile import load
from picoformer.data.sounds import sound
from tools import ROOT
from tools.command import finish
from tools.emulation import rp2040
from tools.emulation.filesystem import runtime

MOTIONS, DIGITS = ROOT / "models/motions", ROOT / "models/digits"
PROGRAMS = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)

# A program, with a model that looks at the clock.
BEGIN = """
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
"""

# The board's watchdog, which looks at the clock and the heap whenever it is fed.
END = """
class Watchdog:
    def __init__(self, timeout):
        self.wdt = machine.WDT(timeout=timeout)
        self.start = self.last = time.ticks_ms()
        self.looks = 0
        gc.collect()
        print("loaded", time.ticks_diff(self.start, t), gc.mem_free())
    def feed(self):
        self.wdt.feed()
        if time.ticks_diff(time.ticks_ms(), self.last) >= EVERY:
            self.last = time.ticks_add(self.last, EVERY)
            self.looks += 1
            t = time.ticks_us()
            gc.collect()
            t = time.ticks_diff(time.ticks_us(), t)
            print("look", gc.mem_free(), *so_far(), t)
            if self.looks == LOOKS:
                raise Over

program.Model, program.WDT = Model, Watchdog
t = time.ticks_ms()
try:
    program.run()
except Over:
    print("windows", Model.windows, Model.took, Model.longest)
"""

# A callback that may not allocate.
SENSED = """
class Ring(program.Ring):
    made = None
    def __init__(self, source, rows, spare):
        super().__init__(source, rows, spare)
        Ring.made = self
    def sample(self, timer):
        micropython.heap_lock()
        Plain.sample(self, timer)
        micropython.heap_unlock()

def so_far():
    return Ring.made.rows, Ring.made.failed

Plain = program.Ring
program.Ring = Ring
"""

# Samples of a file, when they are due. Late: how often more of them waited than the buffer holds.
HEARD = """
import microphone

class I2S:
    RX = MONO = 0
    late = reading = 0
    shift = machine.I2S.shift
    def __init__(self, *_, ibuf, rate, **__):
        self.f = open("/recording.raw", "rb")
        self.us, self.most = 500000 // rate, ibuf // 8 * 1000000 // rate
        self.due = time.ticks_us()
        self.ring = bytearray(ibuf)
    def readinto(self, buffer):
        self.due = time.ticks_add(self.due, len(buffer) * self.us)
        wait = time.ticks_diff(self.due, time.ticks_us())
        if wait > 999:
            time.sleep_ms(wait // 1000)
        elif -wait > self.most - len(buffer) * self.us:
            I2S.late += 1
        t = time.ticks_us()
        n = self.f.readinto(buffer)
        if n < len(buffer):
            self.f.seek(0)
            self.f.readinto(buffer[n:])
        I2S.reading += time.ticks_diff(time.ticks_us(), t)
        return len(buffer)
    def deinit(self):
        print("rows", Model.rows, Model.writing, I2S.reading)

class Model(Model):
    rows = writing = 0
    def features(self):
        f = super().features()
        write = f.write
        def timed(x):
            t = time.ticks_us()
            n = write(x)
            Model.writing += time.ticks_diff(time.ticks_us(), t)
            Model.rows += n
            return n
        f.write = timed
        return f

def so_far():
    return Model.rows, I2S.late

microphone.I2S = I2S
"""


@dataclass(frozen=True)
class Guide:
    """A page with a program, the model of it, and what is told of the program meanwhile."""

    model: Path
    name: str  # of the model's file
    files: tuple[str, ...]  # besides main.py
    recording: str
    script: str


GUIDES = {
    "signals": Guide(
        MOTIONS, "motions.pft", ("sensor.py",), "/recording.csv", BEGIN + SENSED + END
    ),
    "sound": Guide(
        DIGITS, "digits.pft", ("microphone.py",), "/recording.raw",
        BEGIN + HEARD + END,
    ),
}  # fmt: skip


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
    free: list[int] = field(default_factory=list)  # first as the watchdog starts, then each time
    rows: list[int] = field(default_factory=list)
    failed: int = 0
    collection: int = 0  # the longest
    windows: int = 0
    window: float = 0.0  # on average
    longest: int = 0
    events: list[str] = field(default_factory=list)
    row: float = 0.0  # of sound, on average
    file: float = 0.0  # the share of the time that reading a file of sound took
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
        elif kind == "look":
            free, rows, self.failed, collection = map(int, rest)
            self.free.append(free)
            self.rows.append(rows)
            self.collection = max(self.collection, collection)
        elif kind == "windows":
            self.windows, took, self.longest = map(int, rest)
            self.window = took / self.windows
        elif kind == "rows":
            rows, took, reading = map(int, rest)
            self.row, self.file = took / rows, reading / 1e6
        else:
            self.events.append(line)


def files(
    recording: bytes, folder: Path, page: str = "signals", model: Path | None = None
) -> dict[str, bytes]:
    """What lies in the flash besides the runtime; the file setup keeps it from running."""
    guide, found = GUIDES[page], programs(page)
    path = folder / guide.name
    if model is None:
        convert(guide.model, path)
    else:
        path.write_bytes(model.read_bytes())
    flash = {f"/{name}": found[name].encode() for name in guide.files}
    return flash | {
        f"/{guide.name}": path.read_bytes(),
        "/program.py": found["main.py"].encode(),
        guide.recording: recording,
        "/setup": b"",
    }


def run(
    minutes: float, recording: bytes, board: str = "pico", page: str = "signals",
    model: Path | None = None, every: float = 60.0,
) -> Report:  # fmt: skip
    """Run a page's program for so many minutes of the board's, with a look every so many seconds.

    Raises Error.
    """
    guide, seconds = GUIDES[page], 60 * minutes
    looks = max(1, round(seconds / every))
    script = f"LOOKS, EVERY = {looks}, {round(1000 * every)}\n{guide.script}"
    limit = seconds + 60
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        flash = files(recording, folder, page, model)
        if board != "pico":
            said = _elsewhere(board, flash, script, limit, folder / guide.name)
        else:
            rp2040.checked()
            with rp2040.RP2040(flash | runtime()) as pico:
                said = pico.exec(script, limit)
                report.busy = pico.exec_cycles / rp2040.CLOCK_HZ / seconds
    for line in said.splitlines():
        report.hear(line)
    report.file /= seconds
    return report


def _elsewhere(
    board: str, flash: dict[str, bytes], script: str, limit: float, model: Path
) -> str:
    """What the script prints on another emulated board."""
    with emulated.board(board)(model.parent / "flash") as emulator, Board(emulator.port) as link:
        link.deploy(model)
        for name, data in flash.items():
            if name != f"/{model.name}":
                link.exec(f"f = open({name!r}, 'wb')")
                for i in range(0, len(data), 1024):
                    link.exec(f"f.write({data[i : i + 1024]!r})")
                link.exec("f.close()")
        return link.exec(script, 2 * limit)


def recorded(page: str, path: Path | None, model: Path | None = None) -> bytes:
    """A recording as the program reads it, by default the one beside the model. Raises Error."""
    if page == "signals":
        return (path or MOTIONS / "walking.csv").read_bytes()
    path = path or next(iter(sorted(DIGITS.glob("*.wav"))), None)
    if path is None:
        raise Error(f"there is no recording in {DIGITS}: name one with --recording FILE.wav")
    frames = load(model).frames if model else None
    rate = frames.sound.rate if frames and frames.sound else 8000
    samples = sound(path, rate).astype("<i2") >> 3  # which the program makes louder
    return bytes(samples.tobytes())


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 where heap was lost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=60.0, metavar="S")
    parser.add_argument("--page", choices=[*GUIDES], default="signals")
    parser.add_argument("--recording", type=Path)
    parser.add_argument("--model", type=Path, metavar="FILE.pft")
    parser.add_argument("--board", choices=["pico", "esp32"], default="pico")
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args(arguments)
    recording = recorded(o.page, o.recording, o.model)
    report = run(o.minutes, recording, o.board, o.page, o.model, o.every)
    if o.json:
        print(json.dumps(asdict(report), indent=2))
        return int(report.free[1] != report.free[-1])
    print(f"{report.heap:,} bytes of heap, of which {report.heap - report.free[-1]:,} are taken")
    print(f"{report.importing} ms to import, {report.loading} ms until the watchdog runs")
    for i, free in enumerate(report.free):
        print(f"after {i * o.every:g} s: {free:,} bytes free")
    window, longest, collection = (
        f"{us / 1000:.1f} ms" for us in (report.window, report.longest, report.collection)
    )
    print(f"{report.windows} windows, {window} each, {longest} at most; a collection {collection}")
    print(f"{report.rows[-1]} rows, {report.failed} failed; {len(report.events)} events")
    if report.row:
        file = f"the file took {100 * report.file:.1f} % of the time"
        print(f"{report.row / 1000:.2f} ms a row; {file}")
    if report.busy:
        print(f"busy for {100 * report.busy:.1f} % of the time")
    return int(report.free[1] != report.free[-1])


if __name__ == "__main__":
    sys.exit(finish("signals", main))
