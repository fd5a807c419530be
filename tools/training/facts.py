r"""Train the small question answerer of models/facts on facts that this file makes up.

Stages, each picking up where it stopped: `prepare` learns the vocabulary from generated text,
`train` fits the model to generated questions, `export` writes the folder, `evaluate` scores it on
held-out facts (or, with `--part validation`, where choices are made); `all` runs them in this
order, `show` prints a few examples, `heldout` writes a part for `picoformer eval --data`,
with `--part train` questions for `convert --data`. The exact commands of the shipped model:

    python3 -m venv .venv
    .venv/bin/pip install -e '.[train]' transformers
    .venv/bin/python -m tools.training.facts prepare
    .venv/bin/python -m tools.training.facts train
    .venv/bin/python -m tools.training.facts train --start small --run longer --steps 3000 \
        --rate 8e-4 --seed 2
    .venv/bin/python -m tools.training.facts export --run longer
    .venv/bin/python -m tools.training.facts evaluate

The facts are those of tools/training/made_up_facts.py: no data is needed, nothing is downloaded.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from picoformer.training.files import save_atomically
from picoformer.training.folders import round_rows, tokenizer_config
from picoformer.training.loop import Run, adamw, fit, half_cosine
from picoformer.training.pieces import NAMED, PAD, learn_pieces, make_tokenizer
from picoformer.training.scores import share
from tools import ROOT
from tools.training.files import write_held_out
from tools.training.folders import load_exported, load_tokenizer, new_model, write_model
from tools.training.made_up_facts import RELATIONS, Example, make_example
from tools.training.stages import PARTS, Stages, add_options, checkpoint, run_stages, trained

if TYPE_CHECKING:
    from tokenizers import Tokenizer

POSITIONS = 64
LONGEST = 6  # tokens of an answer
BATCH = 32
CONFIG: dict[str, Any] = {
    "architectures": ["BertForQuestionAnswering"],
    "model_type": "bert",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "max_position_embeddings": POSITIONS,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.05,
    "pad_token_id": PAD,
    "torch_dtype": "float16",
}

# --- questions --------------------------------------------------------------------------------


def held_out(part: str, count: int, tokenizer: Tokenizer) -> list[Example]:
    """The fixed questions of a part: 2 to 5 facts, those that fit."""
    draw = random.Random(f"{part} questions")
    found: list[Example] = []
    while len(found) < count:
        example = make_example(part, draw, draw.randint(2, 5))
        if len(tokenizer.encode(example.question, example.context).ids) <= POSITIONS:
            found.append(example)
    return found


# --- vocabulary ------------------------------------------------------------------------------


def stage_prepare(args: argparse.Namespace) -> None:
    """Learn the pieces from training text and save tokenizer.json."""
    path = args.out / "tokenizer.json"
    if path.exists():
        print(f"{path} exists: kept")
        return
    draw = random.Random(0)
    examples = [make_example("train", draw, 4) for _ in range(20_000)]
    texts = [text for e in examples for text in (e.question, e.context)]
    tokenizer = make_tokenizer(learn_pieces(texts, CONFIG["vocab_size"]))
    save_atomically(path, lambda p: tokenizer.save(str(p)))
    for facts in range(1, 6):
        rows = [make_example("train", draw, facts) for _ in range(1000)]
        lengths = [len(tokenizer.encode(e.question, e.context).ids) for e in rows]
        long = np.mean(np.array(lengths) > POSITIONS)
        print(f"{facts} facts: {np.mean(lengths):.1f} tokens, {long:.1%} over {POSITIONS}")
    print(f"{tokenizer.get_vocab_size()} pieces", flush=True)


# --- batches ---------------------------------------------------------------------------------


def tokenize(
    tokenizer: Tokenizer, examples: list[Example]
) -> tuple[dict[str, torch.Tensor], torch.Tensor, list[list[tuple[int, int]]]]:
    """The model's inputs, (examples, 2) first and last tokens of the answers, offsets.

    The offsets are those of the context's tokens, and (0, 0) for all others.
    """
    encoded = tokenizer.encode_batch([(e.question, e.context) for e in examples])
    longest = max(len(e.ids) for e in encoded)
    ids, types, mask = (torch.zeros(len(encoded), longest, dtype=torch.long) for _ in range(3))
    spans = torch.zeros(len(encoded), 2, dtype=torch.long)
    offsets = []
    for i, (e, example) in enumerate(zip(encoded, examples, strict=True)):
        n = len(e.ids)
        ids[i, :n] = torch.tensor(e.ids)
        types[i, :n] = torch.tensor(e.type_ids)
        mask[i, :n] = 1
        context = [o if s == 1 else (0, 0) for o, s in zip(e.offsets, e.sequence_ids, strict=True)]
        offsets.append(context)
        for j, (start, end) in enumerate(context):
            if end and start == example.start:
                spans[i, 0] = j
            if end and end == example.end:
                spans[i, 1] = j
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}, spans, offsets


def training_batch(
    tokenizer: Tokenizer, step: int, steps: int, seed: int, later: bool = False
) -> list[Example]:
    """BATCH questions that fit; contexts grow from one or two facts to five in three tenths.

    In a later run they have up to five from the start, and a fifth of the nouns are invented.
    """
    draw = random.Random(f"{seed} {step}")
    most = 5 if later else min(5, 2 + int(10 * step / steps))
    facts = draw.randint(1 if most < 4 else 2, most)
    found: list[Example] = []
    while len(found) < BATCH:
        count = BATCH - len(found)
        odd = 0.2 if later else 0.0
        batch = [make_example("train", draw, facts, alike=0.65, odd=odd) for _ in range(count)]
        lengths = tokenizer.encode_batch([(e.question, e.context) for e in batch])
        found += [e for e, n in zip(batch, lengths, strict=True) if len(n.ids) <= POSITIONS]
    return found


def best_span(
    start: np.ndarray, end: np.ndarray, offsets: list[tuple[int, int]]
) -> tuple[int, int]:
    """The characters of the likeliest answer: first and last token in the context, in order."""
    scores = start[:, None] + end[None, :]
    context = np.array([b > 0 for _, b in offsets])
    scores = scores[: len(offsets), : len(offsets)]
    at = np.arange(len(offsets))
    ahead = at[None, :] - at[:, None]
    allowed = context[:, None] & context[None, :] & (ahead >= 0) & (ahead < LONGEST)
    first, last = divmod(int(np.where(allowed, scores, -np.inf).argmax()), len(offsets))
    return offsets[first][0], offsets[last][1]


def whole_words(context: str, start: int, end: int) -> tuple[int, int]:
    """The span, longer where it begins or ends within a word: as transformers' pipeline does."""
    while start and context[start - 1].isalnum() and context[start].isalnum():
        start -= 1
    while end < len(context) and context[end - 1].isalnum() and context[end].isalnum():
        end += 1
    return start, end


