"""Classifying and embedding: our own models and random ones, on the PC and on boards."""

from __future__ import annotations

import io
import json
import struct
import time
from binascii import crc32

import numpy as np
import pytest

import architectures
import models
from models import ROOT
from picoformer import Board, Error, Simulator, convert
from picoformer.boards.emulated import pico
from picoformer.boards.emulated.unix import UnixBoard
from picoformer.commands.main import main
from picoformer.device import modelfile
from picoformer.device.model import Model

TEXTS = [
    "play some jazz music on spotify",
    "Will it rain in Zürich tomorrow?",
    "",
    "book " + "a table " * 100,
    "an absolute delight from the first minute to the last 😀",
    "tedious, unfunny and far too long",
]
OWN = ["intents", "sentiment"]


CLASSIFY = """
from picoformer import Model
m = Model(FILE, **OPTIONS)
print([m.classify(t) for t in TEXTS])
print(m.task, m.labels, m.outputs)
"""


EMBED = """
from picoformer import Model
m = Model(FILE, **OPTIONS)
print([list(m.embed(t)) for t in TEXTS])
"""


@pytest.mark.parametrize("name", OWN)
def test_the_board_classifies_as_the_simulator(own, unix, families, name):
    model = own(name)
    expected = [model.sim.classify(text) for text in TEXTS]
    assert all(pairs[0][1] >= pairs[-1][1] for pairs in expected)
    for kernels in families:
        some = 1 if kernels == "portable" else len(TEXTS)
        for weights in ("ram", "file"):
            options = {"kernels": kernels, "weights": weights}
            said = unix(CLASSIFY, FILE=str(model.path), TEXTS=TEXTS[:some], OPTIONS=options)
            first, second = said.splitlines()
            assert first == repr(expected[:some])
            assert second == f"classify {model.sim.labels!r} {len(model.sim.labels)}"


@pytest.mark.parametrize("name", ["minilm", "bert-mean", "bert-first"])
def test_the_board_embeds_as_the_simulator(name, unix, families, tmp_path):
    folder = architectures.write(tmp_path / name, architectures.CASES[name])
    vocabulary = models.tokenizer_json(architectures.VOCAB)
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    path = tmp_path / "m.pft"
    convert(folder, path)
    sim = Simulator(path)
    texts = [text for text in TEXTS if text]
    expected = [sim.embed(text).tolist() for text in texts]
    for kernels in families:
        some = 1 if kernels == "portable" else len(texts)
        said = unix(EMBED, FILE=str(path), TEXTS=texts[:some], OPTIONS={"kernels": kernels})
        assert said == f"{expected[:some]}\n"


def test_what_the_models_say(own):
    assert own("intents").sim.classify(TEXTS[0])[0][0] == "PlayMusic"
    assert own("intents").sim.classify(TEXTS[1])[0][0] == "GetWeather"
    assert own("sentiment").sim.classify(TEXTS[4])[0][0] == "positive"
    assert own("sentiment").sim.classify(TEXTS[5])[0][0] == "negative"


def test_long_texts_keep_their_last_special_token(own):
    sim = own("intents").sim
    ids = sim.encode(TEXTS[3])
    assert len(ids) == sim.context
    assert [ids[0], ids[-1]] == sim.tokenizer.wrap([])


def test_a_task_that_the_model_is_not_made_for(own, stories):
    sim = own("intents").sim
    for call in (lambda: list(sim.generate("a", 3)), lambda: sim.embed("a")):
        with pytest.raises(Error, match="made to classify, not to"):
            call()
    with pytest.raises(Error, match="made to generate, not to classify"):
        stories.sim.classify("a")
    board = Model(str(own("intents").path), kernels="portable")
    for call in (lambda: list(board.generate("a", 3)), lambda: board.embed("a")):
        with pytest.raises(Exception, match="made to classify, not to"):
            call()


def test_labels_that_do_not_fit_the_model(own, tmp_path):
    """Metadata are text from outside: a wrong list is one clear error."""
    data = own("intents").path.read_bytes()
    sim = own("intents").sim
    raw = [data[at : at + n] for at, n, _ in modelfile.sections(io.BytesIO(data))]
    for labels in ([], ["a"] * 8, [1] * 7, "PlayMusi", None):
        meta = dict(sim.model.meta, labels=labels)
        path = tmp_path / "m.pft"
        path.write_bytes(reframed([json.dumps(meta).encode(), *raw[1:]]))
        for reader in (Simulator, lambda p: Model(str(p), kernels="portable")):
            with pytest.raises(Exception, match="7 labels"):
                reader(path)


