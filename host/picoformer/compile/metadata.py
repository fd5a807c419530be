"""What a model file says of itself: its metadata."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..graph.frames import Frames
from ..graph.nodes import Graph
from ..version import __version__
from .compiler import Compiled
from .emit import ACTIVATION_BITS, NARROW_BITS
from .matrices import Matrix4


def metadata(graph: Graph, compiled: Compiled, name: str | None = None) -> dict[str, Any]:
    """The metadata of a compiled graph. name: in the place of the graph's own."""
    meta = {
        "name": name or graph.meta.get("name", ""),
        "task": graph.task,
        "architecture": graph.meta.get("architecture", ""),
        "source": graph.meta.get("source", ""),
        "licence": graph.meta.get("licence", ""),
        "parameters": graph.parameters,
        "quantization": f"{_weights(compiled)}, {_cache(compiled)}",
        "picoformer": __version__,
    }
    # Where a value stands in the program, for reports: its name and its fraction bits.
    meta["values"] = [[s.value, s.bits] if s.value else [] for s in compiled.steps]
    if graph.labels:
        meta["labels"] = graph.labels
    if graph.chat:
        meta["chat"] = graph.chat
    if graph.image:
        meta["image"] = list(graph.image)
    if graph.frames:
        meta["frames"] = _frames(graph.frames)
        if sound := graph.frames.sound:
            meta["sound"] = asdict(sound)
    if graph.meta.get("background"):
        meta["background"] = graph.meta["background"]
    if graph.meta.get("pixels"):
        meta["pixels"] = graph.meta["pixels"]
    return meta


def _frames(f: Frames) -> dict[str, Any]:
    """What the program does not say of a signal."""
    lists = {"mean": f.mean, "std": f.std, "unit": f.unit}
    found: dict[str, Any] = {k: v.tolist() for k, v in lists.items() if v is not None}
    return found | ({"names": list(f.names)} if f.names else {})


def _weights(compiled: Compiled) -> str:
    """How weights and activations are quantized, in words."""
    spans = sorted({m.span for m, _ in compiled.matrices.values() if isinstance(m, Matrix4)})
    kept = [k for k, (m, _) in compiled.matrices.items() if not isinstance(m, Matrix4)]
    if not spans:
        return f"weights int8 per row, activations int{ACTIVATION_BITS}"
    said = f"weights int4 per {spans[0]} columns"
    if kept:
        said += f" ({', '.join(kept)}: int8 per row)"
    return f"{said}, activations int{NARROW_BITS}"


def _cache(compiled: Compiled) -> str:
    """How keys and values are quantized, in words."""
    for s in compiled.steps:
        if s.op == "store":
            return f"keys int{s.fields['key_bits']}, values int{s.fields['value_bits']}"
    return "no cache"
