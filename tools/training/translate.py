"""The small translator of models/english-french: its first training, its table, its scores.

Stages, each picking up where it stopped: `prepare` learns the vocabulary that both languages
share, `train` fits the model, `export` writes the folder, `evaluate` scores the folder on the
test part (or, with `--part validation`, where choices are made), `translate` translates the lines
of its standard input, `heldout` writes a part for `picoformer eval --data`, `table` all parts for
`picoformer train`; `all` runs the first four in this order. The commands of the shipped model,
which went on with the first one:

    python3 -m venv .venv
    .venv/bin/pip install -e '.[train]' transformers
    .venv/bin/python -m tools.training.translate all --data DATA --out FIRST
    .venv/bin/python -m tools.training.translate table --data DATA
    .venv/bin/picoformer train pairs pairs.tsv --columns english,french --split part \\
        --start FIRST --minutes 55 -o OUT

DATA holds `tatoeba_en_fr/pairs.tsv` (English, tab, French; Tatoeba, CC BY 2.0 FR). Nothing is
downloaded while it runs.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from picoformer.simulate.metrics import chrf, exact, ngrams
from picoformer.training.data import PAD, Epochs, by_length, hashed_part, pad
from picoformer.training.files import save_atomically
from picoformer.training.folders import round_rows, tokenizer_config
from picoformer.training.loop import Run, adamw, fit, trapezoid
from picoformer.training.merges import END, UNK, Splitter, learn_tokenizer
from picoformer.training.scores import share
from tools import ROOT
from tools.training import folders
from tools.training.files import need_files, write_held_out, write_table
from tools.training.folders import hugging_face, load_exported, write_model
from tools.training.stages import Stages, add_options, checkpoint, run_stages, trained

if TYPE_CHECKING:
    import torch

    from tokenizers import Tokenizer

CONFIG: dict[str, Any] = {
    "architectures": ["MarianMTModel"],
    "model_type": "marian",
    "vocab_size": 1200,
    "d_model": 80,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 192,
    "decoder_ffn_dim": 192,
    "activation_function": "relu",
    "max_position_embeddings": 32,
    "scale_embedding": True,
    "share_encoder_decoder_embeddings": True,
    "tie_word_embeddings": True,
    "static_position_embeddings": True,
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "init_std": 0.05,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "forced_eos_token_id": END,
    "decoder_start_token_id": PAD,
    "torch_dtype": "float16",
}
GENERATION: dict[str, Any] = {
    "decoder_start_token_id": PAD,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "forced_eos_token_id": END,
    "max_length": CONFIG["max_position_embeddings"],
    "num_beams": 1,
}

EPOCHS = 24
BATCH = 64
RATE = 2e-3
WARM_UP = 400  # steps
COOL_DOWN = 0.3  # of all steps
DECAY = 0.05
SMOOTHING = 0.1  # of the labels
TOKEN_DROPOUT = 0.1  # of what encoder and decoder read, replaced by <unk>
AVERAGE = 800  # steps over which the shipped weights are averaged, exponentially
CHECK = 5  # epochs from one look at the validation part to the next


# --- data ------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """One kind of space and of apostrophe."""
    return " ".join(text.replace("\u2019", "'").replace("\u2018", "'").split())


def part_of(english: str) -> str:
    """Which part a sentence belongs to: 5 % test, 5 % validation.

    Lower case and without punctuation, so that all pairs of a sentence fall on one side.
    """
    return hashed_part(" ".join(re.findall(r"[\w']+", plain(english).lower())), 20)


def read_parts(data: Path) -> dict[str, list[tuple[str, str]]]:
    """(English, French) of the parts train, validation and test, in the order of the file."""
    path = data / "tatoeba_en_fr/pairs.tsv"
    need_files(data, ["tatoeba_en_fr/pairs.tsv"])
    parts: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) < 2 or not columns[0].strip() or not columns[1].strip():
            raise SystemExit(f"{path.name}: line {number} is no English, tab, French")
        parts[part_of(columns[0])].append((plain(columns[0]), plain(columns[1])))
    return parts


def grouped(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Every English sentence once, with all the French that the data has for it."""
    found: dict[str, list[str]] = {}
    for english, french in pairs:
        found.setdefault(english, []).append(french)
    return found


# --- vocabulary ------------------------------------------------------------------------------


LETTERS = "abcdefghijklmnopqrstuvwxyzàâçéèêëîïôœùûü"
ALPHABET = [*LETTERS, *LETTERS.upper(), *"0123456789.,!?:;'\"-()«»%$&"]