@torch.inference_mode()
def predict(
    model: Any, tokenizer: Tokenizer, examples: list[Example], whole: bool = False
) -> list[str]:
    """The answers to questions; with `whole` of whole words."""
    model.eval()
    found = []
    for at in range(0, len(examples), 50):
        part = examples[at : at + 50]
        inputs, _, offsets = tokenize(tokenizer, part)
        output = model(**inputs)
        start, end = output.start_logits.numpy(), output.end_logits.numpy()
        for i, example in enumerate(part):
            a, b = best_span(start[i], end[i], offsets[i])
            if whole:
                a, b = whole_words(example.context, a, b)
            found.append(example.context[a:b])
    return found


def exact(model: Any, tokenizer: Tokenizer, examples: list[Example]) -> str:
    """The share of exact answers with its standard error, in words."""
    answers = predict(model, tokenizer, examples)
    right = sum(a == e.answer for a, e in zip(answers, examples, strict=True))
    return share(right, len(examples))


def start_alike(model: Any) -> None:
    """Initialize attention so that two heads fall on equal words and two on near ones.

    Words begin in one half of the dimensions, positions, as waves, and segments in the other; keys
    are made by the same matrix as queries. Without this the model finds what kind of answer is
    wanted, but not, for a long time, which one: the one beside the name in the question.
    """
    embeddings = model.bert.embeddings
    with torch.no_grad():
        table = embeddings.position_embeddings.weight
        half = table.shape[1] // 2
        lengths = 4 * 32 ** (torch.arange(half // 2) / (half // 2 - 1))
        angles = 2 * np.pi * torch.arange(len(table))[:, None] / lengths
        table.zero_()
        table[:, :half] = 0.07 * torch.cat([angles.sin(), angles.cos()], 1)
        embeddings.word_embeddings.weight.normal_(0, 0.07)[:, :half] = 0
        embeddings.token_type_embeddings.weight.normal_(0, 0.03)[:, half:] = 0
        for layer in model.bert.encoder.layer:
            attention = layer.attention.self
            weight = attention.query.weight.normal_(0, 0.2)
            weight[:half, :half] = 0  # rows of the first two heads: words
            weight[half:, half:] = 0  # of the others: positions
            attention.key.weight.copy_(weight)
            attention.value.weight.normal_(0, 0.1)
            layer.attention.output.dense.weight.normal_(0, 0.1)


# --- stages ----------------------------------------------------------------------------------


def stage_train(args: argparse.Namespace) -> None:
    """Fit the model to generated questions; print exact match on the validation part."""
    tokenizer = load_tokenizer(args.out, 4 * POSITIONS)
    torch.manual_seed(args.seed)
    model = new_model(CONFIG)
    start_alike(model)
    if args.start:
        model.load_state_dict(trained(args.work / f"{args.start}.pt", "train"))
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    few = held_out("validation", 300, tokenizer)

    def watch(step: int, candidate: Any) -> None:
        if step % 500 == 0:
            print(f"step {step}: validation {exact(candidate, tokenizer, few)}", flush=True)

    def loss_of(step: int) -> torch.Tensor:
        batch = training_batch(tokenizer, step, args.steps, args.seed, bool(args.start))
        inputs, spans, _ = tokenize(tokenizer, batch)
        output = model(**inputs)
        hidden = inputs["attention_mask"] == 0
        total = torch.zeros(())
        for logits, target in zip((output.start_logits, output.end_logits), spans.T, strict=True):
            total = total + F.cross_entropy(logits.masked_fill(hidden, -1e4), target)
        return total / 2

    seconds = fit(
        Run(model, adamw(model, 0.02), checkpoint(args)), loss_of, steps=args.steps,
        rate=args.rate, schedule=half_cosine(args.steps), seed=args.seed, watch=watch,
    )  # fmt: skip
    examples = held_out("validation", 2000, tokenizer)
    for word, one in (("float", model), ("8-bit rows", round_rows(model))):
        print(f"{args.run}: validation, {word} {exact(one, tokenizer, examples)}")
    print(f"{seconds:.0f} s", flush=True)


def stage_export(args: argparse.Namespace) -> None:
    """Write model.safetensors in float16 and the two configuration files."""
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    files = {"tokenizer_config": tokenizer_config(POSITIONS, NAMED, inputs)}
    write_model(args.out, CONFIG, trained(checkpoint(args), "train"), files)


def evaluate_folder(folder: Path, part: str = "test", count: int = 2000) -> dict[str, Any]:
    """Exact answers of a folder's model and its mistakes.

    `right` counts those with float16 weights, `int8` with 8-bit rows, `whole` those in whole
    words.
    """
    tokenizer = load_tokenizer(folder, 4 * POSITIONS)
    examples = held_out(part, count, tokenizer)
    model = load_exported(folder)
    counts = {key: Counter[str]() for key in ("all", "right", "int8", "whole")}
    mistakes = []
    answers = {"right": predict(model, tokenizer, examples)}
    answers["int8"] = predict(round_rows(model), tokenizer, examples)
    answers["whole"] = predict(round_rows(model), tokenizer, examples, whole=True)
    for i, example in enumerate(examples):
        groups = ["total", example.relation, "new word" if example.new else "known words"]
        counts["all"].update(groups)
        for key, found in answers.items():
            if found[i] == example.answer:
                counts[key].update(groups)
        if answers["right"][i] != example.answer:
            mistakes.append((example, answers["right"][i]))
    return {"counts": counts, "mistakes": mistakes}


def stage_evaluate(args: argparse.Namespace) -> None:
    """Exact match of the exported folder on a part, by kind of fact, and some mistakes."""
    result = evaluate_folder(args.out, args.part, args.count)
    counts = result["counts"]
    for group in sorted(counts["all"], key=lambda g: (g in RELATIONS, g)):
        total = counts["all"][group]
        names = {"right": "float16", "int8": "8-bit rows", "whole": "whole words"}
        figures = (f"{name} {share(counts[key][group], total)}" for key, name in names.items())
        print(f"{args.part}, {group}: " + "; ".join(figures))
    for example, answer in result["mistakes"][:12]:
        print(f"{example.context}\n  {example.question} {answer!r}, not {example.answer!r}")


def stage_show(args: argparse.Namespace) -> None:
    """Print generated examples of a part."""
    draw = random.Random(args.seed)
    for _ in range(10):
        example = make_example(args.part, draw, draw.randint(2, 5))
        print(f"{example.context}\n  {example.question} {example.answer}")


def stage_heldout(args: argparse.Namespace) -> None:
    """Write a part as text, tab, question, tab, answer, for `picoformer eval --data`."""
    examples = held_out(args.part, args.count, load_tokenizer(args.out, 4 * POSITIONS))
    rows = [(e.context, e.question, e.answer) for e in examples]
    write_held_out(args.part, rows, "questions")


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "prepare": stage_prepare,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
}
APART: Stages = {"show": stage_show, "heldout": stage_heldout}


def main() -> None:
    """Parse the command line and run one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser, [*STAGES, *APART], ROOT / "models/facts", (*PARTS, "train"))
    parser.add_argument("--steps", type=int, default=7500)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="train: the learning rate")
    parser.add_argument("--start", help="train: a complete checkpoint to go on from")
    parser.add_argument("--count", type=int, default=2000, help="evaluate: questions")
    args = parser.parse_args()
    run_stages(args, "facts", STAGES, APART)


if __name__ == "__main__":
    main()
