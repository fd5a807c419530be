"""Train the small story model of models/stories from text sampled from a teacher.

Stages, each resumable: `sample` draws stories from the teacher, `tokenizer` trains 512 pieces on
them, `train` fits the model, `export` writes models/stories, `evaluate` compares the model with
its teacher in nats per byte; `all` runs them in this order. Run `sample` and `train` in two
processes to use two cores: the trainer reads shards as they arrive.

Source of the teacher: stories260K of karpathy's tinyllamas (MIT), a llama2.c checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from picoformer.training.data import pad
from picoformer.training.files import save_array, save_atomically
from picoformer.training.folders import tokenizer_config, write_folder
from picoformer.training.loop import Run, adamw
from picoformer.training.merges import train_tokenizer
from picoformer.training.story_model import Model, from_tensors, llama_config, to_tensors
from tools import ROOT
from tools.training.folders import load_tokenizer
from tools.training.llama2c import BOS, SAMPLE_LENGTH, Sampler, Teacher, surprise
from tools.training.stages import Stages, checkpoint

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EOS = 2
SHARD_BATCHES = 64  # 64 * 64 * 289 = 1.18 million tokens a shard

CONTEXT, VOCAB = 256, 512
CONFIG = llama_config((64, 160, 5, 4, 2), VOCAB, CONTEXT, (BOS, EOS))


# --- text ------------------------------------------------------------------------------------


def shard_path(work: Path, index: int) -> Path:
    """Shard 0 is held out for `evaluate`; training starts at shard 1."""
    return work / "shards" / f"teacher-{index:04d}.npy"


def stage_sample(args: argparse.Namespace) -> None:
    """Write shards of (SHARD_BATCHES * BATCH, 289) teacher ids until args.shards exist.

    Every shard has its own seed, so a shard is the same whichever worker draws it.
    """
    sampler = Sampler(Teacher(args.teacher), args.compile)
    for index in range(args.worker, args.shards, args.workers):
        path = shard_path(args.work, index)
        if path.exists():
            continue
        start = time.time()
        generator = torch.Generator().manual_seed(args.seed * 100_003 + index)
        ids = np.concatenate([sampler.batch(generator) for _ in range(SHARD_BATCHES)])
        save_array(path, ids)
        rate = ids.size / (time.time() - start)
        print(f"shard {index}: {ids.size} tokens, {rate:.0f} tokens/s", flush=True)


# --- tokenizer -------------------------------------------------------------------------------


def whole_words(ids: np.ndarray, pieces: list[bytes]) -> np.ndarray:
    """Teacher ids (BOS first) up to the start of the last word, which the length limit may cut."""
    last = max((i for i, t in enumerate(ids) if t == BOS or pieces[t][:1] == b" "), default=0)
    return ids[: last + (ids[last] == BOS)]


def stories_of(ids: np.ndarray, teacher: Teacher) -> list[str] | None:
    """The stories in one sequence of teacher ids; None where it is not valid text."""
    if ids[0] != BOS or ((ids == 0) | (ids == EOS)).any():
        return None
    starts = np.flatnonzero(ids == BOS)
    ends = [*starts[1:], len(ids)]
    try:
        return [teacher.decode(ids[a + 1 : b]).decode() for a, b in zip(starts, ends, strict=True)]
    except UnicodeDecodeError:
        return None


def stage_tokenizer(args: argparse.Namespace) -> None:
    """Train on the first training shard, check it on stories, save tokenizer.json."""
    path = args.out / "tokenizer.json"
    if path.exists():
        print(f"{path.name} exists: kept")
        return
    teacher = Teacher(args.teacher)
    sequences = (stories_of(ids, teacher) for ids in np.load(shard_path(args.work, 1)))
    stories = [story for found in sequences if found for story in found if story]
    tokenizer = train_tokenizer(stories, VOCAB)
    assert tokenizer.get_vocab_size() == VOCAB
    for story in stories[:2000]:
        ids = tokenizer.encode(story, add_special_tokens=False).ids
        assert tokenizer.decode(ids) == story, story
        # the same pieces when every word is encoded by itself
        alone = [
            tokenizer.model.tokenize(word)
            for word in ("\u2581" + story.replace(" ", "\0\u2581")).split("\0")
        ]
        assert ids == [token.id for word in alone for token in word], story
    size = sum(len(story.encode()) for story in stories[:2000])
    count = sum(len(tokenizer.encode(s, add_special_tokens=False).ids) for s in stories[:2000])
    save_atomically(path, lambda p: tokenizer.save(str(p)))
    print(f"tokenizer: {size / count:.3f} bytes a token on {size} bytes")


def encode_rows(sequences: np.ndarray, teacher: Teacher, tokenizer: Tokenizer) -> np.ndarray:
    """Teacher ids (n, 289) -> student ids (rows, 257) uint16: inputs and targets of one window.

    A row starts at a BOS and holds one teacher sequence: stories, each begun by BOS, cut at 257
    ids, or padded with id 0 (which byte fallback never gives), that counts for nothing.
    """
    found = (stories_of(whole_words(ids, teacher.pieces), teacher) for ids in sequences)
    texts = [stories for stories in found if stories]
    flat = tokenizer.encode_batch([s for t in texts for s in t], add_special_tokens=False)
    rows = np.zeros((len(texts), CONTEXT + 1), np.uint16)
    encoded = iter(flat)
    for row, stories in zip(rows, texts, strict=True):
        ids = [i for _ in stories for i in (BOS, *next(encoded).ids)][: CONTEXT + 1]
        row[: len(ids)] = ids
    return rows


def training_rows(args: argparse.Namespace, index: int) -> np.ndarray:
    """The student's rows of a shard, encoded once and kept beside it."""
    path = shard_path(args.work, index)
    kept = path.with_name(f"student-{index:04d}.npy")
    if not kept.exists():
        tokenizer = load_tokenizer(args.out, stage="tokenizer")
        rows = encode_rows(np.load(path), Teacher(args.teacher), tokenizer)
        save_array(kept, rows)
    return cast(np.ndarray, np.load(kept))