def reframed(parts: list[bytes]) -> bytes:
    """A model file of these sections, with right checksums."""
    parts = [part + b" " * (-len(part) % 4) for part in parts]
    head = b"\x89PFT" + struct.pack("<III", 3, 100 + sum(map(len, parts)), len(parts))
    at = 100
    for kind, part in enumerate(parts, 1):
        head += struct.pack("<IIII", kind, at, len(part), crc32(part))
        at += len(part)
    return head + struct.pack("<I", crc32(head)) + b"".join(parts)


# Over the link


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A random sentence encoder, of the first position's vector, with a WordPiece vocabulary."""
    folder = tmp_path_factory.mktemp("sentences")
    a = architectures.CASES["bert-first"]
    source = architectures.write(folder / "encoder", a)
    architectures.write_vocabulary(source, a)
    return models.Converted(source, folder / "encoder.pft")


@pytest.fixture(scope="module")
def board(own, encoder, tmp_path_factory):
    """Port "emulator", with intents and the encoder on it."""
    if reason := models.no_board():
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with Board("emulator") as board:
            assert board.deploy(own("intents").path) == "intents"
            assert board.deploy(encoder.path) == "encoder"
        yield "emulator"


def test_tasks_over_the_link(board, own, encoder):
    intents = own("intents").sim
    with Board(board) as b:
        with pytest.raises(Error, match="call classify before"):
            b.probabilities([("a", 1)])
        for text in TEXTS:
            assert b.classify("intents", text) == intents.classify(text)
            np.testing.assert_array_equal(b.embed("encoder", text), encoder.sim.embed(text))
            found = b.classify("intents", text)
            assert b.probabilities(found) == intents.probabilities(found)
        assert b.logit_scale == intents.logit_scale
        for ids in ([1], list(range(encoder.sim.context))):
            expected = encoder.sim.logits(ids)[0]
            np.testing.assert_array_equal(b.logits("encoder", ids), expected)
        for call, words in (
            (lambda: b.embed("intents", "a"), "made to classify, not to embed"),
            (lambda: b.classify("encoder", "a"), "made to embed, not to classify"),
            (lambda: list(b.generate("encoder", "a")), "made to embed, not to generate"),
            (lambda: b.translate("encoder", "a"), "made to embed, not to translate"),
            (lambda: b.translate("intents", "a", beams=2), "made to classify, not to translate"),
            (lambda: b.classify("nothing", "a"), "deploy it first"),
            (lambda: b.classify("intents", "\udcff"), "lone surrogate"),
        ):
            with pytest.raises(Error, match=words):
                call()
            assert b.classify("intents", TEXTS[0]) == intents.classify(TEXTS[0])


def test_classify_in_the_command(board, own, capsys):
    expected = own("intents").sim.classify(TEXTS[1])
    options = ["classify", "--port", board, "--model", "intents", TEXTS[1]]
    assert main([*options, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(row["label"], row["logit"]) for row in said["labels"]] == expected
    assert said["label"] == expected[0][0] and said["free_heap"] > 0
    assert sum(row["probability"] for row in said["labels"]) == pytest.approx(1)
    assert main(options) == 0
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()] == [row[0] for row in expected]
    assert shown.out.splitlines()[0].endswith("#") and "bytes of heap" in shown.err


