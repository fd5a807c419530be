"""What the training tools share: their options, a loop that resumes, files, export, rounding.

Importing this needs no torch.
"""

from __future__ import annotations

import argparse
import copy
import functools
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Stages = dict[str, Callable[[argparse.Namespace], None]]


def add_options(parser: argparse.ArgumentParser, stages: list[str], out: Path | None) -> None:
    """The stage, and the options that all tools have; out None: models/TASK."""
    parser.add_argument("stage", choices=[*stages, "all"])
    parser.add_argument("--work", type=Path, default=Path("~/.cache/picoformer/train"))
    parser.add_argument("--out", type=Path, default=out, help="default: models/TASK")
    parser.add_argument("--run", default="small", help="train, export: name of the checkpoint")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--part", choices=["validation", "test"], default="test")


def run_stages(args: argparse.Namespace, name: str, stages: Stages, apart: Stages) -> None:
    """Run the stage, or with "all" every one but those that stand apart, in order."""
    args.work = args.work.expanduser() / name
    if importlib.util.find_spec("torch"):  # `heldout` of some needs none
        importlib.import_module("torch").set_num_threads(args.threads)
    for stage in stages if args.stage == "all" else [args.stage]:
        (stages | apart)[stage](args)


def hugging_face() -> Any:
    """The module transformers."""
    try:
        module = importlib.import_module("transformers")
    except ImportError:
        raise SystemExit("transformers is missing: pip install transformers") from None
    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


def save_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Call write(temporary path), then rename it to path: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    write(temporary)
    temporary.chmod(0o644)
    os.replace(temporary, path)


def fit(
    model: Any,
    checkpoint: Path,
    loss_of: Callable[[int], torch.Tensor],
    *,
    steps: int,
    rate: float,
    decay: float,
    seed: int,
    warm_up: float = 0.05,
) -> float:
    """Minimize loss_of(step); returns the seconds it took, over restarts.

    AdamW, weight decay on matrices, warm-up, then a half cosine to zero. A checkpoint is written
    every minute and at the end; with one at hand it goes on from there. loss_of must depend on
    nothing but the model, the step and torch's generator, which is seeded for each step.
    """
    import torch

    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99))
    done, seconds = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        if saved["steps"] != steps:
            raise SystemExit(f"{checkpoint} is of a run of {saved['steps']} steps: remove it")
        model.load_state_dict(saved["model"])
        done, seconds = saved["step"], saved["seconds"]
        if saved["optimizer"] is not None:
            optimizer.load_state_dict(saved["optimizer"])
        word = "complete" if done == steps else f"goes on at step {done} of {steps}"
        print(f"{checkpoint.name}: {word}", flush=True)

    def save(step: int) -> None:
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict() if step < steps else None,
            "step": step,
            "steps": steps,
            "seconds": seconds + time.time() - start,
        }
        save_atomically(checkpoint, lambda p: torch.save(state, p))

    start = time.time()
    last_save = last_log = start
    losses: list[float] = []
    model.train()
    for step in range(done + 1, steps + 1):
        torch.manual_seed(seed * 1_000_003 + step)  # the same after a restart
        loss = loss_of(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        share = step / (warm_up * steps)
        if share > 1:
            share = 0.5 + 0.5 * np.cos(np.pi * (step / steps - warm_up) / (1 - warm_up))
        for group in optimizer.param_groups:
            group["lr"] = rate * float(share)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        now = time.time()
        if now - last_log > 15:
            print(f"step {step} of {steps}, loss {np.mean(losses[-100:]):.4f}", flush=True)
            last_log = now
        if now - last_save > 60 and step < steps:
            save(step)
            last_save = now
    if done < steps:
        save(steps)
    return seconds + time.time() - start


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


def trained(checkpoint: Path, stage: str) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint whose training is complete."""
    import torch

    if checkpoint.exists():
        saved = torch.load(checkpoint)
        if saved["step"] == saved["steps"]:
            weights: dict[str, torch.Tensor] = saved["model"]
            return weights
    raise SystemExit(f"{checkpoint} is not complete: run `{stage}` first")


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
                if weight.ndim == 3:  # (1, positions, dim)
                    rows = weight.reshape(-1, weight.shape[-1])
                else:
                    rows = weight.reshape(len(weight), -1)
                scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-8) / 127
                weight.copy_(((rows / scale).round() * scale).reshape(weight.shape))
    return rounded


def write_folder(folder: Path, model: Any, files: dict[str, dict[str, Any]]) -> None:
    """model.safetensors in float16, and a JSON file for each of `files`.

    transformers names the tensors: those of a file are not those of its modules.
    """
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as temporary:
        model.save_pretrained(temporary)
        state = load_file(Path(temporary) / "model.safetensors")
    tensors = {name: tensor.astype(np.float16) for name, tensor in state.items()}
    write_files(folder, tensors, files)


def write_files(
    folder: Path, tensors: dict[str, np.ndarray], files: dict[str, dict[str, Any]]
) -> None:
    """model.safetensors, and a JSON file for each of `files`."""
    from safetensors.numpy import save_file

    assert all(np.isfinite(t).all() for t in tensors.values())
    save_atomically(
        folder / "model.safetensors", lambda p: save_file(tensors, p, metadata={"format": "pt"})
    )
    for name, content in files.items():
        text = json.dumps(content, indent=2) + "\n"
        save_atomically(folder / f"{name}.json", functools.partial(Path.write_text, data=text))
    size = (folder / "model.safetensors").stat().st_size
    print(f"exported {sum(t.size for t in tensors.values())} numbers, {size} bytes")