# --- training --------------------------------------------------------------------------------


class Processes:
    """This process and the others that torchrun started to train one model; or alone."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        if self.world > 1:
            torch.distributed.init_process_group("gloo")

    def agreed(self, value: float) -> float:
        """The first process's value."""
        told = torch.tensor(value)
        if self.world > 1:
            torch.distributed.broadcast(told, 0)
        return told.item()

    def share_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """Every process gets the mean of all, in one message."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients]) / self.world
        torch.distributed.all_reduce(flat)
        parts = flat.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def close(self) -> None:
        if self.world > 1:
            torch.distributed.destroy_process_group()


class Rows:
    """The training rows in order, shard after shard, from 1 again when no further shard is there.

    With several processes each takes every n-th row; the first decides which shard is next, as
    another process may see a shard that has only just arrived.
    """

    def __init__(self, args: argparse.Namespace, processes: Processes, shard: int, row: int):
        self.args, self.processes = args, processes
        self.shard, self.row = shard, row
        self.rows = training_rows(args, shard)

    def take(self, count: int) -> torch.Tensor:
        """The next (count / world, 257) int64 ids of this process."""
        if self.row + count > len(self.rows):
            there = shard_path(self.args.work, self.shard + 1).exists()
            self.shard = int(self.processes.agreed(self.shard + 1 if there else 1))
            self.row, self.rows = 0, training_rows(self.args, self.shard)
        part = self.rows[self.row + self.processes.rank : self.row + count : self.processes.world]
        self.row += count
        return torch.from_numpy(part.astype(np.int64))


def learning_rate(args: argparse.Namespace, step: int, progress: float) -> float:
    """Warm-up over 200 steps, then constant, then linear to zero over the run's last part."""
    return args.lr * min(1.0, (step + 1) / 200, (1 - progress) / args.decay)


