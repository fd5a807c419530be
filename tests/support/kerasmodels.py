"""Small models of Keras 3, as functional models, and what Keras computes with them.

Without Keras the tests read the files that this script writes to tests/data/keras, each with
what Keras makes of some tokens:

    KERAS_BACKEND=torch python tests/support/kerasmodels.py    (needs keras and torch)
    KERAS_BACKEND=tensorflow python tests/support/kerasmodels.py texts    (and tensorflow)
"""

from __future__ import annotations

import json
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import architectures

FOLDER = Path(__file__).parents[1] / "data" / "keras"
EXPECTED = FOLDER / "expected.json"
EXPECTED_TEXTS = FOLDER / "expected_texts.json"
VOCAB, LENGTH = 97, 16


def minigpt(dim: int, heads: int, hidden: int, layers: int, activation: str, seed: int) -> Any:
    """Keras's example "text generation with a miniature GPT", written functionally."""
    import keras
    from keras import layers as L

    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    positions = keras.ops.cumsum(keras.ops.ones_like(tokens), axis=-1) - 1
    x = L.Embedding(VOCAB, dim)(tokens) + L.Embedding(LENGTH, dim)(positions)
    for _ in range(layers):
        y = L.MultiHeadAttention(heads, dim // heads)(x, x, use_causal_mask=True)
        x = L.LayerNormalization(epsilon=1e-6)(x + L.Dropout(0.1)(y))
        network = keras.Sequential([L.Dense(hidden, activation=activation), L.Dense(dim)])
        x = L.LayerNormalization(epsilon=1e-6)(x + L.Dropout(0.1)(network(x)))
    return keras.Model(tokens, L.Dense(VOCAB)(x))


def classifier(dim: int, heads: int, hidden: int, layers: int, activation: str, seed: int) -> Any:
    """Keras's example "text classification with Transformer", written functionally."""
    import keras
    from keras import layers as L

    tokens = keras.Input((None,), dtype="int32", name="tokens")
    positions = keras.Input((None,), dtype="int32", name="positions")
    x = L.Add()([L.Embedding(VOCAB, dim)(tokens), L.Embedding(LENGTH, dim)(positions)])
    for _ in range(layers):
        y = L.MultiHeadAttention(heads, 5, use_bias=False)(query=x, value=x)
        x = L.LayerNormalization()(L.Add()([x, y]))
        y = L.Dense(dim, use_bias=False)(L.Dense(hidden, activation=activation)(x))
        x = L.LayerNormalization(center=False)(L.Add()([y, x]))
    x = L.Dropout(0.1)(L.GlobalAveragePooling1D()(x))
    x = L.Dense(20, activation="relu")(x)
    return keras.Model([tokens, positions], L.Dense(3, activation="softmax")(x))


def pre_norm(dim: int, heads: int, hidden: int, layers: int, activation: str, seed: int) -> Any:
    """Norms in front, positions that are constants, embeddings times sqrt(dim), a tanh's gelu."""
    import keras
    from keras import layers as L

    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    angle = np.arange(LENGTH)[:, None] / 10000 ** (np.arange(dim) / dim)
    x = L.Embedding(VOCAB, dim)(tokens) * float(np.sqrt(dim))
    x = x + keras.ops.convert_to_tensor(np.sin(angle).astype("float32"))
    for _ in range(layers):
        n = L.LayerNormalization()(x)
        x = x + L.MultiHeadAttention(heads, 6, output_shape=None)(n, n, n, use_causal_mask=True)
        n = L.Dense(hidden)(L.LayerNormalization(scale=False)(x))
        n = keras.ops.gelu(n) if activation == "gelu_tanh" else L.Activation(activation)(n)
        x = x + L.Dense(dim)(n)
    x = L.LayerNormalization()(x)
    return keras.Model(tokens, L.Softmax()(L.Dense(VOCAB)(x)))


def binary(dim: int, heads: int, hidden: int, layers: int, activation: str, seed: int) -> Any:
    """The first position's, and one probability; a model within the model."""
    import keras
    from keras import layers as L

    inside = keras.Input((None, dim))
    y = L.MultiHeadAttention(heads, dim // heads)(inside, inside)
    x = L.LayerNormalization()(inside + y)
    y = L.Dense(dim)(L.Dense(hidden, activation=activation)(x))
    block = keras.Model(inside, L.LayerNormalization()(x + y))
    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    positions = keras.ops.cumsum(keras.ops.ones_like(tokens), axis=1)
    x = L.Embedding(VOCAB, dim)(tokens) + L.Embedding(LENGTH + 1, dim)(positions)
    x = L.LayerNormalization()(x)
    for _ in range(layers):
        x = block(x)  # the same weights each time
    return keras.Model(tokens, L.Dense(1, activation="sigmoid")(x[:, 0]))


def sentence(dim: int, heads: int, hidden: int, layers: int, activation: str, seed: int) -> Any:
    """The mean as an embedding, of a Sequential of layers inside."""
    import keras
    from keras import layers as L

    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    x = L.Embedding(VOCAB, dim, mask_zero=True)(tokens)
    for _ in range(layers):
        n = L.LayerNormalization()(x)
        x = L.Add()([x, L.MultiHeadAttention(heads, dim // heads)(n, n)])
        x = x + keras.Sequential(
            [L.LayerNormalization(), L.Dense(hidden), L.ReLU(), L.Dense(dim), L.Dropout(0.1)]
        )(x)
    return keras.Model(tokens, keras.ops.mean(x, axis=1))


def block(x: Any, dim: int, heads: int, hidden: int, activation: str, **mask: Any) -> Any:
    """Attention and network, as Keras's examples have them in a class."""
    import keras
    from keras import layers as L

    y = L.MultiHeadAttention(heads, dim // heads)(x, x, **mask)
    x = L.LayerNormalization(epsilon=1e-6)(x + L.Dropout(0.1)(y))
    y = keras.Sequential([L.Dense(hidden, activation=activation), L.Dense(dim)])(x)
    return L.LayerNormalization(epsilon=1e-6)(x + L.Dropout(0.1)(y))


def floats(dim: int, heads: int, hidden: int, layers: int, activation: str, seed: int) -> Any:
    """Floats, Keras's default, in front of the Embedding; positions of an eager arange."""
    import keras
    from keras import layers as L

    tokens = keras.Input((LENGTH,), name="tokens")
    positions = L.Embedding(LENGTH, dim)(keras.ops.arange(0, LENGTH, 1))
    x = L.Embedding(VOCAB, dim)(tokens) + positions
    for _ in range(layers):
        x = block(x, dim, heads, hidden, activation)
    return keras.Model(tokens, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(x)))


def nested(dim: int, heads: int, hidden: int, layers: int, activation: str, seed: int) -> Any:
    """A functional model of floats, cast to whole numbers, in a Sequential in a Sequential."""
    import keras
    from keras import layers as L

    tokens = keras.Input((LENGTH,))
    ids = keras.ops.cast(tokens, "int32")
    positions = keras.ops.cumsum(keras.ops.ones_like(ids), axis=-1) - 1
    x = L.Embedding(VOCAB, dim)(ids) + L.Embedding(LENGTH, dim)(positions)
    for _ in range(layers):
        x = block(x, dim, heads, hidden, activation)
    inside = keras.Sequential([keras.Model(tokens, x), L.Dropout(0.1)])
    model = keras.Sequential([inside, L.GlobalAveragePooling1D(), L.Dense(3)])
    model.build((None, LENGTH))
    return model


def masked(dim: int, heads: int, hidden: int, layers: int, activation: str, seed: int) -> Any:
    """A causal mask of constants, and one that hides nothing more."""
    import keras
    from keras import layers as L

    tokens = keras.Input((LENGTH,), name="tokens")
    x = keras.Sequential([keras.Input((LENGTH,)), L.Embedding(VOCAB, dim)])(tokens)
    causal = keras.ops.convert_to_tensor(np.tril(np.ones((1, LENGTH, LENGTH), bool)))
    everything = keras.ops.convert_to_tensor(np.ones((LENGTH, LENGTH), "int32"))
    x = block(x, dim, heads, hidden, activation, attention_mask=causal)
    given = {"attention_mask": everything, "use_causal_mask": True}
    x = block(x, dim, heads, hidden, activation, **given)
    return keras.Model(tokens, L.Dense(VOCAB)(x))


# name: (maker, dim, heads, hidden, layers, activation)
CASES: dict[str, tuple[Callable[..., Any], int, int, int, int, str]] = {
    "minigpt": (minigpt, 52, 4, 31, 1, "relu"),
    "minigpt-deep": (minigpt, 20, 5, 37, 3, "gelu"),
    "classifier": (classifier, 30, 3, 41, 2, "relu"),
    "pre-norm": (pre_norm, 36, 7, 29, 2, "gelu_tanh"),
    "binary": (binary, 26, 13, 19, 2, "gelu"),
    "sentence": (sentence, 22, 2, 33, 1, "relu"),
    "floats": (floats, 24, 2, 31, 1, "relu"),
    "nested": (nested, 20, 2, 31, 1, "gelu"),
    "masked": (masked, 20, 4, 29, 2, "relu"),
}


WORDS = "the cat sat on a mat dont café ünd 日本 cafés cats c3po it's x" + "y" * 150
TEXTS = [
    "The cat sat on a MAT.",
    "  the\tcat\nsat\v\f\ron   ",
    "Don't! (the) c-3-p-o; [cat] {mat} ~a_b^c`d|e",
    "CAFÉ café Ünd ünd ÜND 日本 日本。 cafés\u00a0cat\u2003mat\u0085on",
    "catsat cat's cats caf\u00e9 cafe\u0301 " + "xy" + "y" * 149,
    "x" + "y" * 150 + " " + "x" * 400,
    "🙂 the 🙂cat \u200bcat \ufeffmat",
]


def texts() -> Any:
    """A classifier that takes texts, split by TextVectorization."""
    import keras
    from keras import layers as L

    split = L.TextVectorization()
    split.adapt([WORDS])
    text = keras.Input((1,), dtype="string", name="text")
    tokens = split(text)
    positions = keras.ops.cumsum(keras.ops.ones_like(tokens), axis=-1) - 1
    size = split.vocabulary_size()
    x = L.Embedding(size, 12)(tokens) + L.Embedding(LENGTH, 12)(positions)
    x = L.LayerNormalization()(x + L.MultiHeadAttention(3, 4)(x, x))
    model = keras.Model(text, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(x)))
    return spread(model, 0)


def write_texts() -> None:
    import tensorflow as tf

    import keras

    model = texts()
    save(model, FOLDER / "texts.keras")
    split = next(x for x in model.layers if x.__class__.__name__ == "TextVectorization")
    lines = []
    for text in TEXTS:
        ids = np.asarray(split(tf.constant([[text]])))[0].tolist()
        out = np.asarray(keras.ops.convert_to_numpy(model(tf.constant([[text]]))))[0]
        result = [round(float(v), 6) for v in np.log(out) - np.log(out).mean()]
        lines.append(json.dumps({"text": text, "tokens": ids, "result": result}))
    EXPECTED_TEXTS.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def make(name: str, seed: int = 0) -> Any:
    """The Keras model of a case."""
    import keras

    maker, *sizes = CASES[name]
    keras.backend.clear_session()
    return spread(maker(*sizes, seed), seed)


def spread(model: Any, seed: int) -> Any:
    """The model with random weights, also in biases and norms."""
    for v in model.weights:
        values = architectures.weight(f"{seed}{v.path}", tuple(v.shape))
        if v.ndim == 1:
            values = values + (1 if "gamma" in v.name else 0)
        elif "embedding" in v.path:
            values = 0.7 * values
        else:
            columns = np.prod(v.shape) / v.shape[-1] if "output" in v.path else v.shape[0]
            values *= np.sqrt(v.shape[1] / columns)
        v.assign(np.round(values * 64) / 64)  # which leaves small files
    return model


def save(model: Any, path: Path) -> None:
    """As Keras saves it, but compressed."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def run(model: Any, tokens: list[int]) -> np.ndarray:
    """The result (positions, outputs), as logits; one position where they are pooled."""
    import keras

    given: list[Any] = [np.array([tokens], str(model.inputs[0].dtype))]
    if len(model.inputs) == 2:
        given.append(np.arange(len(tokens))[None])
    out = np.asarray(keras.ops.convert_to_numpy(model(given if len(given) > 1 else given[0])))
    out = out[0].astype(np.float64).reshape(-1, out.shape[-1])
    if out.shape[1] == 1:  # a probability, as two logits
        return np.concatenate([np.zeros_like(out), np.log(out / (1 - out))], 1)
    if (np.abs(out.sum(-1) - 1) < 1e-5).all() and (out >= 0).all():  # probabilities
        out = np.log(out)
        return out - out.mean(-1, keepdims=True)
    return out


def tokens_of(name: str) -> list[int]:
    """Of the model's length; 0 is padding where a model masks it."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.integers(1, VOCAB, LENGTH).tolist()


def main(names: list[str]) -> None:
    """Write all, or some beside those that there are."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    kept = json.loads(EXPECTED.read_text()) if names else {}
    for name in names or CASES:
        model = make(name)
        save(model, FOLDER / f"{name}.keras")
        result = run(model, tokens_of(name))
        rows = [[round(float(v), 6) for v in row] for row in architectures.selected(result)]
        kept[name] = {"tokens": tokens_of(name), "result": rows}
        size = (FOLDER / f"{name}.keras").stat().st_size
        print(f"{name}: {size:,} bytes, {result.shape}, largest {np.abs(result).max():.3f}")
    lines = [f"{json.dumps(n)}: {json.dumps(kept[n], separators=(',', ':'))}" for n in CASES]
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write_texts() if sys.argv[1:] == ["texts"] else main(sys.argv[1:])
