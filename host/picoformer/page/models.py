"""The models of the page: converted once, each with an example and what to check it by."""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from ..compile import modelfile
from ..compile.convert import convert
from ..compile.modelfile import ModelFile
from ..data.pictures import cut
from ..data.signals import signal
from ..errors import Error
from ..graph.nodes import Array
from ..simulate.simulator import Simulator
from .kept import PACKAGE, Files, code, digest, kept

PLAIN = "She opened the little box and found a letter there from her old friend in the big city."
CHECKED = 8  # tokens at most: without native code a token of the story model takes a third of one

# What to try a shipped model with; the names of files are those of its folder, a log is a prompt.
EXAMPLES: dict[str, dict[str, str]] = {
    # Where its story ends, the model begins another one, and always like this.
    "stories": {"prompt": "Once upon a time", "stop": "Once upon a time"},
    "intents": {"text": "Will it rain in Lyon tomorrow?"},
    "sentiment": {"text": "A warm, funny film with a big heart."},
    "facts": {
        "context": "Anna lives in Lyon. She has two dogs. The red box is under the table.",
        "question": "Where is the red box?",
    },
    "english-french": {"text": "Where is the cat?"},
    "fashion": {"image": "boot.png"},
    "motions": {"signal": "walking.csv"},
    "digits": {"sound": "seven.wav"},
    "digest": {"log": "sample.txt", "temperature": "0"},
}
# The same for other models, by their tasks.
BY_TASK: dict[str, dict[str, str]] = {
    "generate": {"prompt": "Once upon a time"},
    "translate": EXAMPLES["english-french"],
    "answer": EXAMPLES["facts"],
    "tag": {"text": "Anna lives in Lyon"},
}
FILES = "image", "signal", "sound"  # examples that are files
ENTRY = "entry.json"


@dataclass
class Shown:
    """A model of the page: its entry in the list, the model file, and its example's."""

    entry: dict[str, Any]
    files: Files = field(default_factory=dict)


def shipped() -> list[Path]:
    """The checkpoints that come along: of a clone all, of an installed package the stories."""
    inside = PACKAGE / "stories"
    folder = PACKAGE.parents[1] / "models"
    found = [inside] if inside.is_dir() else sorted(p for p in folder.iterdir() if p.is_dir())
    return sorted(found, key=lambda p: list(EXAMPLES).index(p.name) if p.name in EXAMPLES else 99)


def from_checkpoint(folder: Path) -> Shown:
    """A shipped model. Raises Error."""
    files = sorted(p for p in folder.iterdir() if p.is_file())
    parts = "importers", "graph", "tokenizers", "compile", "data", "simulate", "page"

    def make() -> Files:
        with tempfile.TemporaryDirectory(prefix="picoformer-") as made:
            path = Path(made, f"{folder.name}.pft")
            convert(folder, path)
            data = path.read_bytes()
        return _made(folder.name, data, EXAMPLES.get(folder.name), folder)

    return _shown(kept(folder.name, digest([*files, *code(*parts)]), make))


def from_file(path: Path) -> Shown:
    """A model file of the user's. Raises Error."""
    modelfile.load(path)
    name = path.name.removesuffix(".pft")
    key = digest([path, *code("simulate", "page")])
    return _shown(kept(name, key, lambda: _made(name, path.read_bytes(), None, None)))


def card(text: str) -> tuple[str, str]:
    """The title and the first sentence of a model card."""
    body = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    head = re.search(r"^# [^:\n]+: (.+)$", body, re.MULTILINE)
    if not head:
        return "", ""
    title = re.sub(r"(,| of) [\d,]+ parameters$", "", head[1])
    prose = body[head.end() :].strip().partition("\n\n")[0].replace("\n", " ")
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", prose)
    return title[:1].upper() + title[1:], re.split(r"(?<=[.?!]) (?=[A-Z])", plain)[0]


def reads(text: str) -> str:
    """What a model card's table says of the signals that the model reads."""
    rows = [
        re.search(rf"^\| {key} \| (.+) \|$", text, re.MULTILINE) for key in ("signal", "numbers")
    ]
    return "; numbers: ".join(row[1] for row in rows if row)


def rate(text: str) -> int:
    """Rows a second, of signals that the card tells it of; 0 where it does not."""
    said = re.search(r"^\| signal \| .*?\b([\d,]+) a second", text, re.MULTILINE)
    return int(said[1].replace(",", "")) if said else 0


def words(sim: Simulator) -> int:
    """About how many words of plain English a hundred of the model's tokens are."""
    return round(100 * len(PLAIN.split()) / max(len(sim.encode(PLAIN)), 1))


