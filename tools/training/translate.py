"""Train the small translator of models/english-french.

Stages, each picking up where it stopped: `prepare` learns the vocabulary that both languages
share, `train` fits the model, `export` writes the folder, `evaluate` scores the folder on the
test part (or, with `--part validation`, where choices are made), `translate` translates the lines
of its standard input, `heldout` writes a part for `picoformer eval --data`; `all` runs the first
four in this order. The exact commands of the shipped model:

    python3 -m venv .venv
    .venv/bin/pip install -e '.[train]' transformers
    .venv/bin/python -m tools.training.translate all --data DATA

DATA holds `tatoeba_en_fr/pairs.tsv` (English, tab, French; Tatoeba, CC BY 2.0 FR). Nothing is
downloaded while it runs.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from picoformer.simulate.metrics import chrf, exact, ngrams
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
    import torch

    from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
SPECIAL = ("<pad>", "</s>", "<unk>")  # ids 0 to 2; the decoder starts with <pad>
PAD, END, UNK = range(3)
SPACE = "\u2581"  # a word's beginning

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
MERGE_DROPOUT = 0.1  # of the merges of a word in training
VARIANTS = 12  # of each word, with as many pieces as left-out merges make of it
AVERAGE = 800  # steps over which the shipped weights are averaged, exponentially
CHECK = 5  # epochs from one look at the validation part to the next


# --- data ------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """One kind of space and of apostrophe."""
    return " ".join(text.replace("\u2019", "'").replace("\u2018", "'").split())


def part_of(english: str) -> str:
    """Which part a sentence belongs to: a hash of its words decides, 5 % test, 5 % validation.

    Lower case and without punctuation, so that all pairs of a sentence fall on one side.
    """
    words = " ".join(re.findall(r"[\w']+", plain(english).lower()))
    bucket = int(hashlib.sha256(words.encode()).hexdigest(), 16) % 20
    return {0: "test", 1: "validation"}.get(bucket, "train")


def read_parts(data: Path) -> dict[str, list[tuple[str, str]]]:
    """(English, French) of the parts train, validation and test, in the order of the file."""
    path = data / "tatoeba_en_fr/pairs.tsv"
    if not path.is_file():
        raise SystemExit(f"{data} lacks tatoeba_en_fr/pairs.tsv: --data names the data's folder")
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


def learn_tokenizer(texts: list[str], size: int) -> Tokenizer:
    """Byte-pair merges within words of both languages; punctuation merges with its space only."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    words = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    marks = pre_tokenizers.Split(Regex(SPACE + r'?[.,!?:;"«»()$&]'), "isolated")
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, marks])
    letters = "abcdefghijklmnopqrstuvwxyzàâçéèêëîïôœùûü"
    alphabet = [SPACE, *letters, *letters.upper(), *"0123456789.,!?:;'\"-()«»%$&"]
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet,
        limit_alphabet=len(alphabet), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    # no merge crosses from a word to its punctuation: words alone do for encoding
    tokenizer.pre_tokenizer = words
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", END)]
    )
    return tokenizer


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
    tokenizer = learn_tokenizer(texts, CONFIG["vocab_size"])
    assert tokenizer.get_vocab_size() == CONFIG["vocab_size"]
    save_atomically(path, lambda p: tokenizer.save(str(p)))
    for side, name in enumerate(("English", "French")):
        lengths = [len(tokenizer.encode(pair[side]).ids) for pair in parts["train"]]
        print(f"{name}: {np.mean(lengths):.1f} tokens a sentence, {max(lengths)} at most")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer, cutting at the model's positions (</s> stays)."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: run `prepare` first")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(CONFIG["max_position_embeddings"])
    return tokenizer