def stage_prepare(args: argparse.Namespace) -> None:
    """Learn the pieces on the training part alone and save tokenizer.json."""
    path = args.out / "tokenizer.json"
    if path.exists():
        print(f"{path} exists: kept")
        return
    parts = read_parts(args.data)
    for part, pairs in parts.items():
        print(f"{part}: {len(pairs)} pairs, {len(grouped(pairs))} English sentences", flush=True)
    texts = [text for pair in parts["train"] for text in pair]
    tokenizer = learn_tokenizer(texts, CONFIG["vocab_size"], ALPHABET)
    assert tokenizer.get_vocab_size() == CONFIG["vocab_size"]
    save_atomically(path, lambda p: tokenizer.save(str(p)))
    for side, name in enumerate(("English", "French")):
        lengths = [len(tokenizer.encode(pair[side]).ids) for pair in parts["train"]]
        print(f"{name}: {np.mean(lengths):.1f} tokens a sentence, {max(lengths)} at most")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer, cutting at the model's positions (</s> stays)."""
    return folders.load_tokenizer(folder, CONFIG["max_position_embeddings"])


# --- the model -------------------------------------------------------------------------------


def new_model(config: dict[str, Any]) -> Any:
    """A model of transformers, randomly initialized."""
    model = folders.new_model(config)
    model.generation_config = hugging_face().GenerationConfig(**GENERATION)
    return model


def translate(model: Any, tokenizer: Tokenizer, texts: list[str], beams: int = 1) -> list[str]:
    """The model's French, by transformers' own generate: greedy, or the best of some beams."""
    import torch

    model.eval()
    rows = [e.ids for e in tokenizer.encode_batch(texts)]
    found = [""] * len(rows)
    for part in by_length(rows, 64):
        ids = pad([rows[i] for i in part])
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids, attention_mask=(ids != PAD).long(), num_beams=beams,
                do_sample=False,
            )  # fmt: skip
        for i, line in zip(part, out.tolist(), strict=True):
            found[i] = tokenizer.decode([t for t in line if t not in (PAD, END)]).strip()
    return found


def loss_of(model: Any, source: torch.Tensor, target: torch.Tensor, dropout: float) -> Any:
    """Label-smoothed cross-entropy of the targets, given tokens of which some are hidden."""
    import torch
    import torch.nn.functional as F

    start = torch.full((len(target), 1), PAD)
    fed = torch.cat([start, target[:, :-1]], 1)
    mask = (source != PAD).long()
    if dropout:
        source = source.masked_fill((torch.rand(source.shape) < dropout) & (source > UNK), UNK)
        fed = fed.masked_fill((torch.rand(fed.shape) < dropout) & (fed > UNK), UNK)
    logits = model(input_ids=source, attention_mask=mask, decoder_input_ids=fed).logits
    smoothing = SMOOTHING if dropout else 0.0
    return F.cross_entropy(
        logits.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=smoothing
    )


def fit_pairs(
    model: Any,
    checkpoint: Path,
    encode: Callable[[int, random.Random], tuple[list[int], list[int]]],
    order: Epochs,
    *,
    epochs: int,
    check: Callable[[Any], str] | None = None,
) -> float:
    """Minimize the loss of pairs; leaves the averaged weights in the model.

    encode gives the ids of a pair, as the generator it is given decides. A warm-up, a constant
    rate, and linear to zero at the end. Returns the seconds it took, over restarts.
    """
    steps, seed = epochs * order.each, order.seed

    def loss(step: int) -> torch.Tensor:
        generator = random.Random(seed * 1_000_003 + step)  # the same pieces after a restart
        rows = [encode(i, generator) for i in order.rows(step)]
        source, target = pad([row[0] for row in rows]), pad([row[1] for row in rows])
        return loss_of(model, source, target, TOKEN_DROPOUT)

    def watch(step: int, candidate: Any) -> None:
        epoch, into = divmod(step - 1, order.each)
        if check and epoch and epoch % CHECK == 0 and not into:
            print(f"epoch {epoch}: {check(candidate)}", flush=True)

    return fit(
        Run(model, adamw(model, DECAY, 0.98, fused=True), checkpoint, AVERAGE), loss, steps=steps,
        rate=RATE, schedule=trapezoid(steps, WARM_UP, COOL_DOWN * steps), seed=seed, watch=watch,
    )  # fmt: skip


def stage_train(args: argparse.Namespace) -> None:
    """Fit the model to the training part; print its scores on the validation part."""
    import torch

    parts = read_parts(args.data)
    pairs, held_out = parts["train"], grouped(parts["validation"])
    tokenizer = load_tokenizer(args.out)
    text = (args.out / "tokenizer.json").read_text(encoding="utf-8")
    splitter = Splitter(text, CONFIG["max_position_embeddings"])
    lengths = [len(tokenizer.encode(f"{en} {fr}").ids) for en, fr in pairs]
    texts, references = list(held_out), list(held_out.values())

    def encode(i: int, generator: random.Random) -> tuple[list[int], list[int]]:
        english, french = pairs[i]
        return splitter.encode(english, generator), splitter.encode(french, generator)

    def check(candidate: Any) -> str:
        found = translate(candidate, tokenizer, texts)
        return f"validation {scores(found, references)}"

    torch.manual_seed(args.seed)
    model = new_model(CONFIG)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{parameters} parameters, {len(pairs)} pairs", flush=True)
    seconds = fit_pairs(
        model, checkpoint(args), encode, Epochs(lengths, BATCH, args.seed), epochs=args.epochs,
        check=check,
    )  # fmt: skip
    print(f"{args.run}: {check(model)}, {seconds:.0f} s", flush=True)


