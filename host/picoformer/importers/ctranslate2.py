"""CTranslate2 folders: translators of characters, from model.bin and its vocabularies."""

from __future__ import annotations

import json
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import Array, Graph, Linear
from ..tokenizers.vocabulary import Template, Vocabulary
from . import sinusoids
from .checkpoint import read_json
from .translator import Shape, arrange, banned

_VERSIONS = range(2, 7)
_SPECS = {"TransformerBase": 8, "TransformerBig": 16, "TransformerSpec": 0}  # and their heads
_KINDS = ("<f4", "i1", "<i2", "<i4", "<f2")
_SIZES = {4: "<f4", 1: "i1", 2: "<i2"}  # versions before 4 tell a value's size alone
_ACTIVATIONS = {0: "relu", 1: "gelu_tanh", 2: "silu", 3: "gelu"}
_UNKNOWN, _START, _END = "<unk>", "<s>", "</s>"
_CONTROLS = _UNKNOWN, _START, _END, "<blank>", "<pad>"
_CONTEXT = 512  # of sinusoids, which have no end
_BLOCKS = {"self": "self_attention", "cross": "attention", "network": "ffn"}
# (block, what) -> index of the linear, which of its parts, of how many
_PLACES = {
    ("self", "q"): (0, 0, 3),
    ("self", "k"): (0, 1, 3),
    ("self", "v"): (0, 2, 3),
    ("self", "out"): (1, 0, 1),
    ("cross", "q"): (0, 0, 1),
    ("cross", "k"): (1, 0, 2),
    ("cross", "v"): (1, 1, 2),
    ("cross", "out"): (2, 0, 1),
    ("network", "up"): (0, 0, 1),
    ("network", "down"): (1, 0, 1),
}


