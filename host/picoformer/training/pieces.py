"""WordPiece tokenizers in lower case, as BERT has them: the classifiers' and the answerer's."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")  # ids 0 to 3
PAD, UNK, CLS, SEP = range(4)
NAMED = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))


def make_tokenizer(pieces: list[str]) -> Tokenizer:
    """A tokenizer of these pieces: [CLS], the pieces, [SEP]."""
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


def learn_pieces(texts: list[str], size: int) -> list[str]:
    """WordPieces of the texts, with all letters, digits and common marks."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    base = [*letters, *("##" + c for c in letters), *".,!?'\"-:;&()$%"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocab = tokenizer.get_vocab()
    learned = sorted(set(vocab) - set(SPECIAL) - set(base), key=lambda p: vocab[p])
    return [*base, *learned][: size - len(SPECIAL)]


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
