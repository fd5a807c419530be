"""What makes, measures and tries picoformer; run from the checkout: `python -m tools.FOLDER.NAME`.

    training     the models in models/: their data, their training, their export
    benchmarks   speed and memory: kernels, the Pico, the unix port, the link; docs/speed.md
    emulation    a Raspberry Pi Pico in this process, counted cycle by cycle; its flash's cache
    sweeps       thousands of broken files, thousands of requests
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the checkout
