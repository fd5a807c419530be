"""The layers of nn.TransformerEncoder and nn.TransformerDecoder, by what `arrange` calls them."""

from __future__ import annotations

import re

from ..errors import Error
from ..graph.nodes import Array
from .pytorch_modules import Modules, State, some

LAYER = re.compile(r"^(?:(.+)\.)?(\d+)\.self_attn\.out_proj\.weight$")
# The graph's names of a layer's parts, and PyTorch's.
_NORMS = {"self": "norm1", "network": "norm2"}
_NORMS_OF_DECODER = {"self": "norm1", "cross": "norm2", "network": "norm3"}
_ATTENTION = {"self": "self_attn", "cross": "multihead_attn"}
_NETWORK = {"up": "linear1", "down": "linear2"}

# Names by which other models are known, and what those are.
_OTHERS = (
    (r"(^|\.)h\.\d+\.attn\.c_attn\.", "GPT-2 (nanoGPT's have the matrices transposed)"),
    (r"(^|\.)layers\.\d+\.self_attn\.q_proj\.", "Llama, or a relative of it"),
    (r"(^|\.)layers\.\d+\.attention\.w[qkvo]\.", "Llama, by Meta and llama2.c (export.py there)"),
    (r"(^|\.)layer\.\d+\.attention\.self\.query\.", "BERT, or a relative of it"),
    (r"(^|\.)transformer\.layer\.\d+\.attention\.q_lin\.", "DistilBERT"),
    (r"(^|\.)block\.\d+\.layer\.\d+\.SelfAttention\.", "T5"),
    (r"(^|\.)layers\.\d+\.attention\.query_key_value\.", "GPT-NeoX"),
    (r"(^|\.)blocks\.\d+\.attn\.qkv\.", "a ViT of timm"),
)


def no_layers(state: State) -> Error:
    """The error for a file without layers of PyTorch's own: whose they are, if that is known."""
    seen = some(list(state.stored))
    for pattern, what in _OTHERS:
        if any(re.search(pattern, name) for name in state.stored):
            return Error(
                f"{state.path} has the names of {what}: {seen}; supported: a Hugging Face folder "
                "of such a model, with its config.json, as save_pretrained(FOLDER) writes it"
            )
    return Error(
        f"{state.path} has no layers of nn.TransformerEncoder, such as "
        f"layers.0.self_attn.out_proj.weight; seen: {seen}"
    )


class Layers:
    """The stacks of layers, one or (both) an encoder and a decoder, and their tensors.

    dim: of what goes through them; counts: layers of each list of them. Raises Error.
    """

    def __init__(self, modules: Modules, both: bool) -> None:
        self.modules = modules
        self.state = state = modules.state
        stacks: dict[str, set[int]] = {}
        for name in state.stored:
            if match := LAYER.match(name):
                stacks.setdefault(match[1] or "", set()).add(int(match[2]))
        self.counts = {name: len(layers) for name, layers in stacks.items()}
        crossed = [s for s in stacks if f"{_prefix(s)}0.multihead_attn.out_proj.weight" in state]
        plain = [s for s in stacks if s not in crossed]
        self.stacks = [self._stack("encoder", plain)]
        if both:
            self.stacks.append(self._stack("decoder", crossed))
        self.parts = ("encoder", "decoder")[: len(self.stacks)]
        out = state.shape(f"{_prefix(self.stacks[0])}0.self_attn.out_proj.weight")
        self.dim = out[0] if out else 0

    def hidden(self) -> tuple[int, ...]:
        """The size of each stack's networks. Raises Error."""
        return tuple(
            self.state.get(f"{_prefix(stack)}0.linear1.weight", 0, self.dim).shape[0]
            for stack in self.stacks
        )

    def _stack(self, role: str, found: list[str]) -> str:
        """The list of a stack's layers."""
        name = self.modules.pick(role, found)
        name = next((n for n in (name, f"{name}.layers") if n in self.counts), name)
        if name not in self.counts:
            raise Error(
                f"{self.state.path}: {name} has no layers; those that have: {some([*self.counts])}"
            )
        for i in range(self.counts[name]):
            if f"{_prefix(name)}{i}.self_attn.out_proj.weight" not in self.state:
                raise Error(f"{self.state.path}: {name} has no layer {i}")
        return name

    def _layer(self, name: str) -> tuple[str, str, str]:
        """(what precedes its names, block, part) of "encoder.0.self.q" and its like."""
        part, layer, block, what = name.split(".")
        return f"{_prefix(self._stack_of(part))}{layer}.", block, what

    def _stack_of(self, part: str) -> str:
        return self.stacks[part == "decoder"]

    def linear(self, name: str, rows: int, columns: int) -> tuple[Array, Array | None]:
        """As `FindLinear`."""
        p, block, what = self._layer(name)
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

    def norm(self, name: str) -> tuple[Array, Array]:
        """As `FindNorm`."""
        part, layer, *_ = name.split(".")
        if layer == "first":
            return self.state.norm(self.modules.named("embedding_norm"), self.dim)
        if layer == "last":
            return self.state.norm(self.last(part), self.dim)
        p, block, _ = self._layer(name)
        names = _NORMS_OF_DECODER if p + "norm3.weight" in self.state else _NORMS
        return self.state.norm(p + names[block], self.dim)

    def last(self, part: str) -> str:
        """The norm behind a stack; "" if it has none."""
        name = self.modules.named("norm") if len(self.stacks) == 1 else ""
        if not name:
            stack = self._stack_of(part)
            name = f"{_prefix(stack.rpartition('.')[0])}norm"
            # A list of layers is a module's of its own only where that calls it "layers".
            if stack.rpartition(".")[2] != "layers" or f"{name}.weight" not in self.state:
                return ""
        return name


def _prefix(name: str) -> str:
    return name + "." if name else ""
