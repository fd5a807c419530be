"""Pictures as arrays: from files, checked, and cut into the patches that a model reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import Error
from ..graph.nodes import Array

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def picture(path: str | Path, shape: tuple[int, int, int]) -> Array:
    """An image file as pixels (height, width, channels) of this shape. Raises Error."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as e:
        raise Error("Pillow is not installed: pip install 'picoformer[image]'") from e
    height, width, channels = shape
    if not channels:
        raise Error("this model reads text, not images")
    try:
        with Image.open(path) as opened:
            # Upright, as a camera has noted it and browsers show it.
            image = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
            # Across, then down: by itself Pillow chooses, each version otherwise.
            for size in (width, image.height), (width, height):
                if image.size != size:
                    image = image.resize(size, Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(height, width, -1)
    except (OSError, UnidentifiedImageError) as e:
        raise Error(f"cannot read {path}: {e}") from e


def as_pixels(image: Array) -> Array:
    """An image's array, of whole numbers from 0 to 255. Raises Error."""
    pixels = np.asarray(image)
    whole = pixels.dtype.kind in "iu"
    if not whole or (pixels.size and not 0 <= pixels.min() <= pixels.max() < 256):
        raise Error(f"pixels are {pixels.dtype}, expected whole numbers from 0 to 255")
    return pixels


def cut(pixels: Array, geometry: tuple[int, ...]) -> Array:
    """Patches (positions, elements) of an image, each pixel less 128; zeros for class tokens."""
    height, width, channels, patch, extra = geometry[:5]
    wide = geometry[5] if len(geometry) > 5 else patch
    if pixels.size != height * width * channels:
        raise Error(
            f"the image has shape {pixels.shape}, expected {height} x {width} x {channels}"
        )
    v = pixels.astype(np.int64).reshape(height // patch, patch, width // wide, wide, channels)
    v = v.transpose(0, 2, 4, 1, 3).reshape(-1, channels * patch * wide) - 128
    return np.concatenate([np.zeros((extra, v.shape[1]), np.int64), v])
