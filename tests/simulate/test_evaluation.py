"""How good models are: what examples are read, what is measured, what ours reach."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

import architectures
import models
from architectures import SPECIAL
from models import ROOT
from picoformer import Error, convert, evaluate
from picoformer.commands.main import main
from picoformer.data.examples import Example, random_examples, read_examples
from picoformer.importers import read
from picoformer.simulate import metrics
from picoformer.simulate.layers import layer_errors
from picoformer.simulate.plot import plot
from picoformer.tokenizers.section import build
from picoformer.tokenizers.tokenizer import Tokenizer
from turns import some

SHARED = ROOT.parent / "shared" / "data"
FASHION = ROOT / "tests" / "data" / "fashion.npz"  # the first 20 of the test part


# Measures


def test_chrf_is_sacrebleu_s():
    """The expected values are what sacrebleu 2.6 gives."""
    assert metrics.chrf(["Je suis là."], [["Je suis là."]]) == 100
    assert metrics.chrf(["x"], [["Je suis là."]]) == 0
    found = ["Il fait chaud ici.", "Va !", "Tom aime les chiens."]
    references = [["Il fait froid ici."], ["Allez-y !", "Vas-y !"], ["Tom aime le chien.", "Oui."]]
    assert metrics.chrf(found, references) == pytest.approx(52.457, abs=0.005)
    assert metrics.exact(["Va !", "Oui."], [["Va !", "Pars !"], ["oui."]]) == 1


def test_cer_is_of_the_nearest_text():
    assert metrics.distance("kitten", "sitting") == 3
    assert metrics.distance("", "abc") == metrics.distance("abc", "") == 3
    # 1 of 4 and 0 of 2 characters
    assert metrics.cer(["abcd", "xy"], [["abxd"], ["abcdef", "xy"]]) == 1 / 6
    assert metrics.cer(["abc"], [[""]]) == 3


# Examples


def test_lines_of_one_source_are_one_example(tmp_path, own):
    graph, vocabulary = read(own("english-french").source)
    tokenizer = Tokenizer(build(vocabulary))
    path = tmp_path / "pairs.tsv"
    path.write_text("Go.\tVa !\nI am ill.\tJe suis malade.\tmore\n\nGo.\tAllez !\n", "utf-8")
    first, second = read_examples(path, tokenizer, 64, graph)
    assert first.wanted == ["Va !", "Allez !"] and second.wanted == ["Je suis malade."]
    assert first.source.tolist() == tokenizer.wrap(tokenizer.encode("Go."))
    assert first.tokens.tolist() == [graph.bos, *tokenizer.encode("Va !")]
    path.write_text("Go.\nRun.\n")
    with pytest.raises(Error, match="line 1: no tab, expected source, tab, target"):
        read_examples(path, tokenizer, 64, graph)
    text = tmp_path / "lines.txt"
    text.write_text("Go.\nRun.\n")
    found = read_examples(text, tokenizer, 64, graph)
    assert [e.tokens.tolist() for e in found] == [[graph.bos]] * 2


def test_questions(tmp_path, own):
    graph, vocabulary = read(own("facts").source)
    tokenizer = Tokenizer(build(vocabulary))
    path = tmp_path / "facts.tsv"
    path.write_text("Anna lives in Lyon.\tWhere does Anna live?\tLyon\n")
    (one,) = read_examples(path, tokenizer, graph.context, graph)
    assert (one.context, one.text) == ("Anna lives in Lyon.", "Where does Anna live?")
    assert one.wanted == ["Lyon"] and len(one.tokens) == len(one.types)
    assert one.types.tolist() == sorted(one.types.tolist()) and set(one.types) == {0, 1}
    path.write_text("Anna lives in Lyon.\tWhere?\n")
    with pytest.raises(Error, match="line 1: 1 tab, expected text, tab, question, tab, answer"):
        read_examples(path, tokenizer, graph.context, graph)
    with pytest.raises(Error, match="expected a .tsv of text, question, answer"):
        path = path.rename(tmp_path / "facts.txt")
        read_examples(path, tokenizer, graph.context, graph)


def test_images_of_a_file_and_of_folders(tmp_path, own):
    image = pytest.importorskip("PIL.Image", reason="the Python package pillow is missing")
    graph, vocabulary = read(own("fashion").source)
    tokenizer = Tokenizer(build(vocabulary))
    arrays = np.load(FASHION)
    of_file = read_examples(FASHION, tokenizer, graph.context, graph)
    assert [e.wanted for e in of_file[:2]] == [["Ankle boot"], ["Pullover"]]
    for i in range(2):
        folder = tmp_path / "all" / of_file[i].wanted[0]
        folder.mkdir(parents=True)
        image.fromarray(arrays["images"][i]).save(folder / "1.png")
        (folder / "notes.txt").write_text("no picture")
    of_folders = read_examples(tmp_path / "all", tokenizer, graph.context, graph)
    for a, b in zip(of_folders, of_file[:2], strict=True):
        assert a.wanted == b.wanted and (a.tokens == b.tokens).all()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((1, 28, 28), np.uint8)}, "holds x, expected images"),
        ({"images": np.zeros((1, 27, 28), np.uint8)}, r"shape \(27, 28\), expected 28 x 28 x 1"),
        ({"images": np.zeros((1, 28, 28))}, "float64, expected uint8"),
        ({"images": np.zeros((2, 28, 28), np.uint8), "labels": [1]}, "labels of 2 images"),
        ({"images": np.zeros((1, 28, 28), np.uint8), "labels": [10]}, "label 10, the model has"),
        ({"images": np.zeros((0, 28, 28), np.uint8)}, "holds no images"),
    ],
)
def test_bad_images(tmp_path, own, arrays, words):
    graph, vocabulary = read(own("fashion").source)
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(Error, match=words):
        read_examples(tmp_path / "a.npz", Tokenizer(build(vocabulary)), 50, graph)
    (tmp_path / "b.npz").write_bytes(b"PK no archive")
    with pytest.raises(Error, match="cannot read"):
        read_examples(tmp_path / "b.npz", Tokenizer(build(vocabulary)), 50, graph)
    with pytest.raises(Error, match="expected a .npz"):
        read_examples(tmp_path / "c.txt", Tokenizer(build(vocabulary)), 50, graph)


# Measured


def test_eval_of_a_classifier(own, tmp_path):
    model = own("intents")
    data = tmp_path / "four.tsv"
    data.write_text(
        "PlayMusic\tplay some jazz\nGetWeather\twill it rain\n"
        "RateBook\tgive this novel five stars\nPlayMusic\twill it snow in Oslo\n"
    )
    scores = evaluate(model.path, model.source, data=data)
    assert (scores.accuracy_float, scores.accuracy_int, scores.top1) == (0.75, 0.75, 1.0)
    assert scores.labels and scores.confusion_int == scores.confusion_float
    row = scores.confusion_int[scores.labels.index("PlayMusic")]
    assert row[scores.labels.index("GetWeather")] == 1 and sum(row) == 2
    assert scores.kl is not None and scores.kl < 0.001
    assert "perplexity_int" not in scores.to_dict()
    assert [e.value for e in scores.layers][0] == "x"
    assert scores.layers[-1].value == "logits"
    assert all(0 < e.error < 0.05 for e in scores.layers)
    data.write_text("PlayMusic\tplay\nJuggle\tthrow\n")
    with pytest.raises(Error, match="'Juggle' is not one of the model's"):
        evaluate(model.path, model.source, data=data)
    data.write_text("no tab here\n")
    with pytest.raises(Error, match="line 1: no tab, expected label, tab, text"):
        evaluate(model.path, model.source, data=data)


def test_layers_of_a_story_model(stories):
    """Gated products have exponents of their own; q, k and v are one step."""
    graph, _ = read(stories.source)
    errors = layer_errors(stories.sim, graph, [Example(np.array([1, 5, 300, 400, 7]))])
    names = [e.value for e in errors]
    assert names[:5] == ["x", "0.q", "0.k", "0.v", "0.o"] and names[-1] == "logits"
    assert "0.h" in names and all(0 < e.error < 0.05 for e in errors)


@pytest.mark.slow
def test_the_picture(own, tmp_path):
    pytest.importorskip("matplotlib", reason="the Python package matplotlib is missing")
    model = own("sentiment")
    data = tmp_path / "two.tsv"
    data.write_text("positive\ta joy\nnegative\ta bore\n")
    path = tmp_path / "scores.png"
    plot(evaluate(model.path, model.source, data=data), path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 10000


def test_eval_of_a_translator(own, tmp_path, capsys):
    model = own("english-french")
    data = tmp_path / "pairs.tsv"
    ours = {text: model.sim.translate(text) for text in ("I am ill.", "Tom is here.", "Go.")}
    rows = [f"{text}\t{said}\n" for text, said in ours.items()]
    data.write_text("".join(rows) + "I like tea.\tnothing like it\n", "utf-8")
    arguments = ["eval", str(model.path), "--reference", str(model.source), "--data", str(data)]
    main([*arguments, "--json"])
    scores = json.loads(capsys.readouterr().out)
    assert scores["exact_int"] == scores["exact_float"] == 0.75
    assert 0 < scores["cer_int"] < 1 and 50 < scores["chrf_int"] < 100
    assert scores["kl"] < 0.01 and scores["top1"] > 0.9 and scores["perplexity_int"] > 1
    assert len(scores["examples"]) == 4
    assert {"text", "wanted", "float", "int"} == set(scores["examples"][0])
    names = [e["value"] for e in scores["layers"]]
    assert names[-1] == "logits" and any(n.startswith("e0.") for n in names)
    main(arguments)
    said = capsys.readouterr().out
    assert "exact_int" in said and "75.00%" in said and "nothing like it" in said


def test_eval_of_answers(own, tmp_path):
    model = own("facts")
    data = tmp_path / "facts.tsv"
    text = "Anna lives in Lyon. She has two dogs."
    data.write_text(f"{text}\tWhere does Anna live?\tLyon\n{text}\tWho has two dogs?\tHugo\n")
    scores = evaluate(model.path, model.source, data=data)
    assert scores.exact_float == scores.exact_int == 0.5
    assert scores.cer_int == 4 / 8 and scores.kl < 0.001
    assert scores.examples[0]["context"] == text


def test_eval_of_images(own, tmp_path):
    model = own("fashion")
    scores = evaluate(model.path, model.source, data=FASHION)
    assert scores.sequences == 20 and scores.accuracy_int == scores.accuracy_float >= 0.8
    assert sum(map(sum, scores.confusion_int)) == 20
    assert len(scores.pictures) == 20 and "pictures" not in scores.to_dict()
    pytest.importorskip("matplotlib", reason="the Python package matplotlib is missing")
    plot(scores, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10000


@pytest.mark.parametrize("name", some(["vit", "marian", "bert-answers"], 2))
def test_eval_without_data(tmp_path, name):
    """On random tokens and pixels."""
    folder = architectures.write(tmp_path / "m", SPECIAL[name])
    if name != "vit":
        vocabulary = models.tokenizer_json(architectures.VOCAB)
        (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    graph, _ = read(folder)
    assert len(random_examples(graph, 3, 8)) == 3
    convert(folder, tmp_path / "m.pft")
    scores = evaluate(tmp_path / "m.pft", folder)
    assert scores.data == ("random pixels" if name == "vit" else "random tokens")
    assert scores.kl is not None and scores.kl < 0.001 and scores.exact_int is None
    assert scores.layers and all(0 < e.error < 0.05 for e in scores.layers)


def test_calibration_on_examples(own, tmp_path):
    """Real examples calibrate as random ones do, and the report says so."""
    report = convert(own("fashion").source, tmp_path / "f.pft", data=FASHION)
    assert report.calibration.startswith("20 of 20 examples of ")
    scores = evaluate(tmp_path / "f.pft", own("fashion").source, data=FASHION)
    assert scores.accuracy_int is not None and scores.accuracy_int >= 0.8
    pairs = tmp_path / "p.tsv"
    pairs.write_text("I am ill.\tJe suis malade.\n")
    report = convert(own("english-french").source, tmp_path / "t.pft", data=pairs)
    assert report.calibration.startswith("1 of 1 examples of ")


# What ours reach on whole test parts


def tsv(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


@pytest.mark.slow
def test_intents_on_the_whole_test_set(own):
    model = own("intents")
    scores = evaluate(model.path, model.source, data=tsv("snips/test.tsv"))
    assert scores.sequences == 700
    assert scores.accuracy_int >= 0.97
    assert scores.accuracy_int >= scores.accuracy_float - 0.003


@pytest.mark.slow
def test_sentiment_on_the_whole_test_part(own, tmp_path):
    folder = tsv("sentence_polarity")
    rows = []
    for label, ending in (("negative", "neg"), ("positive", "pos")):
        for text in (folder / f"rt-polarity.{ending}").read_text("utf-8").split("\n"):
            # As tools/training/text.py divides the data.
            plain = " ".join(text.lower().split())
            if plain and int(hashlib.sha256(plain.encode()).hexdigest(), 16) % 10 == 0:
                rows.append(f"{label}\t{text.strip()}\n")
    path = tmp_path / "test.tsv"
    path.write_text("".join(rows), "utf-8")
    model = own("sentiment")
    scores = evaluate(model.path, model.source, data=path)
    assert scores.sequences == 1055
    assert scores.accuracy_int >= 0.71
    assert scores.accuracy_int >= scores.accuracy_float - 0.003


@pytest.mark.slow
def test_translations_of_the_whole_test_part(own, tmp_path):
    tsv("tatoeba_en_fr/pairs.tsv")
    from tools.training import translate

    path = tmp_path / "test.tsv"
    pairs = translate.read_parts(SHARED)["test"]
    path.write_text("".join(f"{a}\t{b}\n" for a, b in pairs), "utf-8")
    model = own("english-french")
    s = evaluate(model.path, model.source, data=path)
    print(s.exact_float, s.exact_int, s.chrf_float, s.chrf_int)
    assert s.sequences == 550
    assert abs(s.exact_int - s.exact_float) <= 0.005 and abs(s.chrf_int - s.chrf_float) <= 0.5


@pytest.mark.slow
def test_transliterations_of_the_whole_test_part(tmp_path):
    """CTranslate2's own float results: 22.08 % exact, a character error rate of 0.2259."""
    folder = tsv("transliteration_ar_en")
    data = tmp_path / "test.tsv"
    data.write_bytes((folder / "ar2en-test.txt").read_bytes())
    convert(folder / "ctranslate2_fp32", tmp_path / "m.pft")
    s = evaluate(tmp_path / "m.pft", folder / "ctranslate2_fp32", data=data)
    print(s.exact_float, s.exact_int, s.cer_float, s.cer_int)
    assert s.sequences == 1590
    assert abs(s.exact_int - 0.2208) <= 0.005 and abs(s.cer_int - 0.2259) <= 0.005


