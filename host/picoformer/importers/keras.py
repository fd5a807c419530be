"""Keras 3 models saved as .keras: functional and sequential ones, without Keras and its code.

The calls of the layers are walked from the inputs to the outputs, and each becomes nodes; one that
cannot is named in the error, with what is supported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Error
from ..graph.nodes import (
    Add,
    Array,
    Attention,
    Embedding,
    Gate,
    Graph,
    LayerNorm,
    Linear,
    Node,
    Pool,
)
from ..tokenizers.words import Words
from .description import Description, two_classes
from .keras_file import MALFORMED, Call, KerasFile, Key, Ref

_FIELDS = "labels", "bos", "eos", "context", "output"
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "silu": "silu", "swish": "silu", "tanh": "tanh"}
_LAST = "softmax", "sigmoid"  # which may end a model: the logits in front of them come out
_DOCS = "docs/convert.md shows how a model is written that can be read"
# What a tensor is while the layers are walked.


@dataclass
class _Text:
    """The text."""


@dataclass
class _Tokens:
    """The token ids."""


@dataclass
class _Index:
    """Of each position i the number slope * i + start; the positions are slope 1, start 0."""

    slope: int
    start: int


@dataclass
class _Rows:
    """A sum of rows: by the token, and by the position; x, once that is made of it."""

    token: Array | None = None
    position: Array | None = None
    made: bool = False


@dataclass
class _Vector:
    """A value of the graph; version: of x, which changes. last: a linear still to be put down."""

    name: str
    version: int
    last: Linear | None = None
    end: str = ""  # softmax or sigmoid: nothing may follow


Value = _Text | _Tokens | _Index | _Rows | _Vector


def read(path: Path, config: str | Path | None = None) -> tuple[Graph, Words | None]:
    """(the graph of a .keras file, its words where it takes texts). Raises Error.

    config: a description, by default the file beside it of the same name that ends in .json.
    """
    given = Description(path, config, _FIELDS)
    try:
        reader = _Reader(path, given)
        graph = reader.graph()
    except MALFORMED as e:
        raise Error(f"{path}: its config.json is not as Keras 3 writes it: {e!r}") from e
    return graph, reader.words


class _Reader(KerasFile):
    def __init__(self, path: Path, given: Description) -> None:
        super().__init__(path)
        self.given = given
        self.words: Words | None = None
        self.uses: dict[Key, int] = {}  # that are still to come
        self.values: dict[Key, Value] = {}
        self.matrices: dict[str, Array] = {}
        self.makers: dict[str, str] = {}  # the layer of each value
        self.nodes: list[Node] = []
        self.version = 0  # of x
        self.changed = ""  # the layer that did it last
        self.pooled = False
        self.lengths: list[tuple[int, str]] = []  # positions there are, and what says so
        self.call = Call("", "", "", False, {}, [], {})
        self.vocab = 0

    def refusal(self, seen: str, supported: str) -> Error:
        """The error for what the layer at hand has."""
        c = self.call
        return Error(f"{self.path}: layer {c.name!r} ({c.kind}): {seen}; supported: {supported}")

    def tensor(self, part: str, index: int, *shape: int) -> Array:
        """A weight of the layer at hand; a size of 0 may be any. Raises Error."""
        return self.weight(f"{self.call.path}/{part}vars/{index}", *shape)

    # Walking

    def graph(self) -> Graph:
        kind = self.root.get("class_name")
        if kind not in ("Functional", "Sequential"):
            raise Error(
                f"{self.path}: the model is of class {kind}, whose code the file does not have; "
                f"supported: functional and sequential models ({_DOCS})"
            )
        outputs = self.flatten(self.root, "")
        names = [key[0].partition(":")[2] for key in outputs]
        wanted = self.given.get("output", names[0] if len(names) == 1 else None)
        if wanted not in names:
            raise Error(
                f"{self.path}: output is {wanted!r}; supported: one of {', '.join(names)}, named "
                f'as "output" in {self.path.with_suffix(".json").name}'
            )
        output = self.root_of(outputs[names.index(wanted)])
        listed = self.order(output)
        for key in [*listed, None]:
            for at in {output} if key is None else self.taken(key):
                self.uses[at] = self.uses.get(at, 0) + 1
        for key in listed:
            self.call = self.calls[key]
            if self.call.custom and self.call.kind != "PositionEmbedding":
                raise Error(
                    f"{self.path}: layer {self.call.name!r} is of class {self.call.kind}, whose "
                    f"code the file does not have; write it with Keras's own layers, in a "
                    f"functional model ({_DOCS})"
                )
            lower = _LOWER.get(self.call.kind)
            if lower is None:
                raise self.refusal("it cannot be converted", ", ".join(_LOWER) + " and dropouts")
            for at in self.taken(key):
                self.uses[at] -= 1
            value = self.values[key] = lower(self)
            if isinstance(value, _Vector):
                self.makers[value.name] = self.call.name
        return self.finish(self.values[output])

    def finish(self, value: Value) -> Graph:
        if isinstance(value, _Rows):
            value = self.put(value)
        if not isinstance(value, _Vector):
            raise self.refusal("the output is made of no embedding", "what attention makes")
        attentions = [n for n in self.nodes if isinstance(n, Attention)]
        labels: list[str] = []
        if value.last is not None:
            weight, bias = value.last.weight, value.last.bias
            task = "classify" if self.pooled else "generate"
            if self.pooled:
                if len(weight) == 1 and (value.end == "sigmoid" or self.given.get("labels")):
                    weight, bias = two_classes(weight, bias)
                elif value.end == "sigmoid" or len(weight) == 1:
                    raise self.refusal(
                        f"{len(weight)} outputs, {value.end or 'no activation'}",
                        "a probability (sigmoid) of two classes, or a softmax of classes",
                    )
                labels = self.given.classes(len(weight))
            elif value.end == "sigmoid":
                raise self.refusal("sigmoid at each position", "softmax")
            self.fresh(value)
            self.nodes.append(Linear(value.last.x, "logits", weight, value.last.name, bias))
        elif self.pooled and value.name == "x":
            task = "embed"
            self.fresh(value)
        else:
            raise self.refusal(
                "the model ends here", "a Dense at the end, or for an embedding the mean"
            )
        if task == "generate" and not all(n.causal for n in attentions):
            raise Error(
                f"{self.path}: the model has a result at each position, but attention that looks "
                "ahead; supported: use_causal_mask=True in all, or a pooling of the positions"
            )
        if task == "generate" and len(weight) != self.vocab:
            raise self.refusal(f"{len(weight)} units", f"{self.vocab}, the vocabulary's size")
        self.check_last()
        given = self.given.get("context")
        if given is not None:
            self.lengths.append((self.given.number("context"), "context"))
        if not self.lengths:
            raise Error(
                f'{self.path}: the number of positions is not told; write "context": N in '
                f"{self.path.with_suffix('.json').name}"
            )
        if given is not None and given > min(self.lengths)[0]:
            n, what = min(self.lengths)
            raise Error(f"{self.given.path}: context is {given}, but {what} has {n}")
        graph = Graph(
            self.nodes,
            self.vocab,
            min(self.lengths)[0],
            task=task,
            labels=labels,
            meta={
                "name": self.path.stem,
                "source": f"Keras model {self.path.name}",
                "architecture": "transformer",
            },
        )
        graph.bos, graph.eos = (self.given.token_of(n, graph.vocab) for n in ("bos", "eos"))
        return graph

    def check_last(self) -> None:
        """Raise Error if more than x is carried over the last attention, or over the pooling.

        Behind those only one position is left, and the steps move x alone.
        """
        at = max((i for i, n in enumerate(self.nodes) if isinstance(n, Attention)), default=-1)
        if at < 0:
            raise Error(f"{self.path}: the model has no MultiHeadAttention")
        a = self.nodes[at]
        assert isinstance(a, Attention)
        known = {"x", a.q, a.k, a.v}
        known |= {n.x for n in self.nodes[:at] if isinstance(n, Linear) and n.out == a.q}
        for node in self.nodes[at:]:
            if isinstance(node, Pool):
                known = {"x"}
            for name in "x", "y", "g":
                value = getattr(node, name, None)
                if value is not None and value not in known:
                    raise Error(
                        f"{self.path}: what layer {self.makers[value]!r} makes in front of the "
                        "last attention or the pooling is used behind it; supported: layers one "
                        "behind the other, with residuals"
                    )
            made = getattr(node, "out", None)
            if made is not None:
                known.add(made)

    # Values

    def key(self, argument: Any) -> Key:
        if not isinstance(argument, Ref):
            raise self.refusal(f"an argument is {str(argument)[:60]}", "what a layer makes")
        return self.root_of(argument.key)

    def put(self, rows: _Rows) -> _Vector:
        """x, made of the sum of embeddings."""
        if not rows.made:
            if rows.token is None or any(isinstance(n, Embedding) for n in self.nodes):
                raise self.refusal("it takes positions alone, or a second text", "one text")
            self.nodes.append(Embedding("x", rows.token))
            if rows.position is not None:
                self.nodes.append(Embedding("x", rows.position, by="position"))
                self.lengths.append((len(rows.position), "the table of positions"))
            rows.made = True
        return _Vector("x", 0)

    def fresh(self, v: _Vector) -> None:
        """Raise Error if x has changed since."""
        if (v.last.x if v.last else v.name) == "x" and v.version != self.version:
            raise self.refusal(
                f"it takes what {self.changed!r} has changed in the meantime",
                "layers one behind the other, with residuals",
            )

    def vector(self, argument: Any) -> _Vector:
        """A value that a layer reads, put down. Raises Error."""
        value = self.values[self.key(argument)]
        if isinstance(value, _Rows):
            value = self.put(value)
        if not isinstance(value, _Vector):
            raise self.refusal("it takes the tokens themselves", "an Embedding in front of it")
        if value.end:
            raise self.refusal(f"it takes a {value.end}", f"{value.end} at the end only")
        self.fresh(value)
        if value.last is not None:
            self.nodes.append(value.last)
            value.last = None
        return value

    def alone(self, argument: Any) -> bool:
        """Whether no layer behind the one at hand uses it."""
        return self.uses[self.key(argument)] == 0

    def x(self, argument: Any) -> None:
        """Take x, to change it. Raises Error where the argument is not x, or is used elsewhere."""
        v = self.vector(argument)
        if v.name != "x" or not self.alone(argument):
            raise self.refusal(
                f"it changes {v.name}, which others use" if v.name == "x" else "it takes a branch",
                "layers one behind the other, with residuals",
            )

    def change(self) -> _Vector:
        self.version += 1
        self.changed = self.call.name
        return _Vector("x", self.version)

    def option(self, name: str, *supported: Any) -> None:
        """Raise Error unless a field of the layer is absent or has one of these values."""
        value = self.call.config.get(name, supported[0])
        if value not in supported:
            raise self.refusal(f"{name} is {value!r}", repr(supported[0]))

    def one(self) -> Any:
        """The only argument that is a tensor."""
        found = list(self.call.inputs())
        if len(found) != 1:
            raise self.refusal(f"{len(found)} arguments", "one")
        return Ref(found[0])

    def plain(self) -> None:
        """Raise Error for weights that are not stored as they are."""
        for name in "quantization_config", "lora_rank":
            self.option(name, None)

    def linear(self, x: _Vector, out: str, weight: Array, bias: Array | None) -> Linear:
        # A layer that is used twice has its matrix once.
        matrix = self.matrices.setdefault(
            f"{self.call.path}.{out.partition('.')[2]}", np.ascontiguousarray(weight)
        )
        return Linear(x.name, out, matrix, f"{self.call.name}.{out}", bias)

    # Layers

    def input_layer(self) -> Value:
        shape = self.call.config.get("batch_shape") or [None]
        if self.call.config.get("dtype") == "string":
            return _Text()
        if len(shape) != 2 or not str(self.call.config.get("dtype")).startswith(("int", "uint")):
            raise self.refusal(
                f"shape {shape} of {self.call.config.get('dtype')}",
                'token ids: Input((length,), dtype="int32")',
            )
        if shape[1] is not None:
            self.lengths.append((int(shape[1]), f"the input {self.call.name!r}"))
        return _Index(1, 0) if "pos" in self.call.name.lower() else _Tokens()

    def text(self) -> Value:
        """TextVectorization, which becomes the tokenizer."""
        c = self.call.config
        if not isinstance(self.values[self.key(self.one())], _Text):
            raise self.refusal("it takes no text", 'Input((1,), dtype="string") in front of it')
        known = "lower_and_strip_punctuation", "lower", "strip_punctuation", None
        self.option("standardize", *known)
        for name, value in (("split", "whitespace"), ("ngrams", None), ("output_mode", "int")):
            self.option(name, value)
        words = c.get("vocabulary")
        if words is None:
            words = self.lists.get(f"assets/{self.call.path}/vocabulary.txt")
        elif words[:1] != [""]:
            words = ["", "[UNK]", *words]
        if words is None:
            raise self.refusal("no list of words", "a layer that was adapted to texts")
        self.words = Words(list(words), str(self.path), c.get("standardize", known[0]))
        if c.get("output_sequence_length") is not None:
            n = int(c["output_sequence_length"])
            self.lengths.append((n, f"the layer {self.call.name!r}"))
        return _Tokens()

    def embedding(self) -> Value:
        self.plain()
        table = self.tensor("", 0, 0, 0)
        value = self.values[self.key(self.one())]
        if isinstance(value, _Tokens):
            self.vocab = len(table)
            return _Rows(token=table)
        if isinstance(value, _Index) and value.slope == 1 and 0 <= value.start < len(table):
            return _Rows(position=table[value.start :])
        raise self.refusal("it takes neither tokens nor positions", "these")

    def position_embedding(self) -> Value:
        if self.call.kwargs.get("start_index") or self.call.args[1:]:
            raise self.refusal("start_index", "positions from 0 on")
        return _Rows(position=self.tensor("", 0, 0, 0))

    def attention(self) -> Value:
        c = self.call
        for name, value in (("use_gate", False), ("sliding_window", None), ("output_shape", None)):
            self.option(name, value)
        self.option("attention_axes", None, [1])
        named = dict(zip(("query", "value", "key"), c.args, strict=False))
        given = {**named, **c.kwargs}
        taken = [given[n] for n in ("query", "value", "key") if given.get(n) is not None]
        if len({self.key(a) for a in taken}) != 1:
            raise self.refusal("query, value and key differ", "self-attention, where they are one")
        masks = "attention_mask", "query_mask", "value_mask", "key_mask"
        if len(c.args) > 3 or any(given.get(n) is not None for n in masks):
            raise self.refusal("a mask", "use_causal_mask=True, or none")
        heads, size = int(c.config["num_heads"]), int(c.config["key_dim"])
        if heads < 1 or size < 1:
            raise self.refusal(f"{heads} heads of {size}", "one or more of each")
        if c.config.get("value_dim") not in (None, size):
            raise self.refusal(f"value_dim is {c.config['value_dim']}", f"key_dim, {size}")
        x = self.vector(taken[0])
        biased = c.config.get("use_bias", True)
        n = sum(isinstance(node, Attention) for node in self.nodes)
        q, k, v, o, y = (f"{n}.{letter}" for letter in "qkvoy")
        for out, part in ((q, "query"), (k, "key"), (v, "value")):
            weight = self.tensor(part + "_dense/", 0, 0, heads, size)
            bias = self.tensor(part + "_dense/", 1, heads, size).reshape(-1) if biased else None
            self.nodes.append(self.linear(x, out, weight.reshape(len(weight), -1).T, bias))
        causal = bool(given.get("use_causal_mask"))
        self.nodes.append(Attention(q, k, v, o, heads, heads, size, causal=causal))
        weight = self.tensor("output_dense/", 0, heads, size, 0)
        bias = self.tensor("output_dense/", 1, weight.shape[2]) if biased else None
        made = _Vector(o, self.version)
        return _Vector(
            y, self.version, self.linear(made, y, weight.reshape(heads * size, -1).T, bias)
        )

    def dense(self) -> Value:
        self.plain()
        x = self.vector(self.one())
        weight = self.tensor("", 0, 0, 0).T
        bias = self.tensor("", 1, len(weight)) if self.call.config.get("use_bias", True) else None
        out = f"{len(self.nodes)}.d"
        made = _Vector(out, self.version, self.linear(x, out, weight, bias))
        return self.activated(made, self.call.config.get("activation"))

    def activated(self, v: _Vector, how: Any) -> _Vector:
        if isinstance(how, dict) and isinstance(how.get("config"), str):
            how = how["config"]  # a function of Keras by its name
        if how in (None, "linear"):
            return v
        if v.last is None or v.end:
            raise self.refusal("an activation of no Dense's output", "one behind a Dense")
        if how in _LAST:
            v.end = how
            return v
        names = {**_ACTIVATIONS, "gelu_tanh": "gelu_tanh"}
        if not isinstance(how, str) or how not in names:
            known = ", ".join((*_ACTIVATIONS, *_LAST))
            raise self.refusal(f"activation {str(how)[:60]!r}", known)
        self.fresh(v)
        self.nodes += [v.last, Gate(v.name, None, v.name + "a", names[how])]
        return _Vector(v.name + "a", self.version)

    def activation(self) -> Value:
        kind, c = self.call.kind, self.call.config
        how = {"ReLU": "relu", "Relu": "relu"}.get(kind, kind.lower())
        if kind == "Activation":
            how = c["activation"]
        elif kind == "Gelu":
            how = "gelu_tanh" if c.get("approximate", True) else "gelu"
        elif kind == "ReLU":
            for name, off in (("max_value", None), ("negative_slope", 0), ("threshold", 0)):
                self.option(name, off)
        elif kind == "Softmax":
            self.option("axis", -1, [-1])
        argument = self.one()
        value = self.values[self.key(argument)]
        if not isinstance(value, _Vector) or not self.alone(argument):
            raise self.refusal("an activation of what others use", "one behind a Dense")
        return self.activated(value, how)

    def norm(self) -> Value:
        c = self.call.config
        self.option("rms_scaling", False)
        self.option("axis", [-1], -1, [2], 2, [1] if self.pooled else [-1])
        argument = self.one()
        v = self.vector(argument)
        n = self.width(v)
        gain = self.tensor("", 0, n) if c.get("scale", True) else np.ones(n, np.float32)
        bias = np.zeros(n, np.float32)
        if c.get("center", True):
            bias = self.tensor("", int(bool(c.get("scale", True))), n)
        eps = float(c.get("epsilon", 1e-3))
        if not 0 <= eps < 1:
            raise self.refusal(f"epsilon is {eps}", "a small positive number")
        within = v.name == "x" and self.alone(argument)
        out = "x" if within else f"{len(self.nodes)}.n"
        self.nodes.append(LayerNorm(v.name, out, gain, bias, eps))
        return self.change() if within else _Vector(out, self.version)

    def width(self, v: _Vector) -> int:
        """Elements of a value."""
        for node in reversed(self.nodes):
            if getattr(node, "out", None) == v.name:
                if isinstance(node, Embedding):
                    return int(node.weight.shape[1])
                if isinstance(node, LayerNorm | Linear):
                    return len(node.gain if isinstance(node, LayerNorm) else node.weight)
        return 0  # of an activation: any

    def sum(self) -> Value:
        c = self.call
        terms = c.args[0] if len(c.args) == 1 and isinstance(c.args[0], list) else c.args
        terms = [*terms, *(v for v in c.kwargs.values() if v is not None)]
        values = [self.values[self.key(t)] if isinstance(t, Ref) else t for t in terms]
        if len(values) < 2:
            raise self.refusal("a sum of one thing", "two or more")
        if any(isinstance(v, _Index) for v in values):
            return self.shifted(values, 1)
        if any(isinstance(v, _Vector) for v in values):
            return self.residual(terms)
        rows = _Rows()
        for v in values:
            if isinstance(v, np.ndarray):
                v = self.constant(v)
            if not isinstance(v, _Rows) or v.made or v.token is not None is not rows.token:
                raise self.refusal("a sum of something else", "embeddings, or a residual")
            rows.token = v.token if rows.token is None else rows.token
            if v.position is not None:
                before = rows.position
                n = min(len(p) for p in (v.position, before) if p is not None)
                rows.position = v.position[:n] if before is None else v.position[:n] + before[:n]
        return rows

    def constant(self, v: Array) -> _Rows:
        """A table of positions that the file has among the arguments."""
        if v.ndim not in (2, 3) or v.ndim == 3 and len(v) != 1:
            raise self.refusal(f"a constant of shape {v.shape}", "(positions, dimensions)")
        return _Rows(position=np.ascontiguousarray(v.reshape(v.shape[-2:]), np.float32))

    def shifted(self, values: list[Any], sign: int) -> Value:
        """Positions and a whole number: their sum, or their difference."""
        if len(values) != 2 or not isinstance(values[0], _Index) or type(values[1]) is not int:
            raise self.refusal("arithmetic of positions", "positions and a whole number")
        return _Index(values[0].slope, values[0].start + sign * values[1])

    def residual(self, terms: list[Any]) -> Value:
        """x with the outputs of linears added."""
        found = [self.values[self.key(t)] for t in terms]
        linears = [v for v in found if isinstance(v, _Vector) and v.last is not None]
        base = [t for t, v in zip(terms, found, strict=True) if v not in linears]
        if len(base) != 1 or not linears:
            raise self.refusal(
                f"a sum with {len(base)} residuals",
                "one residual, and what a Dense or an attention makes",
            )
        self.x(base[0])
        for t, v in zip(terms, found, strict=True):
            if isinstance(v, _Vector) and v.last is not None:
                if v.end or not self.alone(t):
                    raise self.refusal("a term that others use", "one that is only added")
                self.fresh(v)
                self.nodes += [v.last, Add("x", v.name)]
        return self.change()

    def product(self) -> Value:
        """An embedding times a number."""
        values = [self.values[self.key(a)] if isinstance(a, Ref) else a for a in self.call.args]
        rows = next((v for v in values if isinstance(v, _Rows)), None)
        scale: Any = next((v for v in values if v is not rows), None)
        if self.call.kind == "Rescaling":
            self.option("offset", 0.0, 0)
            scale = self.call.config["scale"]
        if isinstance(scale, np.ndarray) and scale.size == 1:
            scale = float(scale.reshape(()))
        good = isinstance(scale, int | float) and not isinstance(scale, bool)
        if rows is None or rows.made or not good or not self.alone(self.one()):
            raise self.refusal("a product of something else", "an embedding times a number")
        if self.call.kind in ("Divide", "TrueDivide"):
            scale = 1 / scale

        def scaled(t: Array | None) -> Array | None:
            return None if t is None else (t * np.float64(scale)).astype(np.float32)

        return _Rows(scaled(rows.token), scaled(rows.position))

    def difference(self) -> Value:
        terms = self.call.args
        return self.shifted(
            [self.values[self.key(t)] if isinstance(t, Ref) else t for t in terms], -1
        )

    def like(self) -> Value:
        """ones_like or zeros_like of the tokens."""
        if not isinstance(self.values[self.key(self.one())], _Tokens | _Index):
            raise self.refusal("of no tokens", "ones_like and zeros_like of the tokens")
        return _Index(0, int(self.call.kind == "OnesLike"))

    def running_sum(self) -> Value:
        """cumsum of a constant."""
        self.option("axis", -1, 1)
        value = self.values[self.key(self.one())]
        if not isinstance(value, _Index) or value.slope:
            raise self.refusal("of something else", "cumsum of ones_like(tokens)")
        return _Index(value.start, value.start)

    def mean(self) -> Value:
        if self.call.kind == "Mean":
            self.option("axis", 1, [1], -2, [-2])
        else:
            self.option("data_format", "channels_last")
        if self.call.kwargs.get("mask") is not None:
            raise self.refusal("a mask", "none: texts are not padded")
        return self.pool("mean")

    def item(self) -> Value:
        """x[:, 0] or x[:, -1]."""
        where = self.call.args[1] if len(self.call.args) == 2 else self.call.kwargs.get("key")
        everything = {"start": None, "stop": None, "step": None}
        places = {0: "first", -1: "last"}
        if (
            not isinstance(where, list)
            or not 2 <= len(where) <= 3
            or where[0] != everything
            or where[2:] not in ([], [everything])
            or type(where[1]) is not int
            or where[1] not in places
        ):
            raise self.refusal("a part of a tensor", "[:, 0] and [:, -1]")
        return self.pool(places[where[1]])

    def pool(self, how: str) -> Value:
        argument = Ref(next(self.call.inputs()))
        if self.pooled:
            raise self.refusal("a second pooling", "one")
        self.x(argument)
        self.nodes.append(Pool("x", how))
        self.pooled = True
        return self.change()

    def flat(self) -> Value:
        if not self.pooled:
            raise self.refusal("all positions together", "it behind a pooling of them")
        return self.values[self.key(self.one())]


_LOWER: dict[str, Callable[[_Reader], Value]] = {
    "InputLayer": _Reader.input_layer,
    "TextVectorization": _Reader.text,
    "Embedding": _Reader.embedding,
    "PositionEmbedding": _Reader.position_embedding,
    "MultiHeadAttention": _Reader.attention,
    "Dense": _Reader.dense,
    "LayerNormalization": _Reader.norm,
    "Add": _Reader.sum,
    "Activation": _Reader.activation,
    "ReLU": _Reader.activation,
    "Relu": _Reader.activation,
    "Gelu": _Reader.activation,
    "Silu": _Reader.activation,
    "Tanh": _Reader.activation,
    "Softmax": _Reader.activation,
    "Sigmoid": _Reader.activation,
    "GlobalAveragePooling1D": _Reader.mean,
    "Mean": _Reader.mean,
    "GetItem": _Reader.item,
    "Flatten": _Reader.flat,
    "Multiply": _Reader.product,
    "Divide": _Reader.product,
    "TrueDivide": _Reader.product,
    "Rescaling": _Reader.product,
    "Subtract": _Reader.difference,
    "OnesLike": _Reader.like,
    "ZerosLike": _Reader.like,
    "Cumsum": _Reader.running_sum,
}
