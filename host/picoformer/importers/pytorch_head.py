"""The head of a PyTorch model: the linears, norms and activations that make its logits."""

from __future__ import annotations

from ..errors import Error
from ..graph.nodes import Array, Gate, Graph, LayerNorm, Linear, Pool
from .description import ACTIVATIONS, two_classes
from .pytorch_modules import Modules

_IN_HEAD = {**ACTIVATIONS, "tanh": "tanh"}


def add_head(m: Modules, made: Graph, x: str, table: Array | None, eps: float) -> None:
    """Add what makes the logits of x. Raises Error.

    table: the embedding, for a head that is tied to it. eps: of its norms.
    """
    texts = made.task not in ("classify", "predict")
    names = m.head_names()
    if not names:
        found = m.of_rank(2)
        if not found and texts and table is not None:
            made.nodes.append(_tied(m, x, table))
            return
        names = [m.pick("head", found)]
    for i, name in enumerate(names):
        out = "logits" if i == len(names) - 1 else f"head{i}"
        shape = m.state.shape(name + ".weight")
        if name in _IN_HEAD and not shape:
            if i == 0 or not isinstance(made.nodes[-1], Linear) or out == "logits":
                raise Error(
                    f"{m.given.path}: modules.head has {name} where no two linears are around it"
                )
            made.nodes.append(Gate(x, None, out, _IN_HEAD[name]))
        elif not shape:
            raise Error(
                f"{m.given.path}: modules.head has {name!r}, which has no tensors; "
                f"activations go by their names: {', '.join(_IN_HEAD)}"
            )
        elif len(shape) == 1:
            made.nodes.append(LayerNorm(x, out, *m.state.norm(name, 0), eps))
        else:
            made.nodes.append(_linear(m, x, out, name, made, out == "logits"))
        x = out
    if not isinstance(made.nodes[-1], Linear):
        raise Error(f"{m.given.path}: the head {', '.join(names)} does not end in a linear")
    if made.task == "classify":
        made.labels = m.given.classes(len(made.nodes[-1].weight))


def _tied(m: Modules, x: str, table: Array) -> Linear:
    """A head that is the embedding, stored once; its bias, if any, is all that is left."""
    biases = [n for n in m.state.left() if m.state.shape(n) == (len(table),)]
    bias = m.state.get(biases[0], len(table)) if len(biases) == 1 else None
    return Linear(x, "logits", table, "embedding", bias)


def _linear(m: Modules, x: str, out: str, name: str, made: Graph, last: bool) -> Linear:
    """A linear of the head; the last one's outputs are classes, or numbers that are predicted."""
    weight = m.state.get(name + ".weight", 0, 0)
    bias = m.state.biased(name, len(weight))
    at, given = len(made.nodes) - 1, m.given
    pooled = made.nodes and isinstance(made.nodes[at], Pool)
    if pooled and weight.shape[1] == made.context * _width(made, x) and made.context > 1:
        raise Error(
            f"{m.state.path}: {name} reads all {made.context} positions side by side; supported: "
            "their mean, the first or the last"
        )
    if last and made.task == "predict":
        weight, bias, made.labels = given.predicted(weight, bias)
    elif last and made.task == "classify" and len(weight) == 1:
        if not given.get("labels"):
            raise Error(
                f"{m.state.path}: {name} has one output; for a regression write \"task\": "
                f"\"predict\" in {given.path.name}; where its sigmoid is a probability, name both "
                "classes in 'labels' there, the one of 0 first"
            )
        weight, bias = two_classes(weight, bias)
    return Linear(x, out, weight, name + ".weight", bias)


def _width(made: Graph, x: str) -> int:
    """Elements of a value."""
    return made.sizes().get(x, 0)
