"""The relatives of Llama, GPT-2 and BERT: the float graph is transformers', the integers near."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import architectures
import relatives
from architectures import CONTEXT, VOCAB
from boardscripts import unix_logits
from picoformer import Board, Error, Simulator, convert
from picoformer.boards.selftest import selftest
from picoformer.compile.calibration import calibrate
from picoformer.compile.compiler import compile_graph
from picoformer.compile.quantize import dequantized
from picoformer.compile.student import exact_tensors
from picoformer.compile.torch_graph import Batch, TorchGraph
from picoformer.graph.float_model import FloatModel
from picoformer.graph.nodes import Graph
from picoformer.graph.tied import tie
from picoformer.importers import huggingface
from picoformer.importers.rotary import turns
from relatives import CASES
from turns import some

KEPT = relatives.kept()


def folder_of(path: Path, name: str) -> Path:
    return relatives.write(path, name, KEPT[name]["shapes"])


def read(folder: Path) -> Graph:
    graph = tie(huggingface.graph(folder))
    graph.check()
    return graph


def run(graph: Graph, tokens) -> np.ndarray:
    types = np.zeros((1, len(tokens)), int)
    return FloatModel(graph).forward(np.array([tokens]), types)[0]


def test_what_is_kept_is_of_these_checkpoints():
    assert list(KEPT) == list(CASES)
    assert all(KEPT[name]["tokens"] == relatives.tokens_of(name) for name in CASES)


@pytest.mark.parametrize("name", CASES)
def test_float_graph_equals_transformers(tmp_path, name):
    graph = read(folder_of(tmp_path, name))
    result = architectures.selected(run(graph, KEPT[name]["tokens"]))
    expected = np.array(KEPT[name]["result"])
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() < 1e-4
    assert graph.vocab == VOCAB and graph.meta["architecture"] == CASES[name].config["model_type"]


@pytest.mark.parametrize("name", some(CASES, 3))
def test_integers_are_close(tmp_path, name):
    """Compiled and simulated, with its tokenizer: of random weights, as near as Llama's are."""
    folder = folder_of(tmp_path / "m", name)
    architectures.write_vocabulary(folder, CASES[name])
    report = convert(folder, tmp_path / "m.pft")
    sim, graph = Simulator(tmp_path / "m.pft"), read(folder)
    tokens = KEPT[name]["tokens"]
    if graph.task == "answer":
        sim.machine.run(tokens, types=[0] * len(tokens))
        ours = sim.machine.result() * sim.logit_scale
    else:
        ours = sim.logits(tokens) * sim.logit_scale
    exact = run(graph, tokens)
    cosine = (ours * exact).sum() / np.sqrt((ours**2).sum() * (exact**2).sum())
    print(f"\n{name}: cosine {cosine:.6f}, {report.bytes} bytes")
    assert ours.shape == exact.shape and cosine > 0.998


WINDOWS = {"mistral": 16, "gemma3": 24, "phi3": 30, "starcoder2": 20, "gpt-neo": 13}


@pytest.mark.parametrize("name", CASES)
def test_the_context_ends_with_the_window(tmp_path, name):
    graph = read(folder_of(tmp_path, name))
    rows = CONTEXT - 2 if "roberta" in name or name == "camembert" else CONTEXT
    assert graph.context == WINDOWS.get(name, rows)


def test_mistral_has_a_window_by_default(tmp_path):
    folder = folder_of(tmp_path, "mistral")
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    for window, context in ((None, 5000), ("", 4096)):
        fields |= {"max_position_embeddings": 5000, "sliding_window": window}
        if window == "":
            del fields["sliding_window"]
        path.write_text(json.dumps(fields))
        assert read(folder).context == context


def test_layers_that_are_the_same_are_kept_once(tmp_path):
    graph = read(folder_of(tmp_path, "albert"))
    shapes = KEPT["albert"]["shapes"].items()
    stored = sum(int(np.prod(s)) for n, s in shapes if "pooler" not in n and "type" not in n)
    assert graph.parameters == stored
    layers = [n.weight for n in graph.nodes if getattr(n, "name", "").endswith("ffn.weight")]
    assert len(layers) == 3 and len({id(w) for w in layers}) == 1
    compiled = compile_graph(graph, calibrate(graph))
    assert compiled.weights.size * 4 < 1.3 * stored  # of 8 bits, with scales and rows to spare