def test_embed_in_the_command(board, encoder, capsys):
    expected = encoder.sim.embed(TEXTS[0]).tolist()
    options = ["embed", "--port", board, "--model", "encoder", TEXTS[0]]
    assert main([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["embedding"] == expected
    assert main(options) == 0
    assert [int(v) for v in capsys.readouterr().out.split()] == expected
    assert main(["simulate", str(encoder.path), "--prompt", TEXTS[0], "--json"]) == 0
    given = {"prompt": TEXTS[0], "warnings": []}
    assert json.loads(capsys.readouterr().out) == {"embedding": expected, **given}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["embed", "--model", "intents", "a"], "made to classify, not to embed"),
        (["classify", "--model", "encoder", "a"], "made to embed, not to classify"),
        (["generate", "--model", "intents", "--prompt", "a"], "made to classify, not to generate"),
        (["classify", "a"], "choose with --model: encoder, intents"),
        (["classify", "--model", "nothing", "a"], "deploy it first"),
    ],
)
def test_the_wrong_task_in_the_command(board, capsys, arguments, words):
    assert main([*arguments, "--port", board]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert words in said.err and said.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_our_models_over_the_link_on_the_emulated_pico(own, tmp_path, name):
    if reason := pico.PicoBoard.missing():
        pytest.skip(reason)
    model = own(name)
    with pico.PicoBoard(tmp_path / "flash") as emulated, Board(emulated.port) as b:
        assert b.deploy(model.path) == name
        loaded = b.load(name)
        print(f"\n{name}: {loaded}")
        assert (loaded.kernels, loaded.weights) == ("thumb", "flash")
        for text in [*TEXTS[:2], *TEXTS[3:]]:
            start = time.perf_counter()
            assert b.classify(name, text) == model.sim.classify(text)
            print(f"{len(model.sim.encode(text))} tokens: {time.perf_counter() - start:.1f} s")
        free = b.info["free_heap"]
        print(f"{free:,} bytes of heap free")
        assert free > 20_480 and loaded.free_heap > 20_480


# Over the link


@pytest.fixture(scope="module")
def special(tmp_path_factory):
    """Random models of each special kind, by name."""
    made = {}
    for name in ("bart", "vit", "asked", "tagged"):
        folder = tmp_path_factory.mktemp(name)
        made[name] = models.Architecture(name, folder)
        (folder / f"{name}.pft").write_bytes(made[name].file().read_bytes())
    return made


def test_beams_in_the_commands(special, capsys):
    sim = special["bart"].sim()
    file = str(special["bart"].folder / "bart.pft")
    options = ["--prompt", "the tea", "--beams", "3", "--length-penalty", "0.5"]
    assert main(["simulate", file, *options]) == 0
    assert capsys.readouterr().out == sim.translate("the tea", 3, 0.5) + "\n"
    assert main(["simulate", file, "--prompt", "the tea", "--beams", "9"]) != 0
    assert "beams is 9, expected a whole number, 1 to 8" in capsys.readouterr().err


def test_every_task_over_the_link(special, own, unix, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 2))
    with UnixBoard(tmp_path / "flash") as emulated, Board(emulated.port) as board:
        for name, a in special.items():
            assert board.deploy(a.folder / f"{name}.pft") == name
        sims = {name: a.sim() for name, a in special.items()}
        said = board.translate("bart", "the tea")
        assert said == sims["bart"].translate("the tea") != ""
        for beams, penalty in (1, 0.5), (3, 0.5), (3, 0.007), (4, 1):
            said = board.translate("bart", "the tea", beams, penalty)
            assert said == sims["bart"].translate("the tea", beams, penalty)
        with pytest.raises(Error, match="beams is 9, expected 1 to 8"):
            board.translate("bart", "the tea", 9)
        # What makes texts vary means nothing to a translator.
        said = "".join(board.generate("bart", "the tea", temperature=100, seed=9))
        assert said == sims["bart"].translate("the tea")
        assert board.image_shape("vit") == (9, 12, 2)
        assert board.classify("vit", image) == sims["vit"].classify(image)
        with pytest.raises(Error, match="expected 9 x 12 x 2"):
            board.classify("vit", image[:8])
        with pytest.raises(Error, match="reads images"):
            board.classify("vit", "a text")
        with pytest.raises(Error, match="made to answer, not to generate"):
            list(board.generate("asked", "a"))
        assert board.tag("tagged", "a the tea") == sims["tagged"].tag("a the tea")
        with pytest.raises(Error, match="no tokens"):
            board.tag("tagged", " ")
        with pytest.raises(Error, match="made to answer, not to tag"):
            board.tag("asked", "a")
        board.deploy(own("intents").path)
        assert board.image_shape("intents") == (0, 0, 0)
        for text in TEXTS:
            assert board.classify("intents", text) == own("intents").sim.classify(text)