def scores(found: list[str], references: list[list[str]]) -> str:
    """chrF and exact matches with their standard error, in words."""
    right = share(exact(found, references), len(found))
    return f"chrF {chrf(found, references):.2f}, exact {right}"


def stage_export(args: argparse.Namespace) -> None:
    """Write model.safetensors in float16 and the configuration files."""
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    positions = CONFIG["max_position_embeddings"]
    files = {
        "generation_config": GENERATION,
        "tokenizer_config": tokenizer_config(positions, special, ["input_ids", "attention_mask"]),
    }
    write_model(args.out, CONFIG, trained(checkpoint(args), "train"), files)


# --- scores ----------------------------------------------------------------------------------


def nearest(pairs: list[tuple[str, str]], texts: list[str]) -> list[str]:
    """What needs no model: the first translation of the most similar training sentence.

    Similar by Dice's coefficient of their sets of two and three characters.
    """

    def grams(text: str) -> set[str]:
        return {gram for order in ngrams(text.lower())[1:3] for gram in order}

    known = grouped(pairs)
    answers = [several[0] for several in known.values()]
    sizes = np.zeros(len(known))
    where: dict[str, list[int]] = {}
    for i, english in enumerate(known):
        found = grams(english)
        sizes[i] = len(found)
        for gram in found:
            where.setdefault(gram, []).append(i)
    result = []
    for text in texts:
        ours = grams(text)
        common = np.zeros(len(known))
        for gram in ours:
            common[where.get(gram, [])] += 1
        result.append(answers[int(np.argmax(2 * common / (sizes + len(ours))))])
    return result


def evaluate_folder(folder: Path, data: Path, part: str = "test") -> dict[str, Any]:
    """chrF and exact matches of a folder's model, and with 8-bit rows, greedy and by beams."""
    parts = read_parts(data)
    cases = grouped(parts[part])
    texts, references = list(cases), list(cases.values())
    tokenizer = load_tokenizer(folder)
    model = load_exported(folder)
    result: dict[str, Any] = {"sentences": len(texts), "pairs": len(parts[part])}
    known = {french for _, french in parts["train"]}
    result["seen"] = sum(any(r in known for r in several) for several in references)
    for weights, candidate in (("float", model), ("int8", round_rows(model))):
        for search, beams in (("greedy", 1), ("beam", 4)):
            found = translate(candidate, tokenizer, texts, beams)
            result[f"{weights}_{search}"] = {
                "chrf": round(chrf(found, references), 2),
                "exact": exact(found, references),
            }
            print(f"{part}, {weights}, {search}: {scores(found, references)}", flush=True)
            if (weights, search) == ("float", "greedy"):
                fresh = [i for i, several in enumerate(references) if known.isdisjoint(several)]
                few = [found[i] for i in fresh], [references[i] for i in fresh]
                result["unseen_french"] = scores(*few)
    return result


def stage_evaluate(args: argparse.Namespace) -> None:
    """Scores of the exported folder on a part of the data, beside those of a mere look-up."""
    parts = read_parts(args.data)
    cases = grouped(parts[args.part])
    found = nearest(parts["train"], list(cases))
    print(f"{args.part}, nearest training sentence: {scores(found, list(cases.values()))}")
    result = evaluate_folder(args.out, args.data, args.part)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    tokenizer = load_tokenizer(args.out)
    texts = list(cases)[:: max(1, len(cases) // 30)]
    for text, ours in zip(
        texts, translate(load_exported(args.out), tokenizer, texts), strict=True
    ):
        mark = "=" if ours in cases[text] else " "
        print(f"{mark} {text} -> {ours} | {' / '.join(cases[text][:3])}")


def stage_translate(args: argparse.Namespace) -> None:
    """Translate the lines of standard input."""
    tokenizer, model = load_tokenizer(args.out), load_exported(args.out)
    for line in sys.stdin:
        if line.strip():
            print(translate(model, tokenizer, [plain(line)], args.beams)[0], flush=True)


def stage_heldout(args: argparse.Namespace) -> None:
    """Write a part as English, tab, French, for `picoformer eval --data`."""
    write_held_out(args.part, read_parts(args.data)[args.part], "pairs")


def stage_table(args: argparse.Namespace) -> None:
    """Write pairs.tsv: English, French and the part, for `picoformer train pairs`."""
    write_table(Path("pairs.tsv"), ("english", "french"), read_parts(args.data))


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "prepare": stage_prepare,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
}
APART: Stages = {
    "translate": stage_translate,
    "heldout": stage_heldout,
    "table": stage_table,
}


def main() -> None:
    """Parse the command line and run one stage, or the first four in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser, [*STAGES, *APART], ROOT / "models/english-french")
    parser.add_argument("--data", type=Path, help="the folder of the data")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--beams", type=int, default=1, help="translate: 1 is greedy")
    args = parser.parse_args()
    if args.data is None and args.stage not in ("export", "translate"):
        parser.error("--data is missing")
    run_stages(args, "translate", STAGES, APART)


if __name__ == "__main__":
    main()
