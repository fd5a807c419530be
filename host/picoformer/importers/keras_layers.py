"""The layers of Keras, each as what it makes of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.nodes import Add, Array, Attention, Gate, LayerNorm, Linear, Pool
from ..tokenizers.words import Words
from .keras_file import Ref
from .keras_frames import FrameLayers
from .keras_values import Index, Rows, Signal, Steps, Text, Tokens, Value, Vector

_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "silu": "silu", "swish": "silu", "tanh": "tanh"}
_NUMBERS = "int", "uint", "float", "bfloat"  # what types of tensors begin with
_LAST = "softmax", "sigmoid"  # which may end a model: the logits in front of them come out


class Layers(FrameLayers):
    """A method for each kind of layer: it reads the arguments of `call` and returns its value."""

    def input_layer(self) -> Value:
        shape = self.call.config.get("batch_shape") or [None]
        if self.call.config.get("dtype") == "string":
            return Text()
        if len(shape) in (3, 4) and str(self.call.config.get("dtype")).startswith(_NUMBERS):
            return self.signal(shape)
        # Floats are Keras's default: an Embedding makes whole numbers of them.
        if len(shape) != 2 or not str(self.call.config.get("dtype")).startswith(_NUMBERS):
            raise self.refusal(
                f"shape {shape} of {self.call.config.get('dtype')}",
                "token ids: Input((length,)), or a signal: Input((length, channels))",
            )
        if shape[1] is not None:
            self.lengths.append((int(shape[1]), f"the input {self.call.name!r}"))
        return Index(1, 0) if "pos" in self.call.name.lower() else Tokens()

    def text(self) -> Value:
        """TextVectorization, which becomes the tokenizer."""
        c = self.call.config
        if not isinstance(self.values[self.key(self.one())], Text):
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
        return Tokens()

    def embedding(self) -> Value:
        self.plain()
        table = self.tensor("", 0, 0, 0)
        value = self.values[self.key(self.one())]
        if isinstance(value, Tokens):
            self.vocab = len(table)
            return Rows(token=table)
        if isinstance(value, Index) and value.slope == 1 and 0 <= value.start < len(table):
            return Rows(position=table[value.start :])
        raise self.refusal("it takes neither tokens nor positions", "these")

    def position_embedding(self) -> Value:
        if self.call.kwargs.get("start_index") or self.call.args[1:]:
            raise self.refusal("start_index", "positions from 0 on")
        return Rows(position=self.tensor("", 0, 0, 0))

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
        masks = "query_mask", "value_mask", "key_mask"
        if len(c.args) > 4 or any(given.get(n) is not None for n in masks):
            raise self.refusal("a mask", "use_causal_mask=True, or none")
        masked = self.causal(c.args[3] if len(c.args) == 4 else given.get("attention_mask"))
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
        causal = masked or bool(given.get("use_causal_mask"))
        self.nodes.append(Attention(q, k, v, o, heads, heads, size, causal=causal))
        weight = self.tensor("output_dense/", 0, heads, size, 0)
        bias = self.tensor("output_dense/", 1, weight.shape[2]) if biased else None
        made = Vector(o, self.version)
        return Vector(
            y, self.version, self.linear(made, y, weight.reshape(heads * size, -1).T, bias)
        )

    def causal(self, mask: Any) -> bool:
        """Whether a mask, of constants, hides what follows; one that hides nothing is none."""
        if mask is None:
            return False
        n = np.shape(mask)[-1] if isinstance(mask, np.ndarray) and mask.ndim > 1 else 0
        if n and mask.size == n * n:
            square = mask.reshape(n, n) != 0
            causal = np.array_equal(square, np.tril(np.ones((n, n), bool)))
            if causal or square.all():
                self.lengths.append((n, f"the mask of {self.call.name!r}"))
                return causal
        raise self.refusal("a mask", "use_causal_mask=True, constants of that, or none")

    def cast(self) -> Value:
        """Another type of numbers, which changes neither tokens nor positions."""
        dtype = self.call.config.get("dtype")
        argument = self.one()
        value = self.values[self.key(argument)]
        how = [a for a in (*self.call.args[1:], *self.call.kwargs.values()) if isinstance(a, str)]
        dtype = how[0] if how else dtype
        dtype = dtype.get("config", {}).get("name") if isinstance(dtype, dict) else dtype
        if not isinstance(value, Tokens | Index) or not str(dtype).startswith(_NUMBERS):
            raise self.refusal(f"of something else, to {dtype}", "numbers of tokens or positions")
        return value

    def dense(self) -> Value:
        value = self.values[self.key(self.one())]
        if isinstance(value, Signal):
            return self.dense_of(value)
        self.plain()
        x = self.vector(self.one())
        weight = self.tensor("", 0, 0, 0).T
        bias = self.tensor("", 1, len(weight)) if self.call.config.get("use_bias", True) else None
        out = f"{len(self.nodes)}.d"
        made = Vector(out, self.version, self.linear(x, out, weight, bias))
        return self.activated(made, self.call.config.get("activation"))

    def activated(self, v: Vector, how: Any) -> Vector:
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
        return Vector(v.name + "a", self.version)

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
        if not isinstance(value, Vector) or not self.alone(argument):
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
        return self.change() if within else Vector(out, self.version)

    def sum(self) -> Value:
        c = self.call
        terms = c.args[0] if len(c.args) == 1 and isinstance(c.args[0], list) else c.args
        terms = [*terms, *(v for v in c.kwargs.values() if v is not None)]
        values = [self.values[self.key(t)] if isinstance(t, Ref) else t for t in terms]
        if len(values) < 2:
            raise self.refusal("a sum of one thing", "two or more")
        if any(isinstance(v, Signal) for v in values):
            return self.arithmetic(terms)
        if any(isinstance(v, Index) for v in values):
            return self.shifted(values, 1)
        if any(isinstance(v, Vector) for v in values):
            return self.residual(terms)
        rows = Rows()
        for v in values:
            if isinstance(v, np.ndarray):
                v = self.constant(v)
            if not isinstance(v, Rows) or v.made or v.token is not None is not rows.token:
                raise self.refusal("a sum of something else", "embeddings, or a residual")
            rows.token = v.token if rows.token is None else rows.token
            if v.position is not None:
                before = rows.position
                n = min(len(p) for p in (v.position, before) if p is not None)
                rows.position = v.position[:n] if before is None else v.position[:n] + before[:n]
        return rows

    def constant(self, v: Array) -> Rows:
        """A table of positions that the file has among the arguments."""
        if v.ndim not in (2, 3) or v.ndim == 3 and len(v) != 1:
            raise self.refusal(f"a constant of shape {v.shape}", "(positions, dimensions)")
        return Rows(position=np.ascontiguousarray(v.reshape(v.shape[-2:]), np.float32))

    def shifted(self, values: list[Any], sign: int) -> Value:
        """Positions and a whole number: their sum, or their difference."""
        n = values[1] if len(values) == 2 and isinstance(values[1], int | float) else None
        if not isinstance(values[0], Index) or isinstance(n, bool | None) or n != int(n):
            raise self.refusal("arithmetic of positions", "positions and a whole number")
        return Index(values[0].slope, values[0].start + sign * int(n))

    def residual(self, terms: list[Any]) -> Value:
        """x with the outputs of linears added."""
        found = [self.values[self.key(t)] for t in terms]
        linears = [v for v in found if isinstance(v, Vector) and v.last is not None]
        base = [t for t, v in zip(terms, found, strict=True) if v not in linears]
        if len(base) != 1 or not linears:
            raise self.refusal(
                f"a sum with {len(base)} residuals",
                "one residual, and what a Dense or an attention makes",
            )
        self.x(base[0])
        for t, v in zip(terms, found, strict=True):
            if isinstance(v, Vector) and v.last is not None:
                if v.end or not self.alone(t):
                    raise self.refusal("a term that others use", "one that is only added")
                self.fresh(v)
                self.nodes += [v.last, Add("x", v.name)]
        return self.change()

    def product(self) -> Value:
        """An embedding times a number; a signal too."""
        values = [self.values[self.key(a)] if isinstance(a, Ref) else a for a in self.call.args]
        signal = next((v for v in values if isinstance(v, Signal)), None)
        if signal is not None:
            rescaled = self.call.kind == "Rescaling"
            return self.rescaling(signal) if rescaled else self.arithmetic(self.call.args)
        rows = next((v for v in values if isinstance(v, Rows)), None)
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

        token = rows.token
        if isinstance(token, Linear):
            token = replace(token, weight=token.weight * scale, bias=scaled(token.bias))
        else:
            token = scaled(token)
        return Rows(token, scaled(rows.position))

    def difference(self) -> Value:
        terms = self.call.args
        if any(isinstance(self.values[k], Signal) for k in map(self.root_of, self.call.inputs())):
            return self.arithmetic(terms)
        return self.shifted(
            [self.values[self.key(t)] if isinstance(t, Ref) else t for t in terms], -1
        )

    def like(self) -> Value:
        """ones_like or zeros_like of the tokens, or of a number of each position."""
        if not isinstance(self.values[self.key(self.one())], Tokens | Steps | Index):
            raise self.refusal("of no tokens", "ones_like and zeros_like of the tokens")
        return Index(0, int(self.call.kind == "OnesLike"))

    def running_sum(self) -> Value:
        """cumsum of a constant."""
        self.option("axis", -1, 1)
        value = self.values[self.key(self.one())]
        if not isinstance(value, Index) or value.slope:
            raise self.refusal("of something else", "cumsum of ones_like(tokens)")
        return Index(value.start, value.start)

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
        if (steps := self.steps(where)) is not None:
            return steps
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


LAYERS: dict[str, Callable[[Layers], Value]] = {
    "InputLayer": Layers.input_layer,
    "TextVectorization": Layers.text,
    "Embedding": Layers.embedding,
    "PositionEmbedding": Layers.position_embedding,
    "MultiHeadAttention": Layers.attention,
    "Dense": Layers.dense,
    "LayerNormalization": Layers.norm,
    "Add": Layers.sum,
    "Activation": Layers.activation,
    "ReLU": Layers.activation,
    "Relu": Layers.activation,
    "Gelu": Layers.activation,
    "Silu": Layers.activation,
    "Tanh": Layers.activation,
    "Softmax": Layers.activation,
    "Sigmoid": Layers.activation,
    "GlobalAveragePooling1D": Layers.mean,
    "Mean": Layers.mean,
    "GetItem": Layers.item,
    "Flatten": Layers.flat,
    "Multiply": Layers.product,
    "Divide": Layers.product,
    "TrueDivide": Layers.product,
    "Rescaling": Layers.product,
    "Subtract": Layers.difference,
    "OnesLike": Layers.like,
    "ZerosLike": Layers.like,
    "Cumsum": Layers.running_sum,
    "Cast": Layers.cast,
    "Normalization": Layers.normalization,
    "BatchNormalization": Layers.normalization,
    "Conv1D": Layers.convolution,
    "Conv2D": Layers.convolution,
    "Reshape": Layers.reshape,
    "ExpandDims": Layers.axis,
}
