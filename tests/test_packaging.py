"""The lists that packaging needs agree with the files that are there."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_package_json_lists_every_file_of_the_board():
    """`mpremote mip install` copies these files and no others."""
    listed = json.loads((ROOT / "package.json").read_text())["urls"]
    sources = sorted((ROOT / "device" / "picoformer").glob("*.py"))
    wanted = [[f"picoformer/{s.name}", f"device/picoformer/{s.name}"] for s in sources]
    assert listed == wanted, "package.json is out of date; its urls should be:\n" + ",\n".join(
        "    " + json.dumps(pair) for pair in wanted
    )


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
    assert set(re.findall(r'"([^"]+)"', listed[1])) == found | {"picoformer.device"}


def test_versions_agree():
    """One version for the PC's package and the board's."""
    pattern = r"""^(?:metadata\(.*)?\s*"?(?:__)?version(?:__)?"?\s*[=:]\s*"([^"]+)\""""
    names = "pyproject.toml", "package.json", "device/manifest.py", "host/picoformer/version.py"
    found = {}
    for name in names:
        match = re.search(pattern, (ROOT / name).read_text(), re.MULTILINE)
        found[name] = match[1] if match else None
    assert len(set(found.values())) == 1 and None not in found.values(), found
