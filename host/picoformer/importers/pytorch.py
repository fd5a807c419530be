"""State dicts of plain PyTorch: nn.TransformerEncoder, nn.TransformerDecoder, nn.Transformer.

The file tells the sizes and where biases and norms are; a description beside it (Description)
what a state dict cannot tell. The modules around the layers are found by their shapes and usual
names, or named in the description.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import Error
from ..graph.nodes import Array, Gate, Graph, LayerNorm, Linear, Node, Pool
from .checkpoint import KINDS, expect_shape, read_tensors
from .description import POOLING, TASKS, Description, two_classes
from .translator import Shape, arrange
from .vit import embed_patches, normalized

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
    "bos",
    "eos",
    "image",
    "modules",
    "unused",
)
_MODULES = (
    "embedding",
    "source_embedding",
    "positions",
    "source_positions",
    "embedding_norm",
    "encoder",
    "decoder",
    "norm",
    "head",
    "patches",
    "class_token",
)
_IMAGE = "height", "width", "channels", "patch", "mean", "std", "order"
_ACTIVATIONS = {name: name for name in ("relu", "gelu", "gelu_tanh", "silu")}
_IN_HEAD = {**_ACTIVATIONS, "tanh": "tanh"}
_POSITIONS = {name: name for name in ("stored", "sinusoidal", "none")}
_ORDERS = {name: name for name in ("chw", "hwc")}

_LAYER = re.compile(r"^(?:(.+)\.)?(\d+)\.self_attn\.out_proj\.weight$")
# Buffers that a model keeps beside its weights.
_HARMLESS = re.compile(r"(^|[._])(\w*mask|tril|position_ids)$")
_ABOUT_POSITIONS = re.compile(r"pos|(^|[._])(pe|wpe)($|[._])", re.I)
_ABOUT_TOKENS = re.compile(r"emb|tok|word|wte|vocab", re.I)
_ABOUT_SOURCE = re.compile(r"src|source|enc", re.I)

# The graph's names of a layer's parts, and PyTorch's.
_NORMS = {"self": "norm1", "network": "norm2"}
_NORMS_OF_DECODER = {"self": "norm1", "cross": "norm2", "network": "norm3"}
_ATTENTION = {"self": "self_attn", "cross": "multihead_attn"}
_NETWORK = {"up": "linear1", "down": "linear2"}


class _State:
    """The tensors of a file, and which of them were asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stored = read_tensors(path)
        self._read: dict[str, Array] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.stored

    def shape(self, name: str) -> tuple[int, ...]:
        return self.stored[name].shape if name in self.stored else ()

    def get(self, name: str, *shape: int) -> Array:
        """A tensor in float32, the same object each time; a size of 0 may be any. Raises Error."""
        stored = self.stored.get(name)
        if stored is None:
            raise Error(f"{self.path} has no tensor {name}")
        expect_shape(f"{self.path}: {name}", stored.shape, shape)
        if stored.kind not in KINDS:
            raise Error(f"{self.path}: {name} is {stored.kind}; supported: {', '.join(KINDS)}")
        if name not in self._read:
            self._read[name] = stored.read()
        return self._read[name]

    def biased(self, name: str, n: int) -> Array | None:
        """The bias (n,) of a module, if it has one."""
        return self.get(name + ".bias", n) if name + ".bias" in self else None

    def drop(self, name: str) -> None:
        """Forget a module, or a parameter. Raises Error where there is none."""
        found = [n for n in self.stored if n == name or n.startswith(name + ".")]
        if not found:
            raise Error(f"{self.path} has no tensors of {name!r}, which 'unused' names")
        for key in found:
            del self.stored[key]

    def left(self) -> list[str]:
        """The tensors that were not asked for, masks aside."""
        return [n for n in self.stored if n not in self._read and not _HARMLESS.search(n)]


def read(path: Path, config: str | Path | None = None) -> Graph:
    """The graph of a state dict (.pt, .pth or .safetensors). Raises Error.

    config: its description, by default the file beside it of the same name that ends in .json.
    """
    needed = '"task" ("generate", "classify", "embed" or "translate") and "nhead"'
    return _Reader(_State(path), Description(path, config, _FIELDS, needed)).graph()


