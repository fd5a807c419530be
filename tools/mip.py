"""The packages of the runtime for `mpremote mip install`; `make mpy` runs it.

    package.json               .py, for any board; in the repository
    package-ARCHITECTURE.json  .mpy for boards with this native code, in mpy/ARCHITECTURE/

Each names its files by where they lie beside it: in the clone, or wherever a release has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from picoformer.runtime.files import compiled, sources
from picoformer.runtime.platforms import BOARDS, mpy_of
from picoformer.version import __version__

ROOT = Path(__file__).resolve().parents[1]
BLOCK = 4096  # of a board's filesystem


def package(folder: str, names: Iterable[str]) -> str:
    """The package file of the runtime's files `names`, which lie in a folder beside it."""
    urls = ",\n".join("    " + json.dumps([f"picoformer/{n}", f"{folder}/{n}"]) for n in names)
    return f'{{\n  "urls": [\n{urls}\n  ],\n  "deps": [],\n  "version": "{__version__}"\n}}\n'


def built(architecture: str) -> dict[str, bytes]:
    """The .mpy files for boards with such native code, by name. Raises Error."""
    return compiled(mpy_of(architecture), architecture)


def write(root: Path, architectures: Iterable[str] = BOARDS) -> dict[str, dict[str, bytes]]:
    """Write the packages into a folder; their files by the package's name. Raises Error."""
    packages = {"package.json": sources()}
    (root / "package.json").write_text(package("device/picoformer", packages["package.json"]))
    for architecture in architectures:
        files = packages[f"package-{architecture}.json"] = built(architecture)
        folder = root / "mpy" / architecture
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        (root / f"package-{architecture}.json").write_text(package(f"mpy/{architecture}", files))
    return packages


def main() -> None:
    print(f"{'':22}{'files':>6}{'bytes':>9}{'of flash':>10}")
    for name, files in write(ROOT).items():
        sizes = [len(data) for data in files.values()]
        flash = sum(-(-n // BLOCK) * BLOCK for n in sizes)
        print(f"{name:22}{len(sizes):6}{sum(sizes):9,}{flash:10,}")


if __name__ == "__main__":
    main()
