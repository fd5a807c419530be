"""Every form of a model of signals, from its checkpoint to an emulated Pico: the same integers."""

from __future__ import annotations

import json

import numpy as np
import pytest

import kerassignals
import signalmodels
import test_keras_signals as keras
import test_signals as pytorch
from boardscripts import runtime
from tools.emulation import rp2040

_REASON = rp2040.missing()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_REASON is not None, reason=_REASON or ""),
]
SCRIPT = """
import json
from array import array
from picoformer import Model
m = Model("/{name}.pft")
for numbers in {signals}:
    print(json.dumps(list(m.read(array("h", numbers), m.task))))
"""


def test_all_forms(tmp_path):
    """Two signals each."""
    files, expected, given = runtime(), {}, {}
    forms = [(n, signalmodels.signal_of, signalmodels.write, signalmodels.CASES[n])
             for n in signalmodels.CASES]  # fmt: skip
    forms += [(n, kerassignals.signal_of, keras.place, n) for n in kerassignals.CASES]
    for i, (case, signal_of, write, what) in enumerate(forms):
        name = f"m{i}"
        folder = tmp_path / name
        folder.mkdir()
        graph = pytorch.read(write(folder, what))
        signals = [graph.frames.signal(signal_of(case))]
        signals.append(np.flip(signals[0], 0))
        data, sim, _ = pytorch.compiled(graph, signals)
        expected[name] = [sim._read(s, graph.task).tolist() for s in signals]
        given[name] = [s.reshape(-1).tolist() for s in signals]
        files[f"/{name}.pft"] = data
    with rp2040.RP2040(files) as board:
        for name, wanted in expected.items():
            board.soft_reset()
            said = board.exec(SCRIPT.format(name=name, signals=given[name]), timeout=600)
            assert [json.loads(line) for line in said.splitlines()] == wanted, name
