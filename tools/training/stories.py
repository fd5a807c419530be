"""Train the small story model of models/stories from text sampled from a teacher.

Stages, each resumable: `sample` draws stories from the teacher, `tokenizer` trains 512 pieces on
them, `train` fits the model, `export` writes models/stories, `evaluate` compares the model with
its teacher in nats per byte; `all` runs them in this order. Run `sample` and `train` in two
processes to use two cores: the trainer reads shards as they arrive.

Source of the teacher: stories260K of karpathy's tinyllamas (MIT), a llama2.c checkpoint.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
import torch.nn.functional as F

from tools.training.fitting import save_atomically

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
BOS, EOS = 1, 2
SAMPLE_LENGTH = 288  # teacher tokens a sequence after BOS: about 262 of the student's
BATCH = 64  # sequences sampled at a time: their key-value cache just fits a core's share of L3
SHARD_BATCHES = 64  # 64 * 64 * 289 = 1.18 million tokens a shard

CONTEXT, VOCAB = 256, 512
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": VOCAB,
    "max_position_embeddings": CONTEXT,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "torch_dtype": "float16",
}


# --- teacher ---------------------------------------------------------------------------------


class Teacher:
    """A llama2.c legacy checkpoint (version 0) with its tokenizer.

    The header is 7 int32: dim, hidden, layers, heads, kv heads, vocab (positive: tied classifier),
    context. Then float32 tensors, each stacked over the layers.
    """

    def __init__(self, folder: Path):
        raw = (folder / "stories260K.bin").read_bytes()
        self.dim, self.hidden, self.layers, self.heads, self.kv_heads, vocab, _ = struct.unpack(
            "7i", raw[:28]
        )
        self.vocab = abs(vocab)
        self.head_dim = self.dim // self.heads
        flat = torch.from_numpy(np.frombuffer(raw, np.float32, offset=28).copy())
        offset = 0

        def take(*shape: int) -> torch.Tensor:
            nonlocal offset
            offset += math.prod(shape)
            return flat[offset - math.prod(shape) : offset].view(shape)

        n, d, kv = self.layers, self.dim, self.kv_heads * self.head_dim
        self.embedding = take(self.vocab, d)
        self.attention_norm = take(n, d)
        self.qkv = torch.cat([take(n, d, d), take(n, kv, d), take(n, kv, d)], 1).contiguous()
        self.out = take(n, d, d)
        self.ffn_norm = take(n, d)
        gate, self.down = take(n, self.hidden, d), take(n, d, self.hidden)
        up = take(n, self.hidden, d)
        self.gate_up = torch.cat([gate, up], 1).contiguous()
        self.final_norm = take(d)
        half = torch.arange(0, self.head_dim, 2) / self.head_dim
        angle = torch.outer(torch.arange(SAMPLE_LENGTH + 1).float(), 10000.0**-half)
        self.cos, self.sin = angle.cos(), angle.sin()
        self.pieces = read_llama2c_tokenizer(folder / "tok512.bin")

    def decode(self, ids: np.ndarray) -> bytes:
        """The bytes of one story (no BOS inside), without the leading space of its first word."""
        return b"".join(self.pieces[i] for i in ids).removeprefix(b" ")

    @torch.inference_mode()
    def surprise(self, ids: torch.Tensor) -> torch.Tensor:
        """(batch, time + 1) int64 ids -> (batch, time) nats of each id after the first."""
        x = self.embedding[ids[:, :-1]]
        time = x.shape[1]

        def norm(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
            return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * gain

        def rotate(x: torch.Tensor) -> torch.Tensor:
            a, b = x[..., 0::2], x[..., 1::2]
            c, s = self.cos[:time, None], self.sin[:time, None]
            return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2)

        for i in range(self.layers):
            y = F.linear(norm(x, self.attention_norm[i]), self.qkv[i])
            y = y.unflatten(-1, (self.heads + 2 * self.kv_heads, self.head_dim))
            q, k, v = y.split([self.heads, self.kv_heads, self.kv_heads], 2)
            q, k, v = (part.transpose(1, 2) for part in (rotate(q), rotate(k), v))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = x + F.linear(mixed.transpose(1, 2).flatten(2), self.out[i])
            gate, up = F.linear(norm(x, self.ffn_norm[i]), self.gate_up[i]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, self.down[i])
        logits = F.linear(norm(x, self.final_norm), self.embedding)
        return surprise(logits, ids[:, 1:])


def surprise(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(batch, time, vocab) logits, (batch, time) ids -> (batch, time) nats."""
    flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return flat.view(targets.shape)