class Splitter:
    """Splits words as the tokenizer does, or with some merges left out: another text each time.

    Of every word a few such splits are made when it is first seen, in an order of its own, so
    that what a seed gives does not depend on where training went on.
    """

    def __init__(self, tokenizer_json: str) -> None:
        model = json.loads(tokenizer_json)["model"]
        self.vocab: dict[str, int] = model["vocab"]
        self.ranks = {tuple(pair): i for i, pair in enumerate(model["merges"])}
        self.known: dict[str, list[list[int]]] = {}

    def split(self, word: str, draw: random.Random | None = None) -> list[int]:
        """The ids of one word; draw: leave each merge out at each step with a chance."""
        parts = list(word)
        while len(parts) > 1:
            best: tuple[int, int] | None = None
            for i in range(len(parts) - 1):
                rank = self.ranks.get((parts[i], parts[i + 1]))
                if rank is None or (best and rank >= best[0]):
                    continue
                if draw is None or draw.random() >= MERGE_DROPOUT:
                    best = rank, i
            if best is None:
                break
            i = best[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return [self.vocab.get(part, UNK) for part in parts]

    def encode(self, text: str, generator: random.Random) -> list[int]:
        """The ids of a text, one of its words' splits each, with </s>."""
        ids: list[int] = []
        for word in text.split():
            splits = self.known.get(word)
            if splits is None:
                draw = random.Random(word)
                splits = [self.split(SPACE + word, draw) for _ in range(VARIANTS)]
                self.known[word] = splits
            ids += splits[int(generator.random() * VARIANTS)]
        return [*ids[: CONFIG["max_position_embeddings"] - 2], END]


# --- the model -------------------------------------------------------------------------------


def new_model(config: dict[str, Any]) -> Any:
    """A model of transformers, randomly initialized."""
    library = hugging_face()
    settings = {k: v for k, v in config.items() if k not in ("torch_dtype", "architectures")}
    model = library.MarianMTModel(library.MarianConfig(**settings))
    model.generation_config = library.GenerationConfig(**GENERATION)
    return model


def pad(rows: list[list[int]]) -> torch.Tensor:
    """Lists of ids -> (rows, longest) int64."""
    import torch

    longest = max(len(row) for row in rows)
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


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


def translate(model: Any, tokenizer: Tokenizer, texts: list[str], beams: int = 1) -> list[str]:
    """The model's French, by transformers' own generate: greedy, or the best of some beams."""
    import torch

    model.eval()
    rows = [e.ids for e in tokenizer.encode_batch(texts)]
    found = [""] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
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


def fit(
    model: Any,
    checkpoint: Path,
    encode: Callable[[int, random.Random], tuple[list[int], list[int]]],
    lengths: np.ndarray,
    *,
    epochs: int,
    batch: int,
    seed: int,
    check: Callable[[Any], str] | None = None,
) -> float:
    """Minimize the loss of pairs; leaves the averaged weights in the model.

    encode gives the ids of a pair, as the generator it is given decides. AdamW, weight decay on
    matrices, a warm-up, a constant rate, and linear to zero at the end. A checkpoint is written
    every minute and at the end; with one at hand it goes on from there. Returns the seconds it
    took, over restarts.
    """
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), fused=True)
    average = copy.deepcopy(model)
    done, seconds = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        done, seconds = saved["step"], saved["seconds"]
        if saved["optimizer"] is not None:
            optimizer.load_state_dict(saved["optimizer"])
    steps = sum(1 for _ in batches(lengths, batch, 0))
    total = epochs * steps
    averaged = [p for p in average.parameters() if p.requires_grad]
    if done >= total:
        print(f"{checkpoint.name}: complete", flush=True)
        model.load_state_dict(average.state_dict())
        return seconds
    if done:
        print(f"{checkpoint.name}: goes on at step {done} of {total}", flush=True)

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict() if step < total else None,
            "step": step,
            "seconds": seconds + time.time() - start,
        }
        save_atomically(checkpoint, lambda p: torch.save(state, p))

    step, start = 0, time.time()
    last_save = last_log = start
    losses: list[float] = []
    for epoch in range(epochs):
        if step + steps <= done:
            step += steps
            continue
        model.train()
        for part in batches(lengths, batch, seed * 1000 + epoch):
            step += 1
            if step <= done:
                continue
            # the same pieces and dropout after a restart
            torch.manual_seed(seed * 1_000_003 + step)
            generator = random.Random(seed * 1_000_003 + step)
            rows = [encode(i, generator) for i in part]
            source, target = pad([row[0] for row in rows]), pad([row[1] for row in rows])
            loss = loss_of(model, source, target, TOKEN_DROPOUT)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            for group in optimizer.param_groups:
                left = (total - step) / (COOL_DOWN * total)
                group["lr"] = RATE * min(1.0, step / WARM_UP, left)
            optimizer.step()
            optimizer.zero_grad()
            keep = min(1 - 1 / AVERAGE, (1 + step) / (10 + step))
            with torch.no_grad():
                for mean, weight in zip(averaged, trained, strict=True):
                    mean.lerp_(weight, 1 - keep)
            losses.append(loss.item())
            now = time.time()
            if now - last_log > 30:
                spent = seconds + now - start
                print(f"step {step} of {total}, loss {np.mean(losses[-200:]):.4f}, {spent:.0f} s",
                      flush=True)  # fmt: skip
                last_log = now
            if now - last_save > 60:
                save()
                last_save = now
        if check and (epoch + 1) % CHECK == 0 and epoch + 1 < epochs:
            print(f"epoch {epoch + 1}: {check(average)}", flush=True)
    save()
    model.load_state_dict(average.state_dict())
    return seconds + time.time() - start


