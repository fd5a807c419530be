"""Train the small summarizer of models/digest on logs of a sensor that are made up.

Stages, each picking up where it stopped: `prepare` writes the tokenizer, `train` fits the model
to generated logs, `export` writes the folder, `evaluate` counts what its summaries of held-out
logs get right (or, with `--part validation`, where choices are made), in float and in a board's
integers; `all` runs them in this order, `show` prints a few logs with their summaries, `heldout`
writes a part for `picoformer eval --data`, and `--part train` makes logs for `convert --data`.
`evaluate --model digest.pft` scores a file that `picoformer convert` made.
The exact commands of the shipped model:

    .venv/bin/pip install -e '.[train]'
    .venv/bin/python -m tools.training.digest all

The logs are those of tools/training/made_up_logs.py: no data is needed, nothing is downloaded.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from picoformer import Simulator, convert
from picoformer.training.data import PAD, pad
from picoformer.training.files import save_atomically
from picoformer.training.folders import round_rows, tokenizer_config, write_folder
from picoformer.training.loop import Run, adamw, fit, trapezoid
from picoformer.training.scores import share
from picoformer.training.story_model import Model, from_tensors, llama_config, to_tensors
from tools import ROOT
from tools.training.folders import load_tokenizer
from tools.training.made_up_logs import (
    ASPECTS,
    BEGUN,
    ENDED,
    KINDS,
    MOMENTS,
    NAMES,
    SHORT,
    THINGS,
    UNITS,
    make_log,
    read_log,
    right,
    write_summary,
)
from tools.training.stages import PARTS, Stages, add_options, checkpoint, run_stages, trained

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<summary>")  # ids 0 to 4
BOS, END, UNK, SUMMARY = range(1, 5)
NAMED = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIAL, strict=False))
SPACE = "\u2581"  # a word's beginning
CONTEXT = 144  # tokens of a log and its summary
LONGEST = 92  # of them a log, at most
LINES = 20  # of a log, at most
WORDS = (
    "in", "went", "from", "to", "at", "highest", "lowest", "no",
    "No", "events", "once", "twice", "times", "last", "still", "open", "closed", "on", "off",
)  # fmt: skip


def pieces() -> list[str]:
    """All that a log or a summary is made of: numbers, times, names, words.

    A number is two pieces, of which the first counts more: hundreds and the rest, or tens and the
    rest. What a summary begins with has no space in front.
    """
    pairs = [f"{n:02}" for n in range(100)]
    found = [*map(str, range(10)), *pairs, *(f"{n // 10}.{n % 10}" for n in range(100)), *".,;()"]
    found += [f"{SPACE}{n}" for n in ("", "-", *range(100), *range(-9, 0))]
    found += [f"{SPACE}{hour}:" for hour in pairs[:24]]
    names = [*NAMES, *THINGS, *MOMENTS.values(), *BEGUN, *ENDED, *WORDS]
    names += [name.capitalize() for name in THINGS]
    found += [SPACE + word for word in (*names, *SHORT, *UNITS) if word]
    found += [kind[0].upper() + kind[1:] for kind in KINDS]
    return list(dict.fromkeys(found))


CONFIG = llama_config(
    (64, 128, 3, 4, 4), len(SPECIAL) + len(pieces()), CONTEXT, (BOS, END), rope_theta=1e6,
    pad_token_id=PAD,
)  # fmt: skip
STEPS = 10_000
BATCH = 32
RATE = 4e-3
WARM_UP, COOL_DOWN = 200, 0.87  # steps, and their share
SHORTEST = 4  # lines at first
GROWS, GROWN = 0.1, 0.25  # the shares of the steps between which they grow
AVERAGE = 200  # steps over which the shipped weights are averaged, exponentially


# --- logs and tokens -------------------------------------------------------------------------


def make_tokenizer() -> Tokenizer:
    """The pieces, the fewest that a word can be cut into; a lone digit costs a little more."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    scores = [(piece, -1.5 if piece.isdigit() and len(piece) == 1 else -1.0) for piece in pieces()]
    tokenizer = Tokenizer(models.Unigram([(n, 0.0) for n in SPECIAL] + scores, unk_id=UNK))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(SPACE, "always")]
    )
    tokenizer.decoder = decoders.Metaspace(SPACE, "always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A <summary>", special_tokens=[("<s>", BOS), ("<summary>", SUMMARY)]
    )
    return tokenizer


