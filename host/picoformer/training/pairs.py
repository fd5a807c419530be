"""What writes a text anew: translates, transliterates, sums up; a small Marian."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Error
from .data import PAD, Epochs, by_length, pad
from .doubts import LEAST
from .files import save_atomically
from .folders import tokenizer_config, write_folder
from .job import Job, Shape
from .merges import END, UNK, Splitter, learn_tokenizer
from .splitting import digest_of, split, spread
from .tables import read

if TYPE_CHECKING:
    import torch

# dim, hidden and layers of each side, the one that is wanted most first; heads of 16.
SIZES = (80, 192, 2), (64, 128, 2), (48, 96, 2), (32, 64, 2), (32, 64, 1)
PIECES, CHARACTERS = 1200, 300  # at most
POSITIONS = 192  # at most
LONG = 0.995  # share of the texts that are not cut
BATCH = 64
DROPOUT, TOKEN_DROPOUT, SMOOTHING = 0.1, 0.1, 0.1
TEST = 300  # pairs, at most: writing takes its time


def plain(text: str) -> str:
    """Lower case without punctuation, so that all pairs of a source are on one side."""
    return " ".join(re.findall(r"[\w']+", text.lower())) or text


class PairJob(Job):
    """A target for each source."""

    kind = "pairs"
    what = "pair"
    held_out = "test.tsv"
    beta = 0.98
    average = 400
    higher = "nats a token"

    def __init__(
        self, data: Path, seed: int, columns: Sequence[str] = (), split_by: str = ""
    ) -> None:
        super().__init__(data, seed)
        rows = [r for t in read(data, ("source", "target"), columns, split_by) for r in t.found]
        pairs = [(cells[0], cells[1]) for cells, _, _ in rows]
        if len(pairs) < LEAST:
            raise Error(
                f"{data} has {len(pairs)} pair{'s'[: len(pairs) != 1]}, expected at least "
                f"{LEAST}, and better some thousand"
            )
        keys = [plain(source) for source, _ in pairs]
        parts = split(keys, [""] * len(pairs), [part for _, part, _ in rows])
        if again := len(pairs) - len(set(pairs)):
            self.doubts.append(f"{again} pairs are copies of others")
        if same := sum(source == target for source, target in pairs):
            self.doubts.append(f"in {same} pairs the target is the source")
        if len(pairs) < 1000:
            self.doubts.append(f"{len(pairs)} pairs are few: some thousand teach it more")
        held = {k for k, part in zip(keys, parts, strict=True) if part == "test"}
        self.pairs: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
        again = 0
        for key, pair, part in zip(keys, pairs, parts, strict=True):
            if part != "test" and key in held:
                again += 1
            else:
                self.pairs[part].append(pair)
        if again:
            self.doubts.append(f"{again} sources of the test part were elsewhere, too: left out")
        self.pairs["test"] = spread(self.pairs["test"], TEST)
        self.parts = {part: [""] * len(some) for part, some in self.pairs.items()}
        self._learn()

    def _learn(self) -> None:
        texts = [text for pair in self.pairs["train"] for text in pair]
        seen = Counter(c for text in texts for c in text if not c.isspace())
        characters = [c for c, n in seen.most_common(CHARACTERS) if n > 1]
        words = len({word for text in texts for word in text.split()})
        size = min(PIECES, len(characters) + 4 + 2 * words)
        self.tokenizer = learn_tokenizer(texts, size, characters)
        self.vocab = self.tokenizer.get_vocab_size()
        lengths = np.array([len(e.ids) for e in self.tokenizer.encode_batch(texts)])
        wanted = int(np.quantile(lengths, LONG)) + 2
        self.positions = min(POSITIONS, max(8, wanted + wanted % 2))
        if (cut := int((lengths > self.positions).sum())) > 0.02 * len(lengths):
            self.doubts.append(
                f"{cut} texts are longer than {self.positions} tokens: what is behind is not read"
            )
        self.tokenizer.enable_truncation(self.positions)
        self.tokens = round(float(np.minimum(lengths, self.positions).mean()))
        self.splitter = Splitter(self.tokenizer.to_str(), self.positions)
        self.order = Epochs(lengths[::2] + lengths[1::2], BATCH, self.seed)

    def fingerprint(self) -> str:
        return digest_of(self.pairs)

    def shapes(self) -> list[Shape]:
        first = 0 if len(self.pairs["train"]) > 2000 else 1
        return [{"dim": d, "hidden": h, "layers": n} for d, h, n in SIZES[first:]]

    def model(self, shape: Shape) -> Any:
        from .pair_model import PairModel

        return PairModel(vocab=self.vocab, positions=self.positions, dropout=DROPOUT, **shape)

    def loss(self, model: Any, step: int) -> torch.Tensor:
        generator = random.Random(self.seed * 1_000_003 + step)
        rows = [
            [self.splitter.encode(text, generator) for text in self.pairs["train"][i]]
            for i in self.order.rows(step)
        ]
        return self._nats(model, rows, TOKEN_DROPOUT, SMOOTHING)

    def _nats(
        self, model: Any, rows: list[list[list[int]]], dropout: float, smoothing: float
    ) -> torch.Tensor:
        import torch
        import torch.nn.functional as F

        source, target = pad([row[0] for row in rows]), pad([row[1] for row in rows])
        there = source != PAD
        fed = torch.cat([torch.full((len(target), 1), PAD), target[:, :-1]], 1)
        if dropout:
            source, fed = (
                ids.masked_fill((torch.rand(ids.shape) < dropout) & (ids > UNK), UNK)
                for ids in (source, fed)
            )
        logits = model(source, there, fed)
        return F.cross_entropy(
            logits.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=smoothing
        )

    def score(self, model: Any) -> float:
        import torch

        model.eval()
        some = self.pairs["validation"]
        rows = [[self.tokenizer.encode(text).ids for text in pair] for pair in some]
        nats = tokens = 0.0
        with torch.inference_mode():
            for part in by_length([source + target for source, target in rows], 128):
                batch = [rows[i] for i in part]
                count = sum(len(target) for _, target in batch)
                nats += float(self._nats(model, batch, 0.0, 0.0)) * count
                tokens += count
        return -nats / tokens

    def said(self, score: float) -> str:
        return f"{-score:.3f} nats a token"

    def export(self, folder: Path, shape: Shape, weights: dict[str, torch.Tensor]) -> None:
        size = {"attention_heads": shape["dim"] // 16, "ffn_dim": shape["hidden"],
                "layers": shape["layers"]}  # fmt: skip
        generation = {
            "decoder_start_token_id": PAD,
            "pad_token_id": PAD,
            "eos_token_id": END,
            "forced_eos_token_id": END,
        }
        config = {
            "architectures": ["MarianMTModel"],
            "model_type": "marian",
            "vocab_size": self.vocab,
            "d_model": shape["dim"],
            **{f"{part}_{k}": v for part in ("encoder", "decoder") for k, v in size.items()},
            "activation_function": "relu",
            "max_position_embeddings": self.positions,
            "scale_embedding": True,
            "share_encoder_decoder_embeddings": True,
            "tie_word_embeddings": True,
            "static_position_embeddings": True,
            "dropout": DROPOUT,
            **generation,
            "torch_dtype": "float16",
        }
        special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
        files: dict[str, dict[str, Any]] = {
            "config": config,
            "generation_config": {**generation, "max_length": self.positions, "num_beams": 1},
            "tokenizer_config": tokenizer_config(
                self.positions, special, ["input_ids", "attention_mask"]
            ),
        }
        halves = {name: t.numpy().astype(np.float16) for name, t in weights.items()}
        write_folder(folder, halves, files)
        save_atomically(folder / "tokenizer.json", lambda p: self.tokenizer.save(str(p)))

    def write_test(self, folder: Path) -> None:
        text = "".join(f"{source}\t{target}\n" for source, target in self.pairs["test"])
        save_atomically(folder / self.held_out, lambda p: p.write_text(text, "utf-8"))

    def shown(self, i: int) -> str:
        return self.pairs["test"][i][0]

    def title(self) -> str:
        return "what writes a text anew"

    def divided(self) -> str:
        return (
            "Where the data did not say the parts themselves, a hash of each source did, a tenth "
            f"each; the test part has {TEST} pairs at most."
        )

    def described(self, shape: Shape) -> list[tuple[str, str]]:
        d, h, n = shape["dim"], shape["hidden"], shape["layers"]
        return [
            ("model", "`MarianMTModel`, post-norm, ReLU"),
            ("layers", f"{n} and {n}, dim {d}, feed-forward {h}, {d // 16} heads of 16"),
            ("vocabulary", f"{self.vocab:,} merges of the training part, for both sides"),
            ("positions", f"{self.positions}, sines and cosines"),
        ]

    def augmentation(self) -> str:
        return (
            "Words fell apart into other pieces each time, and "
            f"{TOKEN_DROPOUT:.0%} of the pieces were read as unknown."
        )

    def limits(self) -> str:
        return (
            "It writes what is like its training part, and something else where a text is not; "
            "nothing says so. Texts are cut at its positions."
        )
