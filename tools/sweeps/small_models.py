"""Small random models of every kind, as files: quick to load, quick to run."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from picoformer.compile import modelfile
from picoformer.compile.calibration import calibrate, inputs
from picoformer.compile.compiler import compile_graph
from picoformer.compile.rounding import round_graph
from picoformer.graph.nodes import Graph
from picoformer.importers.llama import llama
from picoformer.tokenizers.section import build
from picoformer.tokenizers.vocabulary import (
    AddedToken,
    AddedTokens,
    ByteLevelVocabulary,
    PiecesVocabulary,
    Template,
    UnigramVocabulary,
    Vocabulary,
    WordPieceVocabulary,
)
from tools.sweeps.support import models

# In the text of the trials, in it as it is normalized, and with white space.
ADDED = AddedTokens(
    [AddedToken("é", 0), AddedToken("ab", 11, normalized=True), AddedToken("bc", 2, True, True)],
    normalizes=True,
)


def small_vocabulary() -> Vocabulary:
    pieces = [b"", b"", b"", *(c.encode() for c in " abcdefgh")]
    singles = {ord(p): i for i, p in enumerate(pieces) if p}
    return Vocabulary(pieces + [b"ab"], singles, {(4, 5): (0, 12)}, unk=0, bos=1, eos=2)


def small_graph() -> Graph:
    """A random Llama of two layers, small enough to run a thousand times."""
    rng = np.random.default_rng(7)
    sizes = {
        "q_proj": (8, 8), "k_proj": (4, 8), "v_proj": (4, 8), "o_proj": (8, 8),
        "gate_proj": (6, 8), "up_proj": (6, 8), "down_proj": (8, 6),
    }  # fmt: skip

    embedding = rng.normal(0, 0.5, (13, 8))

    def tensor(name: str) -> np.ndarray:
        part = name.split(".")[-2]
        if part in ("embed_tokens", "lm_head"):
            return embedding
        return rng.normal(0, 0.5, sizes[part]) if part in sizes else 1 + rng.normal(0, 0.1, 8)

    return llama(
        tensor, layers=2, heads=2, kv_heads=1, size=4, frequencies=np.array([1.0, 0.1]), eps=1e-5,
        vocab=13, context=8, bos=1, ends=(2, 1), meta={"name": "small"},
    )  # fmt: skip


def byte_tokens(pieces: list[bytes]) -> list[int]:
    """The token of each byte, where pieces 3 to 11 are single ones."""
    single = [piece[0] for piece in pieces[3:12]]
    return [single.index(b) + 3 if b in single else -1 for b in range(256)]


def other_vocabulary(kind: str) -> Vocabulary:
    """Every type of tokenizer has a model; signals have none."""
    if kind in (models.SIGNAL, models.FORECAST, models.SOUND):
        return Vocabulary([b""])
    if kind in (models.MINILM, models.TAGS):
        pieces = [b"[UNK]", b"[CLS]", b"[SEP]", *b"a b c ##a ##b ##c ab ##ab cab .".split()]
        template = Template([(0, 1, 0), (1, 0, 0), (0, 2, 0)])
        searched = list(range(3, 13))
        return WordPieceVocabulary(
            pieces, unk=0, bos=1, eos=2, template=template, searched=searched,
            characters=[(0x20, 0x20, (2,)), (0x2E, 0x2E, (3,)), (0x41, 0x5A, (6, 32))],
            added=ADDED,
        )  # fmt: skip
    if kind == models.GPT2:
        pieces = [b"", b"", b"", *(bytes([c]) for c in b" abcdefg\xc3"), b"ab"]
        return ByteLevelVocabulary(
            pieces, merges={(4, 5): (0, 12)}, unk=0, bos=1, eos=2, byte_tokens=byte_tokens(pieces),
            characters=[(0x20, 0x20, (2,)), (0x30, 0x39, (10,)), (0x61, 0x7A, (9,))],
            added=ADDED,
        )  # fmt: skip
    if kind == models.T5:
        pieces = [b"", b"", b"", *b"a b c ab ca cab e".split(), b" ", b" a", b" cab"]
        scores = [-1.0 - i / 4 for i in range(13)]
        return UnigramVocabulary(
            pieces, unk=0, bos=1, eos=2, prefix=True, scores=scores,
            searched=list(range(3, 13)), unknown_score=-20.0,
            template=Template([(1, 0, 0), (0, 2, 0)]), added=ADDED,
        )  # fmt: skip
    if kind == models.GATED_T5:
        pieces = [b"", b"", b"", *b"a b c ab ca cab e".split(), b" ", b" a", b"<x>"]
        return PiecesVocabulary(
            pieces, unk=0, bos=1, eos=2, prefix=True, collapse=True, split=False, hangul=True,
            scores=[-float(i % 12) for i in range(13)], searched=list(range(3, 13)),
            pairs={(0x61, 0x301): 0x62}, composed={(0x62, 0x323): 0x63}, unknown_score=-99.0,
        )  # fmt: skip
    if kind == models.BART:
        pieces = [b"", b"", b"", *(bytes([c]) for c in b" abcdefg\xcc"), b"ab"]
        return ByteLevelVocabulary(
            pieces, merges={(4, 5): (0, 12)}, unk=0, bos=1, eos=2, byte_tokens=byte_tokens(pieces),
            characters=[(0x20, 0x20, (2,)), (0x61, 0x7A, (9,)), (0x301, 0x301, (0, 230))],
            pairs={(0x61, 0x301): 0x62, (0x10061, 0x10301): 0x10062}, llama=True, digits=3,
            whole=[12], template=Template([(1, 0, 0), (0, 2, 0)]),
        )  # fmt: skip
    return small_vocabulary()


# What a file may be.
KINDS = ["llama", models.GPT2, models.BERT, models.MINILM]
SPECIAL = [models.BART, models.VIT, models.ASKED, models.GATED_T5]
SPECIAL += ["llama" + models.FOUR, models.BERT + models.FOUR, models.VIT + models.FOUR]
SPECIAL += ["llama" + models.NARROW, models.BART + models.NARROW, models.TAGS]
SPECIAL += [models.SIGNAL, models.FORECAST, models.SOUND]
OTHERS = [models.T5, models.ASKED + models.FOUR]
IMAGE = [9, 12, 2, 3, 1]  # of models.architecture's


@cache
def made(kind: str) -> bytes:
    """A small file: a Llama or GPT-2 generates, BERT classifies, MiniLM embeds, and so on."""
    layers, context = (1, 13) if models.VIT in kind else (2 if kind in KINDS else 1, 8)
    wide = kind.removesuffix(models.NARROW)
    name, four, _ = wide.partition(models.FOUR)
    bits = {"key_bits": 8, "value_bits": 4} if wide != kind else {}
    sizes = 8, 20 if four else 6, layers, 2, 13, context, 3
    graph = small_graph() if name == "llama" else models.architecture(name, *sizes)
    meta: dict[str, Any] = {"name": "small"}
    meta |= {"labels": graph.labels} if graph.labels else {}
    meta |= {"image": list(graph.image)} if graph.image else {}
    if graph.frames and (sound := graph.frames.sound):
        meta["sound"] = asdict(sound)
    rounded = round_graph(graph, inputs(graph, None), 16) if four else {}
    built = compile_graph(graph, calibrate(graph), rounded=rounded, **bits)
    return modelfile.encode(built, build(other_vocabulary(kind)), meta)