def stage_train(args: argparse.Namespace) -> None:
    """Train for args.minutes of wall time in all, over restarts; torchrun starts two processes."""
    processes = Processes()
    torch.manual_seed(args.seed)
    model = Model(CONFIG, mixed=True)
    run = Run(model, adamw(model, 0.1, 0.98, fused=True), checkpoint(args))
    run.state |= {"tokens": 0, "shard": 1, "row": 0}
    if run.resume():
        print(f"resumed {run.state}", flush=True)
    rows = Rows(args, processes, run.state["shard"], run.state["row"])
    held_out = torch.from_numpy(training_rows(args, 0)[:128].astype(np.int64))
    train(args, run, rows, processes)
    with torch.inference_mode():
        nats = model.loss(held_out).item()
    print(f"end {run.state}, held-out {nats:.4f} nats a token", flush=True)
    processes.close()


def train(args: argparse.Namespace, run: Run, rows: Rows, processes: Processes) -> None:
    """The steps until the time is over; a checkpoint every two minutes, and at the end."""
    model, state = run.model, run.state
    parameters = list(model.parameters())
    loss_of = torch.compile(model.loss, dynamic=False) if args.compile else model.loss

    def progress() -> float:
        by_time = processes.agreed(state["seconds"] / (args.minutes * 60))
        return max(by_time, state["step"] / args.steps if args.steps else 0.0)

    losses: list[float] = []
    before = last_save = last_log = time.time()
    while (done := progress()) < 1:  # all processes stop at the same step
        rate = learning_rate(args, state["step"], done)
        loss = loss_of(rows.take(args.batch))
        loss.backward()
        processes.share_gradients(parameters)
        run.descend(rate)
        losses.append(loss.item())
        now = time.time()
        state["tokens"] += args.batch * CONTEXT
        state["seconds"] += now - before if len(losses) > 1 else 0  # the first step compiles
        state["shard"], state["row"] = rows.shard, rows.row
        before = now
        if state["step"] % 100 == 0 and processes.rank == 0:
            speed = 100 * args.batch * CONTEXT / (now - last_log)
            print(
                f"step {state['step']} shard {rows.shard} lr {rate:.2e} "
                f"loss {np.mean(losses[-100:]):.4f} {speed:.0f} tokens/s {done:.1%}",
                flush=True,
            )
            last_log = now
        if now - last_save > 120 and processes.rank == 0:
            run.save()
            last_save = now
    if processes.rank == 0:
        run.save()


# --- export and evaluation -------------------------------------------------------------------


def load_exported(folder: Path) -> Model:
    """The model of an exported folder, float16 weights in float32."""
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    return from_tensors(load_file(folder / "model.safetensors"), config)


