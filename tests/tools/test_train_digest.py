"""The shipped summarizer is consistent; with torch, the code that trained it still works."""

import json
import random
import sys
from pathlib import Path

import pytest

import models
from picoformer import Board, convert, evaluate, importers
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.data.examples import read_examples
from shipped import check_rows, check_weights, llama_shapes, load, percent, read_tensors
from tools.training import made_up_logs
from tools.training.made_up_logs import Events, make_log, read_log, read_summary, right

np = pytest.importorskip("numpy")
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models/digest"

# What `digest.py evaluate` printed for the shipped folder, and what it holds.
STORED = {"float": 965, "integers": 966, "total": 1000, "parameters": 154_112}

LOG = """Kitchen Temp in C
23:40 -0.5
23:50 21.4
23:55 Door open
00:05 18.9
00:10 door closed
00:30 21.4
00:31 motion detected
00:40 door opened
"""
SUMMARY = (
    "Temperature went from -0.5 to 21.4 °C, highest 21.4 at 23:50, lowest -0.5 at 23:40. "
    "Door open twice, last at 00:40, still open; motion once, at 00:31."
)


# --- logs and summaries ----------------------------------------------------------------------


def test_the_facts_of_a_log():
    facts = read_log(LOG.strip())
    assert made_up_logs.write_summary(facts) == SUMMARY
    assert facts.events == [Events("door", 2, "00:40"), Events("motion", 1, "00:31")]
    assert right(LOG.strip(), SUMMARY) == set(made_up_logs.ASPECTS)
    closed = read_log("Level cm\n08:00 7\n08:10 gate shut\n08:20 12\n08:21 gate open")
    assert made_up_logs.write_summary(closed).endswith(" Gate open once, at 08:21, still open.")
    closed.events = read_log("level cm\n08:00 7\n08:10 fan off").events
    assert made_up_logs.write_summary(closed).endswith("lowest 7 at 08:00. Fan off at 08:10.")


@pytest.mark.parametrize(
    ("seen", "told", "lost"),
    [
        ("highest 21.4", "highest 21.5", {"highest value", "its time"}),
        ("23:50", "00:30", {"its time"}),  # as high, but later
        ("lowest -0.5", "lowest 0.5", {"lowest value", "its time, of the lowest"}),
        ("to 21.4 °C", "to 18.9 °C", {"first and last value"}),
        ("°C", "°F", {"kind and unit"}),
        ("twice", "3 times", {"events"}),
        ("; motion once, at 00:31", "", {"events"}),
        ("Door", "Window", {"events"}),
    ],
)
def test_what_is_told_wrong_counts(seen, told, lost):
    found = right(LOG.strip(), SUMMARY.replace(seen, told))
    assert set(made_up_logs.ASPECTS) - found == {*lost, "all"}


@pytest.mark.parametrize("seen", ["Door open", ", still open", "at ", ". ", "; "])
def test_what_is_no_summary_tells_nothing(seen):
    assert read_summary(SUMMARY.replace(seen, "", 1)) is None
    assert right(LOG.strip(), SUMMARY.replace(seen, "", 1)) == set()


def test_made_up_logs_have_one_summary_each():
    draw, events, counts = random.Random(1), 0, set()
    for _ in range(1000):
        lines = draw.randint(3, 20)
        log = make_log(draw, lines)
        assert len(log.split("\n")) == lines + 1
        facts = read_log(log)
        summary = made_up_logs.write_summary(facts)
        assert read_summary(summary) == facts
        assert {facts.first, facts.final, facts.highest, facts.lowest} <= set(log.split())
        events += len(facts.events)
        counts |= {(e.count, bool(e.end)) for e in facts.events}
    assert 700 < events < 1300
    assert counts >= {(n, end) for n in (1, 2, 3, 4) for end in (False, True)} | {(0, True)}


# --- the shipped folder ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def config():
    return json.loads((FOLDER / "config.json").read_text())


@pytest.fixture(scope="module")
def tensors():
    return read_tensors(FOLDER)


def test_tensors_match_the_configuration(config, tensors):
    assert {name: t.shape for name, t in tensors.items()} == llama_shapes(config)
    assert sum(t.size for t in tensors.values()) == STORED["parameters"] <= 400_000


def test_weights_are_finite_float16_and_small(tensors):
    check_weights(FOLDER, tensors, 800_000)


def test_rows_have_no_extreme_outliers(tensors):
    check_rows(tensors)


def test_card_states_the_stored_figures():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for key in ("float", "integers"):
        assert percent(STORED[key], STORED["total"]) in card, key
        assert STORED[key] >= 0.95 * STORED["total"]
    assert f"{STORED['parameters']:,}" in card
    sample = (FOLDER / "sample.txt").read_text(encoding="utf-8").strip()
    assert made_up_logs.write_summary(read_log(sample)) in card


def test_board_summarizes_the_sample(own):
    sample = (FOLDER / "sample.txt").read_text(encoding="utf-8").strip()
    found = "".join(own("digest").sim.generate(sample))
    assert found == made_up_logs.write_summary(read_log(sample))
    spread = sample.upper().replace("\n", " \n\n").replace(" ", "\t")
    assert "".join(own("digest").sim.generate(spread)) == found


