"""Small models of Keras 3 that read frames of numbers, and what Keras computes with them.

Without Keras the tests read the files that this script writes to tests/data/keras/signals:

    KERAS_BACKEND=torch python tests/support/kerassignals.py    (needs keras and torch)
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

import architectures
import kerasmodels

FOLDER = kerasmodels.FOLDER / "signals"
EXPECTED = FOLDER / "expected.json"
MEAN, STD = [20000.0, -3.5, 0.25], [7000.0, 11.0, 6.5]  # of channels


def block(x: Any, heads: int = 3) -> Any:
    return kerasmodels.block(x, x.shape[-1], heads, 40, "relu")


def placed(x: Any) -> Any:
    """x with an embedding of its positions."""
    import keras
    from keras import layers as L

    positions = keras.ops.cumsum(keras.ops.ones_like(x[:, :, 0]), axis=1) - 1
    return x + L.Embedding(x.shape[1], x.shape[2])(positions)


def rows() -> Any:
    """A Dense on each row, channels of very different sizes, which are normalized."""
    import keras
    from keras import layers as L

    x = given = keras.Input((13, 3))
    x = L.Normalization(mean=MEAN, variance=[v * v for v in STD])(x)
    x = block(block(placed(L.Dense(36)(x))))
    return keras.Model(given, L.Dense(4, activation="softmax")(L.GlobalAveragePooling1D()(x)))


def same() -> Any:
    """A convolution with strides, padded as TensorFlow does; positions as constants."""
    import keras
    from keras import layers as L

    x = given = keras.Input((18, 4))
    x = L.Dropout(0.1)(L.Rescaling(1 / 128, offset=-0.5)(x))
    x = L.Conv1D(36, 6, strides=4, padding="same")(x)
    table = architectures.weight("keras", (1, 5, 36))
    x = L.LayerNormalization()(x + keras.ops.convert_to_tensor(table))
    return keras.Model(given, L.Dense(1, activation="sigmoid")(block(x)[:, 0]))


def valid() -> Any:
    """A convolution; the numbers are normalized by a batch's; two that are predicted."""
    import keras
    from keras import layers as L

    x = given = keras.Input((20, 5))
    x = L.Conv1D(30, 4, strides=3, use_bias=False)(L.BatchNormalization()(x))
    return keras.Model(given, L.Dense(2)(L.GlobalAveragePooling1D()(block(placed(x)))))


def causal() -> Any:
    """Arithmetic in front, a convolution that looks back, the last position."""
    import keras
    from keras import layers as L

    x = given = keras.Input((9, 2))
    x = (x - keras.ops.convert_to_tensor(np.array([100.0, -40.0], "float32"))) / 50.0
    x = placed(L.Conv1D(24, 3, padding="causal")(2.0 * x))
    x = kerasmodels.block(x, 24, 2, 40, "gelu", use_causal_mask=True)
    return keras.Model(given, L.Dense(3, activation="softmax")(x[:, -1]))


def windows() -> Any:
    """A Dense on rows side by side, times sqrt(dim); its mean is an embedding."""
    import keras
    from keras import layers as L

    x = given = keras.Input((24, 3))
    norm = L.Normalization()
    norm.build((None, 24, 3))
    x = L.Dense(36)(L.Reshape((-1, 12))(norm(x))) * 6.0
    return keras.Model(given, L.GlobalAveragePooling1D()(block(placed(x))))


def spectrogram() -> Any:
    """Patches over time and frequency."""
    import keras
    from keras import layers as L

    x = given = keras.Input((14, 9))
    x = keras.ops.expand_dims(L.Rescaling(1 / 60)(x), -1)
    x = L.Reshape((-1, 36))(L.Conv2D(36, (4, 3), strides=(3, 2))(x))
    return keras.Model(given, L.Dense(5)(L.GlobalAveragePooling1D()(block(placed(x)))))


def pictured() -> Any:
    """Patches of an input with an axis of 1; padded in time."""
    import keras
    from keras import layers as L

    x = given = keras.Input((13, 8, 1))
    norm = L.Normalization(axis=2)
    norm.build((None, 13, 8, 1))
    x = L.Conv2D(24, (5, 4), strides=(5, 4), padding="same")(norm(x))
    x = keras.ops.reshape(x, (-1, 6, 24))
    x = block(placed(x), 2)
    return keras.Model(given, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(x)))