class Encoder:
    """The tokens of logs, in which case does not count, and of summaries, in which it does."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        from tokenizers import normalizers, pre_tokenizers

        self.logs = tokenizer
        self.summaries = type(tokenizer).from_str(tokenizer.to_str())
        self.summaries.normalizer = normalizers.Sequence([])
        self.summaries.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, "never")

    def log(self, log: str) -> list[int]:
        found: list[int] = self.logs.encode(log).ids
        return found

    def summary(self, summary: str) -> list[int]:
        return [*self.summaries.encode(summary, add_special_tokens=False).ids, END]


Pair = tuple[str, str]


def pairs(draw: random.Random, encoder: Encoder, count: int, least: int, most: int) -> list[Pair]:
    """So many logs of `least` to `most` lines that fit, and their summaries."""
    found: list[Pair] = []
    while len(found) < count:
        log = make_log(draw, draw.randint(least, most))
        if len(encoder.log(log)) <= LONGEST:
            found.append((log, write_summary(read_log(log))))
    return found


def held_out(part: str, count: int, encoder: Encoder) -> list[Pair]:
    """The fixed logs of a part, of 10 to 20 lines, and their summaries."""
    return pairs(random.Random(f"{part} logs"), encoder, count, 10, LINES)


def batch(found: list[Pair], encoder: Encoder) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of what the model reads, and of what it is to say there: the summary alone counts."""
    read, said = [], []
    for log, summary in found:
        tokens, told = encoder.log(log), encoder.summary(summary)
        read.append(tokens + told[:-1])
        said.append([PAD] * (len(tokens) - 1) + told)
    return pad(read), pad(said)


def scores(found: list[Pair], summaries: list[str]) -> dict[str, int]:
    """How many summaries get each of ASPECTS right."""
    counts = dict.fromkeys(ASPECTS, 0)
    for (log, _), summary in zip(found, summaries, strict=True):
        for aspect in right(log, summary):
            counts[aspect] += 1
    return counts


@torch.inference_mode()
def exact(model: Any, found: list[Pair], encoder: Encoder) -> int:
    """How many summaries the model writes exactly: it prefers every token of them, in turn."""
    model.eval()
    read, said = batch(found, encoder)
    return int(((model(read).argmax(-1) == said) | (said == PAD)).all(1).sum())


def start_matching(model: Model) -> None:
    """Initialize attention so that it finds what was beside the same number or name before.

    Each head of the first layer sees the token one, two, three or four places before, by its key
    of a dimension that is the same for all tokens, and puts it into dimensions of its own. In the
    second layer, where "highest 21.5 at" is to go on, one finds the place where the two tokens
    before were 21.5, and says what was three places before that, the hour; the next one, a token
    later, the minutes; the third says what followed the same token. All by rotations that hardly
    depend on the distance. Without this the model finds what kind of thing comes next, but not,
    for a long time, which one.
    """
    size = CONFIG["head_dim"]
    half = size // 2
    turns = CONFIG["rope_theta"] ** -(torch.arange(half) / half)
    far = [*range(3, half), *range(half + 3, size)]
    one, other, few = far[::2], far[1::2], len(far) // 2
    with torch.no_grad():
        model.embedding.normal_(0, 0.12)[:, 0] = 0.25
        token = torch.linalg.qr(torch.randn(64, size))[0].T  # what is kept of a token
        before = torch.linalg.qr(torch.randn(64, 64))[0].T.split(size)  # where those before lie
        for i, layer in enumerate(model.stack()):
            layer.down.mul_(0.3)
            q, k, v = (part.split(size) for part in layer.qkv.chunk(3))
            out = layer.out.split(size, 1)
            for head in range(4):
                if i == 0:
                    back = -turns * (head + 1)
                    q[head].mul_(0.3)[:, 0] = 2.3 * torch.cat([back.cos(), back.sin()])
                    k[head].mul_(0.3)[:half, 0] = 2.3
                    k[head][half:, 0] = 0
                    v[head].copy_(token)
                    out[head].copy_(0.25 * before[head].T)
                elif i == 1 and head < 2:
                    q[head].mul_(0.3)[one] = 3.5 * before[head][:few]
                    q[head][other] = 3.5 * before[head + 1][:few]
                    k[head].mul_(0.3)[one] = 3.5 * token[:few]
                    k[head][other] = 3.5 * before[0][:few]
                    v[head].copy_(before[2 - head])
                    out[head].copy_(0.4 * token.T)
                elif i == 1 and head == 2:
                    q[head].mul_(0.3)[far] = 3 * token[: len(far)]
                    k[head].mul_(0.3)[far] = 3 * before[0][: len(far)]
                    v[head].copy_(token)
                    out[head].copy_(0.3 * token.T)
                else:  # what is alike
                    k[head][far] *= 1.5
                    q[head].copy_(k[head])
                    out[head].copy_(0.15 * v[head].T)


# --- stages ----------------------------------------------------------------------------------


def stage_prepare(args: argparse.Namespace) -> None:
    """Save tokenizer.json."""
    tokenizer = make_tokenizer()
    save_atomically(args.out / "tokenizer.json", lambda p: tokenizer.save(str(p)))
    print(f"{tokenizer.get_vocab_size()} pieces", flush=True)