def test_a_board_writes_what_the_simulator_does(own, tmp_path):
    if reason := models.no_board():
        pytest.skip(reason)
    model = own("digest")
    with UnixBoard(tmp_path / "flash") as emulated, Board(emulated.port) as board:
        name = board.deploy(model.path)
        for log in (LOG, (FOLDER / "sample.txt").read_text(encoding="utf-8")):
            assert list(board.generate(name, log)) == list(model.sim.generate(log))


def test_boards_integers_on_a_few_logs(training, own):
    few = training.held_out("test", 20, encoder(training))
    found = ["".join(own("digest").sim.generate(log)) for log, _ in few]
    assert training.scores(few, found)["all"] >= 18


@pytest.mark.slow
def test_boards_integers_on_held_out_logs(training, own):
    pairs = training.held_out("test", STORED["total"], encoder(training))
    found = ["".join(own("digest").sim.generate(log)) for log, _ in pairs]
    assert training.scores(pairs, found)["all"] == STORED["integers"]


# --- the code that trained it ----------------------------------------------------------------


@pytest.fixture(scope="module")
def training():
    pytest.importorskip("torch")
    pytest.importorskip("tokenizers")
    return load("digest")


def encoder(training):
    return training.Encoder(training.make_tokenizer())


def test_tokenizer_is_the_shipped_one_and_cuts_numbers_in_two(training, config, own):
    tokenizer = training.make_tokenizer()
    assert json.loads(tokenizer.to_str()) == json.loads((FOLDER / "tokenizer.json").read_text())
    assert tokenizer.get_vocab_size() == config["vocab_size"]
    assert config == training.CONFIG
    log = "CO2 ppm\n08:10 1250\n09:05 -3.2 -12.5 850 7.5 21.0 door OPEN"
    text = "<s> _co2 _ppm _08: 10 _12 50 _09: 05 _- 3.2 _-1 2.5 _8 50 _ 7.5 _2 1.0 "
    text += "_door _open <summary>"
    assert tokenizer.encode(log).tokens == text.replace("_", training.SPACE).split()
    board = own("digest").sim.tokenizer
    for log, summary in training.held_out("validation", 100, encoder(training)):
        ids = encoder(training).log(log)
        assert board.prompt(log) == ids
        told = encoder(training).summary(summary)
        assert board.decode(told[:-1]) == tokenizer.decode(told) == summary
        assert training.UNK not in told and len(ids) + len(told) <= training.CONTEXT


def test_only_summaries_count(training):
    found = training.held_out("test", 3, encoder(training))
    read, said = training.batch(found, encoder(training))
    for i, (_, summary) in enumerate(found):
        told = encoder(training).summary(summary)
        at = read[i].tolist().index(training.SUMMARY)
        assert said[i, at : at + len(told)].tolist() == told
        assert read[i, at + 1 : at + len(told)].tolist() == told[:-1]
        assert not said[i, :at].any() and not said[i, at + len(told) :].any()


def test_parts_are_fixed(training):
    parts = [training.held_out(part, 5, encoder(training)) for part in ("test", "validation")]
    assert parts[0] == training.held_out("test", 5, encoder(training)) != parts[1]
    assert all(10 <= log.count("\n") <= 20 for log, _ in parts[0] + parts[1])


def test_rows_of_token_ids_are_logs_with_their_summaries(training, own, tmp_path):
    found = training.held_out("test", 3, encoder(training))
    np.save(tmp_path / "rows.npy", training.rows_of(found, encoder(training)))
    model, graph = own("digest").sim, importers.read(FOLDER)[0]
    rows = read_examples(tmp_path / "rows.npy", model.tokenizer, model.context, graph)
    assert len({len(e.tokens) for e in rows}) > 1
    for e, (log, summary) in zip(rows, found, strict=True):
        told = encoder(training).summary(summary)
        assert e.tokens.tolist() == model.tokenizer.prompt(log) + told


def test_all_stages_in_small(training, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(training.CONFIG, "num_hidden_layers", 2)
    monkeypatch.setattr(training, "BATCH", 4)

    def call(stage, *more):
        args = ["digest.py", stage, "--work", tmp_path, "--out", tmp_path / "model"]
        args += ["--steps", "12", "--count", "2", *more]
        monkeypatch.setattr(sys, "argv", [str(arg) for arg in args])
        training.main()
        return capsys.readouterr().out

    for stage, lacks in (("train", "prepare"), ("export", "train")):
        with pytest.raises(SystemExit, match=f"run `{lacks}` first"):
            call(stage)
    out = call("all")
    assert "exported" in out and "test, integers, all: 0.00 %" in out
    monkeypatch.chdir(tmp_path)
    for part in ("test", "train"):
        assert f"{part}.npy: 2 logs" in call("heldout", "--part", part)
    convert(tmp_path / "model", "made.pft", weight_bits=4)
    assert "test, integers, all: 0.00 %" in call("evaluate", "--model", "made.pft")
    assert evaluate("made.pft", tmp_path / "model", data="test.npy").sequences == 2
    assert "complete" in call("train")
    assert call("show").count(" went from ") == 5
