"""Classifiers of signals: what sensors say, and sounds as a board hears them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.sounds import loudest
from ..errors import Error
from ..features import LogMel
from . import doubts
from .files import save_arrays
from .folders import write_folder
from .job import Job, Shape
from .recorded import Recording, is_sound, pieces, signals, sounds
from .sounds import Maker, padded
from .splitting import digest_of, split, spread

if TYPE_CHECKING:
    import torch

RATE = 8000  # samples a second
SECONDS = 1.0, 2.0  # of a window of sound, at least and at most
LONGEST = 512  # rows of a signal that are read at once
WINDOWS = 25  # of a signal, about
# What labels are called that stand for no event.
NOTHING = ("background", "silence", "noise", "_background_noise_", "none", "unknown", "other")
WITHOUT = 0.4  # windows without a word, as a share of those with one
PASSES = 16  # windows of each recording, at most
DROPOUT, SMOOTHING = 0.1, 0.05


class SignalJob(Job):
    """A label for each signal; what both kinds of signals share."""

    kind = "signals"
    what = "signal"
    held_out = "test.npz"
    batch = 64
    sizes: tuple[tuple[int, int, int, int], ...]  # dim, hidden, layers, heads
    background: tuple[str, ...] = ()

    def _split(self, found: list[Recording]) -> None:
        """Check, divide and say what is odd."""
        labels = [r.label for r in found]
        doubts.check(str(self.data), labels, self.what)
        keys = [r.key for r in found]
        parts = split(keys, labels, [r.part for r in found])
        self.doubts += doubts.of_labels(labels, self.what)
        if again := len(keys) - len(set(keys)):
            self.doubts.append(f"{again} {self.what}s are copies of others; copies go to one part")
        if torn := len(set(zip(keys, labels, strict=True))) - len(set(keys)):
            self.doubts.append(f"{torn} {self.what}s have two labels")
        held = {k for k, part in zip(keys, parts, strict=True) if part == "test"}
        self.recordings: dict[str, list[Recording]] = {"train": [], "validation": [], "test": []}
        for r, key, part in zip(found, keys, parts, strict=True):
            if part == "test" or key not in held:
                self.recordings[part].append(r)
        self.recordings["test"] = spread(self.recordings["test"])
        self.doubts += doubts.of_test(len(self.recordings["test"]), self.what)
        self.labels = sorted(set(labels))

    def _number(self) -> None:
        """Fix the numbers of labels; what is made later may have added one."""
        self.number = {label: i for i, label in enumerate(self.labels)}
        self.parts = {p: [r.label for r in some] for p, some in self.recordings.items()}
        self.wanted = {
            p: np.array([self.number[label] for label in some], np.int64)
            for p, some in self.parts.items()
        }

    def fingerprint(self) -> str:
        return digest_of(*([r.key, r.label] for r in self.recordings["train"]))

    def shapes(self) -> list[Shape]:
        few = len(self.recordings["train"]) < 500
        return [
            {"dim": d, "hidden": h, "layers": n, "heads": k}
            for d, h, n, k in self.sizes[1 if few else 0 :]
        ]

    def model(self, shape: Shape) -> Any:
        from .signal_model import SignalClassifier

        return SignalClassifier(
            channels=self.channels, length=self.length, window=self.window,
            classes=len(self.labels), mean=self.mean, std=self.std, dropout=DROPOUT, **shape,
        )  # fmt: skip

    # Set by those below: of a window, of the channels, and the held-out parts as arrays.
    channels: int
    length: int
    window: int
    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    def rows_of(self, part: str) -> list[NDArray[Any]]:
        """The rows of each recording of a part, whole numbers as a board would have them."""
        raise NotImplementedError

    def _positions(self) -> int:
        return (self.length - self.window) // self.window + 1

    def predict(self, model: Any, rows: list[NDArray[Any]]) -> NDArray[np.float32]:
        """Logits (n, labels)."""
        import torch

        model.eval()
        out = []
        with torch.inference_mode():
            for at in range(0, len(rows), 128):
                x, counts = stacked(rows[at : at + 128], self.length)
                out.append(model(torch.from_numpy(x), torch.from_numpy(counts)).numpy())
        return np.concatenate(out)

    def score(self, model: Any) -> float:
        if not hasattr(self, "_held"):
            self._held = self.rows_of("validation")
        said = self.predict(model, self._held).argmax(1)
        return float(np.mean(said == self.wanted["validation"]))

    def export(self, folder: Path, shape: Shape, weights: dict[str, torch.Tensor]) -> None:
        description: dict[str, Any] = {
            "task": "classify",
            "nhead": shape["heads"],
            "norm_first": True,
            "activation": "relu",
            "pooling": "mean",
            "labels": self.labels,
            "input": self.described_input(),
        }
        if self.background:
            description["background"] = list(self.background)
        halves = {name: t.numpy().astype(np.float16) for name, t in weights.items()}
        write_folder(folder, halves, {"model": description})

    def described_input(self) -> dict[str, Any]:
        """`input` of the description."""
        raise NotImplementedError

    def write_test(self, folder: Path) -> None:
        rows = self.test_values()
        longest = max(map(len, rows))
        values = np.full((len(rows), longest, self.channels), np.nan, np.float32)
        for line, row in zip(values, rows, strict=True):
            line[: len(row)] = row
        save_arrays(
            folder / self.held_out,
            {"signals": values, "labels": np.array(self.parts["test"], dtype=np.str_)},
        )

    def test_values(self) -> list[NDArray[Any]]:
        """What the test part's file has."""
        return self.values_of("test")

    def values_of(self, part: str) -> list[NDArray[Any]]:
        """The recordings of a part in the sensor's units, as a model file takes them."""
        return self.rows_of(part)

    def held(self) -> list[tuple[Any, str]]:
        values = [v.astype(np.float32) for v in self.values_of("validation")]
        return list(zip(values, self.parts["validation"], strict=True))

    def shown(self, i: int) -> str:
        return self.recordings["test"][i].name

    def described(self, shape: Shape) -> list[tuple[str, str]]:
        return [
            ("windows", f"{self._positions()} of {self.window} rows, read by an `nn.Conv1d`"),
            (
                "layers",
                f"{shape['layers']} of `nn.TransformerEncoder`, pre-norm, ReLU; dim "
                f"{shape['dim']}, feed-forward {shape['hidden']}, {shape['heads']} heads",
            ),
            ("positions", "learned"),
            ("head", f"the mean of the windows, {len(self.labels)} labels"),
        ]


