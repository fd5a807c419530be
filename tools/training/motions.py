r"""Train the small transformer of models/motions: what a wrist with a sensor of motion does.

Stages, each picking up where it stopped: `validate` trains without a fifth of the recordings in
turn and scores the fifth (choices are made there), `train` fits the model to all recordings that
are for training, `export` writes the folder, `evaluate` scores the folder on the test recordings,
as they are, and as a sensor would say them that measures gravity (the watch took it out) and is
turned any way; `all` runs the others in this order. `heldout` writes the test recordings for
`picoformer eval --data`, `example` a made-up recording of a walk. The exact commands of the
shipped model:

    python3 -m venv .venv
    .venv/bin/pip install -e '.[train]' aeon
    .venv/bin/python -m tools.training.motions all

The recordings are BasicMotions of the UEA archive, from the package aeon, which is not imported:
`--data` names another folder that holds BasicMotions_TRAIN.ts and BasicMotions_TEST.ts. Nothing
is downloaded while it runs.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from picoformer.training.files import save_atomically
from picoformer.training.folders import round_rows
from picoformer.training.loop import Run, adamw, fit, half_cosine
from picoformer.training.scores import accuracy
from tools import ROOT
from tools.training.files import need_files
from tools.training.folders import read_state, write_state
from tools.training.scores import classification, print_classification
from tools.training.stages import Stages, add_options, checkpoint, run_stages, trained

NAME = "motions"  # of the exported files
FILES = {"train": "BasicMotions_TRAIN.ts", "test": "BasicMotions_TEST.ts"}
LABELS = ("Standing", "Running", "Walking", "Badminton")
CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")
LENGTH, RATE = 100, 10  # rows of a recording, rows a second
GRAVITY = 9.80665  # m/s^2
# What a step of an MPU-6050 is, at 8 g and 2,000 degrees a second: m/s^2 and rad/s.
UNIT = np.array([GRAVITY / 4096] * 3 + [np.pi / 180 / 16.4] * 3)
STEPS = 32767  # that it counts up to, and no further
STD = np.array([6.0] * 3 + [2.5] * 3)  # m/s^2 and rad/s; the mean is zero
DIM, HEADS, HIDDEN, LAYERS, ROWS = 24, 3, 48, 2, 10  # ROWS: of a window
FOLDS = 5

# --- data ------------------------------------------------------------------------------------


def package() -> Path:
    """Where the package aeon keeps the recordings; it is not imported."""
    spec = importlib.util.find_spec("aeon")
    if spec is None or spec.origin is None:
        raise SystemExit("the recordings are missing: pip install aeon, or --data names a folder")
    return Path(spec.origin).parent / "datasets/data/BasicMotions"


def read_ts(path: Path) -> tuple[np.ndarray, list[str]]:
    """The recordings (n, rows, channels) of a .ts file, and their classes."""
    _, _, rows = path.read_text(encoding="utf-8").partition("@data\n")
    found, classes = [], []
    for row in rows.split():
        *channels, label = row.split(":")
        found.append([[float(v) for v in channel.split(",")] for channel in channels])
        classes.append(label)
    shapes = {np.shape(channels) for channels in found}
    if shapes != {(len(CHANNELS), LENGTH)} or not set(classes) <= set(LABELS):
        seen = f"recordings of {sorted(shapes)}, classes {sorted(set(classes))}"
        raise SystemExit(f"{path}: {seen}; expected BasicMotions")
    return np.array(found).transpose(0, 2, 1), classes


def read_part(data: Path | None, part: str) -> tuple[torch.Tensor, np.ndarray]:
    """(recordings, 100, 6) in m/s^2 and rad/s, and their labels, of train or test."""
    folder = data or package()
    need_files(folder, list(FILES.values()))
    signals, classes = read_ts(folder / FILES[part])
    labels = np.array([LABELS.index(name) for name in classes])
    return torch.from_numpy(signals.astype(np.float32)), labels


def counted(signals: torch.Tensor) -> torch.Tensor:
    """What a sensor would count, in whole numbers of 16 bits."""
    return (signals / torch.tensor(UNIT, dtype=torch.float32)).round().clamp(-STEPS, STEPS)


def rotations(axis: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Matrices (n, 3, 3) that turn by angles (n,) around axes (n, 3) of any length."""
    x, y, z = (axis / axis.norm(dim=1, keepdim=True).clamp_min(1e-9)).unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)