# Those with norms of heads, or behind attention and network.
HEADS = ["qwen3", "qwen3-biased", "gemma3", "gemma3-older", "olmo2", "olmo2-tied"]


@pytest.mark.parametrize("name", HEADS)
def test_norms_of_heads_are_close_with_the_same_weights(tmp_path, name):
    graph = read(folder_of(tmp_path / "m", name))
    architectures.write_vocabulary(tmp_path / "m", CASES[name])
    convert(tmp_path / "m", tmp_path / "m.pft")
    tokens = [1, *KEPT[name]["tokens"], *range(3, graph.context - 10)]
    same = dequantized(graph, compile_graph(graph, calibrate(graph)).dequantized)
    exact, sim = run(same, tokens), Simulator(tmp_path / "m.pft")
    ours = sim.logits(tokens) * sim.logit_scale
    cosine = (ours * exact).sum() / np.sqrt((ours**2).sum() * (exact**2).sum())
    assert cosine >= 0.9995 and abs(np.linalg.norm(ours) / np.linalg.norm(exact) - 1) < 0.01


@pytest.mark.parametrize(
    "name, bits",
    [
        ("qwen3", 4),
        *((name, 8) for name in HEADS[::3]),
        *(pytest.param(n, 8, marks=pytest.mark.slow) for n in HEADS if n not in HEADS[::3]),
    ],
)
def test_norms_of_heads_on_a_board(tmp_path, unix, families, name, bits):
    """With weights of 4 bits, too, where the matrix that changes nothing keeps its 8."""
    folder = folder_of(tmp_path / "m", name)
    architectures.write_vocabulary(folder, CASES[name])
    tokens = [1, *KEPT[name]["tokens"]][:7]
    convert(folder, tmp_path / "m.pft", weight_bits=bits)
    expected = Simulator(tmp_path / "m.pft").logits(tokens)
    for kernels in families if bits == 8 else families[:1]:
        options = {"kernels": kernels, "weights": "file" if kernels == "viper" else "ram"}
        got = unix_logits(unix, tmp_path / "m.pft", tokens, [2, 7], tmp_path / "out", **options)
        np.testing.assert_array_equal(got, expected[[1, 6]])


def test_norms_of_heads_share_one_matrix(tmp_path):
    """And those of the last queries are of one position, as the queries are."""
    graph = read(folder_of(tmp_path, "qwen3-biased"))
    steps = compile_graph(graph, calibrate(graph)).steps
    pool = next(i for i, s in enumerate(steps) if s.op == "pool")
    shared = [s for s in steps if s.op == "linear" and s.fields["cols"] == 16]
    assert len(shared) == 2 * (4 + 2) and len({s.fields["weights"] for s in shared}) == 1
    assert sum(s in shared for s in steps[pool:]) == 4