def number() -> Any:
    """One number, of values that nothing normalizes; of any length."""
    import keras
    from keras import layers as L

    x = given = keras.Input((None, 3))
    x = block(L.Dense(36)(x))
    x = L.Dense(20, activation="relu")(L.GlobalAveragePooling1D()(x))
    return keras.Model(given, L.Dense(1)(x))


# The maker, the description beside it, and how large the numbers of the channels are.
CASES: dict[str, tuple[Callable[[], Any], dict[str, Any], tuple[Any, Any]]] = {
    "rows": (rows, {"input": {"names": ["p", "a", "s"]}}, (MEAN, STD)),
    "same": (same, {"labels": ["no", "yes"]}, (64, 128)),
    "valid": (
        valid,
        {"task": "predict", "output": {"mean": [3, 0], "std": 40, "names": ["x", "y"]}},
        (0, 2),
    ),
    "causal": (causal, {"input": {"mean": 5, "std": 2, "unit": 0.25}}, (700, 900)),
    "windows": (windows, {}, (10, 300)),
    "spectrogram": (spectrogram, {}, (0, 60)),
    "pictured": (pictured, {}, (-20, 90)),
    "number": (
        number,
        {"task": "predict", "input": {"length": 11, "unit": [0.001, 0.25, 2]}},
        (0, [1000, 4, 1]),
    ),
}


def make(name: str, seed: int = 0) -> Any:
    """The Keras model of a case."""
    import keras

    keras.backend.clear_session()
    model = CASES[name][0]()
    trained = list(model.trainable_weights)
    kerasmodels.spread(_Weights(trained), seed)
    mean, std = CASES[name][2]
    if name == "causal":  # which has a mean of its own
        mean, std = 0, 1
    for v in model.non_trainable_weights:
        rng = np.random.default_rng([seed, zlib.crc32(v.path.encode())])
        if v.path.endswith("mean"):
            v.assign(mean + std * rng.uniform(-0.5, 0.5, v.shape))
        elif v.path.endswith("variance"):
            v.assign(np.square(std * rng.uniform(0.8, 1.2, v.shape)))
    for v in trained:
        if v.path.endswith("/gamma") and "batch" in v.path:
            v.assign(np.abs(v.numpy()) + 0.1)
    return model


class _Weights:
    """What `spread` takes of a model."""

    def __init__(self, weights: list[Any]) -> None:
        self.weights = weights


def signal_of(name: str, seed: int = 0) -> np.ndarray:
    """Whole numbers (rows, channels)."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    shapes = {"rows": (13, 3), "same": (18, 4), "valid": (20, 5), "causal": (9, 2)}
    shapes |= {"windows": (24, 3), "spectrogram": (14, 9), "pictured": (13, 8), "number": (11, 3)}
    mean, std = CASES[name][2]
    made = np.array(mean) + np.array(std) * rng.normal(0, 1, shapes[name])
    return np.clip(np.rint(made), -32768, 32767).astype(np.int64)


def run(model: Any, name: str, signal: np.ndarray) -> np.ndarray:
    """The result (1, outputs): logits, of probabilities less their mean."""
    import keras

    fields = CASES[name][1].get("input", {})
    x = signal * np.array(fields.get("unit", 1.0))
    x = (x - np.array(fields.get("mean", 0.0))) / np.array(fields.get("std", 1.0))
    x = x.astype(np.float32)[None]
    x = x[..., None] if len(model.inputs[0].shape) == 4 else x
    out = np.asarray(keras.ops.convert_to_numpy(model(x))).astype(np.float64)
    given = CASES[name][1]
    if given.get("task") == "predict":
        fields = given.get("output", {})
        return out * np.array(fields.get("std", 1.0)) + np.array(fields.get("mean", 0.0))
    if name == "same":
        return np.concatenate([np.zeros_like(out), np.log(out / (1 - out))], 1)
    if (np.abs(out.sum(-1) - 1) < 1e-5).all() and (out >= 0).all():
        out = np.log(out)
        return out - out.mean(-1, keepdims=True)
    return out


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in CASES:
        model = make(name)
        kerasmodels.save(model, FOLDER / f"{name}.keras")
        result = run(model, name, signal_of(name))
        rounded = [round(float(v), 6) for v in result[0]]
        lines.append(f"{json.dumps(name)}: {json.dumps(rounded)}")
        size = (FOLDER / f"{name}.keras").stat().st_size
        print(f"{name}: {size:,} bytes, {result.shape}, largest {np.abs(result).max():.3f}")
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
