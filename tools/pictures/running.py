"""What a Transformer computes for a token, and what a board does with it."""

from __future__ import annotations

from picoformer.compile.modelfile import ModelFile

from .pen import arrow, box, picture, text

SMALL = 22



def token(m: ModelFile) -> str:
    """The way of one token through a Llama."""
    attend, gate = (next(s for s in m.steps if s.op == op) for op in ("attend", "gate"))
    width, inner = next(s for s in m.steps if s.op == "embed")["n"], gate["n"]
    layers = sum(s.op == "store" for s in m.steps)
    mid, left, right = 300, 110, 490
    inside = [
        box(left, 20, right - left, 62, "card"),
        text(mid, 59, f"a token: 0 to {m.vocab - 1}", 25, "bold", "middle"),
        arrow([(mid, 82), (mid, 116)]),
        box(left, 116, right - left, 84, "fill1"),
        text(mid, 150, "embedding", 25, "bold on", "middle"),
        text(mid, 182, f"its row of a table: {width} numbers", SMALL, "on", "middle"),
        arrow([(mid, 200), (mid, 262)]),
        box(70, 222, 460, 330, "rim"),
        text(560, 256, f"{layers} layers,", 25, "bold"),
        text(560, 288, "one after another", SMALL),
        box(left, 262, right - left, 112, "fill2"),
        text(mid, 296, "attention", 25, "bold on", "middle"),
        text(mid, 328, f"{attend['heads']} heads look back at", SMALL, "on", "middle"),
        text(mid, 357, "the tokens before", SMALL, "on", "middle"),
        box(574, 318, 204, 112, "card"),
        text(676, 351, "KV cache", 25, "bold", "middle"),
        text(676, 383, "of each token", SMALL, "", "middle"),
        text(676, 411, "a key, a value", SMALL, "", "middle"),
        arrow([(494, 332), (570, 332)]),
        arrow([(570, 360), (494, 360)]),
        arrow([(mid, 374), (mid, 412)]),
        box(left, 412, right - left, 112, "fill3"),
        text(mid, 446, "feed-forward", 25, "bold on", "middle"),
        text(mid, 478, "each token by itself:", SMALL, "on", "middle"),
        text(mid, 507, f"{width} numbers, {inner}, {width}", SMALL, "on", "middle"),
        arrow([(mid, 524), (mid, 590)]),
        box(left, 590, right - left, 84, "fill4"),
        text(mid, 624, "output", 25, "bold on", "middle"),
        text(mid, 656, f"{m.vocab} logits, one for each token", SMALL, "on", "middle"),
        arrow([(mid, 674), (mid, 708)]),
        box(left, 708, right - left, 84, "card"),
        text(mid, 742, "the next token", 25, "bold", "middle"),
        text(mid, 774, "the largest logit, or a draw", SMALL, "", "middle"),
        arrow([(left, 750), (36, 750), (36, 51), (left, 51)]),
    ]
    return picture(800, 812, "the way of a token through a Transformer", inside)


def loop(m: ModelFile) -> str:
    """What happens when generate is called."""
    ops = [s.op for s in m.steps[:6]]
    inside = [
        box(20, 20, 236, 70, "card"),
        text(138, 63, "Once upon a time", SMALL, "mono", "middle"),
        arrow([(256, 55), (322, 55)]),
        box(322, 20, 176, 70, "fill1"),
        text(410, 63, "tokenizer", 25, "bold on", "middle"),
        arrow([(498, 55), (548, 55)]),
        box(548, 20, 216, 70, "card"),
        text(656, 63, "tokens", 25, "bold", "middle"),
        arrow([(656, 90), (656, 140)]),
        box(20, 140, 744, 352, "rim"),
        text(40, 176, "the interpreter", 25, "bold"),
        text(40, 222, "for kernel, record in steps:", SMALL, "mono"),
        text(40, 254, "    kernel(record, space)", SMALL, "mono"),
    ]
    for i, op in enumerate(ops):
        inside += [
            box(40 + 119 * i, 280, 109, 46, "fill2", 6),
            text(94.5 + 119 * i, 311, op, SMALL, "mono on", "middle"),
        ]
    inside += [
        text(40, 358, f"... {len(m.steps)} steps: a kernel, and a record of integers", SMALL),
        box(40, 384, 210, 90, "card"),
        text(145, 420, "weights", 25, "bold", "middle"),
        text(145, 452, "flash: read only", SMALL, "", "middle"),
        box(287, 384, 210, 90, "card"),
        text(392, 420, "KV cache", 25, "bold", "middle"),
        text(392, 452, "heap: it grows", SMALL, "", "middle"),
        box(534, 384, 210, 90, "card"),
        text(639, 420, "frames", 25, "bold", "middle"),
        text(639, 452, "heap: used anew", SMALL, "", "middle"),
        arrow([(656, 492), (656, 540)]),
        box(548, 540, 216, 70, "card"),
        text(656, 583, f"{m.vocab} logits", 25, "bold", "middle"),
        arrow([(548, 575), (498, 575)]),
        box(322, 540, 176, 70, "fill1"),
        text(410, 583, "sampler", 25, "bold on", "middle"),
        arrow([(322, 575), (256, 575)]),
        box(20, 540, 236, 70, "card"),
        text(138, 583, "a token, its text", SMALL, "", "middle"),
        arrow([(138, 610), (138, 640), (784, 640), (784, 55), (764, 55)]),
    ]
    return picture(800, 660, "what a board does for each token", inside)