def stage_export(args: argparse.Namespace) -> None:
    """Write model.safetensors and the two configuration files of the newest checkpoint."""
    saved = torch.load(checkpoint(args))
    model = Model(CONFIG)
    model.load_state_dict(saved.pop("model"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    files = {"config": CONFIG, "tokenizer_config": tokenizer_config(CONTEXT, special)}
    count = write_folder(args.out, to_tensors(model), files)
    assert count <= 261_000
    del saved["optimizer"]
    print(f"exported {count} parameters, {saved}")


def same_text(
    ids: np.ndarray, teacher: Teacher, tokenizer: Tokenizer
) -> tuple[np.ndarray, list[int], int] | None:
    """One teacher sequence -> (teacher ids, student ids, bytes) of one text, both BOS first.

    The text ends before a word, so that neither tokenizer sees a cut word, and is shortened word
    by word until the student needs at most CONTEXT ids after the first BOS.
    """
    ids = whole_words(ids, teacher.pieces)
    while len(ids) > 1:
        stories = stories_of(ids, teacher)
        if stories is None:
            return None
        found = tokenizer.encode_batch(stories, add_special_tokens=False)
        student = [i for encoding in found for i in (BOS, *encoding.ids)]
        if len(student) <= CONTEXT + 1:
            return ids, student, sum(len(story.encode()) for story in stories)
        ids = whole_words(ids[:-1], teacher.pieces)
    return None


@torch.inference_mode()
def stage_evaluate(args: argparse.Namespace) -> None:
    """Nats per byte of the exported model and of its teacher on the same held-out text."""
    teacher, tokenizer = Teacher(args.teacher), load_tokenizer(args.out, stage="tokenizer")
    model = load_exported(args.out)
    sequences = np.load(shard_path(args.work, 0))[: args.held_out]
    texts = [text for ids in sequences if (text := same_text(ids, teacher, tokenizer))]
    size = sum(count for *_, count in texts)
    teacher_rows = pad([ids for ids, _, _ in texts], SAMPLE_LENGTH + 1)
    student_rows = pad([ids for _, ids, _ in texts], CONTEXT + 1)
    nats: dict[str, list[torch.Tensor]] = {"teacher": [], "student": []}  # one sum a sequence
    for start in range(0, len(texts), 64):
        part = slice(start, start + 64)
        rows = teacher_rows[part]
        nats["teacher"].append((teacher.surprise(rows) * (rows[:, 1:] != 0)).sum(1))
        rows = student_rows[part]
        logits = model(rows[:, :-1])
        nats["student"].append((surprise(logits, rows[:, 1:]) * (rows[:, 1:] != 0)).sum(1))
    sums = {name: torch.cat(parts).double() for name, parts in nats.items()}
    gap = sums["student"] - sums["teacher"]
    result = {
        "sequences": len(texts),
        "bytes": size,
        "teacher_tokens": int((teacher_rows[:, 1:] != 0).sum()),
        "student_tokens": int((student_rows[:, 1:] != 0).sum()),
        "teacher_nats_per_byte": sums["teacher"].sum().item() / size,
        "student_nats_per_byte": sums["student"].sum().item() / size,
        "gap_nats_per_byte": gap.sum().item() / size,
        "gap_standard_error": gap.std().item() * len(gap) ** 0.5 / size,
    }
    print(json.dumps(result, indent=2))
    generator = torch.Generator().manual_seed(args.seed)
    ids = torch.full((1, 1), BOS)
    while ids.shape[1] < CONTEXT:
        weights = (model(ids)[0, -1] / args.temperature).softmax(-1)
        following = torch.multinomial(weights, 1, generator=generator)
        if following in (BOS, EOS):
            break
        ids = torch.cat([ids, following[None]], 1)
    print(f"a story at temperature {args.temperature}:\n{tokenizer.decode(ids[0].tolist())}")


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "sample": stage_sample,
    "tokenizer": stage_tokenizer,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
}


def main() -> None:
    """Parse the command line and run one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=[*STAGES, "all"])
    parser.add_argument("--teacher", type=Path, default=ROOT / "../shared/data/stories260K")
    parser.add_argument("--work", type=Path, default=Path("~/.cache/picoformer/train"))
    parser.add_argument("--out", type=Path, default=ROOT / "models/stories")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--shards", type=int, default=32, help="sample: shards in all")
    parser.add_argument("--worker", type=int, default=0, help="sample: which of --workers")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--run", default="main", help="train, export: name of the checkpoint")
    parser.add_argument("--minutes", type=float, default=80.0, help="train: time in all")
    parser.add_argument("--steps", type=int, default=0, help="train: stop earlier, at this step")
    parser.add_argument("--batch", type=int, default=32, help="train: rows a step")
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--decay", type=float, default=0.8, help="train: part of the run")
    parser.add_argument("--held-out", type=int, default=2048, help="evaluate: sequences")
    parser.add_argument("--temperature", type=float, default=0.7, help="evaluate: of the sample")
    args = parser.parse_args()
    args.work = args.work.expanduser()
    torch.set_num_threads(1)  # two threads are slower than one; use two processes
    for stage in STAGES if args.stage == "all" else [args.stage]:
        STAGES[stage](args)


if __name__ == "__main__":
    main()
