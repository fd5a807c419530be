"""State dicts of plain PyTorch: nn.TransformerEncoder, nn.TransformerDecoder, nn.Transformer.

The file tells the sizes and where biases and norms are; a description beside it (Description)
what a state dict cannot tell. The modules around the layers are found by their shapes and usual
names, or named in the description.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import Error
from ..graph.nodes import Array, Graph, Node, Pool
from .description import ACTIVATIONS, POOLED, POOLING, TASKS, Description
from .pytorch_embeddings import find_embeddings, find_positions, may_embed, scaled
from .pytorch_frames import embed_signal, reads_frames
from .pytorch_head import add_head
from .pytorch_image import embed_image
from .pytorch_layers import LAYER, Layers, no_layers
from .pytorch_modules import Modules, State, some
from .translator import Shape, arrange

_FIELDS = (
    "task",
    "nhead",
    "norm_first",
    "activation",
    "layer_norm_eps",
    "embedding_scale",
    "positions",
    "context",
    "causal",
    "pooling",
    "labels",
    "background",
    "bos",
    "eos",
    "image",
    "input",
    "output",
    "modules",
    "unused",
)


def read(path: Path, config: str | Path | None = None) -> Graph:
    """The graph of a state dict (.pt, .pth or .safetensors). Raises Error.

    config: its description, by default the file beside it of the same name that ends in .json.
    """
    needed = '"task" ("generate", "classify", "embed", "predict" or "translate") and "nhead"'
    state = State(path)
    if not any(LAYER.match(name) for name in state.stored):
        raise no_layers(state)  # which no description changes
    given = Description(path, config, _FIELDS, needed)
    task = given.choice("task", TASKS, "")
    if task != "predict" and given.get("output") is not None:
        raise given.refusal("output", given.get("output"), "none where the task is " + task)
    modules = Modules(state, given)
    layers = Layers(modules, task == "translate")
    shape = _shape(layers, task)
    made = Graph([], 1, 1, task=task, meta={"architecture": "transformer"})
    start, stored, positions = _front(modules, layers, shape, made)
    tables = scaled(stored, given, layers.dim)
    made.encoder, nodes, last = arrange(shape, layers.linear, layers.norm, tables, positions)
    made.nodes = start + nodes
    if shape.within:
        if given.get("pooling") is None:
            raise given.refusal("pooling", None, ", ".join(POOLING))
        made.nodes.append(Pool("x", given.choice("pooling", POOLING, "")))
    if task != "embed":
        add_head(modules, made, last, stored[-1] if stored else None, shape.eps)
    given.background(made)
    modules.check_used()
    if not made.image and not made.frames:
        made.bos, made.ends = given.specials(made)
    if task == "translate" and made.bos < 0:
        raise given.refusal("bos", made.bos, "the token that a translation begins with")
    made.meta.update(name=path.stem, source=f"PyTorch state dict {path.name}")
    return made


def _shape(layers: Layers, task: str) -> Shape:
    """The shape of the layers, as the file and the description tell it. Raises Error."""
    given = layers.modules.given
    heads = given.number("nhead")
    given.head_size(layers.dim, heads)
    eps = given.real("layer_norm_eps", 1e-5)
    hidden = layers.hidden()
    pooled = task in POOLED
    if not pooled and given.get("pooling") is not None:
        raise given.refusal("pooling", given.get("pooling"), "none where the task is " + task)
    causal = given.flag("causal", task in ("generate", "translate"))
    if not pooled and not causal:
        raise given.refusal("causal", False, f"true where the task is {task!r}")
    return Shape(
        layers.dim,
        tuple(layers.counts[s] for s in layers.stacks),
        tuple(heads for _ in layers.stacks),
        hidden,
        given.choice("activation", ACTIVATIONS, "relu"),
        eps,
        pre=given.flag("norm_first"),
        first=bool(layers.modules.named("embedding_norm")),
        last=tuple(bool(layers.last(part)) for part in layers.parts),
        causal=causal,
        within=pooled,
    )


def _front(
    modules: Modules, layers: Layers, shape: Shape, made: Graph
) -> tuple[list[Node], list[Array], list[Array | None]]:
    """What is in front of the layers: (nodes of an image or a signal, embeddings, positions).

    Tells the graph its context, and its vocabulary, its image or its frames.
    """
    dim, count, given = layers.dim, len(layers.stacks), modules.given
    # The layers' own tensors are taken first, so that what is left is around them.
    arrange(shape, layers.linear, layers.norm, (), [None] * count)
    fronts = [n for n in ("image", "input") if given.get(n) is not None]
    if len(fronts) == 2:
        raise Error(f"{given.path} has an image and an input; expected one of them")
    if fronts:
        embed = embed_image if fronts == ["image"] else embed_signal
        start, made.context = embed(modules, made, dim)
        return start, [], [None]
    if not may_embed(modules, dim) and not modules.named("embedding"):
        raise _no_embedding(modules, dim)
    positions, made.context = find_positions(modules, dim, count)
    stored = find_embeddings(modules, dim, count)
    made.vocab = len(stored[-1])
    if len(stored[0]) != made.vocab:
        raise Error(
            f"{modules.state.path}: embeddings of {len(stored[0])} tokens that are read and of "
            f"{made.vocab} that are written; supported: one vocabulary for both"
        )
    return [], stored, positions


def _no_embedding(m: Modules, dim: int) -> Error:
    """The error for a model that reads no tokens, as far as its tensors tell."""
    found = reads_frames(m, dim)
    seen = f" (as {some(found)} may do)" if found else ""
    return Error(
        f"{m.state.path}: nothing looks like the embedding; name it in {m.given.path.name}, as "
        f'"modules": {{"embedding": NAME}}. If the model reads frames of numbers{seen}, describe '
        'them with "input": {"length": ROWS, "channels": N}; if it reads images, with "image"'
    )