@pytest.mark.slow
def test_fashion_on_the_whole_test_part(own, tmp_path):
    where = Path(os.environ.get("PICOFORMER_FASHION", "/usr/share/datasets/fashion-mnist"))
    arrays = {}
    for key, name, start in (("images", "images-idx3", 16), ("labels", "labels-idx1", 8)):
        found = sorted(where.rglob(f"t10k-{name}-ubyte.gz"))
        if not found:
            pytest.skip(f"no t10k-{name}-ubyte.gz in {where}: PICOFORMER_FASHION names the folder")
        arrays[key] = np.frombuffer(gzip.decompress(found[0].read_bytes())[start:], np.uint8)
    images = arrays["images"].reshape(-1, 28, 28)
    np.savez(tmp_path / "test.npz", images=images, labels=arrays["labels"])
    model = own("fashion")
    scores = evaluate(model.path, model.source, data=tmp_path / "test.npz")
    print(scores.accuracy_float, scores.accuracy_int)
    assert scores.sequences == 10_000 and scores.accuracy_int >= 0.88
    assert scores.accuracy_int >= scores.accuracy_float - 0.003


@pytest.mark.slow
def test_answers_to_the_whole_test_part(own, tmp_path):
    pytest.importorskip("torch", reason="the Python package torch is missing")
    from tools.training import facts

    model = own("facts")
    tokenizer = facts.load_tokenizer(model.source, 256)
    rows = [
        f"{e.context}\t{e.question}\t{e.answer}\n"
        for e in facts.held_out("test", 2000, tokenizer)
    ]
    (tmp_path / "test.tsv").write_text("".join(rows), "utf-8")
    scores = evaluate(model.path, model.source, data=tmp_path / "test.tsv")
    print(scores.exact_float, scores.exact_int)
    assert scores.sequences == 2000 and scores.exact_int >= 0.95
    assert abs(scores.exact_int - scores.exact_float) <= 0.005