def read_llama2c_tokenizer(path: Path) -> list[bytes]:
    """The bytes each id stands for. File: int32, then (float32 score, int32 size, text) each."""
    raw = path.read_bytes()
    pieces: list[bytes] = []
    offset = 4
    while offset < len(raw):
        (size,) = struct.unpack_from("i", raw, offset + 4)
        piece = raw[offset + 8 : offset + 8 + size]
        if 3 <= len(pieces) <= 258:
            piece = bytes([len(pieces) - 3])  # written <0x0A>
        pieces.append(piece)
        offset += 8 + size
    return pieces


# The sampler keeps the batch as the last axis: every operation of a step then runs over contiguous
# lanes, and one compiled loop serves all heads. Attention is unrolled over the 8 head dimensions.


def _norm_columns(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(0, keepdim=True) + 1e-5) * gain[:, None]


def _project(
    x: torch.Tensor,
    gain: torch.Tensor,
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    heads: int,
    kv_heads: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(dim, batch) -> rotated q (heads, hd, batch) and k, and v (kv heads, hd, batch)."""
    y = qkv @ _norm_columns(x, gain)
    hd = qkv.shape[0] // (heads + 2 * kv_heads)
    y = y.view(heads + 2 * kv_heads, hd, -1)
    pairs = y[: heads + kv_heads].unflatten(1, (hd // 2, 2))  # llama2.c rotates neighbours
    a, b = pairs[:, :, 0], pairs[:, :, 1]
    c, s = cos[None, :, None], sin[None, :, None]
    rotated = torch.stack([a * c - b * s, a * s + b * c], 2).flatten(1, 2)
    return rotated[:heads], rotated[heads:], y[heads + kv_heads :]


def _attend(
    x: torch.Tensor,
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    out: torch.Tensor,
    gain: torch.Tensor,
    gate_up: torch.Tensor,
    down: torch.Tensor,
) -> torch.Tensor:
    """The rest of a layer. keys, values: (time, kv heads, hd, batch); mask: (time,) 0 or -1e9."""
    kv_heads, hd = keys.shape[1:3]
    q = q.unflatten(0, (kv_heads, -1))
    scores = mask[:, None, None, None]
    for d in range(hd):
        scores = scores + q[None, :, :, d] * (keys[:, :, None, d] * hd**-0.5)
    weights = scores.exp()  # this teacher's scores are small: no overflow without the maximum
    total = weights.sum(0)
    mixed = [(weights * values[:, :, None, d]).sum(0) / total for d in range(hd)]
    x = x + out @ torch.stack(mixed, 2).view(-1, x.shape[1])
    gate, up = (gate_up @ _norm_columns(x, gain)).chunk(2)
    return x + down @ (F.silu(gate) * up)


def _draw(
    x: torch.Tensor, gain: torch.Tensor, embedding: torch.Tensor, uniform: torch.Tensor
) -> torch.Tensor:
    """One id a column from the full distribution at temperature 1, by an exponential race."""
    logits = embedding @ _norm_columns(x, gain)
    weights = (logits - logits.max(0, keepdim=True).values).exp()
    return (weights / -uniform.log()).argmax(0)


class Sampler:
    """Draws BATCH sequences at a time from the teacher, from BOS, with a key-value cache."""

    def __init__(self, teacher: Teacher, compiled: bool = True):
        self.teacher = teacher
        shape = (teacher.layers, SAMPLE_LENGTH, teacher.kv_heads, teacher.head_dim, BATCH)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
        self.steps: list[Callable[..., Any]] = [_project, _attend, _draw]
        if compiled:
            torch._dynamo.config.recompile_limit = 64
            self.steps = [torch.compile(step, dynamic=False) for step in self.steps]

    @torch.inference_mode()
    def batch(self, generator: torch.Generator) -> np.ndarray:
        """(BATCH, 1 + SAMPLE_LENGTH) uint16, BOS first."""
        t, (project, attend, draw) = self.teacher, self.steps
        ids = torch.full((BATCH,), BOS)
        history = [ids]
        for position in range(SAMPLE_LENGTH):
            reach = (position // 32 + 1) * 32  # few distinct cache lengths, few compilations
            mask = torch.where(torch.arange(reach) <= position, 0.0, -1e9)
            x = t.embedding[ids].T.contiguous()
            for i in range(t.layers):
                q, k, v = project(
                    x, t.attention_norm[i], t.qkv[i], t.cos[position], t.sin[position],
                    t.heads, t.kv_heads,
                )  # fmt: skip
                self.keys[i, position], self.values[i, position] = k, v
                x = attend(
                    x, q, self.keys[i, :reach], self.values[i, :reach], mask,
                    t.out[i], t.ffn_norm[i], t.gate_up[i], t.down[i],
                )  # fmt: skip
            uniform = torch.rand(t.vocab, BATCH, generator=generator)
            ids = draw(x, t.final_norm, t.embedding, uniform)
            history.append(ids)
        return torch.stack(history, 1).numpy().astype(np.uint16)


def shard_path(work: Path, index: int) -> Path:
    """Shard 0 is held out for `evaluate`; training starts at shard 1."""
    return work / "shards" / f"teacher-{index:04d}.npy"


def save_array(path: Path, array: np.ndarray) -> None:
    """np.save to a temporary name, then rename."""

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # given a path, np.save would append .npy to it
            np.save(file, array)

    save_atomically(path, write)


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


# --- text and tokenizer ----------------------------------------------------------------------


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


def train_tokenizer(stories: list[str]) -> Tokenizer:
    """A 512-piece BPE tokenizer of the SentencePiece kind, as Llama 2 has it.

    Ids: 0 <unk>, 1 <s>, 2 </s>, 3..258 the bytes, then characters and merges. A space becomes the
    mark \u2581, which only ever begins a piece: the trainer sees one word at a time, so no merge
    crosses a word's start and plain BPE over a whole text gives what BPE of each word gives.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

    mark = "\u2581"
    words: Counter[str] = Counter()
    for story in stories:
        for line_number, line in enumerate(story.split("\n")):  # newline stays a byte token
            first, *rest = line.split(" ")
            words[first if line_number else mark + first] += 1
            words.update(mark + word for word in rest)
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    floor = sum(characters.values()) * 1e-5  # rarer characters cost less as bytes than as ids
    alphabet = {c for c, n in characters.items() if n >= floor}
    known = (w for w, n in words.items() if set(w) <= alphabet for _ in range(n))
    bare = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=VOCAB - 259, show_progress=False)
    bare.train_from_iterator(known, trainer)
    learned = json.loads(bare.to_str())["model"]
    reserved = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    ordered = sorted(learned["vocab"], key=lambda piece: learned["vocab"][piece])
    vocab = {piece: i for i, piece in enumerate([*reserved, *ordered])}
    merges: list[tuple[str, str]] = [(left, right) for left, right in learned["merges"]]
    tokenizer = Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.add_special_tokens(reserved[:3])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(mark), normalizers.Replace(" ", mark)]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(mark, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)]
    )
    return tokenizer


