"""Positions that turn queries and keys, as config.json declares them, and windows of attention."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np

from ..graph.nodes import Array
from .checkpoint import Config

_ROPE = "default, linear, dynamic, llama3"


@dataclass(frozen=True)
class Rotary:
    """frequencies (size/2,): radians a position, 0 for pairs that are not turned.

    order (size,): the rows of a head of q and k, so that those of a pair are size/2 apart; None
    where they are so already.
    """

    frequencies: Array
    order: Array | None = None

    def rows(self, t: Array, heads: int) -> Array:
        """A weight (heads * size, dim) or bias (heads * size,) of q or k, in this order."""
        if self.order is None:
            return t
        split = t.reshape(heads, -1, *t.shape[1:])
        return np.ascontiguousarray(split[:, self.order].reshape(t.shape))


def rotary(
    config: Config, size: int, context: int, share: float = 1.0, names: tuple[str, ...] = (),
    base: float = 10000.0,
) -> Rotary:  # fmt: skip
    """The turns of heads of `size` elements. Raises Error for a scaling that is not supported.

    share: of each head's elements that are turned, where config.json does not tell; names: older
    fields of that. base: likewise of the frequencies.
    """
    key, rope = _parameters(config)
    names = ("partial_rotary_factor", *names)
    given: Any = next((v for n in names if (v := config.get(n)) is not None), share)
    given = given if rope.get(names[0]) is None else rope[names[0]]
    good = isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= 1
    turned = int(size * given) if good else 0
    if turned < 2 or turned % 2 or size % 2:
        raise config.refusal(names[0], given, f"a share of {size} that is even")
    base = config.get("rope_theta", config.get("rotary_emb_base", base))
    return turns(_frequencies(config, key, rope, turned, context, base), size)


def turns(frequencies: Array, size: int, neighbours: bool = False) -> Rotary:
    """The rotary of frequencies (pairs,) for the first elements of heads of a size.

    neighbours: the pairs are 0 and 1, 2 and 3 and so on; else those of two halves.
    """
    turned, half = 2 * len(frequencies), size // 2
    at = np.arange(turned)
    first, second = (at[::2], at[1::2]) if neighbours else np.split(at, 2)
    rest, n = np.arange(turned, size), half - turned // 2
    order = np.concatenate([first, rest[:n], second, rest[n:]])
    same = np.array_equal(order, np.arange(size))
    return Rotary(np.concatenate([frequencies, np.zeros(n)]), None if same else order)


def _parameters(config: Config) -> tuple[str, dict[str, Any]]:
    """The object of the scaling, and its name. Raises Error."""
    key = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    rope = config.get(key, {})
    if not isinstance(rope, dict):
        raise config.refusal(key, rope, "an object")
    return key, rope


def _frequencies(
    config: Config, key: str, rope: dict[str, Any], size: int, context: int, base: float
) -> Array:
    """The frequencies (size/2,), scaled as config.json declares. Raises Error."""
    theta = config.real("rope_theta", base, rope)
    frequencies = theta ** -(np.arange(0, size, 2) / size)
    kind = rope.get("rope_type", rope.get("type", "default"))
    # Dynamic scaling begins behind max_position_embeddings, where a graph's context ends.
    if kind in ("default", "dynamic"):
        return frequencies
    if kind == "linear":
        return frequencies / config.real("factor", None, rope)
    if kind == "divided":  # each by a factor of its own, as a GGUF file has them
        return frequencies / np.array(rope["factors"], np.float64)
    if kind != "llama3":
        raise config.refusal("rope_type", kind, _ROPE)
    factor = config.real("factor", None, rope)
    low = config.real("low_freq_factor", None, rope)
    high = config.real("high_freq_factor", None, rope)
    if not low < high:
        raise config.refusal("high_freq_factor", high, f"more than low_freq_factor, {low}")
    trained = config.real("original_max_position_embeddings", context, rope)
    # Turns within the length that it was trained with: from `low` down divided by the factor,
    # from `high` up unchanged, between the two a blend.
    turned = trained * frequencies / (2 * pi)
    blend = np.clip((turned - low) / (high - low), 0, 1)
    return frequencies * (blend + (1 - blend) / factor)


_KINDS = {"full_attention": "rope_theta", "sliding_attention": "rope_local_base_freq"}


def layered(config: Config, kind: str) -> Config:
    """config.json as layers of a kind see it, where each has positions of its own. Raises Error.

    They are in `rope_parameters` by the kind; in older files in a field of each, and the scaling
    is of the full attention.
    """
    given = config.get("rope_parameters", {})
    if not isinstance(given, dict) or not all(isinstance(v, dict) for v in given.values()):
        raise config.refusal("rope_parameters", given, " and ".join(_KINDS) + ", an object each")
    scaling = config.get("rope_scaling") if kind == "full_attention" else None
    made = copy(config)
    made.fields = {
        **config.fields, "rope_parameters": given.get(kind), "rope_scaling": scaling,
        "rope_theta": config.get(_KINDS[kind]),
    }  # fmt: skip
    return made


def kinds(config: Config, layers: int) -> list[str]:
    """The kind of each layer's attention. Raises Error."""
    every = config.number("sliding_window_pattern", 6)
    full, near = _KINDS
    given = config.get("layer_types", [near if (i + 1) % every else full for i in range(layers)])
    good = isinstance(given, list) and len(given) == layers
    if not good or any(kind not in (full, near) for kind in given):
        raise config.refusal("layer_types", given, f"a list of {layers}: {' or '.join(_KINDS)}")
    return given


def windowed(
    config: Config, context: int, used: bool = True, default: int | None = None
) -> int:
    """The context in which a sliding window hides nothing. Raises Error.

    used: whether the window is, where config.json does not tell; default: its length, likewise.
    """
    window = config.fields.get("sliding_window", default)
    if window is None or not config.flag("use_sliding_window", used):
        return context
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and "sliding_attention" not in kinds:
        return context
    return min(context, config.number("sliding_window", default))
