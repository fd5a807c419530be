"""Estimates of a board's speed against what was measured, and forms that are chosen by them."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

import models
from models import ROOT
from picoformer.commands.main import main
from picoformer.compile import modelfile
from picoformer.planning.planner import Planner
from picoformer.planning.profiles import PROFILES
from picoformer.planning.speed import POSITION, speed, words_swept

MEASURED = json.loads((ROOT / "docs" / "speed.json").read_text())


def test_a_pico_is_as_fast_as_it_was_measured(own):
    """Our story model, without waits: the mean of the first 128 positions is that of the 64th."""
    m = own("stories").sim.model
    measured = MEASURED["stories"]["tokens_per_second"]["first"]
    s = speed(m, "pico", 256, None)
    assert s.position == POSITION
    assert s.tokens_per_second == pytest.approx(measured, rel=0.06)
    assert s.with_waits == s.tokens_per_second


@pytest.mark.parametrize("entry", MEASURED.get("cores", []), ids=lambda e: e["title"])
def test_both_cores_are_as_fast_as_they_were_measured(entry, tmp_path):
    if not models.STORIES260K.exists():
        pytest.skip(f"{models.STORIES260K} is not there")
    board = "pico2-w" if "Pico 2" in entry["title"] else "pico"
    waits = "waits" in entry["title"]
    path = tmp_path / "m.pft"
    bits = {k: entry[k] for k in ("weight_bits", "key_bits", "value_bits")}
    if bits["weight_bits"] == 4:
        pytest.skip("4 bits take half a minute to round: convert --for")
    models.convert(models.STORIES260K / "stories260K.bin", path, **bits)
    m = modelfile.load(path)
    for row in entry["rows"]:
        s = speed(m, board, 256, row["in_ram"] if waits else None)
        guess = s.both_cores_with_waits if row["cores"] == 2 else s.with_waits
        assert guess == pytest.approx(row["tokens_per_second"], rel=0.1)


def test_only_what_can_be_told_is_told(own):
    m = own("stories").sim.model
    assert speed(m, "esp32", 256, None) is None
    assert speed(own("intents").sim.model, "pico", 40, None) is None
    # The head's matrix is the embedding: of 512 rows it reads them all, the embedding one.
    words = words_swept(m)
    assert 0.9 * m.weights.size < words <= m.weights.size
    flash, some, most = (speed(m, "pico", 256, n) for n in (0, 50_000, 4 * words))
    assert flash.with_waits < some.with_waits < most.with_waits < most.tokens_per_second
    assert flash.both_cores_with_waits > flash.with_waits


def test_a_plan_says_it(own, capsys):
    path = str(own("stories").path)
    assert main(["plan", path, "--board", "pico"]) == 0
    said = capsys.readouterr().out
    b = Planner(path, PROFILES["pico"]).budget()
    assert f"tokens a second at position {POSITION}, estimated (docs/speed.md)" in said
    both = b.speed.with_waits, b.speed.both_cores_with_waits
    assert re.search(r"with waits for flash +{:.0f} +{:.0f}\n".format(*both), said)
    assert main(["plan", path, "--board", "esp32", "--positions", "64"]) == 0
    assert "tokens a second" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "given"),
    [("intents", "a text of 16 tokens"), ("motions", "a signal"), ("fashion", "an image")],
)
def test_a_plan_says_how_long_an_answer_takes(own, capsys, name, given):
    path = str(own(name).path)
    b = Planner(path, PROFILES["pico"]).budget()
    assert b.input == given
    if name != "intents":  # the measured one was another
        # Waits for flash are in the estimate, and not in what was measured.
        measured = MEASURED[name]["calls"][0]["cycles"] / 125_000
        assert 0.85 * measured < b.milliseconds < 1.6 * measured
    assert main(["plan", path, "--board", "pico"]) == 0
    assert f"about {b.milliseconds:.0f} ms for {given}\n" in capsys.readouterr().out
    assert Planner(path, PROFILES["esp32-s3"]).budget().milliseconds is None
    main(["plan", path, "--board", "esp32-s3"])
    assert "ms for" not in capsys.readouterr().out


def test_the_form_for_a_board(case, tmp_path, capsys, monkeypatch):
    source, out = str(case("size26").source), tmp_path / "m.pft"
    assert main(["convert", source, "-o", str(out), "--for", "pico", "--json"]) == 0
    plans = json.loads(capsys.readouterr().out)["plans"]
    rates = [p["speed"]["with_waits"] for p in plans]
    assert len({(p["weight_bits"], p["key_bits"]) for p in plans}) == 4 and all(rates)
    assert max(rates) <= 1.03 * rates[0], "the first is chosen"
    assert {"linear4"} <= {s.op for s in modelfile.load(out).steps} or plans[0]["weight_bits"] == 8
    assert sorted(tmp_path.iterdir()) == [out], "nothing else is left there"
    # Where speed cannot be told, what loses least and fits.
    assert main(["convert", source, "-o", str(out), "--for", "esp32"]) == 0
    table = capsys.readouterr().out.partition("\non esp32 at ")[2].splitlines()
    assert "tokens a second" in table[1] and table[2].split()[:4] == ["8", "bits", "12", "bits"]
    assert [line.endswith("chosen") for line in table[2:]] == [True, False, False, False]
    before = out.read_bytes()
    tiny = replace(PROFILES["pico"], heap=replace(PROFILES["pico"].heap, bytes=30_000))
    monkeypatch.setitem(PROFILES, "pico", tiny)
    assert main(["convert", source, "-o", str(out), "--for", "pico"]) == 1
    said = capsys.readouterr().err
    assert "with no choice of bits does this model fit a Raspberry Pi Pico" in said
    assert main(["convert", source, "-o", str(out), "--for", "atari"]) == 1
    assert "there is no board 'atari'" in capsys.readouterr().err
    assert out.read_bytes() == before
