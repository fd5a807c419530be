"""The shipped classifiers are consistent; with torch, the code that trained them still works."""

import argparse
import json
import os
import shutil
from pathlib import Path

import pytest

from picoformer.training import loop, pieces
from shipped import (
    bert_shapes,
    check_card,
    check_pieces,
    check_rows,
    check_weights,
    linear,
    load,
    norm,
    read_tensors,
    stopped,
)
from tools.training import text_tasks

np = pytest.importorskip("numpy")
ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("PICOFORMER_DATA", ROOT / "../shared/data"))
NAMES = ("intents", "sentiment")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]

# What `text.py TASK evaluate` printed for the shipped folders, and what they hold.
STORED = {
    "intents": {"right": 689, "int8": 689, "total": 700, "parameters": 100_135},
    "sentiment": {"right": 837, "int8": 837, "total": 1055, "parameters": 314_562},
}
FLOOR = {"intents": 0.97, "sentiment": 0.71}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def folder(name):
    return ROOT / "models" / name


@pytest.fixture
def config(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.fixture
def tensors(folder):
    return read_tensors(folder)


def distilbert_shapes(c):
    """Hugging Face's names and shapes of DistilBertForSequenceClassification."""
    d, hidden = c["dim"], c["hidden_dim"]
    at = "distilbert.embeddings."
    shapes = {
        at + "word_embeddings.weight": (c["vocab_size"], d),
        at + "position_embeddings.weight": (c["max_position_embeddings"], d),
        **norm(at + "LayerNorm", d),
        **linear("pre_classifier", d, d),
        **linear("classifier", len(c["id2label"]), d),
    }
    for i in range(c["n_layers"]):
        at = f"distilbert.transformer.layer.{i}."
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            shapes |= linear(f"{at}attention.{part}", d, d)
        shapes |= norm(at + "sa_layer_norm", d) | norm(at + "output_layer_norm", d)
        shapes |= linear(at + "ffn.lin1", hidden, d) | linear(at + "ffn.lin2", d, hidden)
    return shapes


def test_tensors_match_the_configuration(name, config, tensors):
    if config["model_type"] == "bert":
        d = config["hidden_size"]
        shapes = bert_shapes(config) | linear("bert.pooler.dense", d, d)
        shapes |= linear("classifier", len(config["id2label"]), d)
    else:
        shapes = distilbert_shapes(config)
    assert {key: t.shape for key, t in tensors.items()} == shapes
    assert sum(t.size for t in tensors.values()) == STORED[name]["parameters"] <= 400_000


def test_weights_are_finite_float16_under_a_megabyte(folder, tensors):
    check_weights(folder, tensors, 1_000_000)


def test_rows_have_no_extreme_outliers(tensors):
    check_rows(tensors)


def test_labels_and_sizes(name, config):
    labels = {"intents": 7, "sentiment": 2}[name]
    assert [config["id2label"][str(i)] for i in range(labels)] == list(config["label2id"])
    assert list(config["label2id"].values()) == list(range(labels))
    width = config.get("hidden_size") or config["dim"]
    heads = config.get("num_attention_heads") or config["n_heads"]
    hidden = config.get("intermediate_size") or config["hidden_dim"]
    assert width % heads == 0 and width // heads % 4 == 0
    assert 32 <= config["max_position_embeddings"] <= 64
    # float32 activations of the longest input, as a board without float would hold in int32
    assert 4 * (6 * width + hidden) * config["max_position_embeddings"] <= 105_000


def test_vocabulary_is_word_pieces(folder, config):
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    check_pieces(model, config["vocab_size"], SPECIAL)
    assert config["pad_token_id"] == 0


def test_tokenizer_loads(folder, config):
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == config["vocab_size"]
    assert tokenizer.encode("").ids == [2, 3]
    encoded = tokenizer.encode("Play the CAF\u00c9 song, zyxgarble!").ids
    assert encoded[0] == 2 and encoded[-1] == 3 and 1 not in encoded
    assert encoded == tokenizer.encode("  play the cafe song , zyxgarble !").ids
    assert tokenizer.encode("a \U0001f600 b").tokens[1:-1] == ["a", "[UNK]", "b"]
    assert tokenizer.encode("a", "b").type_ids == [0, 0, 0, 1, 1]


def test_card_states_the_stored_figures(name, folder):
    stored, keys = STORED[name], ("right", "int8")
    check_card(folder, stored, keys)
    assert all(stored[key] / stored["total"] > FLOOR[name] for key in keys)


# --- the code that trained them --------------------------------------------------------------


@pytest.fixture(scope="module")
def training():
    pytest.importorskip("torch")
    return load("text")


def test_parts_are_fixed_and_duplicates_stay_together():
    texts = [f"sentence number {i}" for i in range(2000)]
    parts = [text_tasks.part_of(text) for text in texts]
    assert parts == [text_tasks.part_of(f"  {text.upper()} ") for text in texts]
    assert 150 < parts.count("test") < 250 and 150 < parts.count("validation") < 250


def write_data(folder):
    files = {
        "sentence_polarity/rt-polarity.neg": [f"a dull film {i}" for i in range(200)],
        "sentence_polarity/rt-polarity.pos": [f"a bright film {i}" for i in range(200)],
        "tatoeba_en_fr/pairs.tsv": ["Go.\tVa !", "Run!\tCours !", "Run!\tCourez !"],
        "snips/test.tsv": ["PlayMusic\tplay one song", "GetWeather\tis it cold"],
        "snips/train.tsv": ["PlayMusic\tPlay  one song", "PlayMusic\tplay this", "RateBook\tfour"],
    }
    for file, lines in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_data_is_read_and_what_lacks_is_named(training, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="rt-polarity.neg"):
        training.read_examples("sentiment", tmp_path)
    write_data(tmp_path)
    parts = training.read_examples("sentiment", tmp_path)
    assert sum(map(len, parts.values())) == 400 and all(parts.values())
    assert all(label == ("bright" in text) for part in parts.values() for text, label in part)
    assert training.unlabelled("sentiment", tmp_path) == ["Go.", "Run!"]
    parts = training.read_examples("intents", tmp_path)
    assert parts["test"] == [("play one song", 3), ("is it cold", 2)]
    rest = sorted(text for part in ("train", "validation") for text, _ in parts[part])
    assert rest == ["four", "play this"], "the test file's utterance is left out"
    monkeypatch.chdir(tmp_path)
    training.stage_table(argparse.Namespace(task="intents", data=tmp_path))
    lines = (tmp_path / "intents.tsv").read_text().splitlines()
    assert lines[0] == "label\ttext\tpart" and "PlayMusic\tplay one song\ttest" in lines
    (tmp_path / "snips/train.tsv").write_text("Sing\tla\n")
    with pytest.raises(SystemExit, match="Sing"):
        training.read_examples("intents", tmp_path)


def test_pieces_cover_what_is_dropped():
    pytest.importorskip("tokenizers")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    known = [*letters, *("##" + c for c in letters), ".", "film", "dull", "##s", "bright", "rare"]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(known))}
    encoded = [["dull", "film", "##s", "."]] * 3 + [["bright", "film", "."], ["rare", "."]]
    kept = pieces.choose_pieces(vocab, encoded, len(letters) * 2 + 3)
    assert {"film", "dull"} <= set(kept) and not {"rare", "bright"} & set(kept)
    tokenizer = pieces.make_tokenizer(kept)
    assert tokenizer.encode("dull rare films").tokens[1:-1] == [
        "dull", "r", "##a", "##r", "##e", "film", "##s",
    ]  # fmt: skip