def stage_train(args: argparse.Namespace) -> None:
    """Fit the model to generated logs, of few lines at first."""
    encoder = Encoder(load_tokenizer(args.out))
    torch.manual_seed(args.seed)
    model = Model(CONFIG)
    start_matching(model)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    few = held_out("validation", 100, encoder)

    def loss_of(step: int) -> torch.Tensor:
        draw = random.Random(f"{args.seed} {step}")
        grown = min(max((step / args.steps - GROWS) / (GROWN - GROWS), 0.0), 1.0)
        most = SHORTEST + round(grown * (LINES - SHORTEST))
        lines = draw.randint(max(3, most // 3), most)
        read, said = batch(pairs(draw, encoder, BATCH, max(3, lines - 2), lines), encoder)
        return F.cross_entropy(model(read).flatten(0, 1), said.flatten(), ignore_index=PAD)

    def watch(step: int, candidate: Any) -> None:
        if step % 500 == 0:
            print(f"step {step}: validation {exact(candidate, few, encoder)} of 100", flush=True)

    schedule = trapezoid(args.steps, WARM_UP, COOL_DOWN * args.steps)
    run = Run(model, adamw(model, 0.01, 0.98, fused=True), checkpoint(args), AVERAGE)
    seconds = fit(
        run, loss_of, steps=args.steps, rate=args.rate, schedule=schedule, seed=args.seed,
        watch=watch,
    )  # fmt: skip
    print(f"{args.run}: {seconds:.0f} s", flush=True)


def stage_export(args: argparse.Namespace) -> None:
    """Write model.safetensors in float16 and the two configuration files."""
    model = Model(CONFIG)
    model.load_state_dict(trained(checkpoint(args), "train"))
    files = {"config": CONFIG, "tokenizer_config": tokenizer_config(CONTEXT, NAMED)}
    print(f"exported {write_folder(args.out, to_tensors(model), files)} numbers")


def load_exported(folder: Path) -> Model:
    """The folder's model, in float32."""
    from safetensors.numpy import load_file

    return from_tensors(load_file(folder / "model.safetensors"), CONFIG)


def simulator(folder: Path, model: Path | None = None) -> Simulator:
    """The folder's model in a board's integers; model: a file that was made of it."""
    if model:
        return Simulator(model)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "digest.pft"
        convert(folder, path)
        return Simulator(path)


def stage_evaluate(args: argparse.Namespace) -> None:
    """What the exported folder's summaries of a part get right, and some that do not."""
    encoder = Encoder(load_tokenizer(args.out))
    found = held_out(args.part, args.count, encoder)
    if args.model:
        _in_integers(args, found)
        return
    model = load_exported(args.out)
    for word, one in (("float16", model), ("8-bit rows", round_rows(model))):
        print(f"{args.part}, {word}, exact: {share(exact(one, found, encoder), len(found))}")
    _in_integers(args, found)


def _in_integers(args: argparse.Namespace, found: list[Pair]) -> None:
    board = simulator(args.out, args.model)
    summaries = ["".join(board.generate(log)) for log, _ in found]
    for aspect, count in scores(found, summaries).items():
        print(f"{args.part}, integers, {aspect}: {share(count, len(found))}", flush=True)
    wrong = [i for i, (_, summary) in enumerate(found) if summaries[i] != summary]
    for i in wrong[:8]:
        print(f"{found[i][0]}\n  {summaries[i]}\n  not {found[i][1]}")


def stage_show(args: argparse.Namespace) -> None:
    """Print logs of a part with their summaries."""
    for log, summary in held_out(args.part, 5, Encoder(make_tokenizer())):
        print(f"{log}\n\n  {summary}\n")


def rows_of(found: list[Pair], encoder: Encoder) -> np.ndarray:
    """The tokens of logs with their summaries, -1 behind those of shorter ones."""
    tokens = [encoder.log(log) + encoder.summary(summary) for log, summary in found]
    rows = np.full((len(tokens), max(map(len, tokens))), -1, np.int32)
    for row, ids in zip(rows, tokens, strict=True):
        row[: len(ids)] = ids
    return rows


def stage_heldout(args: argparse.Namespace) -> None:
    """Write the tokens of a part, logs and summaries, for `picoformer eval --data`."""
    encoder = Encoder(load_tokenizer(args.out))
    rows = rows_of(held_out(args.part, args.count, encoder), encoder)
    np.save(f"{args.part}.npy", rows)
    print(f"{args.part}.npy: {len(rows)} logs")


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "prepare": stage_prepare,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
}
APART: Stages = {"show": stage_show, "heldout": stage_heldout}


def main() -> None:
    """Parse the command line and run one stage, or the first four in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser, [*STAGES, *APART], ROOT / "models/digest", (*PARTS, "train"))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--count", type=int, default=1000, help="evaluate, heldout: logs")
    parser.add_argument("--model", type=Path, help="evaluate: this model file, of the folder")
    args = parser.parse_args()
    run_stages(args, "digest", STAGES, APART)


if __name__ == "__main__":
    main()