class _File:
    """The variables of model.bin, by name. Raises Error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.variables: dict[str, Array] = {}
        self._used: set[str] = set()
        try:
            self._data = path.read_bytes()
        except OSError as e:
            raise Error(f"cannot read {path}: {e.strerror}") from e
        self._at = 0
        try:
            self._read()
        except (struct.error, UnicodeDecodeError, ValueError) as e:
            raise Error(f"{path} is truncated or not a CTranslate2 model: {e}") from e
        del self._data

    def _number(self, kind: str) -> int:
        (value,) = struct.unpack_from("<" + kind, self._data, self._at)
        self._at += struct.calcsize("<" + kind)
        return int(value)

    def _take(self, n: int) -> bytes:
        raw = self._data[self._at : self._at + n]
        if len(raw) < n:
            raise ValueError("it ends in the middle")
        self._at += n
        return raw

    def _text(self) -> str:
        return self._take(self._number("H"))[:-1].decode()

    def _read(self) -> None:
        version = self._number("I")
        if version not in _VERSIONS:
            raise Error(
                f"{self.path}: version {version}; supported: CTranslate2 models of versions "
                f"{_VERSIONS[0]} to {_VERSIONS[-1]}"
            )
        self.spec = self._text()
        self._number("I")  # the revision
        for _ in range(self._number("I")):
            name = self._text()
            shape = [self._number("I") for _ in range(self._number("B"))]
            code, count = self._number("B"), self._number("I")
            if version < 4:
                kind = _SIZES.get(code)
                size = count * code
            else:
                kind = _KINDS[code] if code < len(_KINDS) else None
                size = count
            if kind is None:
                raise Error(f"{self.path}: {name} is of type {code}; supported: float32, float16")
            self.variables[name] = np.frombuffer(self._take(size), kind).reshape(shape)
        if version > 2:
            for _ in range(self._number("I")):
                alias = self._text()
                self.variables[alias] = self.variables[self._text()]
        if self._at != len(self._data):
            raise ValueError("it goes on behind its end")

    def get(self, name: str, *shape: int) -> Array:
        """A variable in float32; a size of 0 may be any. Raises Error."""
        found = self.variables.get(name)
        if found is None:
            raise Error(f"{self.path} has no variable {name}")
        if len(found.shape) != len(shape) or any(
            n and n != m for n, m in zip(shape, found.shape, strict=True)
        ):
            raise Error(f"{self.path}: {name} has shape {found.shape}, expected {shape}")
        if found.dtype.kind != "f":
            raise Error(f"{self.path}: {name} is {found.dtype}; supported: float32, float16")
        self._used.add(name)
        return found.astype(np.float32)

    def scalar(self, name: str, default: float) -> float:
        if name not in self.variables:
            return default
        self._used.add(name)
        value = self.variables[name]
        if value.size != 1:
            raise Error(f"{self.path}: {name} has shape {value.shape}, expected one number")
        return float(value.reshape(-1)[0])

    def check_used(self) -> None:
        """Raise Error if a variable other than zeros was not asked for."""
        left = [n for n, v in self.variables.items() if n not in self._used and v.any()]
        left = [n for n in left if "/alignment_" not in n]
        if left:
            some = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
            raise Error(
                f"{self.path} has {len(left)} variables that a plain Transformer has not: {some}"
            )

    def embeddings(self, part: str) -> tuple[Array, Array]:
        """Tokens (vocab, dim) and positions (context, dim) of an encoder or a decoder."""
        name = f"{part}/embeddings/weight"
        table = self.get(name if name in self.variables else f"{part}/embeddings_0/weight", 0, 0)
        if self.scalar(f"{part}/scale_embeddings", 1):
            table = (table * np.sqrt(table.shape[1])).astype(np.float32)
        name = f"{part}/position_encodings/encodings"
        dim = table.shape[1]
        if name in self.variables:
            return table, self.get(name, 0, dim)
        return table, sinusoids.opennmt(_CONTEXT, dim)

    def linear(self, name: str, rows: int, columns: int) -> tuple[Array, Array | None]:
        """Weight and bias of "encoder.0.self.q" and its like, a part of a stacked matrix."""
        part, layer, block, what = name.split(".")
        index, first, of = _PLACES[block, what]
        p = f"{part}/layer_{layer}/{_BLOCKS[block]}/linear_{index}/"
        weight = self.get(p + "weight", of * rows, columns)
        bias = self.get(p + "bias", of * rows) if p + "bias" in self.variables else None
        cut = slice(first * rows, (first + 1) * rows)
        return np.ascontiguousarray(weight[cut]), None if bias is None else bias[cut]

    def norm(self, dim: int, name: str) -> tuple[Array, Array]:
        """Gain and bias of "encoder.0.self.norm" and its like."""
        part, layer, block, *_ = name.split(".")
        p = f"{part}/layer_{layer}/{_BLOCKS.get(block)}/layer_norm"
        if layer in ("first", "last"):
            p = f"{part}/" + ("layernorm_embedding" if layer == "first" else "layer_norm")
        return self.get(p + "/gamma", dim), self.get(p + "/beta", dim)


def read(folder: Path) -> tuple[Graph, Vocabulary]:
    """The graph of a folder and its vocabulary. Raises Error.

    The tokens are those of the target, then those that the source alone has.
    """
    file = _File(folder / "model.bin")
    if file.spec not in _SPECS:
        raise Error(f"{file.path}: a {file.spec}; supported: {', '.join(_SPECS)}")
    config: Any = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if not isinstance(config, dict):
        raise Error(f"{folder / 'config.json'} is not a JSON object")
    tables, positions = zip(*map(file.embeddings, ("encoder", "decoder")), strict=True)
    dim = tables[1].shape[1]
    source, target = (
        _padded(folder, _tokens(folder, which), table)
        for which, table in zip(("source", "target"), tables, strict=True)
    )
    joint = target + [t for t in source if t not in set(target)]
    read_as = {token: i for i, token in enumerate(source)}
    # what the source does not know reads as its unknown token
    unknown = read_as.get(_UNKNOWN, 0)
    read_table = tables[0][[read_as.get(token, unknown) for token in joint]]
    more = len(joint) - len(target)
    written = np.concatenate([tables[1], np.zeros((more, dim), np.float32)])
    encoder, nodes, last = arrange(
        _shape(file, dim, config),
        file.linear,
        partial(file.norm, dim),
        (read_table, written),
        positions,
    )
    nodes.append(_head(file, last, len(target), len(joint), dim))
    file.check_used()
    vocabulary = _vocabulary(folder, joint, source, config)
    graph = Graph(
        nodes,
        len(joint),
        min(map(len, positions)),
        vocabulary.bos,
        (vocabulary.bos, vocabulary.eos),
        {
            "name": folder.resolve().name,
            "source": f"CTranslate2 folder {folder.name}",
            "architecture": "transformer",
        },
        task="translate",
        encoder=encoder,
    )
    return graph, vocabulary


def _padded(folder: Path, tokens: list[str], table: Array) -> list[str]:
    """The tokens of a table's rows: the unknown one may be there without being listed."""
    if len(tokens) + (_UNKNOWN not in tokens) == len(table):
        tokens += [_UNKNOWN] * (_UNKNOWN not in tokens)
    if len(tokens) != len(table):
        raise Error(f"{folder}: {len(tokens)} tokens in a vocabulary, {len(table)} in the model")
    return tokens


