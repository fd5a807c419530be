"""A model file's tokenizer section becomes a tokenizer."""

from . import regions
from .errors import Error


def reader_of(kind):
    """The class that reads tokenizer sections of a type, None if this version knows none."""
    if kind == 1:
        from .tokenizer_bytepair import BytePair as reader
    elif kind == 2:
        from .tokenizer_wordpiece import WordPiece as reader
    elif kind == 3:
        from .tokenizer_bytelevel import ByteLevel as reader
    elif kind == 4:
        from .tokenizer_unigram import Unigram as reader
    elif kind == 5:
        from .tokenizer_pieces import Pieces as reader
    else:
        reader = None
    return reader


def tokenizer(section):
    """What encodes and decodes by a tokenizer section (bytes-like), which is kept, not copied.

    A section that breaks docs/tokenizer.md raises Error here, and nothing later does.
    """
    if len(section) < 40:
        raise Error("tokenizer: %d bytes, the header alone has 40" % len(section))
    kind = int.from_bytes(section[:4], "little")
    reader = reader_of(kind)
    if not reader:
        raise Error("tokenizer: type %d, this version reads types 1 to 5" % kind)
    return reader(section)


def kind_of(f, section):
    """What `reader_of` gives for a section of a file."""
    f.seek(section[0])
    return reader_of(int.from_bytes(f.read(4), "little"))


def read(f, section, vocab, into=None):
    """The tokenizer of a section of a file, which is to have `vocab` tokens. Raises Error.

    into: where the section is to lie, if it has a place already.
    """
    tokens = into if into is not None else bytearray(section[1])
    regions.read(f, section, "tokenizer", tokens)
    made = tokenizer(tokens)
    regions.forget("check_added")
    if made.vocab_size != vocab:
        raise Error(
            "model file is corrupt: tokenizer of %d tokens, model of %d" % (made.vocab_size, vocab)
        )
    return made
