"""A plan as one HTML page: pictures of where the bytes are. No script, nothing from elsewhere.

Whatever comes from the model file is escaped, and the page forbids itself everything but its own
style: a model file is not trusted.
"""

from __future__ import annotations

from html import escape

from . import bars, pictures
from .budget import Budget
from .drawing import grouped, table
from .planner import Planner
from .style import STYLE


def page(planner: Planner, b: Budget, served: Budget) -> str:
    """The page for two budgets of a planner's: alone, and beside the serial server."""
    title = escape(b.model or "a model")
    body = [
        f"<h1>{title} on {escape(planner.board.title)}</h1>",
        _verdict(b, served),
        _figures(b, served),
        bars.heap(b),
        pictures.originals(planner, b),
        pictures.contexts(planner, b),
        pictures.weights(planner),
        pictures.timeline(planner, b),
        _sources(planner, b),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}: memory</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _verdict(b: Budget, served: Budget) -> str:
    kind = "good" if b.fits else "bad"
    return (
        f'<p><b class="{kind}">{escape(b.verdict)}</b> This is for {b.context} positions, '
        f"alone in a script, with the weights in {b.weights}. {escape(' '.join(b.advice))}</p>"
        "<p>Beside the serial server, for <code>picoformer generate</code> and the like: "
        f"{escape(' '.join([served.verdict, *served.advice]))}</p>"
    )


def _figures(b: Budget, served: Budget) -> str:
    flash = f"of {grouped(b.flash)} bytes of filesystem" if b.flash else "bytes of a folder"
    cells = [
        (b.fits_heap, grouped(b.needed),
         f"of {grouped(b.heap)} bytes of heap; {grouped(served.needed)} beside the server"),
        (b.fits_block, grouped(b.largest),
         f"bytes in one piece, {b.largest_part}; {grouped(b.largest_free)} are there"),
        (b.fits_flash, grouped(b.model_flash + b.runtime_flash), flash),
        (b.longest > 0, str(b.longest or "none"),
         f"is the longest context that fits, {served.longest or 'none'} beside the server; "
         f"the file has {b.file_context}"),
    ]  # fmt: skip
    made = (
        f'<div><b class="{"" if ok else "bad"}">{escape(n)}</b>'
        f'<span class="soft">{escape(text)}</span></div>'
        for ok, n, text in cells
    )
    return f'<div class="figures">{"".join(made)}</div>'


def _sources(planner: Planner, b: Budget) -> str:
    board = planner.board
    rows = [
        (escape(name), grouped(n), escape(how), escape(source))
        for name, n, how, source in (
            ("heap free at boot", board.heap.bytes, board.heap.how, board.heap.source),
            ("largest block", board.largest.bytes, board.largest.how, board.largest.source),
            ("filesystem", board.flash.bytes, board.flash.how, board.flash.source),
            ("the runtime's code in the heap", b.code, board.code_how,
             "python -m tools.benchmarks.memory, on the emulated Pico or the unix port"),
        )
    ]  # fmt: skip
    return "<h2>Where the board's figures come from</h2>" + table(
        ("", "bytes", "", "source"), rows, (1,)
    )
