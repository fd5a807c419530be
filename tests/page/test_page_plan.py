"""Plans in the page: the planner in MicroPython says what it says on the PC, number for number."""

from __future__ import annotations

import ast
import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import models
from conftest import no_node
from picoformer import convert
from picoformer.page import downlevel, planner
from picoformer.planning.bars import heap as picture
from picoformer.planning.planner import Planner
from picoformer.planning.profiles import PROFILES, known, profile
from picoformer.runtime.files import sources
from picoformer.runtime.platforms import Platform, mpy_of

WEB = models.ROOT / "web"
SHIPPED = (
    "stories", "intents", "sentiment", "facts", "english-french", "fashion", "motions", "digits",
)  # fmt: skip
QUICK = "stories", "english-french", "motions"  # one stack, two of them, and a signal
BOARDS = "pico", "esp32"
SMALL: dict[str, Any] = {"board": "pico", "heap": 90_000, "context": 10}

PLANS = """
import json, sys
sys.path.insert(0, FOLDER)
from plan.page import Error, boards, plan
with open(FILE, "rb") as f:
    data = f.read()
for asked in json.loads(ASKED):
    try:
        print(plan(data, json.dumps(asked)))
    except Error as e:
        print(json.dumps({"error": str(e)}))
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """The package `plan` as the site has it."""
    made = tmp_path_factory.mktemp("planner")
    (made / "plan").mkdir()
    for name, text in planner.modules().items():
        (made / "plan" / f"{name}.py").write_text(text)
    for name in ("python", "page"):
        shutil.copy(WEB / "plan" / f"{name}.py", made / "plan")
    return made


def asked_of(unix, folder: Path, file: Path, *asked: dict[str, Any]) -> list[dict[str, Any]]:
    said = unix(PLANS, "64M", FOLDER=str(folder), FILE=str(file), ASKED=json.dumps(asked))
    return [json.loads(line) for line in said.splitlines()]


def on_pc(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The same by the planner as the PC runs it."""
    board = profile(asked["board"]).with_memory(asked.get("heap"), asked.get("largest"))
    return told(Planner(path, board), asked.get("context"))


def told(plans: Planner, context: int | None = None) -> dict[str, Any]:
    alone, served = (
        {**b.to_dict(), "verdict": b.verdict, "html": picture(b)}
        for server in (False, True)
        for b in (plans.budget(context, server),)
    )
    alone |= {"with_server": served, "listening": plans.listening, "title": plans.board.title}
    found: dict[str, Any] = json.loads(json.dumps(alone))
    return found


@pytest.mark.parametrize("name", QUICK)
def test_equal_on_the_unix_port(own, unix, folder, name):
    path = own(name).path
    boards = BOARDS if name == "stories" else BOARDS[:1]
    asked: list[dict[str, Any]] = [{"board": board} for board in boards]
    asked.append(SMALL if name == "stories" else {**SMALL, "context": None})
    for one, found in zip(asked, asked_of(unix, folder, path, *asked), strict=True):
        assert found == on_pc(path, one), one


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_equal_for_every_board(own, unix, folder, name):
    path = own(name).path
    asked: list[dict[str, Any]] = [
        {"board": board, "heap": heap} for board in PROFILES for heap in (None, 60_000, 120_000)
    ]
    for one, found in zip(asked, asked_of(unix, folder, path, *asked), strict=True):
        assert found == on_pc(path, one), one


def test_4_bits(unix, folder, tmp_path):
    shape = models.Shape(32, 64, 2, 2, 1, 512, 64, size=16)
    source = models.write_hf(tmp_path / "hf", models.random_checkpoint(shape))
    path = tmp_path / "m.pft"
    convert(source, path, weight_bits=4)
    for one in ({"board": "pico"}, {"board": "esp32", "heap": 70_000, "largest": 30_000}):
        assert asked_of(unix, folder, path, one) == [on_pc(path, one)]


@pytest.mark.parametrize("grows", [False, True])
def test_a_board_that_is_connected(own, unix, folder, grows):
    """Its heap and its flash, and the profile of its kind, as `picoformer plan --port`."""
    path = own("motions").path
    architecture = "xtensawin" if grows else "armv6m"
    said = {
        "machine": "Generic ESP32 module with ESP32" if grows else "Raspberry Pi Pico with RP2040",
        "platform": "esp32" if grows else "rp2",
        "version": [1, 26, 0], "mpy": mpy_of(architecture), "grows": grows,
        "freeHeap": 165_000, "pieces": [105_000, 55_000] if grows else [150_000, 15_000],
        "freeFlash": 300_000, "runtime": {"installed": False}, "models": [],
    }  # fmt: skip
    board = known(Platform((1, 26, 0), said["mpy"], said["platform"], said["machine"]))
    [found] = asked_of(unix, folder, path, {"board": said})
    there = board.asked("USB", 165_000, said["pieces"], 300_000, grows)
    assert found == told(Planner(path, there))
    assert found["heap"] != board.heap.bytes and found["flash"] == 300_000
    # What the runtime and the model have of the flash is theirs already.
    size = path.stat().st_size
    had = {"runtime": {"installed": True}, "models": [{"name": "x", "bytes": size}]}
    [again] = asked_of(unix, folder, path, {"board": said | had})
    assert again["flash"] == 300_000 + again["runtime_flash"] + again["model_flash"]
    # Where it could not say what its pieces are.
    [whole] = asked_of(unix, folder, path, {"board": said | {"pieces": [], "grows": False}})
    assert whole["free_pieces"] == [165_000]


