"""What the benchmarks say to a user's mistake: one line on stderr, status 1, no traceback."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"
EMULATOR = all(importlib.util.find_spec(m) for m in ("rp2040py", "littlefs"))
needs_emulator = pytest.mark.skipif(not EMULATOR, reason="rp2040py, littlefs-python are missing")


def error(tool: str, *arguments: str, firmware: Path | None = None) -> str:
    """The message of a tool that has to fail."""
    environment = dict(os.environ)
    if firmware:
        environment["PICOFORMER_RP2040_FIRMWARE"] = str(firmware)
    done = subprocess.run(
        [sys.executable, str(TOOLS / f"{tool}.py"), *arguments],
        capture_output=True, text=True, env=environment, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    prefix = f"{tool}: error: "
    assert done.stderr.startswith(prefix) and done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1
    return done.stderr[len(prefix) : -1]


def test_unix_checkpoint_is_missing(tmp_path):
    assert "no-model.bin" in error("bench_unix", str(tmp_path / "no-model.bin"))


def test_unix_program_is_missing(tmp_path):
    assert "there is no such program" in error("bench_unix", "--llama2c", str(tmp_path / "run"))


def test_unix_program_needs_its_own_checkpoint():
    assert "is a folder" in error("bench_unix", "--llama2c", sys.executable)


def test_unix_count_is_too_small():
    assert error("bench_unix", "--runs", "0") == "--runs is 0, expected at least 1"


@needs_emulator
def test_rp2040_checkpoint_is_missing(tmp_path):
    firmware = tmp_path / "any.uf2"  # the checkpoint is read before it
    firmware.write_bytes(b"UF2\n")
    message = error("bench_rp2040", str(tmp_path / "no-model.bin"), firmware=firmware)
    assert "no-model.bin" in message


@needs_emulator
def test_rp2040_firmware_is_missing(tmp_path):
    message = error("bench_rp2040", firmware=tmp_path / "none.uf2")
    assert "PICOFORMER_RP2040_FIRMWARE" in message and "none.uf2" in message


@needs_emulator
def test_rp2040_firmware_is_something_else(tmp_path):
    firmware = tmp_path / "any.uf2"
    firmware.write_bytes(b"text")
    assert "any.uf2 is no UF2 file" in error("bench_rp2040", firmware=firmware)


def test_rp2040_count_is_too_small():
    assert error("bench_rp2040", "--tokens", "0") == "--tokens is 0, expected at least 1"
