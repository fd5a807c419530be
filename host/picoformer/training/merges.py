"""Tokenizers of merges of bytes or characters: translators' and story writers'."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("<pad>", "</s>", "<unk>")  # ids 0 to 2; a translator's decoder starts with <pad>
END, UNK = 1, 2
SPACE = "\u2581"  # a word's beginning
MERGE_DROPOUT = 0.1  # of the merges of a word in training
VARIANTS = 12  # of each word, with as many pieces as left-out merges make of it


def learn_tokenizer(texts: list[str], size: int, characters: Sequence[str]) -> Tokenizer:
    """Byte-pair merges within words; punctuation merges with its space only.

    characters: that are known, besides the mark of a word's beginning.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    words = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    marks = pre_tokenizers.Split(Regex(SPACE + r'?[.,!?:;"«»()$&]'), "isolated")
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, marks])
    alphabet = [SPACE, *characters]
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


class Splitter:
    """Splits words as the tokenizer does, or with some merges left out: another text each time.

    Of every word a few such splits are made when it is first seen, in an order of its own, so
    that what a seed gives does not depend on where training went on.
    """

    def __init__(self, tokenizer_json: str, positions: int) -> None:
        self.positions = positions
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
        return [*ids[: self.positions - 2], END]


def train_tokenizer(stories: Iterable[str], size: int) -> Tokenizer:
    """A BPE tokenizer of the SentencePiece kind, as Llama 2 has it.

    Ids: 0 <unk>, 1 <s>, 2 </s>, 3..258 the bytes, then characters and merges. A space becomes the
    mark \u2581, which only ever begins a piece: the trainer sees one word at a time, so no merge
    crosses a word's start and plain BPE over a whole text gives what BPE of each word gives.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

    mark = SPACE
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
    trainer = trainers.BpeTrainer(vocab_size=size - 259, show_progress=False)
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
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer
