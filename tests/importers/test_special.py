"""Importers of what a row of tokens is not enough for: answers, images, translations."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import architectures
import models
from architectures import DIM, SPECIAL, VOCAB, write
from picoformer import Simulator, convert, importers
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.compile.quantize import dequantized
from picoformer.data.examples import random_examples
from picoformer.data.pictures import cut
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import (
    Attention,
    Embedding,
    Graph,
    Keep,
    LayerNorm,
    Linear,
    Norm,
    Pool,
)
from picoformer.importers import sinusoids, t5, translator
from test_architectures import change, configure, read, refused, same
from turns import some

EXPECTED = json.loads(architectures.SPECIAL_EXPECTED.read_text())
ANSWERS = [name for name in SPECIAL if "answers" in name]
IMAGES = [name for name in SPECIAL if "vit" in name]
T5S = [name for name in SPECIAL if "t5" in name]
TRANSLATORS = [name for name in SPECIAL if "marian" in name or "bart" in name] + T5S


def run(graph: Graph, name: str, tokens: list[int]) -> np.ndarray:
    """The result (positions, outputs) for what `inputs` makes of the tokens."""
    given = architectures.inputs(SPECIAL[name], tokens)
    if "image" in given:
        given = {"tokens": cut(given["image"], graph.image)[None]}
    return FloatModel(graph).forward(**given)[0]


def written(name: str) -> list[int]:
    """The columns of a result that are the framework's: Marian's pad is never written."""
    pad = SPECIAL[name].config["pad_token_id"] if "marian" in name else None
    return [i for i in range(VOCAB) if i != pad] if name in TRANSLATORS else slice(None)


# What is read


def test_expected_results_are_of_these_checkpoints():
    assert list(EXPECTED) == list(SPECIAL)
    for name, entry in EXPECTED.items():
        assert entry["tokens"] == architectures.tokens_of(name)


@pytest.mark.parametrize("name", SPECIAL)
def test_float_graph_equals_transformers(tmp_path, name):
    graph = read(write(tmp_path, SPECIAL[name]))
    result = architectures.selected(run(graph, name, EXPECTED[name]["tokens"]))
    expected = np.array(EXPECTED[name]["result"])
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() < 1e-4


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(tmp_path, name):
    graph = read(write(tmp_path, SPECIAL[name]))
    assert (graph.task, graph.result, graph.context) == ("answer", "span", architectures.CONTEXT)
    rows = [n.by for n in graph.nodes if isinstance(n, Embedding)]
    assert rows == ["token", "position", "type"][: 2 + (name != "distilbert-answers")]
    assert not any(isinstance(n, Pool) for n in graph.nodes)


@pytest.mark.parametrize("name", IMAGES)
def test_images(tmp_path, name):
    a = SPECIAL[name]
    folder = write(tmp_path / "m", a)
    graph, vocabulary = importers.read(folder)
    height, width, channels, patch, extra = graph.image
    assert [height, width] == ([9, 12] if name == "vit-deep" else [12, 12])
    assert (channels, patch, extra) == (a.config["num_channels"], 3, 1)
    assert graph.context == 1 + height * width // 9 and graph.task == "classify"
    assert graph.vocab == len(vocabulary.pieces) == 1
    at = next(i for i, n in enumerate(graph.nodes) if isinstance(n, Pool))
    assert graph.nodes[at].how == "first" and isinstance(graph.nodes[at + 1], LayerNorm)
    assert len(graph.nodes) == at + 3
    if name == "vit":
        assert graph.labels == ["sun", "snow", "rain"]


@pytest.mark.parametrize("name", IMAGES)
def test_images_in_a_model_file(tmp_path, name):
    """The file is written and run; the labels' logits are close to the framework's."""
    folder = write(tmp_path / "m", SPECIAL[name])
    convert(folder, tmp_path / "m.pft")
    sim = Simulator(tmp_path / "m.pft")
    tokens = EXPECTED[name]["tokens"]
    image = architectures.inputs(SPECIAL[name], tokens)["image"]
    found = dict(sim.classify(image))
    logits = np.array([found[label] for label in sim.labels]) * sim.logit_scale
    assert np.abs(logits - EXPECTED[name]["result"][0]).max() < 0.1


@pytest.mark.parametrize("name", TRANSLATORS)
def test_translators(tmp_path, name):
    graph = read(write(tmp_path, SPECIAL[name]))
    c = SPECIAL[name].config
    start = c["decoder_start_token_id"]
    assert graph.task == "translate"
    assert (graph.bos, graph.ends) == (start, (start, c["eos_token_id"]))
    assert (graph.vocab, graph.context) == (VOCAB, architectures.CONTEXT)
    layers = c["num_decoder_layers" if name in T5S else "decoder_layers"]
    assert sum(isinstance(n, Keep) for n in graph.encoder) == layers
    crossed = [n.cross for n in graph.nodes if isinstance(n, Attention)]
    assert crossed == [False, True] * layers
    tables = [n.weight for n in (graph.encoder[0], graph.nodes[0], graph.nodes[-1])]
    assert (tables[0] is tables[1]) is (name != "marian-deep")
    assert (tables[1] is tables[2]) is (name not in ("marian-deep", "t5-gated"))


@pytest.mark.parametrize("name", T5S)
def test_distances(tmp_path, name):
    """One table of biases a stack, of both sides in the encoder alone; none between the two."""
    graph = read(write(tmp_path, SPECIAL[name]))
    for part in graph.encoder, graph.nodes:
        found = [n for n in part if isinstance(n, Attention)]
        own = [n for n in found if not n.cross]
        assert all(n.scale == 1 for n in found) and len({id(n.bias) for n in own}) == 1
        assert all(n.bias is None for n in found if n.cross)
        behind = own[0].buckets[architectures.CONTEXT :]
        assert (behind > 0).all() if part is graph.encoder else (behind == 0).all()
    heads = SPECIAL[name].config["num_heads"]
    assert own[0].lean(3, 0).shape == (heads, 4)
    # A table that is asked for beyond its ends repeats the last distance.
    longer = own[0].lean(architectures.CONTEXT, 0)
    assert (longer[:, 0] == longer[:, 1]).all()


def test_buckets_of_distances():
    """Sixteen near ones of their own, then by the logarithm, then one for all further ones."""
    found = t5.buckets(200, False, 32, 128)[199::-1].tolist()  # from 0 back
    assert found[:17] == [*range(17)]
    assert found[18:22] == [16, 17, 17, 18]
    assert found[112:114] == [30, 31] and set(found[113:]) == {31}
    both = t5.buckets(200, True, 32, 128)
    assert both[199] == 0 and both[:199].max() == 15
    assert (both[200:] == both[198::-1] + 16).all()


def test_head_of_a_t5(tmp_path):
    """Scaled where it is the embedding, unless the file says otherwise."""
    folder = write(tmp_path, SPECIAL["t5"])
    before = read(folder)
    configure(folder, scale_decoder_outputs=False)
    after = read(folder)
    gains = [[n.gain for n in g.nodes if isinstance(n, Norm)][-1] for g in (before, after)]
    np.testing.assert_allclose(gains[0] * np.sqrt(DIM), gains[1], rtol=1e-6)
    configure(folder, scale_decoder_outputs=None)
    change(folder, lambda t: t.update({"lm_head.weight": t["shared.weight"].copy()}))
    same(before, read(folder))
    change(folder, lambda t: t.update({"lm_head.weight": t["shared.weight"] + 1}))
    refused(folder, "lm_head.weight is not the embedding")


def test_a_table_that_no_t5_reads(tmp_path):
    folder = write(tmp_path, SPECIAL["t5"])
    before = read(folder)
    name = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    change(folder, lambda t: t.update({name: np.ones((9, 3), np.float32)}))
    same(before, read(folder))


def test_marian_never_writes_its_pad_token(tmp_path):
    """Its bias is far below all others, but of their kind: the logits keep their precision."""
    for name in "marian", "marian-deep":
        graph = read(write(tmp_path / name, SPECIAL[name]))
        bias = graph.nodes[-1].bias
        stored = architectures.tensors_of(SPECIAL[name])["final_logits_bias"][0]
        others = np.arange(VOCAB) != 95
        np.testing.assert_allclose(bias[others], stored[others], rtol=0.01)  # one is BF16
        assert bias[95] == bias[others].min() - 100
        logits = run(graph, name, EXPECTED[name]["tokens"])
        assert (logits[:, 95] < logits[:, others].min(1) - 50).all()


def test_marian_positions(tmp_path):
    """Stored or not, the same table."""
    folder = write(tmp_path, SPECIAL["marian"])
    before = read(folder)
    name = "model.encoder.embed_positions.weight"
    change(folder, lambda t: t.update({name: sinusoids.marian(architectures.CONTEXT, DIM)}))
    same(before, read(folder))
    assert sinusoids.marian(3, 5).shape == (3, 5)


@pytest.mark.parametrize("name", ["bart", "marian"])
def test_all_names_of_a_shared_table(tmp_path, name):
    folder = write(tmp_path, SPECIAL[name])
    before = read(folder)
    names = ["lm_head.weight", *(f"model.{p}.embed_tokens.weight" for p in ("encoder", "decoder"))]
    change(folder, lambda t: t.update({n: t["model.shared.weight"].copy() for n in names}))
    same(before, read(folder))
    change(folder, lambda t: t.update({names[1]: t["lm_head.weight"] + 1}))
    refused(folder, "encoder.embed_tokens.weight is not shared.weight")


@pytest.mark.parametrize("name", some(["marian", "bart", *T5S], 2))
def test_translators_in_a_model_file(tmp_path, name):
    folder = write(tmp_path / "m", SPECIAL[name])
    (folder / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(VOCAB)))
    convert(folder, tmp_path / "m.pft")
    sim = Simulator(tmp_path / "m.pft")
    given = architectures.inputs(SPECIAL[name], EXPECTED[name]["tokens"])
    sim.source(given["source"][0])
    logits = sim.logits(given["tokens"][0])[:, written(name)] * sim.logit_scale
    result = run(read(folder), name, EXPECTED[name]["tokens"])[:, written(name)]
    cosine = (logits * result).sum() / np.linalg.norm(logits) / np.linalg.norm(result)
    assert cosine > 0.999
    assert isinstance(sim.translate("the tea"), str)


# What is refused


@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("bert-answers", {"type_vocab_size": 3}, "token_type_embeddings (3, 52)"),
        ("bert-answers", {"architectures": ["BertModel"]}, "2 tensors qa_outputs.weight"),
        ("vit", {"architectures": ["ViTModel"]}, "ViTModel ViTForImageClassification"),
        ("vit", {"image_size": 13}, "3 13 fill"),
        ("vit", {"patch_size": [3, 5]}, "3 x 5 12 x 12 fill"),
        ("vit", {"patch_size": [3]}, "patch_size [3]"),
        ("vit", {"image_size": 15}, "position_embeddings (1, 17, 52) (1, 26, 52)"),
        ("vit", {"num_channels": 3}, "projection.weight (52, 2, 3, 3)"),
        ("vit", {"qkv_bias": False}, "tensors attention.query.bias"),
        ("vit", {"hidden_act": "tanh"}, "hidden_act 'tanh'"),
        ("marian", {"architectures": ["MarianModel"]}, "MarianModel MarianMTModel"),
        ("marian", {"normalize_before": True}, "normalize_before True False"),
        ("marian", {"decoder_start_token_id": None}, "decoder_start_token_id None 97"),
        ("marian", {"decoder_start_token_id": 97}, "decoder_start_token_id 97"),
        ("marian", {"bad_words_ids": [[3]]}, "bad_words_ids [[3]] 95"),
        ("marian", {"decoder_attention_heads": 5}, "5 heads 52"),
        ("marian", {"decoder_ffn_dim": 62}, "decoder.layers.0.fc1.weight (61, 52) (62, 52)"),
        ("marian-deep", {"decoder_vocab_size": 90}, "decoder_vocab_size 90 97"),
        ("marian", {"decoder_layers": 1}, "tensors decoder.layers.1"),
        ("bart", {"architectures": ["BartModel"]}, "BartModel BartForConditionalGeneration"),
        ("bart", {"forced_bos_token_id": 0}, "forced_bos_token_id 0 none"),
        ("bart", {"max_position_embeddings": 42}, "embed_positions.weight (42, 52) (44, 52)"),
        ("bart", {"activation_function": "tanh"}, "activation_function 'tanh' swish"),
        ("t5", {"architectures": ["T5EncoderModel"]}, "T5EncoderModel T5ForConditionalGeneration"),
        ("mt5", {"architectures": ["T5Model"]}, "T5Model MT5ForConditionalGeneration"),
        ("t5", {"feed_forward_proj": "gated-tanh"}, "feed_forward_proj 'gated-tanh' gated-gelu"),
        ("t5", {"relative_attention_num_buckets": 3}, "3 relative_attention_num_buckets 20 4"),
        ("t5", {"relative_attention_max_distance": 4}, "relative_attention_max_distance 4 beyond"),
        ("t5", {"relative_attention_num_buckets": 8}, "bias.weight (9, 3) (8, 3)"),
        ("t5", {"d_kv": 8}, "SelfAttention.q.weight (21, 52) (24, 52)"),
        ("t5", {"num_layers": 2}, "no encoder.block.1"),
        ("t5", {"num_decoder_layers": None, "num_layers": 1, "d_ff": 62}, "(62, 52)"),
        ("t5-gated", {"feed_forward_proj": "relu"}, "DenseReluDense.wi.weight"),
        ("t5", {"is_encoder_decoder": False}, "is_encoder_decoder False True"),
        ("t5", {"bad_words_ids": [[0]]}, "bad_words_ids [[0]] none"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, name, fields, words):
    folder = configure(write(tmp_path, SPECIAL[name]), **fields)
    for word in words.split(" "):
        refused(folder, word)


def test_more_than_two_types_of_tokens(tmp_path):
    folder = configure(write(tmp_path, SPECIAL["bert-answers"]), type_vocab_size=3)
    name = "bert.embeddings.token_type_embeddings.weight"
    change(folder, lambda t: t.update({name: np.ones((3, DIM), np.float32)}))
    refused(folder, "type_vocab_size is 3", "2")


@pytest.mark.parametrize(
    "content, words",
    [
        ([], ["not a JSON object"]),
        ({"do_rescale": 1}, ["do_rescale is 1", "true or false"]),
        ({"image_mean": [0.5] * 3}, ["image_mean is [0.5, 0.5, 0.5]", "2 numbers"]),
        ({"image_std": [0.5, 0]}, ["image_std is [0.5, 0]"]),
        ({"rescale_factor": -1}, ["rescale_factor is -1"]),
    ],
)
def test_preprocessing_that_is_not_supported(tmp_path, content, words):
    folder = write(tmp_path, SPECIAL["vit"])
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    refused(folder, "preprocessor_config.json", *words)


def test_what_generation_is_told_elsewhere(tmp_path):
    """generation_config.json counts as config.json does."""
    folder = configure(write(tmp_path, SPECIAL["bart"]), decoder_start_token_id=None)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"decoder_start_token_id": 7}))
    assert read(folder).bos == 7
    path.write_text(json.dumps({"decoder_start_token_id": 7, "forced_bos_token_id": 0}))
    refused(folder, "forced_bos_token_id is 0")
    path.write_text("[]")
    refused(folder, "generation_config.json", "not a JSON object")


def test_vocabulary_of_the_target_alone(tmp_path):
    folder = write(tmp_path, SPECIAL["marian-deep"])
    (folder / "target_vocab.json").write_text("{}")
    refused(folder, "target_vocab.json", "both languages")


# With torch and transformers


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", SPECIAL)
def test_random_models_equal_transformers(tmp_path, name, dtype):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    a = SPECIAL[name]
    torch.manual_seed(1)
    kind = getattr(transformers, a.kind)
    model = kind(kind.config_class(**{**a.config, "initializer_range": 0.25, "init_std": 0.25}))
    with torch.no_grad():
        for t in model.parameters():
            if t.ndim == 1:
                t += 0.2 * torch.randn_like(t)
        if name in T5S and not a.config.get("tie_word_embeddings", True):
            model.lm_head.weight = torch.nn.Parameter(torch.randn(VOCAB, DIM))
        elif name in TRANSLATORS and name not in T5S:
            model.final_logits_bias += torch.randn_like(model.final_logits_bias)
    model.eval().to(getattr(torch, dtype)).save_pretrained(tmp_path)
    for file, content in a.files.items():
        (tmp_path / file).write_text(json.dumps(content))
    graph = read(tmp_path)
    for n in 2, 7, architectures.CONTEXT:
        tokens = np.random.default_rng(n).integers(0, VOCAB, n).tolist()
        expected = architectures.framework(tmp_path, a, tokens)
        result = run(graph, name, tokens)
        assert result.shape == expected.shape
        assert np.abs(expected).max() > 0.1
        assert np.abs(result - expected)[:, written(name)].max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSLATORS)
def test_greedy_translations_are_those_of_transformers(tmp_path, name):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    a = SPECIAL[name]
    graph = read(write(tmp_path, a))
    kind = getattr(transformers, a.kind)
    model = kind.from_pretrained(tmp_path, dtype=torch.float64).eval()
    banned = [[95]] if "marian" in name else None
    for seed in range(5):
        source = np.random.default_rng(seed).integers(3, 95, 9)
        expected = model.generate(
            torch.tensor(source[None]), max_new_tokens=20, do_sample=False, num_beams=1,
            bad_words_ids=banned, forced_eos_token_id=None,
        )[0].tolist()  # fmt: skip
        running, tokens = FloatModel(graph), [graph.bos]
        while len(tokens) < len(expected):
            source_now = source[None] if len(tokens) == 1 else None
            logits = running.forward(np.array([tokens[-1:]]), source=source_now)
            tokens.append(int(logits[0, -1].argmax()))
        assert tokens == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["marian", "bart", "t5-gated"])
def test_beams_are_those_of_transformers(tmp_path, name):
    """The integers' search, and the framework's on the weights that the integers stand for."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    a = replace(SPECIAL[name], dtype="F32")
    folder = write(tmp_path / "m", a)
    # A head whose logits are as far apart as a trained one's, and texts that end now and then.
    eos = a.config["eos_token_id"]

    def sharpen(t):
        for key in t:
            if key in ("shared.weight", "model.shared.weight", "lm_head.weight"):
                t[key] = (2 * t[key].astype(np.float32)).astype(t[key].dtype)
        if "final_logits_bias" in t:
            t["final_logits_bias"][0, eos] += 4

    change(folder, sharpen)
    (folder / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(VOCAB)))
    convert(folder, tmp_path / "m.pft")
    sim = Simulator(tmp_path / "m.pft")
    graph = read(folder)
    weights = compile_graph(graph, calibrate(graph)).dequantized
    kind = getattr(transformers, a.kind)
    model = kind.from_pretrained(folder, dtype=torch.float64).eval()
    state = model.state_dict()
    with torch.no_grad():
        for n in graph.encoder + graph.nodes:
            if isinstance(n, Linear) and n.out != "logits":
                stored = translator._name(n.name) if name not in T5S else t5._name(n.name, True)
                stored = stored if name in T5S else "model." + stored
                state[stored + ".weight"].copy_(torch.tensor(weights[n.out]))
        state["lm_head.weight"].copy_(torch.tensor(weights["logits"]))
        table = "shared.weight" if name in T5S else "model.shared.weight"
        if name != "marian":  # whose embedding is the head's times the root of its dimension
            state[table].copy_(torch.tensor(weights["x"]))
    banned = [[95]] if name == "marian" else None
    same = count = lengths = 0
    for width, penalty in (2, 1.0), (4, 0.0), (4, 1.0), (8, 2.0):
        for seed in range(6):
            source = np.random.default_rng([seed, width]).integers(3, 95, 9)
            expected = model.generate(
                torch.tensor(source[None]), max_new_tokens=12, do_sample=False, num_beams=width,
                length_penalty=penalty, early_stopping=False, bad_words_ids=banned,
                forced_eos_token_id=None,
            )[0].tolist()[1:]  # fmt: skip
            if eos in expected:
                expected = expected[: expected.index(eos)]
            sim.source(source)
            found = sim.search(width, penalty, 12)
            same += found == expected
            lengths |= 1 << len(found)
            count += 1
    print(f"\n{name}: {same} of {count} the same, lengths {lengths:013b}")
    assert same >= 0.85 * count


@pytest.mark.slow
def test_buckets_are_those_of_transformers():
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from transformers.models.t5.modeling_t5 import T5Attention

    far = torch.arange(-599, 600)
    for number in range(4, 70):
        for furthest in number // 2 + 1, 64, 128, 300:
            for both in False, True:
                ours = t5.buckets(600, both, number, furthest)
                theirs = T5Attention._relative_position_bucket(far, both, number, furthest)
                assert ours.tolist() == theirs.tolist()


@pytest.mark.slow
def test_a_t5_with_its_tokenizer(tmp_path):
    """Unigram with an end behind each text, padded; a text begins with the pad token."""
    transformers = pytest.importorskip("transformers")
    folder = write(tmp_path / "m", SPECIAL["t5"])
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *"etaoinshrdlucmfwypvbgkqjxz.,TI"]
    pieces += ["\u2581the", "\u2581t", "he", "ing", "\u2581translate"]
    scored = [(piece, -0.1 * i) for i, piece in enumerate(pieces)]
    theirs = transformers.T5TokenizerFast(vocab=scored, extra_ids=5)
    theirs.save_pretrained(folder)
    convert(folder, tmp_path / "m.pft")
    sim = Simulator(tmp_path / "m.pft")
    rng = np.random.default_rng(1)
    texts = ["the translate thing", "  two  spaces ", "unknown é 日本", "The. I,"]
    texts += ["".join(rng.choice([*"the ing tanslte .,é"], 30)) for _ in range(100)]
    for text in texts:
        assert sim.encode(text) == theirs(text).input_ids
    assert (sim.model.bos, sim.model.ends) == (0, (0, 1))
    assert isinstance(sim.translate("the thing", 2), str)