def _shown(files: Files) -> Shown:
    return Shown(json.loads(files.pop(ENTRY)), files)


def _made(name: str, data: bytes, example: dict[str, str] | None, folder: Path | None) -> Files:
    """A model file, its example's and, as ENTRY, what the list says of it."""
    m = modelfile.parse(data)
    example = example or _example(m)
    if folder and "log" in example:
        prompt = (folder / example["log"]).read_text("utf-8")
        example = {k: v for k, v in example.items() if k != "log"} | {"prompt": prompt}
    file = file_of(name)
    text = (folder / "README.md").read_text("utf-8") if folder else ""
    title, about = card(text)
    sim = Simulator(m)
    entry = {
        "file": file,
        "name": name,
        "title": title or str(m.meta.get("name") or name),
        "task": m.task,
        "bytes": len(data),
        "licence": str(m.meta.get("licence") or ""),
        "about": about,
        "reads": reads(text),
        "rate": rate(text),
        "words": words(sim) if not m.frames and not m.program[14] else 0,
        "example": example,
        "check": check(sim, example, folder),
    }
    named = [example[kind] for kind in FILES if kind in example]
    files = {n: (folder / n).read_bytes() for n in named if folder}
    return {file: data, **files, ENTRY: json.dumps(entry).encode()}


def file_of(name: str) -> str:
    """What a model's file is called on the site: a name that is its own address, on any host."""
    return (re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "model") + ".pft"


def _example(m: ModelFile) -> dict[str, str]:
    if m.frames or m.program[14]:
        return {}
    return BY_TASK.get(m.task, {"text": "a text"})


def check(sim: Simulator, example: dict[str, str], folder: Path | None) -> dict[str, Any]:
    """A short input, and the CRC32 of its logits as little-endian words of 32 bits.

    tokens: what `Model.logits` takes, behind those of `source`, where there are any; or pixels or
    rows: bytes, or little-endian words of 16 bits, for `Model.read`, in base64. The logits are
    what these two give.
    """
    given: dict[str, Any] = {}
    machine, m = sim.machine, sim.model
    if m.frames:
        rows = _rows(m, example, folder)
        given["rows"] = _packed(rows.astype("<i2"))
        count = m.frames.positions(len(rows))
        machine.run([0] * count, signal=m.frames.signal(rows))
    elif m.program[14]:
        height, width, channels = m.meta["image"][:3]
        pixels = np.random.default_rng(1).integers(0, 256, (height, width, channels))
        given["pixels"] = _packed(pixels.astype(np.uint8))
        patches = cut(pixels, tuple(m.meta["image"]))
        machine.run([0] * len(patches), patches=patches)
    elif m.task == "translate":
        source = sim.encode(example["text"])
        sim.source(source)
        given |= {"source": source, "tokens": [m.bos]}
        machine.run([m.bos])
    else:
        tokens = _tokens(sim, example)
        given["tokens"] = tokens
        machine.run(tokens)
    result = machine.result()
    # On a board, `logits` of a model that answers or tags is what comes behind the first token.
    last = result[0 if m.framed and m.task in ("answer", "tag") else -1]
    return given | {"crc32": crc32(last.astype("<i4").tobytes())}


def _tokens(sim: Simulator, example: dict[str, str]) -> list[int]:
    if sim.model.task == "generate":
        return sim.tokenizer.prompt(example["prompt"])[:CHECKED] or [0]
    if sim.model.task == "answer":
        return sim.encode(example["question"]) or [0]
    return sim.encode(example["text"]) or [0]


def _rows(m: ModelFile, example: dict[str, str], folder: Path | None) -> Array:
    frames = m.frames
    assert frames is not None
    named = next((example[kind] for kind in FILES if kind in example), None)
    if named and folder:
        return signal(folder / named, frames)
    return np.random.default_rng(1).integers(-2000, 2000, (frames.length, frames.channels))


def _packed(values: Array) -> str:
    return base64.b64encode(values.tobytes()).decode()


def listed(files: list[str]) -> Iterator[tuple[str, Path, bool]]:
    """(name, path, whether it is a checkpoint) of all models. Raises Error for doubles."""
    seen = set()
    for path in shipped():
        seen.add(file_of(path.name))
        yield path.name, path, True
    for path in map(Path, files):
        name = path.name.removesuffix(".pft")
        if file_of(name) in seen:
            raise Error(f"two of the page's models are called {name}: rename {path}")
        seen.add(file_of(name))
        yield name, path, False