@pytest.mark.parametrize("neighbours", [False, True])
@pytest.mark.parametrize("turned", [2, 6, 10])
def test_pairs_of_a_part_of_a_head(turned, neighbours):
    """Rows in another order, so that a pair is half a head apart, turn as they should."""
    rng = np.random.default_rng(turned)
    x, angles = rng.normal(size=10), rng.normal(size=turned // 2)
    made = turns(angles, 10, neighbours)
    order = np.arange(10) if made.order is None else made.order
    assert sorted(order) == list(range(10))
    first, second = np.split(made.rows(x, 1), 2)
    c, s = np.cos(made.frequencies), np.sin(made.frequencies)
    result = np.empty(10)
    result[order] = np.concatenate([first * c - second * s, second * c + first * s])
    expected = x.copy()
    for i, angle in enumerate(angles):
        a, b = (2 * i, 2 * i + 1) if neighbours else (i, i + turned // 2)
        expected[a] = x[a] * np.cos(angle) - x[b] * np.sin(angle)
        expected[b] = x[b] * np.cos(angle) + x[a] * np.sin(angle)
    np.testing.assert_allclose(result, expected, atol=1e-12)


@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("mistral", {"sliding_window": 0}, "sliding_window is 0"),
        ("mistral", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ("qwen2", {"architectures": ["Qwen2ForSequenceClassification"]}, "Qwen2ForCausalLM"),
        ("phi3", {"rope_scaling": {"type": "longrope"}}, "longrope"),
        ("qwen3", {"head_dim": 20}, r"q_proj.weight has shape \(40, .* says \(80, 48\)"),
        ("gemma3", {"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
        ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        ("gemma3", {"layer_types": ["full_attention"]}, "layer_types .* a list of 4: full_att"),
        ("gemma3", {"layer_types": 4 * [["a"]]}, "layer_types is .* or sliding_attention"),
        ("gemma3", {"rope_parameters": {"rope_theta": 9.0}}, "rope_parameters .* an object each"),
        ("gemma3-older", {"rope_scaling": 3}, "rope_scaling is 3"),
        ("olmo2", {"rope_scaling": {"rope_type": "yarn"}}, "yarn"),
        ("smollm3-given", {"no_rope_layers": [1]}, "no_rope_layers"),
        ("phi", {"qk_layernorm": True}, "qk_layernorm"),
        ("neox", {"rotary_pct": 0.1}, "partial_rotary_factor is 0.1"),
        ("neox", {"rotary_pct": "a"}, "partial_rotary_factor is 'a'"),
        ("gptj", {"rotary_dim": 13}, "rotary_dim is 13"),
        ("opt", {"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine"),
        ("opt", {"word_embed_proj_dim": 20}, r"embed_tokens.weight has shape \(97, 48\)"),
        ("roberta", {"pad_token_id": 40}, "pad_token_id is 40"),
        ("electra", {"embedding_size": 21}, r"has shape \(40, 20\)"),
        ("albert", {"num_hidden_groups": 2}, "no tensor encoder.albert_layer_groups.1"),
        ("albert", {"is_decoder": True}, "is_decoder"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, name, fields, words):
    folder = folder_of(tmp_path, name)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    with pytest.raises(Error, match=words) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


# With torch and transformers


@pytest.mark.parametrize("name", ["granite", *HEADS])
def test_what_is_distilled_is_the_float_graph(tmp_path, name):
    torch = pytest.importorskip("torch")
    graph, ids = read(folder_of(tmp_path, name)), np.array([KEPT[name]["tokens"]])
    batch = Batch(torch.from_numpy(ids))
    ours = TorchGraph(torch, graph).run(exact_tensors(torch, graph), batch).numpy()
    assert np.abs(ours - FloatModel(graph).forward(ids)).max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_random_models_equal_transformers(tmp_path, name):
    """Initial weights of the framework, biases made random, up to the context."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    a = CASES[name]
    torch.manual_seed(1)
    kind = getattr(transformers, a.kind)
    spread = {"init_std" if "OPT" in a.kind else "initializer_range": 0.2}
    model = kind(kind.config_class(**{**a.config, **spread}))
    with torch.no_grad():
        for t in model.parameters():
            if t.ndim == 1:
                t += 0.2 * torch.randn_like(t)
    model.eval().save_pretrained(tmp_path)
    graph = read(tmp_path)
    lengths = 1, 7, graph.context
    architectures.equals_framework(tmp_path, a, lambda tokens: run(graph, tokens), lengths, 3)


@pytest.mark.slow
def test_what_is_kept_is_transformers(tmp_path):
    """The stored numbers are those that the installed transformers gives."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    for name, a in CASES.items():
        assert KEPT[name]["shapes"] == relatives.shapes_of(name)
        result = architectures.framework(folder_of(tmp_path / name, name), a, KEPT[name]["tokens"])
        assert np.abs(architectures.selected(result) - np.array(KEPT[name]["result"])).max() < 1e-4


@pytest.mark.slow
def test_a_board_gives_the_same_integers(tmp_path):
    with Board("emulator") as board:
        for name in CASES:
            folder = folder_of(tmp_path / name, name)
            architectures.write_vocabulary(folder, CASES[name])
            convert(folder, tmp_path / "m.pft", name=name)
            sim = Simulator(tmp_path / "m.pft")
            model = board.deploy(tmp_path / "m.pft")
            if sim.model.task == "answer":
                given = "the rain in spain", "un the rain"
                assert board.answer(model, *given) == sim.answer(*given)
            else:
                tokens = KEPT[name]["tokens"]
                assert (board.logits(model, tokens) == sim.logits(tokens)[-1]).all(), name
            board.remove(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_each_step_of_norms_of_heads(tmp_path, families, name):
    folder = folder_of(tmp_path / "m", name)
    architectures.write_vocabulary(folder, CASES[name])
    convert(folder, tmp_path / "m.pft")
    with Board("emulator") as board:
        for kernels in families:
            assert selftest(board, tmp_path / "m.pft", kernels=kernels).equal
