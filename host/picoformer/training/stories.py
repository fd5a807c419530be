"""What goes on with a text: a small Llama."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Error
from .files import save_array, save_atomically
from .folders import tokenizer_config, write_folder
from .job import Job, Shape
from .merges import train_tokenizer
from .splitting import SHARE, digest, digest_of
from .tables import text_of

if TYPE_CHECKING:
    import torch

NAMES = "dim", "hidden", "layers", "heads", "kv_heads"
SIZES = (64, 160, 5, 4, 2), (64, 160, 3, 4, 2), (48, 128, 3, 3, 1), (32, 96, 3, 2, 1)
PIECES = 512
CONTEXT = 256
BATCH = 16
LEAST = 20_000  # characters
FEW = 500_000
TEST = 24  # sequences, at most
UNK, BOS, EOS = range(3)


class StoryJob(Job):
    """A text of many parts, an empty line between two."""

    kind = "stories"
    what = "token"
    held_out = "test.npy"
    rate = 4e-3
    beta = 0.98
    higher = "nats a token"

    def __init__(self, data: Path, seed: int) -> None:
        super().__init__(data, seed)
        if not data.is_file():
            inside = "is a folder" if data.is_dir() else "is not there"
            raise Error(f"{data} {inside}; expected a file of text, an empty line between stories")
        text = text_of(data).replace("\r\n", "\n")
        if "\0" in text:
            raise Error(f"{data} has a zero byte in it: it is no text")
        if len(text) < LEAST:
            raise Error(
                f"{data} has {len(text):,} characters, expected at least {LEAST:,}, and better a "
                "million"
            )
        if len(text) < FEW:
            self.doubts.append(f"{len(text):,} characters are few: it will know them by heart")
        found = [s.strip() for s in text.replace("<|endoftext|>", "\n\n").split("\n\n")]
        found = [s for s in found if s]
        if len(found) < 10:
            # One long text: pieces of its lines.
            lines = [line for line in text.split("\n") if line.strip()]
            if len(lines) < 10:
                lines = [s + "." for s in text.replace("\n", " ").split(".") if s.strip()]
            n = max(1, len(lines) // 40)
            found = ["\n".join(lines[i : i + n]).strip() for i in range(0, len(lines), n)]
            self.doubts.append("no empty lines: it was cut into pieces of lines")
        if again := len(found) - len(set(found)):
            self.doubts.append(f"{again} stories are copies of others, and left out")
        found = list(dict.fromkeys(found))
        order = sorted(found, key=digest)
        n = max(1, round(SHARE * len(order)))
        side = dict.fromkeys(order[:n], "test") | dict.fromkeys(order[n : 2 * n], "validation")
        self.stories: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
        for story in found:
            self.stories[side.get(story, "train")].append(story)
        self.parts = {part: [""] * len(some) for part, some in self.stories.items()}
        self.tokenizer = train_tokenizer(self.stories["train"], PIECES)
        self.vocab = self.tokenizer.get_vocab_size()
        self.ids = {part: self._rows(some) for part, some in self.stories.items()}
        if not len(self.ids["train"]) or not len(self.ids["test"]):
            raise Error(f"{data}: the text is too short for sequences of {CONTEXT} tokens")
        self.tokens = CONTEXT // 2

    def _rows(self, stories: list[str]) -> np.ndarray:
        """Stories one behind the other, each from its BOS on, in rows of CONTEXT + 1."""
        encoded = self.tokenizer.encode_batch(stories, add_special_tokens=False)
        ids = np.array([i for e in encoded for i in (BOS, *e.ids)], np.int64)
        n = CONTEXT + 1
        return ids[: len(ids) // n * n].reshape(-1, n)

    def fingerprint(self) -> str:
        return digest_of(self.stories)

    def shapes(self) -> list[Shape]:
        return [dict(zip(NAMES, size, strict=True)) for size in SIZES]

    def _config(self, shape: Shape) -> dict[str, Any]:
        from .story_model import llama_config

        dim, hidden, layers, heads, kv_heads = (shape[name] for name in NAMES)
        size = dim, hidden, layers, heads, kv_heads
        return llama_config(size, self.vocab, CONTEXT, (BOS, EOS))

    def model(self, shape: Shape) -> Any:
        from .story_model import Model

        return Model(self._config(shape))

    def loss(self, model: Any, step: int) -> torch.Tensor:
        import torch

        # A row begins anywhere in two that follow each other.
        flat = self.ids["train"].reshape(-1)
        at = torch.randint(max(1, len(flat) - CONTEXT), (BATCH,)).tolist()
        rows = np.stack([flat[i : i + CONTEXT + 1] for i in at])
        loss: torch.Tensor = model.loss(torch.from_numpy(rows))
        return loss

    def score(self, model: Any) -> float:
        import torch

        model.eval()
        rows = torch.from_numpy(self.ids["validation"][:200])
        with torch.inference_mode():
            nats = [float(model.loss(rows[i : i + 8])) * len(rows[i : i + 8])
                    for i in range(0, len(rows), 8)]  # fmt: skip
        return -sum(nats) / max(1, len(rows))

    def said(self, score: float) -> str:
        return f"{-score:.3f} nats a token"

    def export(self, folder: Path, shape: Shape, weights: dict[str, torch.Tensor]) -> None:
        from .story_model import to_tensors

        model = self.model(shape)
        model.load_state_dict(weights)
        special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        tokenizer = tokenizer_config(CONTEXT, special)
        files = {"config": self._config(shape), "tokenizer_config": tokenizer}
        write_folder(folder, to_tensors(model), files)
        save_atomically(folder / "tokenizer.json", lambda p: self.tokenizer.save(str(p)))

    def write_test(self, folder: Path) -> None:
        save_array(folder / self.held_out, self.ids["test"][:TEST, :CONTEXT])

    def title(self) -> str:
        return "what goes on with a text"

    def divided(self) -> str:
        return (
            "A hash of each story says of which part it is, a tenth each; the test part has "
            f"{TEST} sequences of {CONTEXT} tokens at most."
        )

    def described(self, shape: Shape) -> list[tuple[str, str]]:
        return [
            ("model", "`LlamaForCausalLM`, tied embedding"),
            (
                "layers",
                f"{shape['layers']}, dim {shape['dim']}, feed-forward {shape['hidden']}, "
                f"{shape['heads']} heads, {shape['kv_heads']} of keys and values",
            ),
            ("vocabulary", f"{self.vocab:,} byte-pair merges, bytes for all else"),
            ("positions", f"{CONTEXT}, rotary"),
        ]

    def augmentation(self) -> str:
        return "Sequences began anywhere in the text."

    def limits(self) -> str:
        return (
            "It writes like its training part, and knows nothing: what it says is made up. Of a "
            "small text it repeats whole sentences."
        )
