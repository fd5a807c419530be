"""Pictures of the page for the documents: python tests/page/pictures.py

A board is MicroPython's unix port, as in the tests.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent / "support")]

from PIL import Image  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

from conftest import SERIAL, Site, chromium  # noqa: E402
from picoformer.boards.emulated.unix import UnixBoard  # noqa: E402
from picoformer.page import site  # noqa: E402

COLOURS = 256
MARGIN = 40
TOP = 1250


def write(page: Any) -> None:
    page.click("#here button[type=submit]")
    page.wait_for_selector("#here .figures:not(:empty)")
    page.click("text=Check the arithmetic")
    page.wait_for_selector("#here .good")
    page.locator("#board select").scroll_into_view_if_needed()
    page.wait_for_selector("#board .plan")


def board(page: Any) -> None:
    choose(page, "motions")
    page.click("text=Connect a board")
    page.click("#board button:has-text('Send motions')")
    page.wait_for_selector("#board form")
    page.wait_for_selector("#board .chart")
    page.click("#board form button[type=submit]")
    page.wait_for_selector("#board .bars")
    page.wait_for_selector("#board .plan")


def choose(page: Any, name: str) -> None:
    page.locator(f'#models input[value="{name}"]').check(force=True)
    page.wait_for_selector(f"#here h3[data-name={name}]")
    page.wait_for_selector("#here:not([aria-busy])")
    page.wait_for_timeout(300)
    page.click("#here button[type=submit]")
    page.wait_for_selector("#here .figures:not(:empty)")


def look(page: Any) -> None:
    choose(page, "fashion")


PICTURES = [
    ("page-1280-light", 1280, False, write),
    ("page-1280-dark", 1280, True, board),
    ("page-360-light", 360, False, look),
    ("page-360-dark", 360, True, write),
]


def save(image: Any, file: Path) -> None:
    image.quantize(COLOURS, kmeans=1, dither=Image.Dither.NONE).save(file, optimize=True)
    print(file.name, image.size, file.stat().st_size)


def main() -> None:
    made = Site(site.build([], print), Path(tempfile.mkdtemp()))
    with sync_playwright() as playwright, UnixBoard(tempfile.mkdtemp(), heap_kb=1024) as unix:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        made.cable.port = unix.port
        for name, width, dark, act in PICTURES:
            context = browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme="dark" if dark else "light",
            )
            context.add_init_script(SERIAL)
            page = context.new_page()
            page.goto(made.url)
            page.wait_for_selector("#here form")
            act(page)
            page.mouse.move(0, 0)
            page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            file = ROOT / "docs" / "images" / f"{name}.png"
            page.screenshot(path=file, full_page=True)
            image = Image.open(file).convert("RGB")
            left = max(0, (width - 768) // 2 - MARGIN)
            image = image.crop((left, 0, width - left, image.height))
            save(image, file)
            if name == PICTURES[0][0]:  # README shows what a visitor sees first
                save(image.crop((0, 0, image.width, TOP)), file.with_name("page.png"))
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