def with_gravity(signals: torch.Tensor) -> torch.Tensor:
    """What an accelerometer measures: gravity, from anywhere, turned as the gyroscope says.

    The watch took gravity out of what it recorded.
    """
    n = len(signals)
    now = F.normalize(torch.randn(n, 3), dim=1) * GRAVITY
    added = signals.clone()
    for row in range(LENGTH):
        added[:, row, :3] += now
        rate = signals[:, row, 3:]
        turn = rotations(rate, -rate.norm(dim=1) / RATE)
        now = (turn @ now[:, :, None])[:, :, 0]
    return added


def turned(signals: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """The same by a sensor that is turned by angles (n,) around any axis."""
    turn = rotations(torch.randn(len(signals), 3), angle)
    return torch.cat([signals[:, :, :3] @ turn, signals[:, :, 3:] @ turn], 2)


def otherwise(signals: torch.Tensor, seed: int) -> dict[str, torch.Tensor]:
    """The recordings, and what a sensor would say that measures gravity and is turned any way."""
    torch.manual_seed(seed)
    angle = 2 * np.pi * torch.rand(len(signals))
    return {"as they are": signals, "with gravity, turned": turned(with_gravity(signals), angle)}


def at_pace(signals: torch.Tensor, pace: torch.Tensor) -> torch.Tensor:
    """Recordings that begin anywhere, and go on at their start, `pace` times as fast."""
    n = len(signals)
    at = torch.rand(n, 1) * LENGTH + torch.arange(LENGTH) * pace[:, None]
    before, share = at.long(), (at - at.floor())[:, :, None]
    which = torch.arange(n)[:, None]
    first, second = signals[which, before % LENGTH], signals[which, (before + 1) % LENGTH]
    return first + share * (second - first)


def augment(signals: torch.Tensor) -> torch.Tensor:
    """Others that move the same way, by another sensor; half of them feel gravity."""
    n = len(signals)

    def between(low: float, high: float, *size: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(size)

    pace = between(0.85, 1.15, n)
    moved = at_pace(signals, pace)
    moved[:, :, 3:] *= pace[:, None, None]  # who moves faster turns faster
    moved *= between(0.8, 1.25, n, 1, 1)
    mirror = torch.ones(n, 1, 3)  # the other wrist; what turns there turns the other way round
    mirror[:, 0, 0] -= 2 * (torch.rand(n) < 0.5)
    moved[:, :, :3] *= mirror
    moved[:, :, 3:] *= mirror * mirror.prod(2, keepdim=True)
    moved = torch.where(torch.rand(n, 1, 1) < 0.5, with_gravity(moved), moved)
    moved = turned(moved, between(-np.pi, np.pi, n))
    offset = torch.randn(n, 1, 6) * torch.tensor([0.3] * 3 + [0.1] * 3)
    return moved + offset + torch.randn(n, LENGTH, 6) * between(0, 0.1, n, 1, 1)


# --- the model -------------------------------------------------------------------------------


class Motions(nn.Module):
    """Windows of the signal through a linear layer, a transformer's encoder, their mean, a head.

    What stands still counts nothing (gravity, a gyroscope's offset): of each filter the weights
    of a channel sum to zero. There are no positions: a motion is the same wherever it begins.
    """

    def __init__(self) -> None:
        super().__init__()
        self.windows = nn.Conv1d(len(CHANNELS), DIM, ROWS, stride=ROWS)
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, HIDDEN, 0.1, "relu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, LAYERS, nn.LayerNorm(DIM), enable_nested_tensor=False
        )
        self.head = nn.Linear(DIM, len(LABELS))

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        """(n, rows, channels) of whole numbers, as a sensor counts them, to (n, classes)."""
        scale = torch.tensor(UNIT / STD, dtype=torch.float32)
        weight = self.windows.weight
        weight = weight - weight.mean(2, keepdim=True)
        x = F.conv1d((steps * scale).transpose(1, 2), weight, self.windows.bias, ROWS)
        x = self.encoder(x.transpose(1, 2)).mean(1)
        logits: torch.Tensor = self.head(x)
        return logits

    def exported(self) -> dict[str, torch.Tensor]:
        """The state dict, in which the filters are as they are used."""
        state = self.state_dict()
        weight = state["windows.weight"]
        return state | {"windows.weight": weight - weight.mean(2, keepdim=True)}


DESCRIPTION: dict[str, Any] = {
    "task": "classify",
    "nhead": HEADS,
    "norm_first": True,
    "activation": "relu",
    "positions": "none",
    "pooling": "mean",
    "labels": list(LABELS),
    "input": {
        "length": LENGTH,
        "channels": len(CHANNELS),
        "names": list(CHANNELS),
        "unit": [float(f"{unit:.6g}") for unit in UNIT],
        "mean": [0.0] * len(CHANNELS),
        "std": STD.tolist(),
    },
}


@torch.inference_mode()
def predict(model: Motions, signals: torch.Tensor) -> np.ndarray:
    """(n, classes) float32 logits of recordings in real values."""
    model.eval()
    logits: np.ndarray = model(counted(signals)).numpy()
    return logits


def fitted(args: argparse.Namespace, path: Path, signals: torch.Tensor, labels: np.ndarray) -> Any:
    """A model fitted to recordings, and the seconds it took."""
    torch.manual_seed(args.seed)
    model = Motions()
    target = torch.from_numpy(labels)
    batch = 64

    def loss_of(step: int) -> torch.Tensor:
        drawn = torch.randint(len(target), (batch,))
        logits = model(counted(augment(signals[drawn])))
        return F.cross_entropy(logits, target[drawn], label_smoothing=0.05)

    seconds = fit(
        Run(model, adamw(model, 0.05), path), loss_of, steps=args.steps, rate=args.rate,
        schedule=half_cosine(args.steps), seed=args.seed,
    )  # fmt: skip
    return model, seconds


# --- stages ----------------------------------------------------------------------------------


def stage_validate(args: argparse.Namespace) -> None:
    """Score recordings that a model was not fitted to, each fifth in turn.

    Those that are left out together lie together in the file, where one person's do.
    """
    signals, labels = read_part(args.data, "train")
    place = np.array([np.sum(labels[:i] == label) for i, label in enumerate(labels)])
    fold = place * FOLDS // (place.max() + 1)
    logits: dict[str, np.ndarray] = {}
    for i in range(FOLDS):
        kept = torch.from_numpy(fold != i)
        path = args.work / f"{args.run}-{args.seed}-without-{i}.pt"
        model, _ = fitted(args, path, signals[kept], labels[fold != i])
        for word, given in otherwise(signals[~kept], i).items():
            found = logits.setdefault(word, np.zeros((len(labels), len(LABELS)), np.float32))
            found[fold == i] = predict(round_rows(model), given)
    for word, found in logits.items():
        loss = F.cross_entropy(torch.from_numpy(found), torch.from_numpy(labels)).item()
        print(f"left out, {word}: {accuracy(found, labels)}, loss {loss:.4f}", flush=True)


def stage_train(args: argparse.Namespace) -> None:
    """Fit the model to all training recordings."""
    signals, labels = read_part(args.data, "train")
    model, seconds = fitted(args, checkpoint(args), signals, labels)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {seconds:.0f} s")


def stage_export(args: argparse.Namespace) -> None:
    """Write the state dict in float16, and the description beside it."""
    model = Motions()
    model.load_state_dict(trained(checkpoint(args), "train"))
    write_state(args.out, NAME, model.exported(), DESCRIPTION)


def load_folder(folder: Path) -> Motions:
    """The folder's model, in float32."""
    model = Motions()
    model.load_state_dict(read_state(folder, NAME))
    return model.eval()


def evaluate_folder(folder: Path, data: Path | None) -> dict[str, dict[str, Any]]:
    """Right answers and the confusion (rows: true) of a folder's model, and with 8-bit rows.

    Of the test recordings as they are, and as another sensor would have made them.
    """
    signals, labels = read_part(data, "test")
    model = load_folder(folder)
    found = {}
    for word, given in otherwise(signals, 0).items():
        logits, rounded = predict(model, given), predict(round_rows(model), given)
        found[word] = classification(labels, logits, rounded, rounded)
    return found


def stage_evaluate(args: argparse.Namespace) -> None:
    """Accuracy of the exported folder on the test recordings, with 8-bit weights as well."""
    for word, result in evaluate_folder(args.out, args.data).items():
        print_classification(f"test, {word}", result, LABELS, 10)


def stage_heldout(args: argparse.Namespace) -> None:
    """Write the test recordings in whole numbers, for `picoformer eval --data`: both kinds."""
    signals, labels = read_part(args.data, "test")
    names = np.array(LABELS)[labels]
    kinds = ("test", "turned")
    for name, given in zip(kinds, otherwise(signals, 0).values(), strict=True):
        np.savez(f"{name}.npz", signals=counted(given).numpy().astype(np.int16), labels=names)
        print(f"{name}.npz: {len(names)} recordings")


def made_up_walk() -> np.ndarray:
    """Whole numbers (100, 6), as an MPU-6050 counts them on a wrist that swings as one walks.

    Nobody walked: a swing forth and back in 1.1 s, a push at each of the two steps in it, gravity.
    """
    t = np.arange(LENGTH) / RATE
    swing = 2 * np.pi * t / 1.1
    noise = np.random.default_rng(1).normal(0, 1, (LENGTH, 6)) * ([0.3] * 3 + [0.1] * 3)
    angle = 0.4 * np.sin(swing)
    rate = 0.4 * 2 * np.pi / 1.1 * np.cos(swing)
    step = np.sin(2 * swing + 0.6)
    real = np.stack(
        [
            GRAVITY * np.sin(angle) + 1.2 * np.sin(swing),
            GRAVITY * np.cos(angle) + 4.0 * step,
            0.8 * np.sin(2 * swing),
            0.9 * step,
            0.4 * np.sin(swing),
            -rate,
        ],
        1,
    )
    steps: np.ndarray = np.rint((real + noise) / UNIT).astype(int)
    return steps


def stage_example(args: argparse.Namespace) -> None:
    """Write walking.csv, a made-up recording, to the folder."""
    lines = [",".join(CHANNELS), *(",".join(map(str, row)) for row in made_up_walk().tolist())]
    text = "\n".join(lines) + "\n"
    save_atomically(args.out / "walking.csv", functools.partial(Path.write_text, data=text))


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "validate": stage_validate,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
}
APART: Stages = {"heldout": stage_heldout, "example": stage_example}


def main() -> None:
    """Parse the command line and run one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser, [*STAGES, *APART], ROOT / "models" / NAME)
    parser.add_argument("--data", type=Path, help="the folder of the recordings")
    parser.add_argument("--rate", type=float, default=3e-3, help="the learning rate")
    parser.add_argument("--steps", type=int, default=400)
    args = parser.parse_args()
    run_stages(args, NAME, STAGES, APART)


if __name__ == "__main__":
    main()
