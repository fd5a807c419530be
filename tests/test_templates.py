"""Forms for reports are forms, and the commands that they ask for exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from picoformer.commands.main import parser_of

ROOT = Path(__file__).resolve().parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TEXTS = [*FORMS, ROOT / ".github" / "pull_request_template.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("path", FORMS, ids=lambda p: p.name)
def test_a_form_parses(path):
    yaml = pytest.importorskip("yaml")
    form = yaml.safe_load(path.read_text("utf-8"))
    if path.name == "config.yml":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert form["name"] and form["description"]
    fields = [f for f in form["body"] if f["type"] != "markdown"]
    assert all(f["type"] in ("input", "textarea") and f["attributes"]["label"] for f in fields)
    ids = [f["id"] for f in fields]
    assert len(set(ids)) == len(ids)
    assert any(f.get("validations", {}).get("required") for f in fields)


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.name)
def test_their_commands_exist(path):
    text = path.read_text("utf-8")
    for found in re.findall(r"`picoformer ([a-z][^`]*)`", text):
        words = shlex.split(found)
        if words == ["selftest"]:
            continue
        options, unknown = parser_of(words[0]).parse_known_args(words)
        assert not unknown and options.run, found
    for module in re.findall(r"`python -m (tools[\w.]*)", text):
        place = ROOT.joinpath(*module.split("."))
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module
    made = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`?make ([a-z-]+)`", text):
        assert re.search(rf"^{target}:", made, re.M), target


def test_paths_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for name in re.findall(r"`((?:host|device|tests|tools|docs)/[\w./]+)`", text):
        if "NAME" not in name:
            assert (ROOT / name).exists(), name