def stacked(rows: list[NDArray[Any]], length: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """(n, length, channels), and how many rows of each there are."""
    out = np.zeros((len(rows), length, rows[0].shape[1]), np.float32)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out, np.array([len(row) for row in rows], np.int64)


class SoundJob(SignalJob):
    """A label for each .wav file."""

    what = "recording"
    sizes = ((48, 96, 3, 4), (40, 80, 3, 4), (32, 64, 2, 4), (24, 48, 2, 3), (16, 32, 1, 2))
    batch = 128

    def __init__(self, data: Path, seed: int) -> None:
        super().__init__(data, seed)
        self.front = LogMel(rate=RATE)
        found = [r for r in sounds(data, RATE) if len(r.values)]
        known = [name for name in NOTHING if name in {r.label.lower() for r in found}]
        spoken = [len(r.values) / RATE for r in found if r.label.lower() not in known]
        if not spoken:
            raise Error(f"{data} has folders of background alone; expected one for each label")
        seconds = float(np.clip(np.quantile(spoken, 0.98), *SECONDS))
        self.length = self.front.rows(int(np.ceil(4 * seconds) / 4 * RATE))
        samples = self.front.samples(self.length)
        quiet = [r for r in found if r.label.lower() in known]
        found = [r for r in found if r.label.lower() not in known]
        if short := sum(self.front.rows(len(r.values)) < 5 for r in found):
            self.doubts.append(f"{short} recordings are too short and left out")
        found = [r for r in found if self.front.rows(len(r.values)) >= 5]
        long = sum(self.front.rows(len(r.values)) > self.length for r in found)
        if long:
            self.doubts.append(
                f"{long} recordings are longer than {samples / RATE:.2f} s: their loudest part "
                "is read"
            )
        self._split([*found, *pieces(quiet, samples)])
        if quiet:
            self.background = tuple(sorted({r.label for r in quiet}))
        else:
            self.background = ("background",)
            self.labels.append("background")
            self.doubts.append(
                'no folder "background": silence, noise and pieces of words are made up for it, '
                "so that a listener is quiet where nobody speaks"
            )
        self._number()
        self.none = self.number[self.background[0]]
        self.channels, self.window = self.front.bands, 5
        self.tokens = self._positions()
        self._pool: list[tuple[NDArray[np.int16], NDArray[np.int64]]] = []
        self._more()
        heard = self._pool[0][0][self._pool[0][0] >= 0]
        self.mean = np.array(float(round(float(heard.mean()), -2)))
        self.std = np.array(float(round(float(heard.std()), -2)) or 100.0)
        # As often as making them takes a fifth of the time, about.
        self.growth = 3 * len(self.recordings["train"])

    def _more(self) -> None:
        """Make one more window of each training recording, and of noise."""
        k = len(self._pool)
        draw = np.random.default_rng((self.seed, k))
        source = _Source(self.recordings["train"], self.wanted["train"])
        every = np.arange(len(source.label))
        said = every[~np.isin(source.label, [self.number[b] for b in self.background])]
        maker = Maker(
            source, draw, lambda i: int(draw.choice(said)), self.front, self.length, self.none,
            # Turned round a word may be another one: nobody knows whose.
            range(len(self.labels)),
        )  # fmt: skip
        without = draw.choice(said, int(WITHOUT * len(said)), replace=False)
        made = [maker.spoken(int(i)) for i in every]
        made += [maker.background(int(i)) for i in without]
        rows = np.stack([padded(self.front(w.samples), self.length) for w in made])
        self._pool.append((rows, np.array([w.label for w in made], np.int64)))

    def loss(self, model: Any, step: int) -> torch.Tensor:
        import torch
        import torch.nn.functional as F

        from .signal_model import other_microphone

        while len(self._pool) < min(PASSES, 1 + step // self.growth):
            self._more()
        drawn = torch.randint(len(self._pool) * len(self._pool[0][1]), (self.batch,)).tolist()
        n = len(self._pool[0][1])
        rows = np.stack([self._pool[i // n][0][i % n] for i in drawn]).astype(np.float32)
        target = np.array([self._pool[i // n][1][i % n] for i in drawn])
        x = torch.from_numpy(rows)
        counts = (x[:, :, 0] >= 0).sum(1)
        logits = model(other_microphone(x, float(self.mean)), counts)
        return F.cross_entropy(logits, torch.from_numpy(target), label_smoothing=SMOOTHING)

    def rows_of(self, part: str) -> list[NDArray[Any]]:
        heard = (self.front(np.asarray(r.values)) for r in self.recordings[part])
        return [loudest(rows, self.length) for rows in heard]

    def described_input(self) -> dict[str, Any]:
        return {
            "sound": {"rate": self.front.rate, "bands": self.front.bands},
            "length": self.length,
            "stride": self.window,
            "mean": float(self.mean),
            "std": float(self.std),
        }

    def described(self, shape: Shape) -> list[tuple[str, str]]:
        seconds = self.front.samples(self.length) / RATE
        return [
            ("sound", f"{RATE:,} samples a second, {seconds:.2f} s at once"),
            ("rows", f"{self.length} of {self.front.bands} log-mel energies, one each 10 ms"),
            *super().described(shape),
        ]

    def augmentation(self) -> str:
        return (
            "The recordings were put anywhere in a window, faster, slower, louder and quieter, in "
            "silence and noise of many kinds, and as another microphone hears them; windows with "
            f"noise, or pieces of words, alone are `{self.background[0]}`."
        )

    def limits(self) -> str:
        return (
            "The test part is cut as the recordings are, and has the voices of the training "
            "part: a voice or a room that it has not heard is harder. Try it on a stream with "
            "`picoformer listen`, and choose the threshold there."
        )

    def tried(self) -> str:
        return "--input SOUND.wav"


class _Source:
    """Recordings, as Maker takes them."""

    def __init__(self, recordings: list[Recording], labels: NDArray[np.int64]) -> None:
        self.recordings, self.label = recordings, labels

    def sound(self, i: int) -> NDArray[np.int16]:
        return np.asarray(self.recordings[i].values, np.int16)


class SensorJob(SignalJob):
    """A label for each signal of sensors."""

    sizes = ((48, 96, 3, 4), (32, 64, 2, 4), (24, 48, 2, 3), (16, 32, 2, 2), (16, 32, 1, 2))

    def __init__(self, data: Path, seed: int) -> None:
        super().__init__(data, seed)
        found, self.names = signals(data)
        self.length = min(LONGEST, max(len(r.values) for r in found))
        self.window = max(1, -(-self.length // WINDOWS))
        self.length -= self.length % self.window
        found = pieces(found, self.length)
        short = [r for r in found if len(r.values) < self.window]
        if short:
            self.doubts.append(f"{len(short)} signals are too short and left out")
        found = [r for r in found if len(r.values) >= self.window]
        self._split(found)
        self._number()
        train = np.concatenate([r.values for r in self.recordings["train"]]).astype(np.float64)
        self.channels = train.shape[1]
        fractions = any((r.values != np.rint(r.values)).any() for r in found)
        largest = np.abs(train).max(0)
        self.unit = None
        if fractions or largest.max() > 32767:
            # Room for a half more than was seen.
            steps = np.where(largest > 0, largest, 1.0) * 1.5 / 32767
            self.unit = np.array([float(f"{u:.3g}") for u in steps])
            train = train / self.unit
        self.mean = train.mean(0).round(3)
        self.std = np.maximum(train.std(0), 1.0).round(3)
        self.tokens = self._positions()
        x, self.there = stacked(self.rows_of("train"), self.length)
        self.rows = x

    def rows_of(self, part: str) -> list[NDArray[Any]]:
        out = []
        for r in self.recordings[part]:
            v = r.values if self.unit is None else r.values / self.unit
            out.append(np.clip(np.rint(v), -32768, 32767))
        return out

    def values_of(self, part: str) -> list[NDArray[Any]]:
        return [np.asarray(v * (1 if self.unit is None else self.unit))
                for v in self.rows_of(part)]  # fmt: skip

    def loss(self, model: Any, step: int) -> torch.Tensor:
        import torch
        import torch.nn.functional as F

        from .signal_model import other_sensor

        drawn = torch.randint(len(self.rows), (self.batch,)).numpy()
        x, counts = torch.from_numpy(self.rows[drawn]), torch.from_numpy(self.there[drawn])
        x = other_sensor(x, counts, torch.from_numpy(self.std).float())
        target = torch.from_numpy(self.wanted["train"][drawn])
        return F.cross_entropy(model(x, counts), target, label_smoothing=SMOOTHING)

    def described_input(self) -> dict[str, Any]:
        found: dict[str, Any] = {"length": self.length, "channels": self.channels}
        if self.names:
            found["names"] = list(self.names)
        if self.unit is not None:
            found["unit"] = self.unit.tolist()
        return {**found, "stride": self.window, "mean": self.mean.tolist(),
                "std": self.std.tolist()}  # fmt: skip

    def described(self, shape: Shape) -> list[tuple[str, str]]:
        names = f": {', '.join(self.names)}" if self.names else ""
        units = [f"{u:g}" for u in self.unit] if self.unit is not None else []
        unit = [("unit", f"a step of one is {', '.join(dict.fromkeys(units))}")] if units else []
        rows = ("rows", f"{self.length} of {self.channels} channels{names}")
        return [rows, *unit, *super().described(shape)]

    def augmentation(self) -> str:
        return (
            "Signals were moved in time, made faster and slower, stronger and weaker, and noisy."
        )

    def limits(self) -> str:
        unit = (
            " A board gives whole numbers: real values divided by `unit`, rounded."
            if self.unit is not None
            else ""
        )
        return (
            "Whatever it is given gets one of the labels. Pieces of one recording are alike: put "
            "whole recordings, or whole people, into a test folder of their own to see how it "
            f"does on others.{unit}"
        )

    def tried(self) -> str:
        return "--input SIGNAL.csv"


def signal_job(data: Path, seed: int) -> SignalJob:
    """The job of a folder or file of signals. Raises Error."""
    return SoundJob(data, seed) if data.exists() and is_sound(data) else SensorJob(data, seed)
