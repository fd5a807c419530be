"""What writes a text anew: translates, transliterates, sums up; a small Marian.

A source may have several targets. An epoch has each source once, with one of them; where training
starts from a model, half the time the one that this model finds likeliest. A translator that
always chooses the same way to say a thing needs less of its few parameters for it.
"""

from __future__ import annotations

import hashlib
import json
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

    from tokenizers import Tokenizer

# dim, hidden and layers of each side, the one that is wanted most first; heads of 16.
SIZES = (80, 192, 2), (64, 128, 2), (48, 96, 2), (32, 64, 2), (32, 64, 1)
PIECES, CHARACTERS = 1200, 300  # at most
POSITIONS = 192  # at most
LONG = 0.995  # share of the texts that are not cut
BATCH = 64
DROPOUT, TOKEN_DROPOUT, SMOOTHING = 0.1, 0.1, 0.1
TEST = 300  # pairs, at most: writing takes its time
LIKELIEST = 0.5  # share of the epochs in which a source has the target that the start prefers
NAMES = "config.json", "tokenizer.json", "model.safetensors"  # of a folder to start from


def plain(text: str) -> str:
    """Lower case without punctuation, so that all pairs of a source are on one side."""
    return " ".join(re.findall(r"[\w']+", text.lower())) or text


def grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Every source once, with all its targets."""
    found: dict[str, list[str]] = {}
    for source, target in pairs:
        found.setdefault(source, []).append(target)
    return found


def heads_of(shape: Shape) -> int:
    return shape.get("heads") or shape["dim"] // 16


def _begun(folder: Path) -> dict[str, Any]:
    """The configuration of a translator that training can go on with. Raises Error."""
    if lacking := [name for name in NAMES if not (folder / name).is_file()]:
        raise Error(f"{folder} has no {lacking[0]}: expected a folder that `train pairs` left")
    found: dict[str, Any] = json.loads((folder / NAMES[0]).read_text("utf-8"))
    same = ("layers", "attention_heads", "ffn_dim")
    if (
        found.get("model_type") != "marian"
        or found.get("activation_function") != "relu"
        or not found.get("share_encoder_decoder_embeddings")
        or any(found.get(f"encoder_{k}") != found.get(f"decoder_{k}") for k in same)
    ):
        raise Error(f"{folder} holds no translator as `train pairs` makes them")
    return found


def _tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / NAMES[1]))


class PairJob(Job):
    """A target for each source."""

    kind = "pairs"
    what = "pair"
    held_out = "test.tsv"
    beta = 0.98
    average = 400
    higher = "nats a token"

    def __init__(
        self, data: Path, seed: int, columns: Sequence[str] = (), split_by: str = "",
        pieces: int = 0, start: Path | None = None,
    ) -> None:  # fmt: skip
        """start: a folder whose model, of this kind, training goes on with."""
        super().__init__(data, seed)
        self.pieces, self.start = pieces or PIECES, start
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
        self.targets = grouped(self.pairs["train"])
        self.sources = list(self.targets)
        self.likeliest: dict[str, str] = {}
        self._learn()

    def _learn(self) -> None:
        texts = [text for pair in self.pairs["train"] for text in pair]
        if self.start is not None:
            self.begun = _begun(self.start)
            self.tokenizer = _tokenizer(self.start)
        else:
            seen = Counter(c for text in texts for c in text if not c.isspace())
            characters = [c for c, n in seen.most_common(CHARACTERS) if n > 1]
            words = len({word for text in texts for word in text.split()})
            size = min(self.pieces, len(characters) + 4 + 2 * words)
            self.tokenizer = learn_tokenizer(texts, size, characters)
        self.vocab = self.tokenizer.get_vocab_size()
        encoded = [len(e.ids) for e in self.tokenizer.encode_batch(texts)]
        lengths = np.array(encoded)
        wanted = int(np.quantile(lengths, LONG)) + 2
        self.positions = min(POSITIONS, max(8, wanted + wanted % 2))
        if self.start is not None:
            self.positions = int(self.begun["max_position_embeddings"])
        if (cut := int((lengths > self.positions).sum())) > 0.02 * len(lengths):
            self.doubts.append(
                f"{cut} texts are longer than {self.positions} tokens: what is behind is not read"
            )
        self.tokenizer.enable_truncation(self.positions)
        self.tokens = round(float(np.minimum(lengths, self.positions).mean()))
        self.splitter = Splitter(self.tokenizer.to_str(), self.positions)
        first: dict[str, int] = {}
        for i, (source, _) in enumerate(self.pairs["train"]):
            first.setdefault(source, encoded[2 * i] + encoded[2 * i + 1])
        self.order = Epochs([first[source] for source in self.sources], BATCH, self.seed)

    def fingerprint(self) -> str:
        own: list[object] = [] if self.pieces == PIECES else [self.pieces]
        if self.start is not None:
            own.append(hashlib.sha256((self.start / NAMES[-1]).read_bytes()).hexdigest())
        return digest_of(self.pairs, *own)

    def shapes(self) -> list[Shape]:
        if self.start is not None:
            c = self.begun
            return [{
                "dim": c["d_model"], "hidden": c["encoder_ffn_dim"],
                "layers": c["encoder_layers"], "heads": c["encoder_attention_heads"],
            }]  # fmt: skip
        first = 0 if len(self.pairs["train"]) > 2000 else 1
        return [{"dim": d, "hidden": h, "layers": n} for d, h, n in SIZES[first:]]

    def model(self, shape: Shape) -> Any:
        from .pair_model import PairModel

        return PairModel(vocab=self.vocab, positions=self.positions, dropout=DROPOUT, **shape)

    def begin(self, model: Any) -> None:
        if self.start is None:
            return
        from safetensors.torch import load_file

        found = load_file(str(self.start / NAMES[-1]))
        own = model.state_dict()
        if found.keys() != own.keys():
            raise Error(f"{self.start / NAMES[-1]} has other tensors than `train pairs` leaves")
        model.load_state_dict({name: t.reshape(own[name].shape) for name, t in found.items()})
        pairs = self.pairs["train"]
        chances = self._chances(model, pairs)[:, 0]
        best: dict[str, tuple[float, str]] = {}
        for (source, target), chance in zip(pairs, chances, strict=True):
            best[source] = max(best.get(source, (-np.inf, "")), (float(chance), target))
        self.likeliest = {source: target for source, (_, target) in best.items()}

    def _target(self, source: str, draw: random.Random) -> str:
        """One of a source's targets."""
        several = self.targets[source]
        if len(several) == 1:
            return several[0]
        if self.likeliest and draw.random() < LIKELIEST:
            return self.likeliest[source]
        return draw.choice(several)

    def loss(self, model: Any, step: int) -> torch.Tensor:
        import torch.nn.functional as F

        draw = random.Random(self.seed * 1_000_003 + step)
        pairs = [
            (source, self._target(source, draw))
            for source in (self.sources[i] for i in self.order.rows(step))
        ]
        source, target = (
            pad([self.splitter.encode(pair[side], draw) for pair in pairs]) for side in (0, 1)
        )
        return F.cross_entropy(
            self._logits(model, source, target, TOKEN_DROPOUT).flatten(0, 1), target.flatten(),
            ignore_index=PAD, label_smoothing=SMOOTHING,
        )  # fmt: skip

    def _logits(
        self, model: Any, source: torch.Tensor, target: torch.Tensor, dropout: float = 0.0
    ) -> torch.Tensor:
        """Of targets, of whose tokens each sees those before it."""
        import torch

        there = source != PAD
        fed = torch.cat([torch.full((len(target), 1), PAD), target[:, :-1]], 1)
        if dropout:
            source, fed = (
                ids.masked_fill((torch.rand(ids.shape) < dropout) & (ids > UNK), UNK)
                for ids in (source, fed)
            )
        logits: torch.Tensor = model(source, there, fed)
        return logits

    def _chances(self, model: Any, pairs: list[tuple[str, str]]) -> np.ndarray:
        """The logarithm of each pair's chance, and how many tokens its target has."""
        import torch
        import torch.nn.functional as F

        model.eval()
        rows = [[self.tokenizer.encode(text).ids for text in pair] for pair in pairs]
        found = np.zeros((len(rows), 2))
        with torch.inference_mode():
            for part in by_length([source + target for source, target in rows], 128):
                source, target = (pad([rows[i][side] for i in part]) for side in (0, 1))
                logits = self._logits(model, source, target)
                nats = F.cross_entropy(
                    logits.flatten(0, 1), target.flatten(), ignore_index=PAD, reduction="none"
                )
                found[part, 0] = -nats.view(target.shape).sum(1).numpy()
                found[part, 1] = (target != PAD).sum(1).numpy()
        return found

    def score(self, model: Any) -> float:
        """Nats a token, below zero; of a source's targets the likeliest counts."""
        some = self.pairs["validation"]
        best: dict[str, tuple[float, float]] = {}
        for (source, _), (chance, tokens) in zip(some, self._chances(model, some), strict=True):
            best[source] = max(best.get(source, (-np.inf, 0.0)), (chance, tokens))
        chances, tokens = np.array(list(best.values())).sum(0)
        return float(chances / tokens)

    def said(self, score: float) -> str:
        return f"{-score:.3f} nats a token"

    def export(self, folder: Path, shape: Shape, weights: dict[str, torch.Tensor]) -> None:
        size = {"attention_heads": heads_of(shape), "ffn_dim": shape["hidden"],
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
        d, h, n, heads = shape["dim"], shape["hidden"], shape["layers"], heads_of(shape)
        return [
            ("model", "`MarianMTModel`, post-norm, ReLU"),
            ("layers", f"{n} and {n}, dim {d}, feed-forward {h}, {heads} heads of {d // heads}"),
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
