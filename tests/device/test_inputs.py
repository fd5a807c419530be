"""Translators, images, questions: inputs that a row of tokens is not enough for."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import models
from boardscripts import TRANSLATE
from closeness import cosine
from picoformer.compile.quantize import dequantized
from picoformer.data.pictures import cut
from picoformer.device.model import Model
from picoformer.errors import Error
from picoformer.graph.float_model import FloatModel
from turns import some

PAIRS = [(0, 5, 7), (1, 1, 3), (2, 17, 17)]  # seed, tokens of the source and of the translation
BEAMS = """
import json
from picoformer import Model
m = Model(FILE, kernels=KERNELS, weights=WEIGHTS)
for width, penalty in SEARCHES:
    print(json.dumps(m.translate("the tea", width, penalty)))
"""
CLASSIFY = """
import json
from picoformer import Model
m = Model(FILE, kernels=KERNELS, weights=WEIGHTS)
for image in IMAGES:
    print(json.dumps(m.classify(image)))
"""
ANSWER = """
import json
from picoformer import Model
m = Model(FILE, kernels=KERNELS, weights=WEIGHTS)
for ids, types in PAIRS:
    m._sweep(ids, types)
    at = range(m._logits, m._logits + len(ids) * m._stride, m._stride)
    print(json.dumps([[m._arena[i], m._arena[i + 1]] for i in at]))
"""
TAG = """
import json
from picoformer import Error, Model
m = Model(FILE, kernels=KERNELS, weights=WEIGHTS)
for ids in ROWS:
    m._sweep(ids)
    at = range(m._logits, m._logits + len(ids) * m._stride, m._stride)
    print(json.dumps([list(m._arena[i : i + m.outputs]) for i in at]))
for text in TEXTS:
    try:
        print(json.dumps([list(found) for found in m.tag(text)]))
    except Error as e:
        print(json.dumps(str(e)))