@pytest.mark.parametrize(
    "name",
    ["bert-several", pytest.param("bert-score", marks=pytest.mark.slow), "distilbert-tags"],
)
def test_labels_that_hold_by_themselves_and_those_of_words(tmp_path, capsys, name):
    """From the checkpoint to what the commands print, on the PC and on a board."""
    folder = architectures.write(tmp_path / name, architectures.CASES[name])
    vocabulary = models.tokenizer_json(architectures.VOCAB)
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    path = str(tmp_path / "m.pft")

    def said(*arguments: str) -> dict:
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    said("convert", str(folder), "-o", path)
    sim = Simulator(path)
    assert sim.several is ("tags" not in name)
    scores = said("eval", path, "--reference", str(folder))
    assert 0 < scores["kl"] < 0.001 and scores["top1"] > 0.9
    on_pc = said("simulate", path, "--prompt", "the tea")
    with UnixBoard(tmp_path / "flash") as emulated:
        said("deploy", path, "--port", emulated.port)
        command = "tag" if "tags" in name else "classify"
        on_board = said(command, "--port", emulated.port, "the tea")
    if command == "tag":
        assert on_board["words"] == on_pc["words"]
        assert [row["word"] for row in on_pc["words"]] == ["the", "tea"]
        return
    assert on_board["labels"] == on_pc["labels"]
    for row in on_pc["labels"]:
        exact = 1 / (1 + np.exp(-row["logit"] * sim.logit_scale))
        assert row["probability"] == pytest.approx(exact, abs=4e-4)


OURS = """
from picoformer import Model
m = Model(FILE, kernels=KERNELS)
for one in GIVEN:
    print(getattr(m, m.task)(*one))
"""
FACTS = "Anna lives in Lyon. She has two dogs. The red box is under the table."
OTHERS = "facts", "fashion", "english-french", "motions"
QUESTIONS = ("Where does Anna live?", "Who has two dogs?", "Where is the red box?")


def given_to(name: str) -> list[tuple]:
    """What one of our models is tried with: arguments of the call that its task names."""
    if name == "facts":
        return [(FACTS, question) for question in QUESTIONS]
    if name == "english-french":
        return [(text,) for text in ("Tom is here.", "I am ill.", "Where are you going?")]
    if name == "motions":
        rows = np.loadtxt(ROOT / "models/motions/walking.csv", np.int16, delimiter=",", skiprows=1)
        return [(rows,), (rows[:37],), (rows[::-1] // 2,)]
    with np.load(ROOT / "tests" / "data" / "fashion.npz") as arrays:
        return [(image,) for image in arrays["images"][:3]]


def test_what_the_others_say(own):
    facts, fashion, french, motions = (own(n).sim for n in OTHERS)
    assert [facts.answer(*one) for one in given_to("facts")] == ["Lyon", "Anna", "under the table"]
    said = [fashion.classify(*one)[0][0] for one in given_to("fashion")]
    assert said == ["Ankle boot", "Pullover", "Trouser"]
    assert french.translate("Tom is here.") == "Tom est ici."
    assert motions.classify(*given_to("motions")[0])[0][0] == "Walking"


@pytest.mark.parametrize("name", OTHERS)
def test_the_board_says_what_the_simulator_does(own, unix, families, name):
    model = own(name)
    given = given_to(name)
    expected = [getattr(model.sim, model.sim.model.task)(*one) for one in given]
    plain = [tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in g) for g in given]
    for kernels in families:
        some = 1 if kernels == "portable" else len(plain)
        said = unix(OURS, FILE=str(model.path), KERNELS=kernels, GIVEN=plain[:some])
        assert said == "".join(f"{one}\n" for one in expected[:some])


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_the_others_over_the_link_on_the_emulated_pico(own, tmp_path, name):
    if reason := pico.PicoBoard.missing():
        pytest.skip(reason)
    model = own(name)
    with pico.PicoBoard(tmp_path / "flash") as emulated, Board(emulated.port) as b:
        assert b.deploy(model.path) == name
        loaded = b.load(name)
        place = "ram" if name == "motions" else "flash"  # small enough to be copied whole
        assert (loaded.kernels, loaded.weights) == ("thumb", place)
        task = model.sim.model.task
        for one in given_to(name):
            start = time.perf_counter()
            assert getattr(b, task)(name, *one) == getattr(model.sim, task)(*one)
            print(f"{name}: {time.perf_counter() - start:.1f} s")
        free = b.info["free_heap"]
        print(f"{name}: {free:,} bytes of heap free, {loaded}")
        assert free > 20_480 and loaded.free_heap > 20_480
