"""Hugging Face folders: config.json, weights and tokenizer.json of the architectures we know."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ..errors import Error
from ..graph.nodes import Graph
from ..tokenizers.chat import read_chat
from ..tokenizers.choose import vocabulary_of
from ..tokenizers.vocabulary import Vocabulary
from . import bert, decoders, encoders, gpt2, llama, sentences, t5, translator, vit
from .checkpoint import Config, Tensors
from .description import checkpoints

# model_type -> what precedes the names of the tensors, and the importer
_FAMILIES = {
    "llama": ("model.", llama.read),
    "mistral": ("model.", llama.read),
    "qwen2": ("model.", llama.read),
    "qwen3": ("model.", llama.read),
    "gemma": ("model.", llama.read),
    "gemma3_text": ("model.", llama.read),
    "olmo2": ("model.", llama.read),
    "phi3": ("model.", llama.read),
    "granite": ("model.", llama.read),
    "smollm3": ("model.", llama.read),
    "gpt2": ("transformer.", gpt2.read),
    "gpt_neo": ("transformer.", decoders.read_neo),
    "gpt_neox": ("gpt_neox.", decoders.read_neox),
    "gptj": ("transformer.", decoders.read_gptj),
    "opt": ("model.decoder.", decoders.read_opt),
    "phi": ("model.", decoders.read_phi),
    "stablelm": ("model.", decoders.read_stablelm),
    "starcoder2": ("model.", decoders.read_stablelm),
    "bert": ("bert.", bert.read),
    "distilbert": ("distilbert.", bert.read_distilbert),
    "roberta": ("roberta.", encoders.read),
    "xlm-roberta": ("roberta.", encoders.read),
    "camembert": ("roberta.", encoders.read),
    "electra": ("electra.", encoders.read),
    "albert": ("albert.", encoders.read),
    "vit": ("vit.", vit.read),
    "marian": ("model.", translator.read_marian),
    "bart": ("model.", translator.read_bart),
    "t5": ("", t5.read),
    "mt5": ("", t5.read),
}

# What others have that there are no steps for.
_MISSING = {
    "gemma2": "soft caps of the scores",
    "gemma3": "pictures beside the text (gemma3_text, which has none, is read)",
    **dict.fromkeys(
        ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "phimoe", "gpt_oss"),
        "experts of which each token chooses some",
    ),
    **dict.fromkeys(("bloom", "mpt"), "scores that sink with the distance (ALiBi)"),
    **dict.fromkeys(
        ("deberta", "deberta-v2"), "scores of contents with positions, each apart (disentangled)"
    ),
    **dict.fromkeys(
        ("mamba", "mamba2", "rwkv", "recurrent_gemma", "lfm2", "jamba", "falcon_mamba"),
        "a recurrence in the place of attention",
    ),
    **dict.fromkeys(("whisper", "wav2vec2", "hubert"), "an input of sound"),
    **dict.fromkeys(("longformer", "big_bird", "xlnet", "reformer"), "attention of its own kind"),
}


def read(folder: Path, tokenizer: str | Path | None = None) -> tuple[Graph, Vocabulary]:
    """The graph of a folder and its vocabulary. Raises Error.

    tokenizer: its file (as tokenizer.json), where it is not beside the weights.
    """
    model = graph(folder)
    if model.task == "generate":
        model.chat = read_chat(folder)
    return model, vocabulary_of(model, sentences.root(folder), tokenizer)


def graph(folder: Path) -> Graph:
    """The graph of a folder, without its tokenizer; BOS and end tokens as its
    configuration has them.

    Raises Error: the field, its value and what is supported; or the tensor that does not fit.
    """
    name, source = folder.resolve().name, folder.name
    folder = sentences.root(folder)
    if not (folder / "config.json").is_file() and folder.is_dir():
        raise _no_config(folder)
    config = Config(folder / "config.json")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in _FAMILIES:
        raise _unknown(config, kind)
    config.require(quantization_config=None)
    prefix, family = _FAMILIES[kind]
    model = family(config, Tensors(folder, prefix))
    bos = config.token("bos_token_id")
    model.ends = config.ends()
    if model.task == "translate":  # whose first token is not its tokenizer's
        model.ends = (model.bos, *model.ends)
    else:
        model.bos = -1 if bos is None else bos
    model.meta = {"name": name, "source": f"Hugging Face folder {source}", **model.meta}
    return model


def _unknown(config: Config, kind: object) -> Error:
    """The error for a model_type that is not one of ours: what it needs, and the nearest."""
    supported = ", ".join(_FAMILIES)
    if not isinstance(kind, str):
        fields = ", ".join(list(config.fields)[:8]) or "none"
        return Error(
            f"{config.path}: model_type is {kind!r}; its fields: {fields}; supported: {supported}"
        )
    if kind in _MISSING:
        return Error(
            f"{config.path}: model_type is {kind!r}, which needs {_MISSING[kind]}: there is no "
            f"step for that; supported: {supported}"
        )
    near = get_close_matches(kind, _FAMILIES, 1)
    nearest = f" (the nearest is {near[0]})" if near else ""
    return config.refusal("model_type", kind, supported + nearest)


def _no_config(folder: Path) -> Error:
    """The error for a folder of which nothing tells what it is: what it has instead."""
    names = sorted(p.name for p in folder.iterdir())
    seen = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") or "nothing"
    files = [p.name for p in checkpoints(folder)]
    files += [n for n in names if Path(n).suffix in (".gguf", ".bin")]
    way = ""
    if len(files) == 1:
        way = f"; to convert {files[0]}, name that file"
    elif files:
        way = f"; name one of its files: {', '.join(files[:6])}"
    return Error(
        f"cannot read {folder / 'config.json'}: there is none; {folder.name} has {seen}; expected "
        "a Hugging Face folder, or one checkpoint of PyTorch or Keras and its description, a "
        f".json of the same name{way}"
    )