@pytest.mark.slow
def test_expected_results_are_transformers(tmp_path):
    """The stored numbers are those that the installed transformers gives."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    for name, a in SPECIAL.items():
        result = architectures.framework(
            write(tmp_path / name, a), a, architectures.tokens_of(name)
        )
        stored = np.array(EXPECTED[name]["result"])
        assert np.abs(architectures.selected(result) - stored).max() < 1e-5


@pytest.mark.slow
def test_the_preprocessor_of_transformers(tmp_path):
    """What pixel_values computes is what ViTImageProcessor computes."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("PIL")
    a = SPECIAL["vit-deep"]
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    processor = transformers.ViTImageProcessor(
        do_resize=False, **a.files["preprocessor_config.json"]
    )
    made = np.asarray(processor(image, return_tensors="np")["pixel_values"])
    assert np.abs(made - architectures.pixel_values(a, image)).max() < 1e-5


@pytest.mark.parametrize("name", some(SPECIAL, 4))
def test_integers_are_close_to_the_same_weights(tmp_path, name):
    """By the float graph, which is transformers' to 1e-4, on the integers' own weights."""
    folder = write(tmp_path / "m", SPECIAL[name])
    if name not in IMAGES:
        (folder / "tokenizer.json").write_text(json.dumps(models.tokenizer_json(VOCAB)))
    graph, _ = importers.read(folder)
    convert(folder, tmp_path / "m.pft")
    sim = Simulator(tmp_path / "m.pft")
    theirs = dequantized(graph, compile_graph(graph, calibrate(graph)).dequantized)
    for seed in range(3):
        for e in random_examples(graph, 1, 11 + seed, seed):
            if graph.encoder:
                rng = np.random.default_rng(seed)
                e.tokens = np.append(e.tokens, rng.integers(0, VOCAB, 9))
            exact, ours = e.run(FloatModel(theirs)), sim.machine.example(e).astype(np.float64)
            exact, ours = exact[:, written(name)].ravel(), ours[:, written(name)].ravel()
            cosine = exact @ ours / np.sqrt((exact @ exact) * (ours @ ours))
            assert cosine >= 0.9995, (name, seed, cosine)
