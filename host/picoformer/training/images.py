"""Classifiers of pictures: a small ViT."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.pictures import PICTURES, picture
from ..errors import Error
from . import doubts
from .files import save_arrays
from .folders import write_folder
from .job import Job, Shape
from .recorded import of_parts
from .splitting import digest_of, split, spread

if TYPE_CHECKING:
    import torch

SIDES = 16, 28, 32  # of the pictures that are read, the last one for all larger ones
MOST = 1 << 30  # bytes of all pictures
# dim, hidden, layers, the one that is wanted most first; heads of 16.
SIZES = (64, 128, 3), (64, 128, 2), (48, 96, 2), (32, 64, 2), (32, 64, 1)
ACROSS = 4  # patches: with more of them a picture takes longer than it learns more
BATCH = 64
SMOOTHING = 0.05
HOLES = 0.1  # of the pictures, in training
LOOKED = 3000  # pictures that are compared, to see whether mirrored ones are alike
ALIKE = 0.9  # of as many are found


class ImageJob(Job):
    """A label for each picture."""

    kind = "images"
    what = "picture"
    held_out = "test.npz"

    def __init__(self, data: Path, seed: int) -> None:
        super().__init__(data, seed)
        parts = of_parts(data, (".npz",))
        stacks = [_folder(p) if p.is_dir() else _arrays(p) for _, p in parts]
        if len({pixels.shape[1:] for pixels, _, _ in stacks}) > 1:
            raise Error(f"{data}: the parts have pictures of different sizes")
        pixels = np.concatenate([s[0] for s in stacks])
        labels = [label for s in stacks for label in s[1]]
        names = [name for s in stacks for name in s[2]]
        given = [part for (part, _), s in zip(parts, stacks, strict=True) for _ in s[1]]
        doubts.check(str(data), labels, self.what)
        keys = [hashlib.sha256(one.tobytes()).hexdigest() for one in pixels]
        found = split(keys, labels, given)
        self.doubts += doubts.of_labels(labels, self.what)
        if again := len(keys) - len(set(keys)):
            self.doubts.append(f"{again} pictures are copies of others; copies go to one part")
        if torn := len(set(zip(keys, labels, strict=True))) - len(set(keys)):
            self.doubts.append(f"{torn} pictures have two labels")
        held = {key for key, part in zip(keys, found, strict=True) if part == "test"}
        self.labels = sorted(set(labels))
        number = {label: i for i, label in enumerate(self.labels)}
        self.pixels: dict[str, NDArray[np.uint8]] = {}
        self.wanted: dict[str, NDArray[np.int64]] = {}
        for part in ("train", "validation", "test"):
            kept = [
                i for i, (k, p) in enumerate(zip(keys, found, strict=True))
                if p == part and (part == "test" or k not in held)
            ]  # fmt: skip
            if part == "test":
                kept = spread(kept)
            self.pixels[part] = pixels[kept]
            self.parts[part] = [labels[i] for i in kept]
            self.wanted[part] = np.array([number[labels[i]] for i in kept], np.int64)
            if part == "test":
                self.names = [names[i] for i in kept]
        self.doubts += doubts.of_test(len(self.parts["test"]), self.what)
        train = self.pixels["train"]
        self.side, self.channels = train.shape[1], train.shape[3]
        sample = train[:: max(1, len(train) // 5000)] / 255
        self.mean = [round(float(v), 4) for v in sample.mean((0, 1, 2))]
        self.std = [max(round(float(v), 4), 0.05) for v in sample.std((0, 1, 2))]
        self.shift = max(1, self.side // 24)
        self.mirror = self._mirrors()
        self.tokens = 50

    def _mirrors(self) -> bool:
        """Whether mirrored pictures have the labels of those that are most alike."""
        train = self.pixels["train"][:LOOKED]
        n = len(train) // 5
        if n < 20:
            return False
        draw = np.random.default_rng(0).permutation(len(train))
        flat = train[draw].reshape(len(train), -1).astype(np.float32)
        labels = self.wanted["train"][:LOOKED][draw]
        mirrored = train[draw][:n, :, ::-1].reshape(n, -1).astype(np.float32)
        known = flat[n:]
        squares = (known * known).sum(1)

        def right(some: NDArray[np.float32]) -> float:
            nearest = (squares - 2 * some @ known.T).argmin(1)
            return float(np.mean(labels[n:][nearest] == labels[:n]))

        return right(mirrored) >= ALIKE * right(flat[:n])

    def fingerprint(self) -> str:
        data = hashlib.sha256(self.pixels["train"].tobytes()).hexdigest()
        return digest_of(data, self.parts["train"])

    def shapes(self) -> list[Shape]:
        first = 0 if len(self.wanted["train"]) >= 5000 else 1
        # Patches fill the picture.
        wanted = -(-self.side // ACROSS)
        patch = next(p for p in range(wanted, self.side + 1) if self.side % p == 0)
        return [{"dim": d, "hidden": h, "layers": n, "patch": patch} for d, h, n in SIZES[first:]]

    def model(self, shape: Shape) -> Any:
        from .image_model import ImageClassifier

        self.tokens = (self.side // shape["patch"]) ** 2 + 1
        return ImageClassifier(
            side=self.side, channels=self.channels, classes=len(self.labels), mean=self.mean,
            std=self.std, **shape,
        )  # fmt: skip

    def loss(self, model: Any, step: int) -> torch.Tensor:
        import torch
        import torch.nn.functional as F

        from .image_model import other_picture

        drawn = torch.randint(len(self.wanted["train"]), (BATCH,)).numpy()
        x = torch.from_numpy(self.pixels["train"][drawn]).permute(0, 3, 1, 2).float()
        x = other_picture(x, self.shift, self.mirror, HOLES)
        target = torch.from_numpy(self.wanted["train"][drawn])
        return F.cross_entropy(model(x), target, label_smoothing=SMOOTHING)

    def score(self, model: Any) -> float:
        import torch

        model.eval()
        right = 0
        pixels, wanted = self.pixels["validation"], self.wanted["validation"]
        with torch.inference_mode():
            for at in range(0, len(wanted), 250):
                x = torch.from_numpy(pixels[at : at + 250]).permute(0, 3, 1, 2).float()
                right += int((model(x).argmax(1).numpy() == wanted[at : at + 250]).sum())
        return right / len(wanted)

    def held(self) -> list[tuple[Any, str]]:
        return list(zip(self.pixels["validation"], self.parts["validation"], strict=True))

    def export(self, folder: Path, shape: Shape, weights: dict[str, torch.Tensor]) -> None:
        config = {
            "architectures": ["ViTForImageClassification"],
            "model_type": "vit",
            "image_size": self.side,
            "num_channels": self.channels,
            "patch_size": shape["patch"],
            "hidden_size": shape["dim"],
            "intermediate_size": shape["hidden"],
            "num_hidden_layers": shape["layers"],
            "num_attention_heads": shape["dim"] // 16,
            "hidden_act": "gelu",
            "qkv_bias": True,
            "layer_norm_eps": 1e-12,
            "id2label": {str(i): name for i, name in enumerate(self.labels)},
            "label2id": {name: i for i, name in enumerate(self.labels)},
            "problem_type": "single_label_classification",
            "torch_dtype": "float16",
        }
        processor = {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": self.side, "width": self.side},
            "resample": 2,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": self.mean,
            "image_std": self.std,
        }
        halves = {name: t.numpy().astype(np.float16) for name, t in weights.items()}
        write_folder(folder, halves, {"config": config, "preprocessor_config": processor})

    def write_test(self, folder: Path) -> None:
        labels = np.array(self.parts["test"], dtype=np.str_)
        save_arrays(folder / self.held_out, {"images": self.pixels["test"], "labels": labels})

    def shown(self, i: int) -> str:
        return self.names[i]

    def described(self, shape: Shape) -> list[tuple[str, str]]:
        d, h, n, p = (shape[k] for k in ("dim", "hidden", "layers", "patch"))
        colours = "grey" if self.channels == 1 else "in colour"
        return [
            ("model", "`ViTForImageClassification`, pre-norm, GELU"),
            ("pictures", f"{self.side} x {self.side}, {colours}, in patches of {p} x {p}"),
            ("layers", f"{n}, dim {d}, feed-forward {h}, {d // 16} heads of 16"),
        ]

    def augmentation(self) -> str:
        mirrored = (
            "half of them mirrored" if self.mirror
            else "none mirrored (mirrored ones are not like others of their label)"
        )  # fmt: skip
        return (
            f"Pictures were moved by up to {self.shift} pixels, {mirrored}, lighter and darker, "
            f"{HOLES:.0%} with a hole."
        )

    def limits(self) -> str:
        return (
            f"Whatever it is given gets one of the labels. A picture is read as {self.side} x "
            f"{self.side} pixels: what cannot be told from so few is not learned. Pictures by "
            "another camera, or of another background, are harder."
        )

    def tried(self) -> str:
        return "--image PICTURE.png"


Stack = tuple[NDArray[np.uint8], list[str], list[str]]


def _arrays(path: Path) -> Stack:
    """Pixels (n, side, side, channels), labels and names of a .npz. Raises Error."""
    if path.suffix.lower() != ".npz":
        raise Error(
            f"{path}: expected a folder with a folder of pictures for each label, or a .npz of "
            "images and labels"
        )
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as loaded:
            lacking = [n for n in ("images", "labels") if n not in loaded.files]
            if lacking:
                raise Error(
                    f"{path} holds {', '.join(loaded.files) or 'nothing'}, expected images and "
                    "labels"
                )
            images, labels = loaded["images"], loaded["labels"]
    except Error:
        raise
    except OSError as e:
        raise Error(f"cannot read {path}: {e.strerror or e}") from e
    except Exception as e:  # whatever a damaged header or archive makes of their readers
        raise Error(f"cannot read {path}: {e}; expected what numpy.savez writes") from e
    if images.ndim == 3:
        images = images[..., None]
    square = images.ndim == 4 and images.shape[1] == images.shape[2] and images.shape[1] <= 64
    if not square or images.shape[3] not in (1, 3) or images.dtype != np.uint8:
        raise Error(
            f"{path}: images of {images.dtype}, shape {images.shape}; expected uint8 (n, side, "
            "side), or (n, side, side, 3), of 64 pixels at most"
        )
    if labels.shape != images.shape[:1]:
        raise Error(f"{path}: {labels.shape} labels of {len(images)} images")
    return images, [str(v) for v in labels.tolist()], [f"image {i}" for i in range(len(images))]


def _folder(path: Path) -> Stack:
    """The same of a folder with a folder of pictures for each label. Raises Error."""
    files = [
        one for folder in sorted(p for p in path.iterdir() if p.is_dir())
        for one in sorted(folder.iterdir()) if one.suffix.lower() in PICTURES
    ]  # fmt: skip
    if not files:
        inside = sorted(p.name for p in path.iterdir())
        shown = ", ".join(inside[:3]) + (f" and {len(inside) - 3} more" if inside[3:] else "")
        raise Error(
            f"{path} is a folder of {shown or 'nothing'}; expected a folder of pictures "
            f"({', '.join(PICTURES)}) for each label"
        )
    size = sum(one.stat().st_size for one in files)
    if size > MOST:
        raise Error(f"{path} has {size:,} bytes of pictures, expected at most {MOST:,}")
    side, grey = _kind(files)
    channels = 1 if grey else 3
    pixels = np.stack([picture(one, (side, side, channels)) for one in files])
    labels = [one.parent.name for one in files]
    return pixels.astype(np.uint8), labels, [f"{one.parent.name}/{one.name}" for one in files]


def _kind(files: list[Path]) -> tuple[int, bool]:
    """The side that pictures are read at, and whether they are grey, by some of them."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as e:
        raise Error("Pillow is not installed: pip install 'picoformer[image]'") from e
    sides: Counter[int] = Counter()
    grey = True
    for one in files[:: max(1, len(files) // 200)]:
        try:
            with Image.open(one) as opened:
                sides[max(opened.size)] += 1
                rgb = np.asarray(opened.convert("RGB").resize((32, 32))).astype(int)
        except (OSError, UnidentifiedImageError) as e:
            raise Error(f"cannot read {one}: {e}") from e
        grey = grey and int(np.abs(rgb - rgb[..., :1]).max()) <= 8
    usual = sides.most_common(1)[0][0]
    return next((s for s in SIDES if usual <= s), SIDES[-1]), grey