def test_variants_are_repeatable(training):
    texts = ["a dull film , but a short one", "bright"]
    found = training.vary(texts, 2, seed=3)
    assert found == training.vary(texts, 2, seed=3) and len(found) == 12
    assert all(found) and set(" ".join(found).split()) <= set(" ".join(texts).split()) | {"and"}


def test_projection_keeps_the_directions_that_vary(training):
    rows = np.random.default_rng(4).normal(size=(200, 6)) * [9, 5, 0.01, 0.01, 0.01, 0.01]
    small = training.project(rows.astype(np.float32), 2)
    np.testing.assert_allclose(small.std(1), 0.2, rtol=1e-4)
    assert small.shape == (200, 2)


def test_fit_learns_and_goes_on_where_it_stopped(training, name, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    import torch

    config = training.full_config(training.TASKS[name]) | {"vocab_size": 40}
    rows = [[2, 4 + i % 2, 6 + i % 30, 3] for i in range(64)]
    labels = np.arange(64) % 2
    targets = np.eye(len(config["id2label"]))[labels]

    def run(path):
        torch.manual_seed(1)
        model = training.new_model(config)
        training.fit_texts(
            model, path, rows, targets, epochs=6, batch=8, rate=3e-3, decay=0.01, seed=1
        )
        return model

    model = run(tmp_path / "whole.pt")
    logits = training.predict(model, rows)
    assert (logits.argmax(1) == labels).all()
    rounded = training.predict(training.round_rows(model), rows)
    assert 0 < np.abs(rounded - logits).max() < 0.2
    with stopped(monkeypatch, loop, iter(range(0, 10_000, 5))):
        run(tmp_path / "parts.pt")
    assert torch.load(tmp_path / "parts.pt")["step"] < 48
    again = training.predict(run(tmp_path / "parts.pt"), rows)
    np.testing.assert_allclose(again, logits, atol=1e-5)


def test_a_model_goes_on_by_what_another_one_says(training, tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    write_data(tmp_path)
    texts = ["play one song", "is it cold", "four stars for this book", "it rains"] * 16
    true = np.array([3, 2, 4, -1] * 16)
    monkeypatch.setattr(training, "pool_texts", lambda args: (texts, true))
    out = tmp_path / "out"
    shutil.copytree(ROOT / "models/intents", out)
    before = read_tensors(out)
    args = argparse.Namespace(
        task="intents", data=tmp_path, teacher=ROOT / "models/intents", out=out,
        work=tmp_path / "work", run="small", seed=1,
    )  # fmt: skip
    monkeypatch.setattr(training, "read_examples", lambda *_: {"validation": [("play this", 3)]})
    training.stage_again(args)
    assert "again: validation 100.00 %" in capsys.readouterr().out
    after = read_tensors(out)
    assert after.keys() == before.keys()
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert "classifier.weight" in changed
    args.teacher = None
    with pytest.raises(SystemExit, match="--teacher names the folder"):
        training.stage_again(args)


@pytest.mark.slow
def test_shipped_folder_scores_what_the_card_says(training, name, folder):
    """With transformers, on the real test part: PICOFORMER_DATA, or ../shared/data."""
    pytest.importorskip("transformers")
    if not (DATA / training.TASKS[name].files[0]).is_file():
        pytest.skip("needs the data: PICOFORMER_DATA")
    found = training.evaluate_folder(name, folder, DATA)
    stored = STORED[name]
    assert found["total"] == stored["total"]
    # another version of torch may decide a close call differently
    assert abs(found["right"] - stored["right"]) <= 1
    assert abs(found["right_int8_weights"] - stored["int8"]) <= 1
