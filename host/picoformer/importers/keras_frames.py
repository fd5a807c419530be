"""Layers of Keras in front of a model of signals: what they make of frames of numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.frames import Frames
from ..graph.nodes import Array, Linear
from .keras_file import Ref
from .keras_values import Grid, Rows, Signal, Steps, Value, Values, Vector
from .signals import CHANNELS, INPUT, LENGTH, Scale, check, real, rows_of, scale_of, sound_of

_EPSILON = 1e-7  # Keras's, which a deviation is at least
_EVERYTHING = {"start": None, "stop": None, "step": None}
_ELLIPSIS = "__ellipsis__"


class FrameLayers(Values):
    """Methods for layers that read a signal."""

    def signal(self, shape: list[Any]) -> Value:
        """An input of floats: (rows, channels), or with a last axis of 1 as Conv2D reads it."""
        given = self.given
        flat = len(shape) == 3
        if self.frames or not flat and shape[3] != 1 or not isinstance(shape[2], int):
            raise self.refusal(
                f"shape {shape}", "one Input((length, channels)), or (length, channels, 1)"
            )
        fields = given.within("input", given.get("input", {}), INPUT)
        sound = sound_of(given, fields)
        length, told = shape[1], rows_of(given, fields, sound)
        if length is None and told is None:
            beside = self.path.with_suffix(".json").name
            raise self.refusal(
                f"shape {shape}", f'a length, or "input": {{"length": ROWS}} in {beside}'
            )
        if length is not None and told not in (None, length):
            raise self.refusal(f"shape {shape}", f"input.length {told} of {given.path.name}")
        if sound and sound.bands != shape[2]:
            bands = f"{sound.bands} bands of input.sound in {given.path.name}"
            raise self.refusal(f"shape {shape}", f"channels that are the {bands}")
        length = told if length is None else int(length)
        if not 0 < shape[2] <= CHANNELS or not length or not 0 < length <= LENGTH:
            raise self.refusal(f"shape {shape}", f"at most {LENGTH} rows of {CHANNELS} numbers")
        scale = scale_of(given, fields, shape[2])
        n = shape[2]
        self.frames = Frames(
            length, n, (1, n), (1, n), (0, 0), 0, None, None, scale.unit, scale.names, sound
        )
        self.scale = scale
        return Signal(np.zeros(n), np.ones(n), flat=flat)

    def affine(self, x: Signal, factor: Any, offset: Any) -> Signal:
        """x * factor + offset, each a number or one per channel. Raises Error."""
        assert self.frames
        a, b = (self.per_channel(x, v) for v in (factor, offset))
        if not np.all((a > 0) & np.isfinite(a)) or not np.isfinite(b).all():
            raise self.refusal(f"a factor of {np.min(a):g}", "positive numbers")
        return replace(x, mean=x.mean - x.std * b / a, std=x.std / a, told=True)

    def per_channel(self, x: Signal, value: Any) -> Array:
        """A number, or one per channel, of an array that is broadcast. Raises Error."""
        assert self.frames
        n = self.frames.channels
        v = np.asarray(value, np.float64)
        shape = v.shape if x.flat else (*v.shape[:-1],) if v.shape[-1:] == (1,) else (0,)
        if v.size != 1 and (v.size != n or shape[-1:] != (n,) or x.window > 1):
            raise self.refusal(f"constants of shape {v.shape}", f"one, or one of {n} channels")
        return np.broadcast_to(v.reshape(-1), (n,))

    def arithmetic(self, terms: list[Any]) -> Signal:
        """A signal and a constant: their sum, difference, product or quotient."""
        values = [self.values[self.key(t)] if isinstance(t, Ref) else t for t in terms]
        kind = self.call.kind
        if len(values) == 2 and not isinstance(values[0], Signal) and kind in ("Add", "Multiply"):
            values.reverse()
        x, n = values if len(values) == 2 else (None, None)
        if not isinstance(x, Signal) or not isinstance(n, int | float | np.ndarray):
            raise self.refusal("arithmetic of a signal", "a signal and constants")
        v = np.asarray(n, np.float64)
        if kind in ("Add", "Subtract"):
            return self.affine(x, 1.0, v if kind == "Add" else -v)
        with np.errstate(divide="ignore"):
            return self.affine(x, v if kind == "Multiply" else 1 / v, 0.0)

    def rescaling(self, x: Signal) -> Signal:
        c = self.call.config
        return self.affine(x, c["scale"], c.get("offset", 0.0))

    def normalization(self) -> Value:
        """Normalization, or a BatchNormalization, of the signal itself."""
        x = self.values[self.key(self.one())]
        if not isinstance(x, Signal):
            raise self.refusal("it takes no signal", "it behind the Input")
        with np.errstate(invalid="ignore"):  # a variance below 0, which `affine` refuses
            return self.affine(x, *(self.squeezed(x, v) for v in self.normal(x)))

    def normal(self, x: Signal) -> tuple[Array, Array]:
        """Factor and offset of a normalization, in whatever shape Keras keeps them."""
        c = self.call.config
        axes = ([-1], -1, [2], 2) if x.flat else ([-1], -1, [3], 3)
        if self.call.kind == "Normalization":
            self.option("invert", False)
            if c.get("axis") not in (None, []):
                self.option("axis", *axes, *(() if x.flat else ([2], [-2], 2, -2)))
            mean, variance = c.get("mean"), c.get("variance")
            if mean is None:
                mean, variance = (self.any_tensor(i) for i in range(2))
            deviation = np.maximum(np.sqrt(np.asarray(variance, np.float64)), _EPSILON)
            return 1 / deviation, -np.asarray(mean, np.float64) / deviation
        self.option("axis", *axes)
        n = x.mean.size if x.flat else 1
        kept = [np.ones(n), np.zeros(n)]
        names = [i for i, name in enumerate(("scale", "center")) if c.get(name, True)]
        for at, i in enumerate(names):
            kept[i] = self.tensor("", at, n).astype(np.float64)
        mean, variance = (self.tensor("", len(names) + i, n) for i in range(2))
        factor = kept[0] / np.sqrt(variance.astype(np.float64) + float(c.get("epsilon", 1e-3)))
        return factor, kept[1] - mean * factor

    def squeezed(self, x: Signal, v: Array) -> Array:
        """Values of each channel, as they are broadcast."""
        v = v.reshape(-1)
        return v if x.flat or v.size == 1 else v[:, None]

    def any_tensor(self, index: int) -> Array:
        """A weight of the layer at hand, which has one for each channel, or one. Raises Error."""
        name = f"{self.call.path}/vars/{index}"
        return self.weight(name, *([0] * self.rank(name))).astype(np.float64)

    def windows(
        self,
        x: Signal,
        weight: Array,
        stride: tuple[int, int],
        size: tuple[int, int],
        padding: tuple[int, int] = (0, 0),
    ) -> Rows:
        """What a linear (elements, units) makes of the windows of a signal. Raises Error."""
        assert self.frames and self.scale
        activation = self.call.config.get("activation")
        if isinstance(activation, dict):
            activation = activation.get("config")
        if activation not in (None, "linear"):
            raise self.refusal(
                f"activation {str(activation)[:60]!r} on what reads the signal", "none there"
            )
        if self.windowed:
            raise self.refusal("the signal is read a second time", "one layer that reads it")
        self.windowed = True
        made = np.ascontiguousarray(weight.reshape(size[0] * size[1], -1).T)
        scale = self.scale
        mean, std = scale.mean, scale.std
        if x.told or mean is not None:
            if mean is None or std is None:
                one = np.ones(self.frames.channels)
                mean, std = 0 * one, one if scale.unit is None else 1 / scale.unit
            mean, std = mean + std * x.mean, std * x.std
        scale, made = real(Scale(mean, std, scale.unit, scale.names), made, size)
        self.frames = replace(
            self.frames, size=size, stride=stride, padding=padding, mean=scale.mean, std=scale.std
        )
        check(f"{self.path}: layer {self.call.name!r}", self.frames)
        bias = self.tensor("", 1, len(made)) if self.call.config.get("use_bias", True) else None
        return Rows(token=Linear("frames", "x", made, f"{self.call.name}.d", bias))

    def dense_of(self, x: Signal) -> Rows:
        """A Dense over rows, or over rows side by side."""
        assert self.frames
        if not x.flat:
            raise self.refusal("a last axis of 1", "Conv2D, or no such axis")
        n = self.frames.channels
        self.plain()
        weight = self.tensor("", 0, x.window * n, 0)
        return self.windows(x, weight, (x.window, n), (x.window, n))

    def convolution(self) -> Value:
        """Conv1D over rows, Conv2D over rows and channels."""
        c, x = self.call.config, self.values[self.key(self.one())]
        two = self.call.kind == "Conv2D"
        if not isinstance(x, Signal) or x.window > 1 or x.flat is two:
            raise self.refusal(
                "it takes something else",
                "the numbers of Input((length, channels))" + (", with an axis of 1" * two),
            )
        assert self.frames
        self.plain()
        for name, value in (("data_format", "channels_last"), ("groups", 1)):
            self.option(name, value)
        ones = [1] * (1 + two)
        self.option("dilation_rate", ones, 1)
        n, rows = self.frames.channels, self.frames.length
        if two:
            weight = self.tensor("", 0, 0, 0, 1, 0)
            size = weight.shape[0], weight.shape[1]
        else:
            weight = self.tensor("", 0, 0, n, 0)
            size = weight.shape[0], n
        steps = c.get("strides", ones)
        down, *right = steps if isinstance(steps, list) else [steps] * len(ones)
        stride = int(down), int(right[0]) if two else n
        if min(stride) < 1:
            raise self.refusal(f"strides {steps}", "positive numbers")
        padding = self.padded(size, stride, rows, n, two)
        made = self.windows(x, weight, stride, size, padding)
        if not two:
            return made
        count = self.frames.positions(rows)
        return Grid(made, (count // self.frames.across, self.frames.across, weight.shape[3]))

    def padded(
        self, size: tuple[int, int], stride: tuple[int, int], rows: int, channels: int, two: bool
    ) -> tuple[int, int]:
        """Rows of zeros in front and behind, as TensorFlow has them."""
        self.option("padding", "valid", "same", *(() if two else ("causal",)))
        how = self.call.config.get("padding", "valid")
        if how == "valid":
            return 0, 0
        if how == "causal":
            return size[0] - 1, 0

        def total(axis: int, n: int) -> int:
            steps = -(-n // stride[axis])
            return max((steps - 1) * stride[axis] + size[axis] - n, 0)

        if two and total(1, channels):
            raise self.refusal(
                "padding 'same' adds channels", "'valid', or strides by which they fill the signal"
            )
        every = total(0, rows)
        return every // 2, every - every // 2

    def reshape(self) -> Value:
        """Windows of rows side by side; an axis of 1; patches one behind the other."""
        x, c = self.values[self.key(self.one())], self.call.config
        shape = c["target_shape"] if "target_shape" in c else (c.get("newshape") or [])[1:]
        assert self.frames or not isinstance(x, Signal)
        if isinstance(x, Signal) and self.frames:
            rows, n = self.frames.length, self.frames.channels
            shape = _filled(shape, rows * n)
            if shape in ([rows, n], [rows, n, 1]):
                return replace(x, flat=len(shape) == 2, window=1)
            even = len(shape) == 2 and shape[0] * shape[1] == rows * n and shape[1] % n == 0
            if even and x.flat and x.window == 1:
                return replace(x, window=shape[1] // n)
            supported = f"({rows}, {n}, 1), or rows side by side: ({rows} / K, {n} * K)"
        elif isinstance(x, Grid):
            down, across, units = x.shape
            if _filled(shape, down * across * units) == [down * across, units]:
                return x.rows
            supported = f"(-1, {units})"
        else:
            supported = "it in front of the layers, of a signal or of what a Conv2D makes"
        raise self.refusal(f"shape {str(shape)[:60]}", supported)

    def axis(self) -> Value:
        """expand_dims."""
        x = self.values[self.key(self.one())]
        if not isinstance(x, Signal) or not x.flat or x.window > 1:
            raise self.refusal("it takes something else", "a signal, for Conv2D")
        self.option("axis", -1, 3)
        return replace(x, flat=False)

    def steps(self, where: Any) -> Value | None:
        """One number of each position, of x[:, :, 0] or x[..., 0]; None where it is another."""
        value = self.values[self.key(Ref(next(self.call.inputs())))]
        if not isinstance(where, list) or not isinstance(value, Signal | Rows | Vector):
            return None
        *before, last = where
        dots = [b.get("class_name") if isinstance(b, dict) else None for b in before]
        if type(last) is not int or before != [_EVERYTHING] * 2 and dots != [_ELLIPSIS]:
            return None
        return None if isinstance(value, Signal) and not value.flat else Steps()


def _filled(shape: Any, elements: int) -> list[int]:
    """A shape whose -1 is the number that is left. Raises ValueError."""
    listed = [int(n) for n in shape]
    known = int(np.prod([n for n in listed if n != -1]))
    return [elements // max(known, 1) if n == -1 else n for n in listed]

