"""Hugging Face folders: config.json, weights and tokenizer.json of the architectures we know."""

from __future__ import annotations

from pathlib import Path

from ..graph.nodes import Graph
from ..tokenizers.choose import vocabulary_of
from ..tokenizers.vocabulary import Vocabulary
from . import bert, gpt2, llama, sentences, t5, translator, vit
from .checkpoint import Config, Tensors

# model_type -> what precedes the names of the tensors, and the importer
_FAMILIES = {
    "llama": ("model.", llama.read),
    "gpt2": ("transformer.", gpt2.read),
    "bert": ("bert.", bert.read),
    "distilbert": ("distilbert.", bert.read_distilbert),
    "vit": ("vit.", vit.read),
    "marian": ("model.", translator.read_marian),
    "bart": ("model.", translator.read_bart),
    "t5": ("", t5.read),
    "mt5": ("", t5.read),
}


def read(folder: Path, tokenizer: str | Path | None = None) -> tuple[Graph, Vocabulary]:
    """The graph of a folder and its vocabulary. Raises Error.

    tokenizer: its file (as tokenizer.json), where it is not beside the weights.
    """
    model = graph(folder)
    return model, vocabulary_of(model, sentences.root(folder), tokenizer)


def graph(folder: Path) -> Graph:
    """The graph of a folder, without its tokenizer; bos and eos as config.json has them.

    Raises Error: the field, its value and what is supported; or the tensor that does not fit.
    """
    name, source = folder.resolve().name, folder.name
    folder = sentences.root(folder)
    config = Config(folder / "config.json")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in _FAMILIES:
        raise config.refusal("model_type", kind, ", ".join(_FAMILIES))
    config.require(quantization_config=None)
    prefix, family = _FAMILIES[kind]
    model = family(config, Tensors(folder, prefix))
    bos, eos = config.token("bos_token_id"), config.token("eos_token_id")
    if model.task != "translate":  # whose first token is not its tokenizer's
        model.bos = -1 if bos is None else bos
    model.eos = -1 if eos is None else eos
    model.meta = {"name": name, "source": f"Hugging Face folder {source}", **model.meta}
    return model
