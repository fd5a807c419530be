"""Models of transformers, and the folders that they are exported to.

Importing this needs no torch.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from picoformer.training.folders import write_folder

if TYPE_CHECKING:
    import torch

    from tokenizers import Tokenizer


def hugging_face() -> Any:
    """The module transformers."""
    try:
        module = importlib.import_module("transformers")
    except ImportError:
        raise SystemExit("transformers is missing: pip install transformers") from None
    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


def new_model(config: dict[str, Any]) -> Any:
    """A model of transformers as config.json has it, randomly initialized."""
    library = hugging_face()
    settings = {k: v for k, v in config.items() if k not in ("torch_dtype", "architectures")}
    if "id2label" in settings:
        settings["id2label"] = {int(i): name for i, name in settings["id2label"].items()}
    kind = config["architectures"][0]
    class_of_config = library.AutoConfig.for_model(settings.pop("model_type"), **settings)
    return getattr(library, kind)(class_of_config)


def load_exported(folder: Path) -> Any:
    """The folder's model as transformers loads it, in float32."""
    path = folder / "config.json"
    if not path.is_file() or not (folder / "model.safetensors").is_file():
        raise SystemExit(f"{folder} holds no model: run `export` first")
    import torch

    kind = getattr(hugging_face(), json.loads(path.read_text())["architectures"][0])
    return kind.from_pretrained(folder, dtype=torch.float32).eval()


def load_tokenizer(
    folder: Path, positions: int | None = None, stage: str = "prepare"
) -> Tokenizer:
    """The folder's tokenizer, cutting at the model's positions (the last special token stays).

    stage: the one that makes it.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: run `{stage}` first")
    tokenizer = Tokenizer.from_file(str(path))
    if positions:
        tokenizer.enable_truncation(positions)
    return tokenizer


def write_model(
    folder: Path,
    config: dict[str, Any],
    weights: dict[str, torch.Tensor],
    files: dict[str, dict[str, Any]],
) -> None:
    """A model's weights in float16, config.json and a JSON file for each of `files`.

    transformers names the tensors: those of a file are not those of its modules.
    """
    from safetensors.numpy import load_file

    model = new_model(config)
    model.load_state_dict(weights)
    with tempfile.TemporaryDirectory() as temporary:
        model.save_pretrained(temporary)
        state = load_file(Path(temporary) / "model.safetensors")
    tensors = {name: tensor.astype(np.float16) for name, tensor in state.items()}
    count = write_folder(folder, tensors, {"config": config, **files})
    size = (folder / "model.safetensors").stat().st_size
    print(f"exported {count} numbers, {size} bytes")


def write_state(
    folder: Path, name: str, tensors: dict[str, torch.Tensor], description: dict[str, Any]
) -> None:
    """A state dict in float16, NAME.safetensors, and its description beside it."""
    halves = {key: t.numpy().astype(np.float16) for key, t in tensors.items()}
    count = write_folder(folder, halves, {name: description}, name)
    size = (folder / f"{name}.safetensors").stat().st_size
    print(f"exported {count} numbers, {size} bytes")


def read_state(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """The tensors of NAME.safetensors, in float32."""
    import torch
    from safetensors.numpy import load_file

    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise SystemExit(f"{folder} holds no model: run `export` first")
    return {key: torch.from_numpy(t.astype(np.float32)) for key, t in load_file(path).items()}