def load_tokenizer(args: argparse.Namespace) -> Tokenizer:
    """The saved tokenizer of the output folder."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(args.out / "tokenizer.json"))


def stage_tokenizer(args: argparse.Namespace) -> None:
    """Train on the first training shard, check it on stories, save tokenizer.json."""
    path = args.out / "tokenizer.json"
    if path.exists():
        print(f"{path.name} exists: kept")
        return
    teacher = Teacher(args.teacher)
    sequences = (stories_of(ids, teacher) for ids in np.load(shard_path(args.work, 1)))
    stories = [story for found in sequences if found for story in found if story]
    tokenizer = train_tokenizer(stories)
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
        rows = encode_rows(np.load(path), Teacher(args.teacher), load_tokenizer(args))
        save_array(kept, rows)
    return cast(np.ndarray, np.load(kept))


# --- model -----------------------------------------------------------------------------------


class Layer(torch.nn.Module):
    """One Llama layer, its query, key and value and its gate and up matrices each in one."""

    def __init__(self, c: dict[str, Any]):
        super().__init__()
        d, hidden = c["hidden_size"], c["intermediate_size"]
        heads = c["num_attention_heads"] + 2 * c["num_key_value_heads"]

        def matrix(rows: int, columns: int, scale: float = 1.0) -> torch.nn.Parameter:
            return torch.nn.Parameter(torch.randn(rows, columns) * scale * columns**-0.5)

        depth = (2 * c["num_hidden_layers"]) ** -0.5  # keeps the residual's variance at one
        self.attention_norm = torch.nn.Parameter(torch.ones(d))
        self.qkv = matrix(heads * c["head_dim"], d)
        self.out = matrix(d, c["num_attention_heads"] * c["head_dim"], depth)
        self.ffn_norm = torch.nn.Parameter(torch.ones(d))
        self.gate_up = matrix(2 * hidden, d)
        self.down = matrix(d, hidden, depth)


class Model(torch.nn.Module):
    """A Llama decoder with tied embedding, rotary positions in Hugging Face's half-split order.

    mixed=True multiplies matrices in bfloat16 and keeps the residual, norms, softmax and loss in
    float32: 1.6 times as fast, compiled, on the CPUs that trained models/stories.
    """

    cos: torch.Tensor
    sin: torch.Tensor
    mask: torch.Tensor

    def __init__(self, config: dict[str, Any], mixed: bool = False):
        super().__init__()
        self.config, self.mixed = config, mixed
        self.embedding = torch.nn.Parameter(
            torch.randn(config["vocab_size"], config["hidden_size"]) * 0.05
        )
        self.layers = torch.nn.ModuleList(
            [Layer(config) for _ in range(config["num_hidden_layers"])]
        )
        self.final_norm = torch.nn.Parameter(torch.ones(config["hidden_size"]))
        hd, context = config["head_dim"], config["max_position_embeddings"]
        angle = torch.outer(
            torch.arange(context).float(), config["rope_theta"] ** -(torch.arange(0, hd, 2) / hd)
        )
        angle = torch.cat([angle, angle], 1)[:, None]
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        mask = torch.full((context, context), -1e9).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def stack(self) -> list[Layer]:
        """The layers, first to last."""
        return [cast(Layer, layer) for layer in self.layers]

    def _norm(self, x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * gain

    def _cast(self, x: torch.Tensor) -> torch.Tensor:
        return x.bfloat16() if self.mixed else x

    def _linear(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.linear(self._cast(x), self._cast(weight)).float()

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * self.cos[: x.shape[1]] + turned * self.sin[: x.shape[1]]

    def _attention(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """(batch, time, heads, hd) each. By blocks of queries: keys after a block never count.

        On CPUs four blocks of plain matrix products in bfloat16 beat the fused kernel.
        """
        batch, time, heads, hd = q.shape
        kv_heads = k.shape[2]
        group = heads // kv_heads
        q = self._cast(q.transpose(1, 2) * hd**-0.5)
        k = self._cast(k.transpose(1, 2)).reshape(batch * kv_heads, time, hd)
        v = self._cast(v.transpose(1, 2)).reshape(batch * kv_heads, time, hd)
        size = -(-time // 4)
        blocks = []
        for start in range(0, time, size):
            end = min(start + size, time)
            rows = end - start
            block = q[:, :, start:end].reshape(batch * kv_heads, group * rows, hd)
            scores = torch.bmm(block, k[:, :end].transpose(1, 2)).float()
            scores = scores.view(batch, kv_heads, group, rows, end) + self.mask[start:end, :end]
            weights = self._cast(scores.softmax(-1)).view(batch * kv_heads, group * rows, end)
            blocks.append(torch.bmm(weights, v[:, :end]).view(batch, heads, rows, hd))
        return torch.cat(blocks, 2).float().transpose(1, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(batch, time) int64 ids -> (batch, time, vocab) float32 logits."""
        c = self.config
        heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        x = F.embedding(ids, self.embedding)
        for layer in self.stack():
            y = self._linear(self._norm(x, layer.attention_norm), layer.qkv)
            y = y.unflatten(-1, (heads + 2 * kv_heads, c["head_dim"]))
            q, k, v = y.split([heads, kv_heads, kv_heads], 2)
            mixed = self._attention(self._rotate(q), self._rotate(k), v)
            x = x + self._linear(mixed.flatten(2), layer.out)
            y = self._linear(self._norm(x, layer.ffn_norm), layer.gate_up)
            gate, up = y.chunk(2, -1)
            x = x + self._linear(F.silu(gate) * up, layer.down)
        return self._linear(self._norm(x, self.final_norm), self.embedding)

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        """Mean nats a token over (batch, time + 1) ids; padding (id 0) does not count."""
        logits = self(rows[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=0)


# --- training --------------------------------------------------------------------------------


class Rows:
    """The training rows in order, shard after shard, from 1 again when no further shard is there.

    With several processes each takes every n-th row; the first decides which shard is next, as
    another process may see a shard that has only just arrived.
    """

    def __init__(self, args: argparse.Namespace, rank: int, world: int, shard: int, row: int):
        self.args, self.rank, self.world = args, rank, world
        self.shard, self.row = shard, row
        self.rows = training_rows(args, shard)

    def take(self, count: int) -> torch.Tensor:
        """The next (count / world, 257) int64 ids of this process."""
        if self.row + count > len(self.rows):
            there = shard_path(self.args.work, self.shard + 1).exists()
            following = torch.tensor(self.shard + 1 if there else 1)
            if self.world > 1:
                torch.distributed.broadcast(following, 0)
            self.shard, self.row = int(following), 0
            self.rows = training_rows(self.args, self.shard)
        part = self.rows[self.row + self.rank : self.row + count : self.world]
        self.row += count
        return torch.from_numpy(part.astype(np.int64))


def make_optimizer(model: Model) -> torch.optim.Optimizer:
    """AdamW, with weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.98), fused=True)


def learning_rate(args: argparse.Namespace, step: int, progress: float) -> float:
    """Warm-up over 200 steps, then constant, then linear to zero over the run's last part."""
    return args.lr * min(1.0, (step + 1) / 200, (1 - progress) / args.decay)


def stage_train(args: argparse.Namespace) -> None:
    """Train for args.minutes of wall time in all, over restarts; torchrun starts two processes."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        torch.distributed.init_process_group("gloo")
    torch.manual_seed(args.seed)
    model = Model(CONFIG, mixed=True)
    optimizer = make_optimizer(model)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "tokens": 0, "shard": 1, "row": 0}
    checkpoint = args.work / f"{args.run}.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
        print(f"resumed {state}", flush=True)
    loss_of = torch.compile(model.loss, dynamic=False) if args.compile else model.loss
    rows = Rows(args, rank, world, state["shard"], state["row"])
    parameters = list(model.parameters())
    held_out = torch.from_numpy(training_rows(args, 0)[:128].astype(np.int64))

    def save() -> None:
        if rank == 0:
            everything = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "state": state,
            }
            save_atomically(checkpoint, lambda p: torch.save(everything, p))

    def progress() -> float:
        by_time = torch.tensor(state["seconds"] / (args.minutes * 60))
        if world > 1:
            torch.distributed.broadcast(by_time, 0)  # all processes stop at the same step
        return max(float(by_time), state["step"] / args.steps if args.steps else 0.0)

    losses: list[float] = []
    before = last_save = last_log = time.time()
    while (done := progress()) < 1:
        rate = learning_rate(args, state["step"], done)
        batch = rows.take(args.batch)
        loss = loss_of(batch)
        loss.backward()
        if world > 1:
            gradients = [p.grad for p in parameters if p.grad is not None]
            flat = torch.cat([g.flatten() for g in gradients]) / world
            torch.distributed.all_reduce(flat)  # one message: 248,512 floats
            parts = flat.split([g.numel() for g in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        now = time.time()
        state["step"] += 1
        state["tokens"] += args.batch * CONTEXT
        state["seconds"] += now - before if len(losses) > 1 else 0  # the first step compiles
        state["shard"], state["row"] = rows.shard, rows.row
        before = now
        if state["step"] % 100 == 0 and rank == 0:
            speed = 100 * args.batch * CONTEXT / (now - last_log)
            print(
                f"step {state['step']} shard {rows.shard} lr {rate:.2e} "
                f"loss {np.mean(losses[-100:]):.4f} {speed:.0f} tokens/s {done:.1%}",
                flush=True,
            )
            last_log = now
        if now - last_save > 120:
            save()
            last_save = now
    save()
    with torch.inference_mode():
        print(f"end {state}, held-out {model.loss(held_out).item():.4f} nats a token", flush=True)
    if world > 1:
        torch.distributed.destroy_process_group()


# --- export and evaluation -------------------------------------------------------------------


def to_tensors(model: Model) -> dict[str, np.ndarray]:
    """Float16 arrays under Hugging Face's Llama names; the classifier is the embedding."""
    c = model.config
    q, kv = (c[k] * c["head_dim"] for k in ("num_attention_heads", "num_key_value_heads"))
    named: dict[str, torch.Tensor] = {
        "model.embed_tokens.weight": model.embedding,
        "model.norm.weight": model.final_norm,
    }
    for i, layer in enumerate(model.stack()):
        gate, up = layer.gate_up.chunk(2)
        parts: dict[str, torch.Tensor] = {
            "input_layernorm": layer.attention_norm,
            "self_attn.q_proj": layer.qkv[:q],
            "self_attn.k_proj": layer.qkv[q : q + kv],
            "self_attn.v_proj": layer.qkv[q + kv :],
            "self_attn.o_proj": layer.out,
            "post_attention_layernorm": layer.ffn_norm,
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": layer.down,
        }
        named |= {f"model.layers.{i}.{name}.weight": part for name, part in parts.items()}
    return {name: part.detach().half().contiguous().numpy() for name, part in named.items()}


def from_tensors(tensors: dict[str, np.ndarray], config: dict[str, Any]) -> Model:
    """The inverse of to_tensors: a float32 model with the float16 weights."""
    model = Model(config)

    def get(*names: str) -> torch.Tensor:
        return torch.cat([torch.from_numpy(tensors[f"{n}.weight"]).float() for n in names])

    state = {"embedding": get("model.embed_tokens"), "final_norm": get("model.norm")}
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        attention, mlp = at + "self_attn.", at + "mlp."
        state |= {
            f"layers.{i}.attention_norm": get(at + "input_layernorm"),
            f"layers.{i}.qkv": get(*(f"{attention}{x}_proj" for x in "qkv")),
            f"layers.{i}.out": get(attention + "o_proj"),
            f"layers.{i}.ffn_norm": get(at + "post_attention_layernorm"),
            f"layers.{i}.gate_up": get(mlp + "gate_proj", mlp + "up_proj"),
            f"layers.{i}.down": get(mlp + "down_proj"),
        }
    model.load_state_dict(state)
    return model


def load_exported(folder: Path) -> Model:
    """The model of an exported folder, float16 weights in float32."""
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    return from_tensors(load_file(folder / "model.safetensors"), config)


def stage_export(args: argparse.Namespace) -> None:
    """Write model.safetensors and the two configuration files of the newest checkpoint."""
    from safetensors.numpy import save_file

    saved = torch.load(args.work / f"{args.run}.pt")
    model = Model(CONFIG)
    model.load_state_dict(saved["model"])
    tensors = to_tensors(model)
    count = sum(t.size for t in tensors.values())
    assert count <= 261_000 and all(np.isfinite(t).all() for t in tensors.values())
    save_atomically(
        args.out / "model.safetensors", lambda p: save_file(tensors, p, metadata={"format": "pt"})
    )
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
    }
    for name, content in {"config": CONFIG, "tokenizer_config": tokenizer_config}.items():
        text = json.dumps(content, indent=2) + "\n"
        save_atomically(args.out / f"{name}.json", functools.partial(Path.write_text, data=text))
    print(f"exported {count} parameters, {saved['state']}")


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


def padded(rows: list[Any], width: int) -> torch.Tensor:
    """Lists of ids -> (rows, width) int64, zeros after the end."""
    out = torch.zeros(len(rows), width, dtype=torch.long)
    for line, ids in zip(out, rows, strict=True):
        line[: len(ids)] = torch.as_tensor(np.asarray(ids, np.int64))
    return out


@torch.inference_mode()
def stage_evaluate(args: argparse.Namespace) -> None:
    """Nats per byte of the exported model and of its teacher on the same held-out text."""
    teacher, tokenizer = Teacher(args.teacher), load_tokenizer(args)
    model = load_exported(args.out)
    sequences = np.load(shard_path(args.work, 0))[: args.held_out]
    texts = [text for ids in sequences if (text := same_text(ids, teacher, tokenizer))]
    size = sum(count for *_, count in texts)
    teacher_rows = padded([ids for ids, _, _ in texts], SAMPLE_LENGTH + 1)
    student_rows = padded([ids for _, ids, _ in texts], CONTEXT + 1)
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

STAGES = {
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
