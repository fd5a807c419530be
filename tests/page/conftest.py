"""The site, a browser that opens it, and a board behind a serial port that is none."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import models
from picoformer import Simulator
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.page import server

SERIAL = Path(__file__).with_name("serial.js").read_text("utf-8")
BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
OLDEST = 18  # of node
LONG_POLL = 2.0  # seconds
LIMIT = 20_000  # ms for anything to be seen


def chromium() -> str:
    """The browser's program, "" if there is none."""
    named = os.environ.get("PICOFORMER_CHROMIUM")
    return named or next((found for name in BROWSERS if (found := shutil.which(name))), "")


def no_browser() -> str:
    """Why there are no tests in a browser; empty if there are."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "no playwright: pip install 'picoformer[page]'"
    if not chromium():
        return f"none of {', '.join(BROWSERS)} on PATH, and no PICOFORMER_CHROMIUM"
    return ""


def no_node() -> str:
    """Why node cannot run here; empty if it can."""
    node = shutil.which("node")
    if not node:
        return "node is missing"
    said = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    if int(said.strip().lstrip("v").partition(".")[0] or 0) < OLDEST:
        return f"node is {said.strip()}, expected {OLDEST} or newer"
    return ""


class Cable:
    """Between a pty and the pages that fetch /serial/..."""

    def __init__(self) -> None:
        self.port = ""
        self.taken = self.pulled = False  # by another program; out
        self._file = -1

    def ask(self, what: str, data: bytes) -> tuple[int, bytes]:
        """An HTTP status, and what came."""
        if self.pulled or what == "open" and self.taken:
            self.close()
            return 410, b""
        if what == "open":
            self._file = os.open(self.port, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(self._file)
        elif what == "close":
            self.close()
        elif self._file < 0:
            return 410, b""
        elif what == "write":
            while data:
                data = data[os.write(self._file, data) :]
        elif select.select([self._file], [], [], LONG_POLL)[0]:
            return 200, os.read(self._file, 65536)
        return 200, b""

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


class Handler(server._Handler):
    cable: Cable

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, data = self.cable.ask(self.path.rpartition("/")[2], data)
        except OSError:
            status, data = 410, b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Site:
    """The site on a server of this computer; files: all of them."""

    def __init__(self, files: dict[str, Any], folder: Path) -> None:
        self.files = files
        self.cable = Cable()
        self.server = server.Server(files, 0)
        self.server.RequestHandlerClass = type("Served", (Handler,), {"cable": self.cable})
        self.url = self.server.url
        self._folder = folder
        self._sims: dict[str, Simulator] = {}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def model(self, name: str) -> bytes:
        return bytes(self.files[f"models/{name}.pft"])

    def simulator(self, name: str) -> Simulator:
        if name not in self._sims:
            path = self._folder / f"{name}.pft"
            path.write_bytes(self.model(name))
            self._sims[name] = Simulator(path)
        return self._sims[name]

    @cached_property
    def story(self) -> str:
        """What the page writes before anything is changed in it."""
        prompt = "Once upon a time"
        given: dict[str, Any] = {"temperature": 0.5, "seed": 1, "stop": prompt}
        pieces = self.simulator("stories").generate(prompt, **given)
        return prompt + "".join(pieces)


@pytest.fixture(scope="session")
def built_site(page_files, tmp_path_factory) -> Iterator[Site]:
    """The site as `picoformer page` serves it."""
    made = Site(page_files, tmp_path_factory.mktemp("models"))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium."""
    if reason := no_browser():
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        sound = models.ROOT / "models" / "digits" / "seven.wav"
        arguments = [
            "--no-sandbox", "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={sound}",
        ]  # fmt: skip
        with playwright.chromium.launch(executable_path=chromium(), args=arguments) as launched:
            yield launched


@pytest.fixture
def opened(browser, built_site) -> Iterator[Callable[..., Any]]:
    """opened(width, dark, script): the site in a tab of its own, its first model loaded.

    Afterwards no tab may have asked another host, and none may have complained.
    """
    contexts, asked, said = [], [], []

    def get(width: int = 1280, dark: bool = False, script: str = "") -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        context.set_default_timeout(LIMIT)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda m: m.type in ("error", "warning") and said.append(m.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(built_site.url)
        page.wait_for_selector("#here form")
        return page

    yield get
    for context in contexts:
        context.close()
    own = built_site.url, "data:", "blob:"
    assert not [url for url in asked if not url.startswith(own)]
    # What a board's cable or a driver said is no fault of the page's.
    others = "410", "[.WebGL-"
    assert [text for text in said if not any(other in text for other in others)] == []


@pytest.fixture
def board(built_site, tmp_path) -> Iterator[Cable]:
    """MicroPython's unix port behind `navigator.serial` of a tab with the script SERIAL."""
    yield from _board(built_site.cable, tmp_path, 4096)


@pytest.fixture
def small_board(built_site, tmp_path) -> Iterator[Cable]:
    """One that has no room for all positions of the story model."""
    yield from _board(built_site.cable, tmp_path, 235)


def _board(cable: Cable, folder: Path, heap_kb: int) -> Iterator[Cable]:
    if reason := models.no_micropython():
        pytest.skip(reason)
    with UnixBoard(folder / "flash", heap_kb=heap_kb) as emulated:
        cable.port = emulated.port
        cable.taken = cable.pulled = False
        yield cable
        cable.close()
