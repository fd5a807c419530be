"""Checkpoints, changed where they are something, and read by the importers."""

from __future__ import annotations

import io
import json
import shutil
import struct
import tempfile
import warnings
import zipfile
from functools import cache
from pathlib import Path

from picoformer import Error, importers
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.tokenizers.section import build
from tools import ROOT
from tools.sweeps.mutations import EXTREMES, Random, change_json
from tools.sweeps.support import architectures, ggufs, models, relatives, spm
from tools.sweeps.trials import LIMIT, Case, Hang, limited

SOURCES = (
    "llama2c", "llama", "sentencepiece", "bert-classes", "t5", "vit", "gpt2-bare", "keras", "gguf",
    "phi3", "neox", "albert-groups", "opt-350m",
)  # fmt: skip


@cache
def source(name: str) -> dict[str, bytes]:
    """The files of a small checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        if name == "llama2c":
            models.write_llama2c(at, models.random_checkpoint(models.CASES["deep"]))
        elif name == "llama":
            models.write_hf(at, models.random_checkpoint(models.CASES["size10"]))
        elif name == "sentencepiece":
            c = models.random_checkpoint(models.CASES["size10"])
            models.write_hf(at, c)
            (at / "tokenizer.json").unlink()
            (at / "tokenizer.model").write_bytes(spm.small(c.shape.vocab))
        elif name == "keras":
            shutil.copy(ROOT / "tests" / "data" / "keras" / "minigpt.keras", at)
        elif name == "gguf":
            folder = models.write_hf(at / "hf", models.random_checkpoint(models.CASES["size10"]))
            ggufs.write(at / "model.gguf", folder, ggufs.q8_0, **ggufs.tokens_of(folder))
            shutil.rmtree(folder)
        elif name in relatives.CASES:
            relatives.write(at, name, relatives.kept()[name]["shapes"])
            architectures.write_vocabulary(at, relatives.CASES[name])
        else:
            architectures.write(at, (architectures.CASES | architectures.SPECIAL)[name])
        files = sorted(path for path in at.rglob("*") if path.is_file())
        return {str(path.relative_to(at)): path.read_bytes() for path in files}


def change_bytes(data: bytes, rng: Random) -> bytes:
    """Bytes anywhere, most often in front; cut; longer."""
    how = rng.randrange(6)
    if how == 0:
        return data[: rng.choice((rng.randrange(len(data)), rng.randrange(64)))]
    if how == 1:
        return data + rng.randbytes(rng.randrange(1, 9))
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.choice((rng.randrange(len(out)), rng.randrange(min(len(out), 256))))
        if how == 2:
            at &= ~3
            out[at : at + 4] = struct.pack("<I", rng.choice(EXTREMES) & 0xFFFFFFFF)
        else:
            out[at] = rng.choice((rng.randrange(256), out[at] ^ 1 << rng.randrange(8)))
    return bytes(out)


def change_text(data: bytes, rng: Random) -> bytes:
    """JSON, mostly still JSON."""
    if rng.random() < 0.15:
        return change_bytes(data, rng)
    return json.dumps(change_json(json.loads(data), rng)).encode()


def change_source(name: str, data: bytes, rng: Random) -> bytes:
    """A checkpoint's file, changed where it is something."""
    if name.endswith(".json"):
        return change_text(data, rng)
    if name.endswith(".safetensors") and rng.random() < 0.7:
        n = int.from_bytes(data[:8], "little")
        head = change_text(data[8 : 8 + n], rng)
        return len(head).to_bytes(8, "little") + head + data[8 + n :]
    if name.endswith(".keras") and rng.random() < 0.9:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            members = {one: old.read(one) for one in old.namelist()}
        one = rng.choice(sorted(members))
        change = change_text if one.endswith(".json") else change_bytes
        members[one] = change(members[one], rng)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as new:
            for member, content in members.items():
                new.writestr(member, content)
        return out.getvalue()
    return change_bytes(data, rng)


def check_source(case: Case, rng: Random, folder: Path) -> None:
    """Change one file of a checkpoint and read it; every fourth that is read is compiled."""
    files = dict(source(case.kind))
    name = rng.choice(sorted(files))
    case.change = Path(name).suffix
    files[name] = case.data = change_source(name, files[name], rng)
    at = folder / "source"
    try:
        for other, content in files.items():
            (at / other).parent.mkdir(parents=True, exist_ok=True)
            (at / other).write_bytes(content)
        path = at
        if case.kind in ("llama2c", "keras", "gguf"):
            path = next(at.glob({"llama2c": "*.bin"}.get(case.kind, "*." + case.kind)))
        with limited(LIMIT), warnings.catch_warnings():
            # Weights that are no numbers any more.
            warnings.simplefilter("ignore", RuntimeWarning)
            graph, vocabulary = importers.read(path)
            case.outcome = "read"
            if rng.random() < 0.25:
                build(vocabulary)
                compile_graph(graph, calibrate(graph))
                case.outcome = "compiled"
    except Error:
        case.outcome = "refused"
    except Hang:
        case.failure = f"hangs, {LIMIT} s"
    except Exception as e:
        case.failure = f"{name}: {type(e).__name__}: {e}"
    finally:
        shutil.rmtree(at, ignore_errors=True)
