"""What stands around a prompt is the tokenizer's: greedy text from the ids that it gives."""

import json

import numpy as np
import pytest

import models
import plain
from models import Shape, random_checkpoint
from picoformer import Simulator, convert
from picoformer.device.model import Model
from picoformer.tokenizers.choose import read_tokenizer
from picoformer.tokenizers.section import build
from picoformer.tokenizers.tokenizer import Tokenizer

ITEMS = {"<s>": {"SpecialToken": {"id": "<s>", "type_id": 0}}}
ITEMS["</s>"] = {"SpecialToken": {"id": "</s>", "type_id": 0}}
ITEMS["A"] = {"Sequence": {"id": "A", "type_id": 0}}
IDS = {"<s>": 1, "</s>": 2}
TEMPLATES = {
    "none, as GPT-2": None,
    "nothing": ["A"],
    "one, as Llama": ["<s>", "A"],
    "two": ["</s>", "<s>", "A"],
    "around, as BERT": ["<s>", "A", "</s>"],
}


def write(folder, template):
    """A Llama whose tokenizer's post-processor is the template; what a prompt's ids become."""
    models.write_hf(folder, random_checkpoint(Shape(12, 16, 1, 2, 1, 60, 24, shared=True)))
    path = folder / "tokenizer.json"
    root = json.loads(path.read_text(encoding="utf8"))
    if template is not None:
        special = {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in IDS.items()}
        root["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [ITEMS[name] for name in template],
            "pair": [],
            "special_tokens": special,
        }
        path.write_text(json.dumps(root), encoding="utf8")
    return root


def greedy(sim, tokens, n):
    """The likeliest tokens behind `tokens`, each from the logits of the whole."""
    written = list(tokens)
    while len(written) < len(tokens) + n:
        best = int(np.argmax(sim.logits(written)[-1]))
        if best in (1, 2):
            break
        written.append(best)
    return written[len(tokens) :]


@pytest.mark.parametrize("name", TEMPLATES)
def test_generate_begins_as_the_template_has_it(tmp_path, name):
    template = TEMPLATES[name]
    root = write(tmp_path / "hf", template)
    convert(tmp_path / "hf", tmp_path / "m.pft")
    sim, board = Simulator(tmp_path / "m.pft"), Model(str(tmp_path / "m.pft"), kernels="portable")
    assert sim.model.bos == board.bos == 1
    ids = sim.tokenizer.encode("the tin")
    prompt = [i for part in template or ["A"] for i in (ids if part == "A" else [IDS[part]])]
    try:
        import tokenizers
    except ImportError:
        pass
    else:
        root["added_tokens"] = []
        library = tokenizers.Tokenizer.from_str(json.dumps(root))
        assert library.encode("the tin").ids == prompt
    assert sim.tokenizer.prompt("the tin") == board.tokenizer.prompt("the tin") == prompt
    expected = sim.tokenizer.decode(ids + greedy(sim, prompt, 8))[len("the tin") :]
    assert "".join(sim.generate("the tin", 8)) == expected
    assert "".join(board.generate("the tin", 8)) == expected
    # of nothing there is BOS at least, or there were nothing to continue
    assert sim.tokenizer.prompt("") == ([i for i in prompt if i in (1, 2)] or [1])
    assert list(sim.generate("", 5)) == list(board.generate("", 5))


def test_texts_to_score_on_begin_alike(tmp_path):
    from picoformer.data.examples import read_examples
    from picoformer.importers import read

    write(tmp_path / "hf", ["</s>", "<s>", "A", "</s>"])
    graph, vocabulary = read(tmp_path / "hf")
    (tmp_path / "x.txt").write_text("the tin " * 30)
    tokenizer = Tokenizer(build(vocabulary))
    rows = [e.tokens.tolist() for e in read_examples(tmp_path / "x.txt", tokenizer, 24, graph)]
    assert len(rows) > 1 and all(row[:2] == [2, 1] and len(row) == 24 for row in rows)
    ids = tokenizer.encode("the tin " * 30)
    assert [i for row in rows for i in row[2:]] == ids[: 22 * len(rows)]


def test_a_descriptions_bos_begins_texts(tmp_path):
    """Which is no tokenizer's: of a PyTorch model, whose tokenizer adds nothing."""
    c = plain.CASES["lm"]
    plain.write(tmp_path, c)
    for name, template in (("a", None), ("b", ["</s>", "A"])):
        write(tmp_path / name, template)
        root = json.loads((tmp_path / name / "tokenizer.json").read_text(encoding="utf8"))
        (tmp_path / "tokenizer.json").write_text(json.dumps(root), encoding="utf8")
        convert(tmp_path / "model.safetensors", tmp_path / f"{name}.pft")
        sim = Simulator(tmp_path / f"{name}.pft")
        assert sim.model.bos == 1
        assert sim.tokenizer.prompt("the")[0] == (1 if name == "a" else 2)


def test_lone_surrogates_are_refused(tmp_path):
    write(tmp_path / "hf", None)
    with pytest.raises(Exception, match="lone surrogate at index 1"):
        Tokenizer(build(read_tokenizer(tmp_path / "hf"))).prompt("a\ud800")