def test_errors(own, unix, folder, tmp_path):
    good = own("motions").path.read_bytes()
    path = tmp_path / "m.pft"
    board = {"board": "pico"}
    for data, words in (
        (b"", "not a picoformer model"),
        (b"no" * 99, "not a picoformer model"),
        (good[:-4], "truncated or too long"),
        (good[:500] + bytes([good[500] ^ 1]) + good[501:], "checksum of its "),
        (good[:-1] + bytes([good[-1] ^ 1]), "checksum of its weights differs"),
    ):
        path.write_bytes(data)
        [found] = asked_of(unix, folder, path, board)
        assert words in found["error"]
    path.write_bytes(good)
    no, short = asked_of(unix, folder, path, {"board": "pic"}, {**board, "context": 1})
    assert "there is no board 'pic' to plan for: pico, pico-w" in no["error"]
    assert "context is 1" in short["error"]


def test_boards(unix, folder):
    script = "import sys\nsys.path.insert(0, FOLDER)\nfrom plan import page\nprint(page.boards())"
    found = json.loads(unix(script, "16M", FOLDER=str(folder)))
    real = [p for p in PROFILES.values() if p.name != "unix"]
    assert found == [{"name": p.name, "title": p.title} for p in real]


def test_equal_in_webassembly(own, folder, tmp_path):
    """By the page's own interpreter, in node; its words have 32 bits, the unix port's 64."""
    if reason := no_node():
        pytest.skip(reason)
    for place, texts in (
        ("runtime", {n: d.decode() for n, d in sources().items()}),
        ("plan", {p.name: p.read_text() for p in (folder / "plan").iterdir()}),
    ):
        (tmp_path / place).mkdir()
        (tmp_path / place / "sources.json").write_text(json.dumps({"files": texts}))
    boards = [("stories", "pico"), ("digits", "esp32-c3")]
    asked = [
        {
            "task": "plan",
            "given": {
                "given": {"base64": base64.b64encode(own(name).path.read_bytes()).decode()},
                "asked": {"board": board, "context": None, "heap": None, "largest": None},
            },
        }
        for name, board in boards
    ]
    script = Path(__file__).with_name("engine.mjs")
    done = subprocess.run(
        ["node", script, tmp_path, WEB], input="\n".join(map(json.dumps, asked)),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    for (name, board), line in zip(boards, done.stdout.splitlines(), strict=True):
        said = json.loads(line)
        assert not said.get("error"), said
        found = said["values"][0]
        found = json.loads(found) if isinstance(found, str) else found
        assert found == on_pc(own(name).path, {"board": board}), (name, board)


# What makes the modules ready


def test_what_micropython_lacks():
    text = '''
from __future__ import annotations
from dataclasses import dataclass, field
from typing import Any
from ..device import program
from ..errors import Error
from .areas import Areas

@dataclass(frozen=True)
class A:
    """Words."""

    a: int
    b: str = "b"
    c: list[int] = field(default_factory=list)
    d: int = field(default=3)

    def f(self, x: int, *rest: int, y: str | None = None) -> tuple[int, ...]:
        """More words."""
        n: int = (5).bit_length()
        return (*rest, n, *self.c)

def g(one: A) -> Any:
    held = {"x": 1, **{"y": 2}, "z": 3} | {k: v for k, v in zip("ab", "cd", strict=True)}
    yes = isinstance(one, int | str | A)
    return f"{one.a:,} {{{one.b!r}}} {'x'.removesuffix('x')}", held, yes, [*held, 1], {}
'''
    made = downlevel.module(text, {"..device": "picoformer", "..errors": "picoformer.errors"})
    for gone in ("Words", "dataclass", "typing", "__future__", "->", "**", "strict", "f'", 'f"'):
        assert gone not in made.replace("dataclasses", ""), made
    assert "from picoformer import program" in made and "from .areas import Areas" in made
    assert "isinstance(one, (int, str, A))" in made
    # It is Python as well: by the PC's names for what MicroPython lacks.
    names: dict[str, Any] = {}
    exec((WEB / "plan" / "python.py").read_text(), names)
    body = ast.parse(made)
    body.body = [n for n in body.body if not isinstance(n, ast.ImportFrom)]
    exec(compile(body, "made", "exec"), names)
    one, other = names["A"](1), names["A"](2, c=[7])
    assert (one.a, one.b, one.c, one.d) == (1, "b", [], 3)
    assert other.f(0, 8, 9) == (8, 9, 3, 7)
    told, held, yes, listed, empty = names["g"](names["A"](1234))
    assert told == "1,234 {'b'} " and yes and not empty
    assert list(held.items()) == [("x", 1), ("y", 2), ("z", 3), ("a", "c"), ("b", "d")]
    assert listed == [*held, 1]
    assert names["asdict"](other) == {"a": 2, "b": "b", "c": [7], "d": 3}
    assert names["replace"](other, a=5).a == 5 and other.a == 2


def test_nothing_of_the_pc_is_left(folder):
    for path in (folder / "plan").iterdir():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {a.name for a in node.names} <= {"gc", "io", "json"}, path.name
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module in ("array", "collections", "math") or str(
                    node.module
                ).startswith("picoformer"), (path.name, node.module)
