"""What a row of sound takes on an emulated Pico: `python -m tools.benchmarks.sound` [--json].

Cycles of the kernels, each checked against numpy; the share of the time at one row in 10 ms.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

from picoformer.features import LogMel
from tools.command import finish
from tools.emulation.filesystem import MPY
from tools.emulation.rp2040 import CLOCK_HZ, RP2040, checked

FORMS = LogMel(8000), LogMel(8000, 200), LogMel(16000), LogMel(16000, 400)
RUNS = 10
SCRIPT = """
import time
from array import array
from {module} import logmel
table, x = array("i", {table}), array("h", {x})
out, work = array("h", bytes({room})), array("i", bytes({work}))
work[2] = {bands}
logmel(table, work, x, out)
begun = time.ticks_us()
for _ in range({runs}):
    logmel(table, work, x, out)
print(time.ticks_diff(time.ticks_us(), begun), list(out))
"""


def measured() -> list[dict[str, Any]]:
    """Cycles of a row, by form and kernel."""
    from picoformer.runtime.files import compiled

    checked()
    files = {f"/{name}": data for name, data in compiled(MPY, "armv6m").items()}
    rows = []
    with RP2040(files) as board:
        for f in FORMS:
            x = np.random.default_rng(0).integers(-3000, 3000, f.window)
            given = {"table": f.table.tolist(), "x": x.tolist(), "room": 4 * f.bands}
            given |= {"work": 4 * (4 + 2 * f.size), "bands": f.bands, "runs": RUNS}
            for module in "kernels_thumb_sound", "kernels_sound":
                said = board.exec(SCRIPT.format(module=module, **given), timeout=600)
                us, _, out = said.partition(" ")
                cycles = int(us) * CLOCK_HZ // 1_000_000 // RUNS
                rows.append({
                    "rate": f.rate, "window": f.window, "points": f.size, "bands": f.bands,
                    "kernel": "assembler" if "thumb" in module else "viper", "cycles": cycles,
                    "share": cycles * 100 / CLOCK_HZ,
                    "equal": json.loads(out) == 2 * f(x)[0].tolist(),
                })  # fmt: skip
    return rows


def run() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    rows = measured()
    if o.json:
        print(json.dumps(rows))
        return
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        shown = [f"{v:.1%}" if k == "share" else str(v) for k, v in row.items()]
        print("| " + " | ".join(shown) + " |")


if __name__ == "__main__":
    sys.exit(finish("sound", run))
