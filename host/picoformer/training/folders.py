"""The folders that models are exported to: weights, configuration.

Importing this needs no torch.
"""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from .files import save_atomically


def tokenizer_config(
    positions: int, special: dict[str, str], inputs: list[str] | None = None
) -> dict[str, Any]:
    """What tokenizer_config.json holds; special: the pieces of "pad_token" and so on."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special,
        "model_max_length": positions,
        **({"model_input_names": inputs} if inputs else {}),
        "clean_up_tokenization_spaces": False,
    }


def write_folder(
    folder: Path,
    tensors: dict[str, np.ndarray],
    files: dict[str, dict[str, Any]],
    name: str = "model",
) -> int:
    """NAME.safetensors, and a JSON file for each of `files`; how many numbers there are."""
    from safetensors.numpy import save_file

    assert all(np.isfinite(t).all() for t in tensors.values())
    save_atomically(
        folder / f"{name}.safetensors", lambda p: save_file(tensors, p, metadata={"format": "pt"})
    )
    for name, content in files.items():
        text = json.dumps(content, indent=2) + "\n"
        save_atomically(folder / f"{name}.json", functools.partial(Path.write_text, data=text))
    return sum(t.size for t in tensors.values())


def round_rows(model: Any) -> Any:
    """A copy whose weights are what 8-bit integers with one scale a row can hold.

    A row is what makes one output: of a matrix a line, of a patch embedding a filter, of position
    embeddings and the class token a vector. Biases, norms and what is not trained stay.
    """
    import torch

    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for weight in rounded.parameters():
            if weight.ndim > 1 and weight.requires_grad:
                if weight.ndim == 3 and len(weight) == 1:  # (1, positions, dim)
                    rows = weight.reshape(-1, weight.shape[-1])
                else:
                    rows = weight.reshape(len(weight), -1)
                scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-8) / 127
                weight.copy_(((rows / scale).round() * scale).reshape(weight.shape))
    return rounded