def stage_train(args: argparse.Namespace) -> None:
    """Fit the model to the training part; print its scores on the validation part."""
    import torch

    parts = read_parts(args.data)
    pairs, held_out = parts["train"], grouped(parts["validation"])
    tokenizer = load_tokenizer(args.out)
    splitter = Splitter((args.out / "tokenizer.json").read_text(encoding="utf-8"))
    lengths = np.array([len(tokenizer.encode(f"{en} {fr}").ids) for en, fr in pairs])
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
    seconds = fit(
        model, args.work / f"{args.run}.pt", encode, lengths, epochs=args.epochs, batch=BATCH,
        seed=args.seed, check=check,
    )  # fmt: skip
    print(f"{args.run}: {check(model)}, {seconds:.0f} s", flush=True)


def scores(found: list[str], references: list[list[str]]) -> str:
    """chrF and exact matches with their standard error, in words."""
    right = exact(found, references)
    share = right / len(found)
    error = (share * (1 - share) / len(found)) ** 0.5
    return (
        f"chrF {chrf(found, references):.2f}, exact {100 * share:.2f} % ± {100 * error:.2f} "
        f"({right} of {len(found)})"
    )


def stage_export(args: argparse.Namespace) -> None:
    """Write model.safetensors in float16 and the configuration files."""
    import torch

    checkpoint = args.work / f"{args.run}.pt"
    if not checkpoint.exists() or torch.load(checkpoint)["optimizer"] is not None:
        raise SystemExit(f"{checkpoint} is not complete: run `train` first")
    state = torch.load(checkpoint)["average"]
    once = ("lm_head.", "model.encoder.embed", "model.decoder.embed")  # tied, or computed
    tensors = {
        name: t.half().contiguous().numpy()
        for name, t in state.items()
        if not name.startswith(once)
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": CONFIG["max_position_embeddings"],
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    files = {
        "config": CONFIG,
        "generation_config": GENERATION,
        "tokenizer_config": tokenizer_config,
    }
    write_files(args.out, tensors, files)


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
    rows = [f"{a}\t{b}\n" for a, b in read_parts(args.data)[args.part]]
    Path(f"{args.part}.tsv").write_text("".join(rows), encoding="utf-8")
    print(f"{args.part}.tsv: {len(rows)} pairs")


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "prepare": stage_prepare,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
}
APART: Stages = {"translate": stage_translate, "heldout": stage_heldout}


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
