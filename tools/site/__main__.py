"""python -m tools.site [FOLDER] makes the site; --serve shows it, and keeps up with the pages."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from picoformer import Error
from tools.command import finish
from tools.pages import ROOT, all_pages
from tools.site.stage import write

STAGE = ROOT / "build" / "site"
SECOND = 1.0  # between looks at the pages


def zensical(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "zensical", *arguments, "-f", str(folder / "zensical.toml")]


def build(target: Path) -> None:
    """Make the site; an Error with what Zensical says where it finds something to warn of."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        run = subprocess.run(
            zensical(folder, "build", "--strict", "--clean"), capture_output=True, text=True
        )
        said = re.sub(r"\x1b\[[0-9;]*m", "", run.stdout + run.stderr).split("Traceback")[0]
        if run.returncode:
            raise Error(f"the site is not made:\n{said}")
        # No half of a new site on top of an old one.
        if target.exists():
            shutil.rmtree(target)
        shutil.move(folder / "site", target)


def times() -> dict[Path, int]:
    """When what the site is made of was written."""
    files = [ROOT / page for page in all_pages()]
    files += [*(ROOT / "docs").rglob("*"), *Path(__file__).parent.iterdir()]
    return {path: path.stat().st_mtime_ns for path in files if path.exists()}


def serve(address: str) -> None:
    """Show the site, and write pages anew that have changed, until Ctrl-C."""
    before = times()
    write(STAGE)
    server = subprocess.Popen(zensical(STAGE, "serve", "--dev-addr", address))
    try:
        while server.poll() is None:
            time.sleep(SECOND)
            if before != (before := times()):
                write(STAGE)
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.site", description="The site of docs/.")
    parser.add_argument("folder", nargs="?", default="site", help="where to (default: site)")
    parser.add_argument("--serve", action="store_true", help="show it instead, until Ctrl-C")
    parser.add_argument("--address", default="localhost:8000", help="(default: localhost:8000)")
    args = parser.parse_args(given)
    if args.serve:
        serve(args.address)
        return 0
    target = Path(args.folder)
    if target.exists() and not (target / "search.json").is_file():
        raise Error(f"{target} is there, and no site that this has made")
    build(target)
    print(f"the site is in {target}: open {target / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(finish("tools.site", main))
