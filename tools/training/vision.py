r"""Train the small vision transformer of models/fashion: what garment a 28 x 28 picture shows.

Stages, each picking up where it stopped: `prepare` reads the pictures and sets a validation part
aside, `teacher` fits a convolutional network, `train` fits the small transformer to its answers,
`export` writes the folder, `evaluate` scores the folder on the test pictures (or, with `--part
validation`, where choices are made), `heldout` writes a part for `picoformer eval --data`; `all`
runs the others in this order. The exact commands of the shipped model:

    apt-get download dataset-fashion-mnist
    dpkg -x dataset-fashion-mnist_*.deb DATA
    python3 -m venv .venv
    .venv/bin/pip install -e '.[train]' transformers
    .venv/bin/python -m tools.training.vision prepare --data DATA
    .venv/bin/python -m tools.training.vision teacher
    .venv/bin/python -m tools.training.vision train
    .venv/bin/python -m tools.training.vision train --start small --run longer --epochs 3 \
        --rate 1e-3 --seed 2
    .venv/bin/python -m tools.training.vision export --run longer
    .venv/bin/python -m tools.training.vision evaluate --data DATA

The pictures are Fashion-MNIST's (Zalando SE, MIT). DATA is any folder that holds its four files
(train-images-idx3-ubyte.gz and so on), however deep; where the Debian package is installed,
`--data` may be left out. Nothing is downloaded while it runs.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from picoformer.training.files import save_arrays
from picoformer.training.folders import round_rows
from picoformer.training.loop import Run, adamw, fit, half_cosine
from picoformer.training.scores import accuracy
from tools import ROOT
from tools.training.folders import load_exported, new_model, write_model
from tools.training.scores import classification, print_classification
from tools.training.stages import Stages, add_options, checkpoint, run_stages, trained

PACKAGE = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts the files
LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SIDE = 28
VALIDATION = 5000  # the last of the training file
MEAN, STD = 0.286, 0.353  # of the training pixels, 0 to 1
HARD = 0.3  # weight of the true label, the teacher's probabilities have the rest
CONFIG: dict[str, Any] = {
    "architectures": ["ViTForImageClassification"],
    "model_type": "vit",
    "image_size": SIDE,
    "num_channels": 1,
    "patch_size": 4,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hidden_act": "gelu",
    "qkv_bias": True,
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.05,
    "id2label": {str(i): name for i, name in enumerate(LABELS)},
    "label2id": {name: i for i, name in enumerate(LABELS)},
    "problem_type": "single_label_classification",
    "torch_dtype": "float16",
}
PREPROCESSOR: dict[str, Any] = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": SIDE, "width": SIDE},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [MEAN],
    "image_std": [STD],
}

# --- data ------------------------------------------------------------------------------------


def read_idx(path: Path) -> np.ndarray:
    """The bytes of a gzipped IDX file (LeCun's format of MNIST), in its shape."""
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise SystemExit(f"{path}: {error}") from None
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise SystemExit(f"{path} is not an IDX file of bytes")
    shape = np.frombuffer(data, ">u4", data[3], 4).tolist()
    if len(data) != 4 + 4 * data[3] + int(np.prod(shape)):
        raise SystemExit(f"{path} is cut short: {len(data)} bytes for {shape}")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def read_file(data: Path, name: str) -> np.ndarray:
    """One of the four files, anywhere below the folder."""
    found = sorted(data.rglob(name)) if data.is_dir() else []
    if not found:
        raise SystemExit(
            f"{data} lacks {name}: --data names the folder of Fashion-MNIST; "
            "apt-get install dataset-fashion-mnist brings it"
        )
    return read_idx(found[0])


def read_part(data: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """(pictures, 28, 28) bytes and their labels of train, validation or test."""
    prefix = "t10k" if part == "test" else "train"
    images = read_file(data, f"{prefix}-images-idx3-ubyte.gz")
    labels = read_file(data, f"{prefix}-labels-idx1-ubyte.gz")
    if images.shape != (len(labels), SIDE, SIDE) or labels.max(initial=0) >= len(LABELS):
        raise SystemExit(f"{data}: {images.shape} pictures, {len(labels)} labels")
    if part != "test":
        cut = slice(-VALIDATION, None) if part == "validation" else slice(-VALIDATION)
        images, labels = images[cut], labels[cut]
    return images, labels.astype(np.int64)


def normalize(images: np.ndarray) -> torch.Tensor:
    """Bytes (n, 28, 28) -> what the model takes, (n, 1, 28, 28) float32."""
    return torch.from_numpy((images[:, None].astype(np.float32) / 255 - MEAN) / STD)


def augment(images: torch.Tensor, shift: int = 2) -> torch.Tensor:
    """Each picture moved by up to `shift` pixels, half of them mirrored, by torch's generator."""
    n = len(images)
    dark = -MEAN / STD
    padded = F.pad(images[:, 0], (shift,) * 4, value=dark)
    across = torch.arange(SIDE).expand(n, SIDE)
    mirrored = torch.where(torch.rand(n, 1) < 0.5, across, SIDE - 1 - across)
    columns = mirrored + torch.randint(2 * shift + 1, (n, 1))
    rows = across + torch.randint(2 * shift + 1, (n, 1))
    which = torch.arange(n)[:, None, None]
    return padded[which, rows[:, :, None], columns[:, None, :]][:, None]


def erase(images: torch.Tensor, share: float = 0.1) -> torch.Tensor:
    """In `share` of the pictures a random rectangle, 4 to 12 pixels a side, becomes dark."""
    n = len(images)
    size = torch.randint(4, 13, (2, n, 1)) * (torch.rand(1, n, 1) < share)
    start = (torch.rand(2, n, 1) * (SIDE + 1 - size)).long()
    at = torch.arange(SIDE)
    inside = (at >= start) & (at < start + size)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole, -MEAN / STD)


def drawn(total: int, batch: int, step: int, seed: int) -> np.ndarray:
    """The indices of a step: each epoch takes all in an order of its own."""
    each = total // batch
    order = np.random.default_rng((seed, (step - 1) // each)).permutation(total)
    at = (step - 1) % each * batch
    return order[at : at + batch]


# --- models ----------------------------------------------------------------------------------


def new_teacher() -> Any:
    """A convolutional network of 4 layers with batch norm, 241,898 parameters."""
    layers: list[nn.Module] = []
    before = 1
    for width in (32, 64, 128, 128):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        layers += [nn.ReLU()]
        if width < 128 or before == 128:
            layers += [nn.MaxPool2d(2)]
        before = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, len(LABELS))]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def answers(model: Any, images: torch.Tensor) -> torch.Tensor:
    """The logits of the teacher, computed in bfloat16, or of the small model."""
    if isinstance(model, nn.Sequential):
        with torch.autocast("cpu", torch.bfloat16):
            return model(images.contiguous(memory_format=torch.channels_last)).float()
    logits: torch.Tensor = model(pixel_values=images).logits
    return logits


@torch.inference_mode()
def predict(model: Any, images: np.ndarray) -> np.ndarray:
    """(n, 10) float32 logits of bytes."""
    model.eval()
    parts = [
        answers(model, normalize(images[start : start + 250])).numpy()
        for start in range(0, len(images), 250)
    ]
    return np.concatenate(parts)


# --- stages ----------------------------------------------------------------------------------


def stage_prepare(args: argparse.Namespace) -> None:
    """Read and split the pictures once, so that the later stages open one file."""
    path = args.work / "pictures.npz"
    if path.exists():
        print(f"{path.name} exists: kept")
        return
    parts = {part: read_part(args.data, part) for part in ("train", "validation")}
    pixels = parts["train"][0] / 255
    print({part: len(labels) for part, (_, labels) in parts.items()})
    print(f"mean {pixels.mean():.4f}, deviation {pixels.std():.4f}", flush=True)
    arrays: dict[str, Any] = {}
    for part, (images, labels) in parts.items():
        arrays |= {f"{part}_0": images, f"{part}_1": labels}
    save_arrays(path, arrays)


def prepared(args: argparse.Namespace, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels that `prepare` kept."""
    path = args.work / "pictures.npz"
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `prepare` first")
    with np.load(path) as arrays:
        return arrays[f"{part}_0"], arrays[f"{part}_1"]


def stage_teacher(args: argparse.Namespace) -> None:
    """Fit the convolutional network; print its accuracy on the validation part."""
    images, labels = prepared(args, "train")
    torch.manual_seed(args.seed)
    model = new_teacher()
    batch = 128

    def loss_of(step: int) -> torch.Tensor:
        part = drawn(len(labels), batch, step, args.seed)
        pictures = augment(normalize(images[part]), 1)
        target = torch.from_numpy(labels[part])
        return F.cross_entropy(answers(model, pictures), target, label_smoothing=0.02)

    steps = args.teacher_epochs * (len(labels) // batch)
    seconds = fit(
        Run(model, adamw(model, 0.05), args.work / "teacher.pt"), loss_of, steps=steps, rate=3e-3,
        schedule=half_cosine(steps, 0.15), seed=args.seed,
    )  # fmt: skip
    images, labels = prepared(args, "validation")
    print(f"teacher: validation {accuracy(predict(model, images), labels)}, {seconds:.0f} s")


def stage_train(args: argparse.Namespace) -> None:
    """Fit the transformer to labels and teacher; print its accuracy on the validation part."""
    images, labels = prepared(args, "train")
    teacher = new_teacher()
    teacher.load_state_dict(trained(args.work / "teacher.pt", "teacher"))
    teacher.eval()
    torch.manual_seed(args.seed)
    model = new_model(CONFIG)
    if args.start:
        model.load_state_dict(trained(args.work / f"{args.start}.pt", "train"))
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    batch = 64

    def loss_of(step: int) -> torch.Tensor:
        part = drawn(len(labels), batch, step, args.seed)
        pictures = augment(normalize(images[part]), 1)
        with torch.no_grad():
            target = answers(teacher, pictures).softmax(1) * (1 - HARD)
        target += HARD * F.one_hot(torch.from_numpy(labels[part]), len(LABELS))
        return F.cross_entropy(answers(model, erase(pictures)), target)

    steps = args.epochs * (len(labels) // batch)
    seconds = fit(
        Run(model, adamw(model, 0.05), checkpoint(args)), loss_of, steps=steps, rate=args.rate,
        schedule=half_cosine(steps), seed=args.seed,
    )  # fmt: skip
    images, labels = prepared(args, "validation")
    for word, one in (("float", model), ("8-bit rows", round_rows(model))):
        print(f"{args.run}: validation, {word} {accuracy(predict(one, images), labels)}")
    print(f"{seconds:.0f} s", flush=True)


def stage_export(args: argparse.Namespace) -> None:
    """Write model.safetensors in float16 and the two configuration files."""
    weights = trained(checkpoint(args), "train")
    write_model(args.out, CONFIG, weights, {"preprocessor_config": PREPROCESSOR})


def evaluate_folder(folder: Path, data: Path, part: str = "test") -> dict[str, Any]:
    """Right answers and the confusion (rows: true) of a folder's model, and with 8-bit rows."""
    images, labels = read_part(data, part)
    model = load_exported(folder)
    logits, rounded = predict(model, images), predict(round_rows(model), images)
    return classification(labels, logits, rounded, rounded)


def stage_evaluate(args: argparse.Namespace) -> None:
    """Accuracy of the exported folder on a part, and the confusion with 8-bit weights."""
    result = evaluate_folder(args.out, args.data, args.part)
    print_classification(args.part, result, LABELS, 12)


def stage_heldout(args: argparse.Namespace) -> None:
    """Write a part's pictures and labels, for `picoformer eval --data`."""
    images, labels = read_part(args.data, args.part)
    np.savez(f"{args.part}.npz", images=images, labels=labels)
    print(f"{args.part}.npz: {len(images)} pictures")


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "prepare": stage_prepare,
    "teacher": stage_teacher,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
}
APART: Stages = {"heldout": stage_heldout}


def main() -> None:
    """Parse the command line and run one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser, [*STAGES, *APART], ROOT / "models/fashion")
    parser.add_argument("--data", type=Path, default=PACKAGE, help="the folder of the data")
    parser.add_argument("--start", help="train: a complete checkpoint to go on from")
    parser.add_argument("--rate", type=float, default=2e-3, help="train: the learning rate")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--teacher-epochs", type=int, default=5)
    args = parser.parse_args()
    args.data = args.data.expanduser()
    run_stages(args, "fashion", STAGES, APART)


if __name__ == "__main__":
    main()
