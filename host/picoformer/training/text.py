"""Classifiers of texts: a small DistilBERT with a vocabulary of its own."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import doubts
from .data import Epochs, by_length, pad
from .files import save_atomically
from .folders import tokenizer_config, write_folder
from .job import Job, Shape
from .pieces import NAMED, PAD, SEP, UNK, learn_pieces, make_tokenizer
from .splitting import digest_of, split, spread
from .tables import read

if TYPE_CHECKING:
    import torch

    from tokenizers import Tokenizer

# dim, hidden and layers, the largest first; heads have 16 dimensions.
SIZES = (96, 192, 3), (96, 192, 2), (64, 128, 2), (48, 96, 2), (32, 64, 2), (32, 64, 1)
# At most so many pieces, and examples for which the first sizes are too large.
PIECES, FEW = 2000, 2000
LEAST, POSITIONS = 24, 128  # positions, at least and at most
LONG = 0.995  # share of the texts that are not cut
BATCH = 64
DROPOUT, TOKEN_DROPOUT = 0.1, 0.1
MISTYPED = 0.3  # of the texts, in training
SMOOTHING = 0.05


def plain(text: str) -> str:
    """Lower case and single spaces, so that doubles are the same."""
    return " ".join(text.lower().split())


def mistype(text: str, draw: random.Random, letters: str) -> str:
    """A text with one or two typing errors: a letter left out, twice, another, or two swapped."""
    chars = list(text)
    for _ in range(draw.randint(1, 2)):
        i = draw.randrange(len(chars))
        kind = draw.randrange(4)
        if not chars[i].isalpha():
            continue
        if kind == 0 and len(chars) > 3:
            del chars[i]
        elif kind == 1:
            chars.insert(i, chars[i])
        elif kind == 2:
            chars[i] = draw.choice(letters)
        elif i + 1 < len(chars) and chars[i + 1].isalpha():
            chars[i], chars[i + 1] = chars[i + 1], chars[i]
    return "".join(chars)


def sharpness(logits: np.ndarray, labels: np.ndarray) -> float:
    """The factor with which logits (n, labels) make the right labels likeliest; 1/3 to 3."""

    def nats(factor: float) -> float:
        scaled = factor * logits
        top = scaled.max(1)
        right = scaled[np.arange(len(labels)), labels]
        return float(np.mean(np.log(np.exp(scaled - top[:, None]).sum(1)) + top - right))

    factors = np.exp(np.linspace(-1, 1, 101) * np.log(3))
    return float(min(factors, key=nats))


class TextJob(Job):
    """A label for each text."""

    kind = "text"
    what = "text"
    held_out = "test.tsv"

    def __init__(
        self, data: Path, seed: int, columns: Sequence[str] = (), split_by: str = "",
        pieces: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(data, seed)
        self.pieces = pieces or PIECES
        tables = read(data, ("label", "text"), columns, split_by)
        rows = [row for table in tables for row in table.found]
        labels = [cells[0] for cells, _, _ in rows]
        texts = [cells[1] for cells, _, _ in rows]
        doubts.check(str(data), labels, "text")
        keys = [plain(text) for text in texts]
        parts = split(keys, labels, [part for _, part, _ in rows])
        self.labels = sorted(set(labels))
        self._say(tables, keys, labels, parts)
        held = {key for key, part in zip(keys, parts, strict=True) if part == "test"}
        of: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
        again = 0
        for key, label, text, part in zip(keys, labels, texts, parts, strict=True):
            if part != "test" and key in held:
                again += 1
            else:
                of[part].append((label, text))
        if again:
            self.doubts.append(f"{again} texts of the test part were elsewhere, too: left out")
        of["test"] = spread(of["test"])
        self.parts = {part: [label for label, _ in some] for part, some in of.items()}
        self.texts = {part: [text for _, text in some] for part, some in of.items()}
        self.doubts += doubts.of_test(len(of["test"]), self.what)
        self._learn()

    def _say(
        self, tables: Sequence[Any], keys: list[str], labels: list[str], parts: list[str]
    ) -> None:
        for table in tables:
            if table.empty:
                lines = "1 empty line" if table.empty == 1 else f"{table.empty} empty lines"
                self.doubts.append(f"{table.path} has {lines}")
        self.doubts += doubts.of_labels(labels, "text") + doubts.of_texts(keys, labels)
        lacking = set(self.labels) - {p for p, part in zip(labels, parts, strict=True)
                                      if part == "train"}  # fmt: skip
        if lacking:
            self.doubts.append(f"nothing to train {', '.join(sorted(lacking))} on")

    def _learn(self) -> None:
        """Learn the pieces of the training part."""
        texts = self.texts["train"]
        size = min(self.pieces, 100 + 2 * len({w for t in texts for w in plain(t).split()}))
        self._use(make_tokenizer(learn_pieces(texts, size)))
        self.target = self._numbers("train")
        letters = Counter(c for t in texts for c in plain(t) if c.isalpha())
        self.letters = "".join(c for c, n in letters.items() if n > 1) or "e"

    def _use(self, tokenizer: Tokenizer) -> None:
        """Encode all with a tokenizer."""
        texts, self.tokenizer = self.texts["train"], tokenizer
        tokenizer.no_truncation()
        self.vocab = self.tokenizer.get_vocab_size()
        lengths = [len(e.ids) for e in self.tokenizer.encode_batch(texts)]
        wanted = int(np.quantile(lengths, LONG)) + 2
        # Users write longer texts than who made the table.
        self.positions = min(POSITIONS, max(LEAST, wanted + wanted % 2))
        self.seen = min(self.positions, max(lengths))
        words = sum(len(plain(t).split()) for t in texts)
        self.words = int(words / sum(lengths) * self.positions)
        cut = sum(n > self.positions for n in lengths)
        if cut > 0.02 * len(lengths):
            said = f"{cut} texts are longer than {self.positions} tokens"
            said += ": what is behind is not read"
            self.doubts += [said] * (said not in self.doubts)
        self.tokenizer.enable_truncation(self.positions)
        self.tokens = round(float(np.mean(np.minimum(lengths, self.positions))))
        self.order = Epochs(lengths, BATCH, self.seed)

    def memory(self) -> str:
        return str(self.tokenizer.to_str())

    def recall(self, memory: str) -> None:
        from tokenizers import Tokenizer

        if memory and memory != self.memory():
            self._use(Tokenizer.from_str(memory))

    def fingerprint(self) -> str:
        own = [] if self.pieces == PIECES else [self.pieces]
        own += [self.positions] * (self.positions == LEAST)  # once there were fewer
        return digest_of(self.parts, self.texts, *own)

    def _numbers(self, part: str) -> np.ndarray:
        known = {label: i for i, label in enumerate(self.labels)}
        return np.array([known[label] for label in self.parts[part]], np.int64)

    def shapes(self) -> list[Shape]:
        # Few examples teach a large model less than a small one.
        first = 1 if len(self.target) > FEW else 2
        return [{"dim": d, "hidden": h, "layers": n} for d, h, n in SIZES[first:]]

    def model(self, shape: Shape) -> Any:
        from .encoder import TextClassifier

        return TextClassifier(
            vocab=self.vocab, positions=self.positions, heads=shape["dim"] // 16,
            classes=len(self.labels), dropout=DROPOUT, **shape,
        )  # fmt: skip

    def loss(self, model: Any, step: int) -> torch.Tensor:
        import torch
        import torch.nn.functional as F

        draw = random.Random(self.seed * 1_000_003 + step)
        part = self.order.rows(step)
        texts = [self.texts["train"][i] for i in part]
        texts = [mistype(t, draw, self.letters) if draw.random() < MISTYPED else t for t in texts]
        ids = pad([e.ids for e in self.tokenizer.encode_batch(texts)])
        there = ids != PAD
        dropped = (torch.rand(ids.shape) < TOKEN_DROPOUT) & (ids > SEP)
        logits = model(ids.masked_fill(dropped, UNK), there)
        target = torch.from_numpy(self.target[part])
        return F.cross_entropy(logits, target, label_smoothing=SMOOTHING)

    def predict(self, model: Any, texts: list[str]) -> np.ndarray:
        """Logits (texts, labels)."""
        import torch

        model.eval()
        rows = [e.ids for e in self.tokenizer.encode_batch(texts)]
        found = np.zeros((len(rows), len(self.labels)), np.float32)
        with torch.inference_mode():
            for part in by_length(rows, 128):
                ids = pad([rows[i] for i in part])
                found[part] = model(ids, ids != PAD).numpy()
        return found

    def score(self, model: Any) -> float:
        said = self.predict(model, self.texts["validation"]).argmax(1)
        return float(np.mean(said == self._numbers("validation")))

    def held(self) -> list[tuple[Any, str]]:
        return list(zip(self.texts["validation"], self.parts["validation"], strict=True))

    def read(self) -> str:
        return f"{self.positions} tokens of a text, about {self.words} words; the rest is cut"

    def finished(self, model: Any) -> None:
        """Finish positions that no text had, and make the shares true.

        Those positions are like the last ones that had a text.

        Shares are true: those of the right labels are likeliest on the validation part.
        Smoothed labels leave a model less sure than it may be. One factor on the logits changes
        no answer.
        """
        import torch

        table = model.distilbert.embeddings.position_embeddings.weight
        with torch.no_grad():
            table[self.seen :] = table[self.seen * 3 // 4 : self.seen].mean(0)
        logits = self.predict(model, self.texts["validation"]).astype(np.float64)
        factor = sharpness(logits, self._numbers("validation"))
        with torch.no_grad():
            model.classifier.weight *= factor
            model.classifier.bias *= factor

    def export(self, folder: Path, shape: Shape, weights: dict[str, torch.Tensor]) -> None:
        config = {
            "architectures": ["DistilBertForSequenceClassification"],
            "model_type": "distilbert",
            "dim": shape["dim"],
            "hidden_dim": shape["hidden"],
            "n_layers": shape["layers"],
            "n_heads": shape["dim"] // 16,
            "activation": "gelu",
            "sinusoidal_pos_embds": False,
            "vocab_size": self.vocab,
            "max_position_embeddings": self.positions,
            "dropout": DROPOUT,
            "attention_dropout": DROPOUT,
            "seq_classif_dropout": DROPOUT,
            "pad_token_id": PAD,
            "id2label": {str(i): name for i, name in enumerate(self.labels)},
            "label2id": {name: i for i, name in enumerate(self.labels)},
            "problem_type": "single_label_classification",
            "torch_dtype": "float16",
        }
        halves = {name: t.numpy().astype(np.float16) for name, t in weights.items()}
        special = tokenizer_config(self.positions, NAMED, ["input_ids", "attention_mask"])
        write_folder(folder, halves, {"config": config, "tokenizer_config": special})
        save_atomically(folder / "tokenizer.json", lambda p: self.tokenizer.save(str(p)))

    def write_test(self, folder: Path) -> None:
        rows = zip(self.parts["test"], self.texts["test"], strict=True)
        text = "".join(f"{label}\t{of}\n" for label, of in rows)
        save_atomically(folder / self.held_out, lambda p: p.write_text(text, "utf-8"))

    def shown(self, i: int) -> str:
        return self.texts["test"][i]

    def described(self, shape: Shape) -> list[tuple[str, str]]:
        d, h, n = shape["dim"], shape["hidden"], shape["layers"]
        return [
            ("model", "`DistilBertForSequenceClassification`, post-norm, GELU"),
            ("layers", f"{n}, dim {d}, feed-forward {h}, {d // 16} heads of 16"),
            ("vocabulary", f"{self.vocab:,} WordPieces of the training part, lower case"),
            ("positions", f"{self.positions}; longer texts are cut"),
        ]

    def augmentation(self) -> str:
        return (
            f"Of the texts {MISTYPED:.0%} were read with one or two typing errors, and "
            f"{TOKEN_DROPOUT:.0%} of the pieces as unknown. All is read in lower case, without "
            "accents."
        )

    def limits(self) -> str:
        return (
            "Whatever it is given gets one of the labels; its share says little about texts of "
            "another kind. It knows the words of the training part: others fall apart into pieces."
        )
