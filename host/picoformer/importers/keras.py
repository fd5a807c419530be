"""Keras 3 models saved as .keras: functional and sequential ones, without Keras and its code.

The calls of the layers are walked from the inputs to the outputs, and each becomes nodes; one that
cannot is named in the error, with what is supported.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import Error
from ..graph.nodes import (
    Attention,
    Graph,
    Linear,
    Pool,
)
from ..tokenizers.words import Words
from .description import Description, two_classes
from .keras_file import MALFORMED
from .keras_layers import LAYERS, Layers
from .keras_values import Rows, Value, Vector

_FIELDS = "labels", "bos", "eos", "context", "output"
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
        graph.bos, graph.ends = self.given.specials(graph)
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