def _head(file: _File, x: str, written: int, vocab: int, dim: int) -> Linear:
    """The logits: of the tokens that the decoder writes; the others are never written."""
    more = vocab - written
    head = file.get("decoder/projection/weight", written, dim)
    name = "decoder/projection/bias"
    bias = np.zeros(written, np.float32)
    if name in file.variables:
        bias = file.get(name, written)
    head = np.concatenate([head, np.zeros((more, dim), np.float32)])
    bias = banned(np.append(bias, np.zeros(more, np.float32)), range(written, vocab))
    return Linear(x, "logits", head, "decoder/projection/weight", bias)


def _shape(file: _File, dim: int, config: dict[str, Any]) -> Shape:
    layers, heads, hidden, kinds, pre = [], [], [], [], []
    for part in "encoder", "decoder":
        n = 0
        while f"{part}/layer_{n}/ffn/linear_0/weight" in file.variables:
            n += 1
        layers.append(n)
        old = file.scalar("num_heads", _SPECS[file.spec])
        heads.append(int(file.scalar(f"{part}/num_heads", old)))
        if not n or heads[-1] < 1 or dim % heads[-1]:
            raise Error(f"{file.path}: {n} layers, {heads[-1]} heads of {dim} dimensions ({part})")
        hidden.append(file.get(f"{part}/layer_0/ffn/linear_0/weight", 0, dim).shape[0])
        kinds.append(int(file.scalar(f"{part}/activation", 0)))
        pre.append(bool(file.scalar(f"{part}/pre_norm", file.scalar("pre_norm", 1))))
    if kinds[0] != kinds[1] or kinds[0] not in _ACTIVATIONS or pre[0] != pre[1]:
        raise Error(
            f"{file.path}: activations {kinds} and pre_norm {pre} of encoder and decoder; "
            f"supported: the same for both, activations {_ACTIVATIONS}"
        )
    first = {
        f"{part}/layernorm_embedding/gamma" in file.variables for part in ("encoder", "decoder")
    }
    if len(first) > 1:
        raise Error(f"{file.path}: layernorm_embedding of only one; supported: of both or none")
    eps = config.get("layer_norm_epsilon") or 1e-5
    if not isinstance(eps, int | float) or isinstance(eps, bool) or not 0 < eps < 1:
        raise Error(f"{file.path}: layer_norm_epsilon is {eps!r}, expected a positive number")
    return Shape(
        dim,
        (layers[0], layers[1]),
        (heads[0], heads[1]),
        (hidden[0], hidden[1]),
        _ACTIVATIONS[kinds[0]],
        float(eps),
        pre[0],
        first.pop(),
    )


def _tokens(folder: Path, which: str) -> list[str]:
    names = [f"{kind}_vocabulary.{end}" for kind in (which, "shared") for end in ("txt", "json")]
    for name in names:
        path = folder / name
        if not path.is_file():
            continue
        try:
            text = path.read_text("utf-8")
            tokens = json.loads(text) if path.suffix == ".json" else text.split("\n")
        except (OSError, ValueError) as e:
            raise Error(f"cannot read {path}: {e}") from e
        if path.suffix == ".txt" and tokens[-1] == "":
            tokens.pop()
        if not isinstance(tokens, list) or not all(isinstance(t, str) for t in tokens):
            raise Error(f"{path} is not a list of tokens")
        if len(set(tokens)) < len(tokens):
            raise Error(f"{path} has a token twice")
        return tokens
    raise Error(f"{folder}: no vocabulary found; expected {' or '.join(names)}")


def _vocabulary(
    folder: Path, joint: list[str], source: list[str], config: dict[str, Any]
) -> Vocabulary:
    ids = {token: i for i, token in enumerate(joint)}
    special = {
        name: config.get(f"{name}_token") or default
        for name, default in (("unk", _UNKNOWN), ("bos", _START), ("eos", _END))
    }
    start = config.get("decoder_start_token") or special["bos"]
    for what in special["bos"], special["eos"], start:
        if what not in ids:
            raise Error(f"{folder}: {what!r} is not in the target's vocabulary")
    controls = {*_CONTROLS, *special.values(), start}
    long = [t for t in source if t not in controls and len(t) != 1]
    if long:
        raise Error(
            f"{folder}: {len(long)} tokens of the source are longer than a character "
            f"({long[0]!r}); supported: characters"
        )
    template = [(1, 0, 0)]
    if config.get("add_source_bos"):
        template.insert(0, (0, ids[special["bos"]], 0))
    if config.get("add_source_eos"):
        template.append((0, ids[special["eos"]], 0))
    return Vocabulary(
        [b"" if token in controls else token.encode() for token in joint],
        {ord(t): ids[t] for t in source if t not in controls},
        unk=ids.get(special["unk"], -1),
        bos=ids[start],
        eos=ids[special["eos"]],
        template=Template(template),
    )
