"""Writes the kernels for boards, their listings, and the page's: `python -m tools.kernels`."""

from __future__ import annotations

from pathlib import Path

from . import dsp, rv32, thumb, wasm

ROOT = Path(__file__).resolve().parents[2]
BOARD = ROOT / "device" / "picoformer"
PAGE = ROOT / "web" / "engine" / "kernels.wasm"
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


def page() -> bytes:
    """What is to be in PAGE: the viper kernels, all in one module."""
    names = "viper", "viper4", "windows", "sound"
    return wasm.module(BOARD / f"kernels_{name}.py" for name in names)


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
    PAGE.write_bytes(page())
