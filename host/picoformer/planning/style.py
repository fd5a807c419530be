"""The style of the page of a plan: of the pictures, and of what is around them."""

from __future__ import annotations

LIGHT = """
--bg: #fbfaf7; --ink: #22252b; --soft: #666c78; --line: #d9d6cd; --card: #fff; --free: #eceae3;
--bad: #b3261e; --good: #1a7a43; --c1: #7d8597; --c2: #3d6fb6; --c3: #d9822b; --c4: #3c9a78;
--c5: #a8608f; --c6: #c7a52b; --c7: #56a0c0; --c8: #c9c4b8;
"""
DARK = """
--bg: #16181d; --ink: #e7e6e1; --soft: #a0a6b2; --line: #383c46; --card: #1e2128; --free: #2a2e37;
--bad: #ff8a80; --good: #6fd197; --c1: #8d96a8; --c2: #6c9be0; --c3: #e39a4f; --c4: #58b793;
--c5: #c583ae; --c6: #d6bb55; --c7: #74b8d6; --c8: #565b66;
"""
PICTURES = """
.soft { color: var(--soft); }
.bad { color: var(--bad); } .good { color: var(--good); }
.wide { overflow-x: auto; margin: .4rem 0; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
@media (max-width: 40rem) { .desk { display: none; } }
@media not all and (max-width: 40rem) { .phone { display: none; } }
svg text { fill: var(--ink); } svg .soft { fill: var(--soft); } svg .on { fill: #14161a; }
svg .rule { stroke: var(--line); } svg .limit { stroke: var(--bad); stroke-width: 2; }
svg .curve { fill: none; stroke: var(--c2); stroke-width: 2.5; }
svg rect.cell { stroke: var(--bg); }
.c1 { fill: var(--c1); background: var(--c1); } .c2 { fill: var(--c2); background: var(--c2); }
.c3 { fill: var(--c3); background: var(--c3); } .c4 { fill: var(--c4); background: var(--c4); }
.c5 { fill: var(--c5); background: var(--c5); } .c6 { fill: var(--c6); background: var(--c6); }
.c7 { fill: var(--c7); background: var(--c7); } .c8 { fill: var(--c8); background: var(--c8); }
.free { fill: var(--free); background: var(--free); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .15rem .9rem .15rem 0; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; } th { font-weight: 600; }
i.key { display: inline-block; width: .8em; height: .8em; border-radius: .15em;
  margin-right: .5em; }
ul.keys { list-style: none; margin: .5rem 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .2rem 1.2rem; }
"""
AROUND = """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--bg);
  color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .3rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.figures { display: grid; gap: .7rem; margin: 1.2rem 0; padding: 0;
  grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem; }
.figures b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
"""
_DARK = "@media (prefers-color-scheme: dark)"
STYLE = f":root {{ color-scheme: light dark; {LIGHT} }} {_DARK} {{ :root {{ {DARK} }} }}"
STYLE += AROUND + PICTURES


def within(selector: str) -> str:
    """The style of the pictures, within an element of another page."""
    return f"{selector} {{\n{LIGHT}{_DARK} {{\n{DARK}}}\n{PICTURES}}}\n"
