"""The functions between linears, in floating point."""

from __future__ import annotations

from collections.abc import Callable
from math import erf

import numpy as np

from .nodes import Array


def silu(x: Array) -> Array:
    """x * sigmoid(x), by a tangent that no x overflows."""
    return x * (0.5 * np.tanh(0.5 * x) + 0.5)


def gelu(x: Array) -> Array:
    """x times the normal distribution's cumulative function, by erf (Hugging Face's "gelu")."""
    return 0.5 * x * (1 + _erf(x * np.sqrt(0.5).astype(x.dtype)))


# erf and its slope at multiples of 1/512, up to where erf is 1 in double precision
_ERF_STEPS = 512
_ERF_AT = np.array([erf(i / _ERF_STEPS) for i in range(6 * _ERF_STEPS + 1)])
_ERF_SLOPE = 2 / np.sqrt(np.pi) * np.exp(-((np.arange(_ERF_AT.size) / _ERF_STEPS) ** 2))


def _erf(x: Array) -> Array:
    """The error function in double precision: Taylor's series about the nearest table entry.

    The series' first term that is left out is below 3e-16.
    """
    # fmin: not a number counts as the end, and gelu multiplies by it
    a = np.fmin(np.abs(x), (_ERF_AT.size - 1) / _ERF_STEPS, dtype=np.float64)
    at = np.rint(a * _ERF_STEPS).astype(np.intp)
    c = at / _ERF_STEPS
    d = a - c
    c2 = c * c
    series = 1 + d * (-c + d * ((2 * c2 - 1) / 3 + d * (c * (3 - 2 * c2) / 6)))
    return np.copysign(_ERF_AT[at] + _ERF_SLOPE[at] * d * series, x)


def gelu_tanh(x: Array) -> Array:
    """The approximation by a tangent that GPT-2 uses (Hugging Face's "gelu_new")."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi).astype(x.dtype) * (x + 0.044715 * x**3)))


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": silu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": relu,
    "tanh": np.tanh,
}