class _Reader:
    def __init__(self, state: _State, given: Description) -> None:
        self.state = state
        self.given = given
        self.task = given.choice("task", TASKS, "")
        for name in given.texts("unused"):
            state.drop(name)
        modules = given.get("modules", {})
        self.modules = given.within("modules", modules, _MODULES)
        stacks: dict[str, set[int]] = {}
        for name in state.stored:
            if match := _LAYER.match(name):
                stacks.setdefault(match[1] or "", set()).add(int(match[2]))
        if not stacks:
            raise Error(
                f"{state.path} has no layers of nn.TransformerEncoder, such as "
                f"layers.0.self_attn.out_proj.weight; seen: {_some(list(state.stored))}"
            )
        self.counts = {name: len(layers) for name, layers in stacks.items()}
        crossed = [s for s in stacks if f"{_prefix(s)}0.multihead_attn.out_proj.weight" in state]
        plain = [s for s in stacks if s not in crossed]
        self.stacks = [self.stack("encoder", plain)]
        if self.task == "translate":
            self.stacks.append(self.stack("decoder", crossed))
        out = state.shape(f"{_prefix(self.stacks[0])}0.self_attn.out_proj.weight")
        self.dim = out[0] if out else 0
        self.heads = given.number("nhead")
        given.head_size(self.dim, self.heads)
        self.eps = given.real("layer_norm_eps", 1e-5)

    # What is where

    def named(self, role: str) -> str:
        """The name that the description gives a module; "" if none."""
        v = self.modules.get(role)
        if v is not None and not isinstance(v, str):
            raise Error(f"{self.given.path}: modules.{role} is {v!r}, expected a module's name")
        return v or ""

    def pick(self, role: str, found: list[str]) -> str:
        """The module of a role: the one named, else the only one found. Raises Error."""
        if name := self.named(role):
            return name
        if len(found) != 1:
            names = '["fc1", "relu", "fc2"]' if role == "head" and found else "NAME"
            raise Error(
                f"{self.state.path}: {_some(found) if found else 'nothing'} may be the {role}; "
                f'name it in {self.given.path.name}, as "modules": {{"{role}": {names}}}'
            )
        return found[0]

    def stack(self, role: str, found: list[str]) -> str:
        """The list of a stack's layers."""
        name = self.pick(role, found)
        name = next((n for n in (name, f"{name}.layers") if n in self.counts), name)
        if name not in self.counts:
            raise Error(
                f"{self.state.path}: {name} has no layers; "
                f"those that have: {_some([*self.counts])}"
            )
        for i in range(self.counts[name]):
            if f"{_prefix(name)}{i}.self_attn.out_proj.weight" not in self.state:
                raise Error(f"{self.state.path}: {name} has no layer {i}")
        return name

    def tensor(self, name: str) -> str:
        """The name of a module's weight, or of a parameter."""
        return name if name in self.state else name + ".weight"

    def modules_of(self, rank: int) -> list[str]:
        """What is left and has a weight of `rank` dimensions."""
        ends = ".weight"
        return [
            n.removesuffix(ends)
            for n in self.state.left()
            if n.endswith(ends) and len(self.state.shape(n)) == rank
        ]

    # Parts

    def table(self, name: str) -> Array:
        """An embedding (rows, dim) or a buffer of that, with whatever sizes of 1 around."""
        key = self.tensor(name)
        shape = self.state.shape(key)
        if len([n for n in shape if n != 1]) != 2 or shape[-1] != self.dim:
            seen = f"shape {shape}" if shape else "no tensor"
            raise Error(f"{self.state.path}: {key} has {seen}, expected (rows, {self.dim})")
        return np.ascontiguousarray(self.state.get(key, *shape).reshape(-1, self.dim))

    def norm(self, name: str) -> tuple[Array, Array]:
        gain = self.state.get(name + ".weight", self.dim)
        bias = self.state.biased(name, self.dim)
        return gain, np.zeros(self.dim, np.float32) if bias is None else bias

    def layer(self, name: str) -> tuple[str, str, str]:
        """(what precedes its names, block, part) of "encoder.0.self.q" and its like."""
        part, layer, block, what = name.split(".")
        return f"{_prefix(self.stack_of(part))}{layer}.", block, what

    def stack_of(self, part: str) -> str:
        return self.stacks[part == "decoder"]

    def find_linear(self, name: str, rows: int, columns: int) -> tuple[Array, Array | None]:
        p, block, what = self.layer(name)
        if block == "network":
            p += _NETWORK[what]
            return self.state.get(p + ".weight", rows, columns), self.state.biased(p, rows)
        p += _ATTENTION[block] + "."
        if what == "out":
            p += "out_proj"
            return self.state.get(p + ".weight", rows, columns), self.state.biased(p, rows)
        at = "qkv".index(what) * rows
        if p + "in_proj_weight" in self.state:
            weight = self.state.get(p + "in_proj_weight", 3 * rows, columns)[at : at + rows]
        else:
            weight = self.state.get(f"{p}{what}_proj_weight", rows, columns)
        bias = None
        if p + "in_proj_bias" in self.state:
            bias = self.state.get(p + "in_proj_bias", 3 * rows)[at : at + rows]
        return weight, bias

    def find_norm(self, name: str) -> tuple[Array, Array]:
        part, layer, *_ = name.split(".")
        if layer == "first":
            return self.norm(self.named("embedding_norm"))
        if layer == "last":
            return self.norm(self.last(part))
        p, block, _ = self.layer(name)
        names = _NORMS_OF_DECODER if p + "norm3.weight" in self.state else _NORMS
        return self.norm(p + names[block])

    def last(self, part: str) -> str:
        """The norm behind a stack; "" if it has none."""
        name = self.named("norm") if len(self.stacks) == 1 else ""
        if not name:
            stack = self.stack_of(part)
            name = f"{_prefix(stack.rpartition('.')[0])}norm"
            # A list of layers is a module's of its own only where that calls it "layers".
            if stack.rpartition(".")[2] != "layers" or f"{name}.weight" not in self.state:
                return ""
        return name

    # The whole

    def graph(self) -> Graph:
        given, state, task = self.given, self.state, self.task
        hidden = []
        for stack in self.stacks:
            hidden.append(state.get(f"{_prefix(stack)}0.linear1.weight", 0, self.dim).shape[0])
        pooled = task in ("classify", "embed")
        if not pooled and given.get("pooling") is not None:
            raise given.refusal("pooling", given.get("pooling"), "none where the task is " + task)
        causal = given.flag("causal", task in ("generate", "translate"))
        if not pooled and not causal:
            raise given.refusal("causal", False, f"true where the task is {task!r}")
        shape = Shape(
            self.dim,
            tuple(self.counts[s] for s in self.stacks),
            tuple(self.heads for _ in self.stacks),
            tuple(hidden),
            given.choice("activation", _ACTIVATIONS, "relu"),
            self.eps,
            pre=given.flag("norm_first"),
            first=bool(self.named("embedding_norm")),
            last=tuple(
                bool(self.last(part)) for part in ("encoder", "decoder")[: len(self.stacks)]
            ),
            causal=causal,
            within=pooled,
        )
        made = Graph([], 1, 1, task=task, meta={"architecture": "transformer"})
        stored: list[Array] = []
        start: list[Node] = []
        if given.get("image") is not None:
            start, context = self.image(made)
            positions: list[Array | None] = [None]
        else:
            # The layers' own tensors are taken first, so that what is left is around them.
            arrange(shape, self.find_linear, self.find_norm, (), [None] * len(self.stacks))
            positions, context = self.positions()
            stored = self.embeddings()
            made.vocab = len(stored[-1])
            if len(stored[0]) != made.vocab:
                raise Error(
                    f"{state.path}: embeddings of {len(stored[0])} tokens that are read and of "
                    f"{made.vocab} that are written; supported: one vocabulary for both"
                )
        made.context = context
        scale = self.scale()
        tables = [t if scale == 1 else (t * np.float64(scale)).astype(np.float32) for t in stored]
        if len(tables) == 2 and stored[0] is stored[1]:
            tables[1] = tables[0]
        made.encoder, nodes, last = arrange(
            shape, self.find_linear, self.find_norm, tables, positions
        )
        made.nodes = start + nodes
        if pooled:
            if given.get("pooling") is None:
                raise given.refusal("pooling", None, ", ".join(POOLING))
            made.nodes.append(Pool("x", given.choice("pooling", POOLING, "")))
        if task != "embed":
            self.head(made, last, stored[-1] if stored else None)
        self.check_used()
        if not made.image:
            made.bos, made.eos = (given.token_of(n, made.vocab) for n in ("bos", "eos"))
        if task == "translate" and made.bos < 0:
            raise given.refusal("bos", made.bos, "the token that a translation begins with")
        made.meta.update(name=state.path.stem, source=f"PyTorch state dict {state.path.name}")
        return made

    def scale(self) -> float:
        """What embeddings are multiplied by."""
        if self.given.get("embedding_scale") == "sqrt":
            return float(np.sqrt(self.dim))
        return self.given.real("embedding_scale", 1.0)

    def positions(self) -> tuple[list[Array | None], int]:
        """(the tables of each stack, the context)."""
        given = self.given
        kind = given.choice("positions", _POSITIONS, "stored")
        count = len(self.stacks)
        if kind != "stored":
            context = given.number("context")
            made = sinusoids(context, self.dim) if kind == "sinusoidal" else None
            return [made] * count, context
        if given.get("context") is not None:
            raise given.refusal("context", given.get("context"), "none: the positions tell it")
        found = [n for n in self.state.left() if _ABOUT_POSITIONS.search(n)]
        names = [n.removesuffix(".weight") for n in found]
        if not names and not self.named("positions"):
            raise Error(
                f"{self.state.path}: no table of positions is found, such as pos_encoder.pe; "
                f'write "modules": {{"positions": NAME}} in {given.path.name}, or "positions": '
                '"sinusoidal" (or "none") and "context": N'
            )
        sources = [n for n in names if len(names) == 2 and _ABOUT_SOURCE.search(n)]
        targets = [n for n in names if n not in sources]
        tables = [self.table(self.pick("positions", targets))]
        if count == 2:
            if sources or self.named("source_positions"):
                tables.insert(0, self.table(self.pick("source_positions", sources)))
            else:
                tables.append(tables[0])
        return list(tables), min(map(len, tables))

    def embeddings(self) -> list[Array]:
        """The tables of each stack: one where both are the same."""
        # An embedding has no bias. A head that has none is told from it by its name.
        found = [
            n
            for n in self.modules_of(2)
            if n + ".bias" not in self.state
            and self.state.shape(n + ".weight")[1] == self.dim
            and not _ABOUT_POSITIONS.search(n)
            and n not in self.head_names()
        ]
        found = [n for n in found if _ABOUT_TOKENS.search(n)] or found
        sources = []
        if len(self.stacks) == 2 and len(found) == 2:
            sources = [n for n in found if _ABOUT_SOURCE.search(n)]
        table = self.table(self.pick("embedding", [n for n in found if n not in sources]))
        if len(self.stacks) == 1:
            return [table]
        if not sources and not self.named("source_embedding"):
            return [table, table]
        source = self.table(self.pick("source_embedding", sources))
        return [table if np.array_equal(source, table) else source, table]

    def head_names(self) -> list[str]:
        """The head's modules and activations, as far as the description names them."""
        v = self.modules.get("head", [])
        v = [v] if isinstance(v, str) else v
        if not isinstance(v, list) or not all(isinstance(n, str) for n in v):
            raise Error(f"{self.given.path}: modules.head is {v!r}, expected a list of names")
        return v

    def head(self, made: Graph, x: str, table: Array | None) -> None:
        """Add what makes the logits of x; table: the embedding, for a head that is tied to it."""
        state, texts = self.state, made.task != "classify"
        names = self.head_names()
        if not names:
            found = self.modules_of(2)
            if not found and texts and table is not None:
                # Tied, and stored once; its bias, if any, is all that is left.
                biases = [n for n in state.left() if state.shape(n) == (len(table),)]
                bias = state.get(biases[0], len(table)) if len(biases) == 1 else None
                made.nodes.append(Linear(x, "logits", table, "embedding", bias))
                return
            names = [self.pick("head", found)]
        for i, name in enumerate(names):
            out = "logits" if i == len(names) - 1 else f"head{i}"
            shape = state.shape(name + ".weight")
            if name in _IN_HEAD and not shape:
                if i == 0 or not isinstance(made.nodes[-1], Linear) or out == "logits":
                    raise Error(
                        f"{self.given.path}: modules.head has {name} where no two linears are "
                        "around it"
                    )
                made.nodes.append(Gate(x, None, out, _IN_HEAD[name]))
            elif not shape:
                raise Error(
                    f"{self.given.path}: modules.head has {name!r}, which has no tensors; "
                    f"activations go by their names: {', '.join(_IN_HEAD)}"
                )
            elif len(shape) == 1:
                gain, bias = state.get(name + ".weight", 0), state.biased(name, shape[0])
                bias = np.zeros_like(gain) if bias is None else bias
                made.nodes.append(LayerNorm(x, out, gain, bias, self.eps))
            else:
                weight = state.get(name + ".weight", 0, 0)
                bias = state.biased(name, len(weight))
                if out == "logits" and not texts and len(weight) == 1:
                    if not self.given.get("labels"):
                        raise Error(
                            f"{state.path}: {name} has one output, which is a regression; where "
                            "its sigmoid is a probability, name both classes in 'labels' of "
                            f"{self.given.path.name}, the one of 0 first"
                        )
                    weight, bias = two_classes(weight, bias)
                if table is not None and np.array_equal(weight, table):
                    weight = table
                made.nodes.append(Linear(x, out, weight, name + ".weight", bias))
            x = out
        if not isinstance(made.nodes[-1], Linear):
            raise Error(f"{self.given.path}: the head {', '.join(names)} does not end in a linear")
        if not texts:
            made.labels = self.given.classes(len(made.nodes[-1].weight))

    def image(self, made: Graph) -> tuple[list[Node], int]:
        """(the nodes that make x of an image, the context); tells the graph its image."""
        given, state = self.given, self.state
        if made.task not in ("classify", "embed"):
            raise given.refusal("task", made.task, "classify or embed, where an image is given")
        fields = given.within("image", given.get("image"), _IMAGE)

        def number(name: str, default: int | None = None) -> int:
            v = fields.get(name, default)
            if not isinstance(v, int) or isinstance(v, bool) or not 0 < v < 1 << 12:
                raise Error(f"{given.path}: image.{name} is {v!r}, expected a positive number")
            return v

        height, width = number("height"), number("width")
        channels, patch = number("channels", 3), number("patch")
        if height % patch or width % patch:
            raise Error(f"{given.path}: patches of {patch} do not fill {height} x {width} pixels")

        def numbers(name: str, default: float, least: float) -> Array:
            v = fields.get(name, default)
            v = v if isinstance(v, list) else [v] * channels
            good = len(v) == channels and all(
                isinstance(n, int | float) and not isinstance(n, bool) and least < n < 1e6
                for n in v
            )
            if not good:
                raise Error(f"{given.path}: image.{name} is {v!r}, expected {channels} numbers")
            return np.array(v, np.float64)

        found = self.modules_of(4) + [
            n for n in self.modules_of(2) if state.shape(n + ".weight")[1] == patch**2 * channels
        ]
        name = self.pick("patches", found)
        shape = state.shape(name + ".weight")
        if len(shape) == 4:
            weight = state.get(name + ".weight", self.dim, channels, patch, patch)
        else:
            weight = state.get(name + ".weight", self.dim, channels * patch * patch)
            order = fields.get("order", "chw")
            if not isinstance(order, str) or order not in _ORDERS:
                raise Error(f"{given.path}: image.order is {order!r}, expected chw or hwc")
            if order == "chw":
                weight = weight.reshape(self.dim, channels, patch, patch)
            else:
                weight = weight.reshape(self.dim, patch, patch, channels).transpose(0, 3, 1, 2)
        bias = state.biased(name, self.dim)
        token = None
        tokens = [n for n in state.left() if re.search(r"cls|class_tok", n)]
        if tokens or self.named("class_token"):
            key = self.pick("class_token", tokens)
            if int(np.prod(state.shape(key))) != self.dim:
                raise Error(f"{state.path}: {key} has shape {state.shape(key)}, not {self.dim}")
            token = state.get(key, *state.shape(key)).reshape(-1)
        context = height // patch * (width // patch) + (token is not None)
        positions, rows = self.positions()
        table = positions[0]
        if table is None or rows != context:
            raise Error(f"{state.path}: {rows} positions, expected {context}, one for each patch")
        made.image = height, width, channels, patch, int(token is not None)
        scale = normalized(1 / 255, numbers("mean", 0.0, -1e6), numbers("std", 1.0, 0))
        zeros = np.zeros(self.dim, np.float32)
        nodes = embed_patches(
            weight, zeros if bias is None else bias, name + ".weight", scale, table, token
        )
        return nodes, context

    def check_used(self) -> None:
        """Raise Error if a tensor was not asked for."""
        left = self.state.left()
        if left:
            raise Error(
                f"{self.state.path} has {len(left)} tensors that the described model has not: "
                f"{_some(left)}. Name their modules in {self.given.path.name}: in 'modules', as "
                f"one of {', '.join(_MODULES)}, or in 'unused' if the model does not run them"
            )


def sinusoids(positions: int, dim: int) -> Array:
    """The table (positions, dim) of PyTorch's tutorials: sine and cosine in turn."""
    angle = np.arange(positions)[:, None] * np.exp(np.arange(0, dim, 2) * -np.log(10000.0) / dim)
    table = np.empty((positions, dim), np.float32)
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle)[:, : dim // 2]
    return table


def _prefix(name: str) -> str:
    return name + "." if name else ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
