r"""Train the small transformer of models/digits: which digit was spoken, or none.

Stages, each picking up where it stopped: `prepare` makes seconds of sound of the recordings that
are not for testing, and reads them as the board does; `validate` trains without those of
validation and scores them (choices are made there), `train` fits the model to all that are made,
`export` writes the folder, `evaluate` scores the folder on the test recordings, `stream` has it
listen to a minute of them between silence and noise; `all` runs the others in this order.
`speakers` trains without each speaker in turn and scores him, `heldout` writes the test
recordings for `picoformer eval --data`, `example` one of them as a .wav. The exact commands of
the shipped model:

    python3 -m venv .venv
    .venv/bin/pip install -e '.[train]'
    .venv/bin/python -m tools.training.digits all --data DATA

DATA is a folder with spoken_digits.npz, which the card describes. Nothing is downloaded while it
runs.
"""

from __future__ import annotations

import argparse
import functools
import io
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from picoformer import Listener, Simulator, convert
from picoformer.training.files import save_arrays, save_atomically
from picoformer.training.folders import round_rows
from picoformer.training.loop import Run, adamw, fit, half_cosine
from picoformer.training.scores import accuracy, right, share
from picoformer.training.signal_model import other_microphone
from tools import ROOT
from tools.training.folders import read_state, write_state
from tools.training.scores import classification, print_classification
from tools.training.spoken import (
    BACKGROUND,
    FRONT,
    LABELS,
    ROWS,
    TEST,
    UNSPOKEN,
    VALIDATION,
    Heard,
    Recordings,
    alone,
    in_a_second,
    made_pass,
    read_recordings,
    stream,
    unspoken,
)
from tools.training.stages import Stages, add_options, checkpoint, run_stages, trained

NAME = "digits"  # of the exported files
MEAN, STD = 4400, 2000  # of the rows that `prepare` makes, roughly
DIM, HEADS, HIDDEN, LAYERS = 40, 4, 80, 3
PATCH, STRIDE = 5, 5  # rows of a window, and from one to the next
POSITIONS = (ROWS - PATCH) // STRIDE + 1
A_MINUTE = 20  # recordings in a minute of a stream
WITHOUT = 0.4  # windows without a digit, as a share of those with one
EXAMPLE = "jackson", 7, 0  # speaker, digit, index of the recording that is shipped


# --- model -----------------------------------------------------------------------------------