"""


@pytest.fixture(params=["PC", "portable", "viper", "viper file", "thumb"])
def run(request, built, tmp_path):
    """run(script, name, ...): the lines that it prints with these kernels, as JSON."""
    kernels, _, weights = request.param.partition(" ")
    if kernels in ("PC", "thumb"):

        def load(file, **_):
            if kernels == "PC":
                return Model(file, kernels="portable")
            from emulatedmodel import emulated

            return emulated(request.getfixturevalue("cpu"), files[file], set())

        def execute(script, name, **names):
            said: list[str] = []
            file = str(built(name).file())
            files[file] = built(name)
            names |= {"Error": Error, "Model": load, "FILE": file, "KERNELS": "", "WEIGHTS": "ram"}
            names["print"] = said.append
            exec(re.sub("from picoformer import .*", "", script), names)
            return [json.loads(line) for line in said]

        files: dict[str, models.Architecture] = {}
        execute.kernels = kernels
        return execute
    unix, families = (request.getfixturevalue(n) for n in ("unix", "families"))
    if kernels not in families:
        pytest.skip(f"no {kernels} kernels on this port")
    where = {"KERNELS": kernels, "WEIGHTS": weights or "ram"}

    def on_unix(script, name, **names):
        said = unix(script, FILE=str(built(name).file()), **where, **names)
        return [json.loads(line) for line in said.splitlines()]

    on_unix.kernels = kernels
    return on_unix


def slow(run) -> bool:
    """Whether it takes long enough to be given less."""
    return run.kernels != "viper"


SMALL = ["bart one", "t5 gated"]
TRANSLATORS = ["bart", "bart one", "bart one four", "t5", "t5 gated"]


@pytest.mark.parametrize("name", some(TRANSLATORS, 3, 1))
def test_translators(built, run, name):
    a = built(name)
    sim = a.sim()
    some = PAIRS[:2] if slow(run) else PAIRS
    pairs = [(a.tokens(n, seed), a.tokens(m, seed + 9)) for seed, n, m in some]
    expected = []
    for source, tokens in pairs:
        sim.source(source)
        logits = sim.logits(tokens)
        expected += [logits[0].tolist(), logits[-1].tolist()]
    text = "" if slow(run) and name not in SMALL else "the tea"
    if text:
        expected.append(sim.translate(text))
    assert run(TRANSLATE, name, PAIRS=pairs, TEXT=text) == expected


@pytest.mark.parametrize("name", some(SMALL, 2))
def test_beams(built, run, name):
    sim = built(name).sim()
    searches = [(2, 1000), (3, 0), (8, 500)][: 1 if slow(run) else 3]
    expected = [sim.translate("the tea", width, penalty / 1000) for width, penalty in searches]
    assert run(BEAMS, name, SEARCHES=searches) == expected


@pytest.mark.parametrize("name", some(["vit", "vit four"], 2, 1))
def test_images(built, run, name):
    a = built(name)
    rng = np.random.default_rng(1)
    some = 1 if slow(run) else 3
    images = [rng.integers(0, 256, (9, 12, 2)).astype(np.uint8) for _ in range(some)]
    expected = [[list(pair) for pair in a.sim().classify(image)] for image in images]
    assert run(CLASSIFY, name, IMAGES=[image.tobytes() for image in images]) == expected


@pytest.mark.parametrize("name", ["asked", "asked four"])
def test_questions(built, run, name):
    a = built(name)
    lengths = (2, 9) if slow(run) else (2, 9, 23)
    pairs = [(a.tokens(n), [int(i * 3 > n) for i in range(n)]) for n in lengths]
    expected = []
    for ids, types in pairs:
        a.sim().machine.run(ids, types=types)
        expected.append(a.sim().machine.result().tolist())
    assert run(ANSWER, name, PAIRS=pairs) == expected


def test_tags(built, run):
    """Results of each position, and the labels of the words of a text."""
    a = built("tagged")
    sim, lengths = a.sim(), (2, 9) if slow(run) else (2, 9, 19)
    rows = [a.tokens(n) for n in lengths]
    texts = ["the tea", "", "a  the\ttea!"][: 1 if slow(run) else 3]
    expected = [sim.logits(ids).tolist() for ids in rows]
    for text in texts:
        try:
            found = sim.tag(text)
            assert [word for word, *_ in found] == text.split()
            expected.append([list(each) for each in found])
        except Error as e:
            assert "no tokens" in str(e) and not text
            expected.append(str(e))
    assert run(TAG, "tagged", ROWS=rows, TEXTS=texts) == expected


@pytest.mark.parametrize("seed", range(3))
def test_close_to_the_float_model(built, seed):
    for name in TRANSLATORS:
        a = built(name)
        graph = dequantized(a.graph, a.compiled().dequantized)
        source, tokens = a.tokens(9, seed), a.tokens(12, seed + 9)
        exact = FloatModel(graph).forward(np.array([tokens]), source=np.array([source]))[0]
        a.sim().source(source)
        assert cosine(exact, a.sim().logits(tokens) * a.sim().logit_scale) >= 0.9995
    a = built("vit")
    graph = dequantized(a.graph, a.compiled().dequantized)
    image = np.random.default_rng(seed).integers(0, 256, (9, 12, 2))
    exact = FloatModel(graph).forward(cut(image, a.graph.image)[None])[0, 0]
    a.sim().classify(image)
    assert cosine(exact, a.sim().machine.result()[0] * 1.0) >= 0.9995
    a = built("asked")
    graph = dequantized(a.graph, a.compiled().dequantized)
    ids, types = a.tokens(15, seed), [0] * 6 + [1] * 9
    exact = FloatModel(graph).forward(np.array([ids]), np.array([types]))[0]
    a.sim().machine.run(ids, types=types)
    assert cosine(exact, a.sim().machine.result() * 1.0) >= 0.9995


def test_what_is_not_an_image(built):
    sim = built("vit").sim()
    board = Model(str(built("vit").file()), kernels="portable")
    for model, error in ((sim, Error), (board, Exception)):
        with pytest.raises(error, match="expected 9 x 12 x 2"):
            model.classify(np.zeros(9, np.uint8) if model is sim else bytes(9))
        with pytest.raises(error, match="reads images"):
            model.classify("a text")
    with pytest.raises(Exception, match="a pixel is 256, expected 0 to 255"):
        board.classify([256] * 216)
    with pytest.raises(Error, match="expected whole numbers from 0 to 255"):
        sim.classify(np.full((9, 12, 2), 256))
    with pytest.raises(Error, match="reads text"):
        built("bert").sim().classify(np.zeros((9, 12, 2), np.uint8))
    with pytest.raises(Exception, match="made to translate, not to classify"):
        built("bart").sim().classify("a text")
