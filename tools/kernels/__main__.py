"""Writes the kernels for boards and their listings: `python -m tools.kernels`."""

from __future__ import annotations

from pathlib import Path

from . import dsp, rv32, thumb

BOARD = Path(__file__).resolve().parents[2] / "device" / "picoformer"
FAMILIES = dsp, rv32, thumb


def texts() -> dict[Path, str]:
    """What is to be in each file."""
    out = {}
    for family in FAMILIES:
        kernels = family.made()
        for name, source in family.modules(kernels).items():
            out[BOARD / f"{name}.py"] = source
        listing = Path(str(family.__file__)).with_name("kernels.lst")
        out[listing] = "\n".join(k.listing() for k in kernels)
    return out


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