class Digits(nn.Module):
    """Windows of the rows through a linear layer, a transformer's encoder, their mean, a head."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.windows = nn.Conv1d(FRONT.bands, DIM, PATCH, stride=STRIDE)
        self.positions = nn.Parameter(0.02 * torch.randn(POSITIONS, DIM))
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, HIDDEN, dropout, "relu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, LAYERS, nn.LayerNorm(DIM), enable_nested_tensor=False
        )
        self.head = nn.Linear(DIM, len(LABELS))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, 98, bands) of whole numbers, -1 where there are no rows, to (n, classes)."""
        count = (rows[:, :, 0] >= 0).sum(1)
        there = torch.arange(POSITIONS) < ((count - PATCH) // STRIDE + 1)[:, None]
        x = self.windows(((rows - MEAN) / STD).transpose(1, 2)).transpose(1, 2) + self.positions
        x = self.encoder(x, src_key_padding_mask=None if there.all() else ~there)
        logits: torch.Tensor = self.head((x * there[:, :, None]).sum(1) / there.sum(1)[:, None])
        return logits


DESCRIPTION: dict[str, Any] = {
    "task": "classify",
    "nhead": HEADS,
    "norm_first": True,
    "activation": "relu",
    "pooling": "mean",
    "labels": list(LABELS),
    "background": [LABELS[BACKGROUND]],
    "input": {
        "sound": {"rate": FRONT.rate, "bands": FRONT.bands},
        "length": ROWS,
        "stride": STRIDE,
        "mean": MEAN,
        "std": STD,
    },
}


@torch.inference_mode()
def predict(model: Digits, rows: np.ndarray) -> np.ndarray:
    """(n, classes) float32 logits of rows (n, 98, bands), -1 where there are none."""
    model.eval()
    parts = [model(torch.from_numpy(rows[i : i + 256]).float()) for i in range(0, len(rows), 256)]
    logits: np.ndarray = torch.cat(parts).numpy()
    return logits


# --- data ------------------------------------------------------------------------------------


def made(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, labels and recordings of all windows that `prepare` made."""
    paths = [args.work / f"pass-{k}.npz" for k in range(args.passes)]
    if missing := [path for path in paths if not path.exists()]:
        raise SystemExit(f"{missing[0]} is missing: run `prepare` first")
    found: list[list[np.ndarray]] = []
    for path in paths:
        with np.load(path) as file:
            found.append([file["rows"], file["labels"], file["recordings"]])
    rows, labels, of = (np.concatenate(each) for each in zip(*found, strict=True))
    return rows, labels, of


KINDS = {"as they are": alone, "in a second": in_a_second}


def held_rows(recordings: Recordings, which: np.ndarray, kind: str) -> np.ndarray:
    """Rows (n, 98, bands) of recordings, as one of KINDS."""
    return np.stack([KINDS[kind](recordings.sound(i)) for i in which])


def fitted(
    args: argparse.Namespace, path: Path, rows: np.ndarray, labels: np.ndarray, steps: int
) -> tuple[Digits, float]:
    """A model fitted to windows, and the seconds it took."""
    torch.manual_seed(args.seed)
    model = Digits(args.dropout)
    source, target = torch.from_numpy(rows), torch.from_numpy(labels.astype(np.int64))

    def loss_of(step: int) -> torch.Tensor:
        drawn = torch.randint(len(target), (args.batch,))
        logits = model(other_microphone(source[drawn].float(), float(MEAN)))
        return F.cross_entropy(logits, target[drawn], label_smoothing=0.05)

    seconds = fit(
        Run(model, adamw(model, 0.05), path, average=args.average), loss_of, steps=steps,
        rate=args.rate, schedule=half_cosine(steps), seed=args.seed,
    )  # fmt: skip
    return model, seconds


# --- stages ----------------------------------------------------------------------------------


def stage_prepare(args: argparse.Namespace) -> None:
    """Make windows of the recordings that are not for testing, pass by pass."""
    recordings = read_recordings(args.data)
    which = np.flatnonzero(~np.isin(recordings.index, TEST))
    for k in range(args.passes):
        path = args.work / f"pass-{k}.npz"
        if not path.exists():
            rows, labels, of = made_pass(recordings, which, 1000 + k, WITHOUT)
            save_arrays(path, {"rows": rows, "labels": labels, "recordings": of})
            print(f"{path.name}: {len(rows)} windows", flush=True)


def said_of(model: Digits, rows: np.ndarray, labels: np.ndarray) -> str:
    """How many windows with a digit and without are told right, in words."""
    logits, digit = predict(model, rows), labels != BACKGROUND
    found = right(logits[~digit], labels[~digit])
    return (
        f"windows with a digit {accuracy(logits[digit], labels[digit])}, "
        f"without {share(found, int((~digit).sum()))}"
    )


def score_held(
    model: Digits, recordings: Recordings, which: np.ndarray, data: tuple[np.ndarray, ...]
) -> None:
    """Print how a model does on recordings that it was not fitted to, and windows of them."""
    labels = recordings.label[which]
    for kind in KINDS:
        rows = held_rows(recordings, which, kind)
        for word, one in (("", model), (", 8-bit rows", round_rows(model))):
            print(f"left out, {kind}{word}: {accuracy(predict(one, rows), labels)}", flush=True)
    rows, labels, of = data
    held = np.isin(of, which)
    print(f"left out, {said_of(model, rows[held], labels[held])}", flush=True)


def stage_validate(args: argparse.Namespace) -> None:
    """Fit a model to the windows of the recordings for training; score those for validation."""
    recordings = read_recordings(args.data)
    rows, labels, of = data = made(args)
    kept = ~np.isin(recordings.index[of], VALIDATION)
    path = args.work / f"{args.run}-{args.seed}-validated.pt"
    model, seconds = fitted(args, path, rows[kept], labels[kept], args.steps)
    print(f"{seconds:.0f} s")
    score_held(model, recordings, recordings.part("validation"), data)


def stage_speakers(args: argparse.Namespace) -> None:
    """Fit models to all speakers but one, in a third of the steps, and score his recordings."""
    recordings = read_recordings(args.data)
    rows, labels, of = data = made(args)
    total = 0
    for s, name in enumerate(recordings.speakers):
        kept = recordings.speaker[of] != s
        path = args.work / f"{args.run}-{args.seed}-without-{name}.pt"
        model, _ = fitted(args, path, rows[kept], labels[kept], args.steps // 3)
        which = np.flatnonzero((recordings.speaker == s) & ~np.isin(recordings.index, TEST))
        print(f"without {name}:")
        score_held(model, recordings, which, data)
        logits = predict(model, held_rows(recordings, which, "as they are"))
        total += right(logits, recordings.label[which])
    print(f"speakers left out: {share(total, int((~np.isin(recordings.index, TEST)).sum()))}")


def stage_train(args: argparse.Namespace) -> None:
    """Fit the model to all windows."""
    rows, labels, _ = made(args)
    model, seconds = fitted(args, checkpoint(args), rows, labels, args.steps)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {seconds:.0f} s")


def stage_export(args: argparse.Namespace) -> None:
    """Write the state dict in float16, and the description beside it."""
    model = Digits()
    model.load_state_dict(trained(checkpoint(args), "train"))
    write_state(args.out, NAME, model.state_dict(), DESCRIPTION)


def load_folder(folder: Path) -> Digits:
    """The folder's model, in float32."""
    model = Digits()
    model.load_state_dict(read_state(folder, NAME))
    return model.eval()


def evaluate_folder(folder: Path, data: Path) -> dict[str, dict[str, Any]]:
    """Right answers and the confusion (rows: true) of a folder's model, and with 8-bit rows.

    Of the test recordings as they are, and in a second with nothing else in it.
    """
    recordings = read_recordings(data)
    which = recordings.part("test")
    model = load_folder(folder)
    found = {}
    for kind in KINDS:
        rows = held_rows(recordings, which, kind)
        logits, rounded = predict(model, rows), predict(round_rows(model), rows)
        found[kind] = classification(recordings.label[which], logits, rounded, rounded)
    return found


def integers(folder: Path) -> Simulator:
    """A folder's model, as a board computes it."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"{NAME}.pft"
        convert(folder / f"{NAME}.safetensors", path)
        return Simulator(path)


def told_right(model: Simulator, rows: np.ndarray, labels: np.ndarray) -> int:
    """How many of rows (n, 98, bands), -1 where there are none, a model tells right."""
    told = [model.classify(one[one[:, 0] >= 0])[0][0] for one in rows]
    return sum(label == LABELS[i] for label, i in zip(told, labels, strict=True))


def stage_evaluate(args: argparse.Namespace) -> None:
    """Accuracy of the exported folder on the test recordings, also of 8-bit weights, integers."""
    for kind, result in evaluate_folder(args.out, args.data).items():
        print_classification(f"test, {kind}", result, LABELS, 10)
    recordings = read_recordings(args.data)
    which = recordings.part("test")
    model, labels = integers(args.out), recordings.label[which]
    for kind in KINDS:
        count = told_right(model, held_rows(recordings, which, kind), labels)
        print(f"test, {kind}, picoformer's integers: {share(count, len(which))}", flush=True)


def listened(model: Simulator, samples: np.ndarray, **rule: Any) -> list[tuple[int, int]]:
    """Events (label, sample at which it was told) of a stream, as a board's listener has them."""
    source = io.BytesIO(samples.astype("<i2").tobytes())
    events = Listener(model, source, **rule)
    return [(LABELS.index(label), ms * FRONT.rate // 1000) for label, _, ms in events]


def listen_to(model: Simulator, data: Path, part: str, **rule: Any) -> tuple[Heard, int]:
    """What a model hears of the recordings of a part, and in how many minutes."""
    recordings = read_recordings(data)
    which = np.random.default_rng(1).permutation(recordings.part(part))
    heard, minutes = Heard(), max(1, len(which) // A_MINUTE)
    for k in range(minutes):
        samples, said = stream(recordings, which[k::minutes], k)
        heard.add(listened(model, samples, **rule), said)
    return heard, minutes


def stage_stream(args: argparse.Namespace) -> None:
    """Listen to the recordings of --part, 20 in each minute, and to what is not spoken."""
    rule = {name: getattr(args, name) for name in ("hop", "threshold", "smooth", "rest")}
    model = integers(args.out)
    heard, minutes = listen_to(model, args.data, args.part, **rule)
    print(f"{args.part}, {minutes} minutes, {rule}: {heard}", flush=True)
    for kind in UNSPOKEN:
        events = listened(model, unspoken(kind, 1), **rule)
        print(f"two minutes of {kind}: {len(events)} events", flush=True)


def write_wav(path: Path, samples: np.ndarray) -> None:
    """Samples of 16 bits, of one channel."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, FRONT.rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def stage_heldout(args: argparse.Namespace) -> None:
    """Write the test recordings to a folder for each label, for `picoformer eval --data`."""
    recordings = read_recordings(args.data)
    which = recordings.part("test")
    for i in which:
        speaker = recordings.speakers[recordings.speaker[i]]
        path = Path("heldout", LABELS[recordings.label[i]], f"{speaker}-{recordings.index[i]}.wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, recordings.sound(i))
    print(f"heldout: {len(which)} recordings")


def stage_example(args: argparse.Namespace) -> None:
    """Write a test recording to the folder, as it is."""
    recordings = read_recordings(args.data)
    speaker, digit, index = EXAMPLE
    wanted = (recordings.label == digit) & (recordings.index == index)
    wanted &= recordings.speaker == recordings.speakers.index(speaker)
    path = args.out / f"{LABELS[digit]}.wav"
    sound = recordings.sound(int(np.flatnonzero(wanted)[0]))
    save_atomically(path, functools.partial(write_wav, samples=sound))


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "prepare": stage_prepare,
    "validate": stage_validate,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
    "stream": stage_stream,
}
APART: Stages = {"speakers": stage_speakers, "heldout": stage_heldout, "example": stage_example}


def main() -> None:
    """Parse the command line and run one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser, [*STAGES, *APART], ROOT / "models" / NAME)
    parser.add_argument("--data", type=Path, default=Path("."), help="the recordings' folder")
    parser.add_argument("--passes", type=int, default=16, help="windows made of a recording")
    parser.add_argument("--rate", type=float, default=2e-3, help="the learning rate")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--average", type=int, default=500, help="steps")
    parser.add_argument("--hop", type=float, default=0.25, help="stream: seconds between windows")
    parser.add_argument("--threshold", type=float, default=0.7, help="stream: least share")
    parser.add_argument("--smooth", type=int, default=3, help="stream: windows in a mean")
    parser.add_argument("--rest", type=float, default=1.0, help="stream: seconds after an event")
    args = parser.parse_args()
    run_stages(args, NAME, STAGES, APART)


if __name__ == "__main__":
    main()
