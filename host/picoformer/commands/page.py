"""The command that makes the page in the browser, and serves it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import webbrowser
from pathlib import Path
from typing import Any

from ..errors import Error
from ..page import site as sites
from ..page.server import PORT, serve
from ..runtime.files import GET
from .arguments import add_json, add_models, command, then, warn
from .printing import Stages, show_json, size

WHOLE = """
The page runs models in the browser. In Chrome or Edge it also installs and runs
them on a board that is plugged in. It needs no network. The first time it converts
its models, which takes some seconds: the story model of an installed package, or
all of models/ in a clone of the project.
"""


def add_commands(commands: Any) -> None:
    """Add the command to the subparsers of `picoformer`."""
    text = "open a page in the browser, to try models and put them on boards"
    p = command(commands, "page", _page, text, "", "my-model.pft", "-o public")
    p.description = f"{p.description}\n{WHOLE.rstrip()}"
    add_models(p, "*", "model files of your own to show as well")
    p.add_argument(
        "-o", "--output", metavar="FOLDER",
        help="write the page to a folder for any web server, and exit",
    )  # fmt: skip
    p.add_argument(
        "--port-number", type=int, metavar="N",
        help=f"TCP port of the page on this PC (default: {PORT}, or the next that is free)",
    )  # fmt: skip
    p.add_argument(
        "--repository", metavar="URL", default="",
        help="web address of a clone of picoformer: the page then links to it and its documents",
    )  # fmt: skip
    p.add_argument("--no-browser", action="store_true", help="do not open a browser")
    add_json(p)


def _page(o: argparse.Namespace) -> None:
    repository = o.repository.rstrip("/")
    if repository and not repository.startswith(("https://", "http://")):
        raise Error(f"--repository is {o.repository}, expected an address with https://")
    with Stages(o) as stages:
        site = sites.build(o.models, stages.say, repository, not o.output)
    if not any(place.endswith(".mpy") for place in site):
        warn(
            o, "mpy-cross makes no files here: the page gives boards the runtime as .py, which "
            f"takes more flash and heap ({GET})",
        )  # fmt: skip
    listed = [place for place in site if place.startswith("models/") and place.endswith(".pft")]
    names = [place[7:-4] for place in listed]
    if o.output:
        total = sites.write(site, Path(o.output))
        if o.json:
            show_json({"folder": o.output, "bytes": total, "files": len(site), "models": names})
            return
        print(f"{o.output}: {len(site)} files, {size(total)}; models: {', '.join(names)}")
        then(o, "put the folder on any web server")
        return
    with serve(site, o.port_number) as server:
        if o.json:
            show_json({"url": server.url, "files": len(site), "models": names})
        else:
            print(f"{server.url}  models: {', '.join(names)}")
        sys.stdout.flush()
        then(o, "Ctrl-C ends it")
        if not o.no_browser and _graphical():
            webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _graphical() -> bool:
    """Whether there is a screen: a browser in the terminal could not show the page."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
