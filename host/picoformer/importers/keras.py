"""Keras 3 models saved as .keras: functional and sequential ones, without Keras and its code.

The calls of the layers are walked from the inputs to the outputs, and each becomes nodes; one that
cannot is named in the error, with what is supported.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import Error
from ..graph.nodes import Array, Attention, Graph, Linear, Pool
from ..tokenizers.words import Words
from .description import Description, two_classes
from .keras_file import MALFORMED
from .keras_layers import LAYERS, Layers
from .keras_values import Rows, Value, Vector

_FIELDS = "labels", "background", "bos", "eos", "context", "output", "task", "input"
_TASKS = {name: name for name in ("classify", "predict")}
_OUTPUT = "layer", "mean", "std", "names"
_DOCS = "docs/convert.md shows how a model is written that can be read"


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


class _Reader(Layers):
    def graph(self) -> Graph:
        kind = self.root.get("class_name")
        if kind not in ("Functional", "Sequential"):
            raise Error(
                f"{self.path}: the model is of class {kind}, whose code the file does not have; "
                f"supported: functional and sequential models ({_DOCS})"
            )
        outputs = self.flatten(self.root, "")
        names = [key[0].partition(":")[2] for key in outputs]
        wanted = self.given.get("output")
        if isinstance(wanted, dict):
            wanted = self.given.within("output", wanted, _OUTPUT).get("layer")
        if wanted is None and len(names) == 1:
            wanted = names[0]
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
            lower = LAYERS.get(self.call.kind)
            if lower is None:
                raise self.refusal("it cannot be converted", ", ".join(LAYERS) + " and dropouts")
            for at in self.taken(key):
                self.uses[at] -= 1
            value = self.values[key] = lower(self)
            if isinstance(value, Vector):
                self.makers[value.name] = self.call.name
        return self.finish(self.values[output])

    def finish(self, value: Value) -> Graph:
        if isinstance(value, Rows):
            value = self.put(value)
        if not isinstance(value, Vector):
            raise self.refusal("the output is made of no embedding", "what attention makes")
        task, labels = self.head(value)
        if self.given.get("input") is not None and not self.frames:
            raise self.given.refusal("input", self.given.get("input"), "none: it reads tokens")
        self.check_last()
        graph = Graph(
            self.nodes,
            self.vocab,
            self.context(),
            task=task,
            labels=labels,
            frames=self.frames,
            meta={
                "name": self.path.stem,
                "source": f"Keras model {self.path.name}",
                "architecture": "transformer",
            },
        )
        self.given.background(graph)
        graph.bos, graph.ends = self.given.specials(graph)
        return graph

    def head(self, value: Vector) -> tuple[str, list[str]]:
        """Put down what makes the result; returns the task, and the labels."""
        told = self.given.get("task")
        task = self.given.choice("task", _TASKS, "classify")
        if value.last is None:
            if told is not None:
                raise self.given.refusal("task", told, "none: the model has no Dense at its end")
            if self.pooled and value.name == "x":
                self.fresh(value)
                return "embed", []
            raise self.refusal(
                "the model ends here", "a Dense at the end, or for an embedding the mean"
            )
        weight, bias, labels = value.last.weight, value.last.bias, list[str]()
        if not self.pooled:
            self.written(value, len(weight))
            task = "generate"
        elif task == "predict":
            if value.end:
                raise self.refusal(f"{value.end} of what is predicted", "no activation")
            weight, bias, labels = self.given.predicted(weight, bias, _OUTPUT)
        else:
            weight, bias, labels = self.classes(value, weight, bias)
        self.fresh(value)
        self.nodes.append(Linear(value.last.x, "logits", weight, value.last.name, bias))
        return task, labels

    def classes(
        self, value: Vector, weight: Array, bias: Array | None
    ) -> tuple[Array, Array | None, list[str]]:
        """The last linear of a classifier, and its labels. Raises Error."""
        if isinstance(self.given.get("output"), dict):
            self.given.within("output", self.given.get("output"), _OUTPUT[:1])
        if len(weight) == 1 and (value.end == "sigmoid" or self.given.get("labels")):
            weight, bias = two_classes(weight, bias)
        elif value.end == "sigmoid" or len(weight) == 1:
            raise self.refusal(
                f"{len(weight)} outputs, {value.end or 'no activation'}",
                "a probability (sigmoid) of two classes, or a softmax of classes; a regression "
                f'has "task": "predict" in {self.path.with_suffix(".json").name}',
            )
        return weight, bias, self.given.classes(len(weight))

    def written(self, value: Vector, units: int) -> None:
        """Raise Error unless a result at each position is what a writer of texts makes."""
        if self.given.get("task") is not None:
            raise self.given.refusal(
                "task", self.given.get("task"), "none: the model pools no positions"
            )
        if self.frames:
            raise self.refusal("a result at each position of a signal", "a pooling in front of it")
        if value.end == "sigmoid":
            raise self.refusal("sigmoid at each position", "softmax")
        if not all(n.causal for n in self.nodes if isinstance(n, Attention)):
            raise Error(
                f"{self.path}: the model has a result at each position, but attention that looks "
                "ahead; supported: use_causal_mask=True in all, or a pooling of the positions"
            )
        if units != self.vocab:
            raise self.refusal(f"{units} units", f"{self.vocab}, the vocabulary's size")

    def context(self) -> int:
        """Positions. Raises Error where nothing tells them, or there are fewer than told."""
        given = self.given.get("context")
        if self.frames:
            if given is not None:
                raise self.given.refusal("context", given, "none: the input's length tells it")
            self.lengths.append((self.frames.positions(self.frames.length), "the signal"))
        elif given is not None:
            self.lengths.append((self.given.number("context"), "context"))
        if not self.lengths:
            raise Error(
                f'{self.path}: the number of positions is not told; write "context": N in '
                f"{self.path.with_suffix('.json').name}"
            )
        n, what = min(self.lengths)
        if given is not None and given > n:
            raise Error(f"{self.given.path}: context is {given}, but {what} has {n}")
        windows = self.lengths[-1][0]
        if self.frames and n < windows:
            raise Error(f"{self.path}: the signal makes {windows} positions, but {what} has {n}")
        return n

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
