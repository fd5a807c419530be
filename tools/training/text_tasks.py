"""The classifiers' tasks: labels, sizes, how long to train; where their sentences come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picoformer.training.data import hashed_part
from picoformer.training.pieces import PAD
from tools.training.files import need_files


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


def plain(text: str) -> str:
    """Lower case and single spaces, so that duplicates are the same and fall on one side."""
    return " ".join(text.lower().split())


def part_of(text: str) -> str:
    """Which part a sentence of the one-file data belongs to: 10 % test, 10 % validation."""
    return hashed_part(plain(text), 10)


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file that are not empty."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def read_examples(name: str, data: Path) -> dict[str, list[tuple[str, int]]]:
    """(text, label) pairs of the parts train, validation and test, in the order of the files.

    SNIPS has a test file: its training file gives the other two parts, and of that an utterance
    that the test file has as well is left out.
    """
    task = TASKS[name]
    need_files(data, task.files)
    parts: dict[str, list[tuple[str, int]]] = {"train": [], "validation": [], "test": []}
    if name == "intents":
        for file in ("test", "train"):
            known = {plain(text) for text, _ in parts["test"]}
            for line in read_lines(data / f"snips/{file}.tsv"):
                intent, _, text = line.partition("\t")
                if intent not in task.labels:
                    raise SystemExit(f"snips/{file}.tsv: unknown intent {intent!r}")
                part = "test" if file == "test" else part_of(text).replace("test", "train")
                if file == "test" or plain(text) not in known:
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
