"""The page's colours."""

from __future__ import annotations

import re

import numpy as np

import models


def brightness(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_colours_are_told_apart() -> None:
    """WCAG's AA: text 4.5 to 1, borders of what is typed into 3 to 1."""
    css = (models.ROOT / "web" / "style.css").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\n *\}", css, re.DOTALL)[:2]
    for block in light, dark:
        colours = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]+)", block))
        texts = [(name, ground) for ground in ("bg", "card")
                 for name in ("ink", "soft", "accent", "bad", "good")]  # fmt: skip
        texts += [("ink", "wash"), ("soft", "wash"), ("ink", "fill"), ("on", "accent")]
        pairs = [(4.5, *pair) for pair in texts] + [(3, "edge", "bg"), (3, "edge", "card")]
        for least, *names in pairs:
            a, b = sorted(brightness(colours[name]) for name in names)
            assert (b + 0.05) / (a + 0.05) >= least, names
