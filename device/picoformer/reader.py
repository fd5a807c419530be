"""A model file's tokenizer section becomes a tokenizer."""

from . import regions
from .errors import Error

# One text: each name that is imported by itself would stay in a board's memory.
_READERS = "BytePair WordPiece ByteLevel Unigram Pieces"


def reader_of(kind):
    """The class that reads tokenizer sections of a type, None if this version knows none."""
    if not 0 < kind < 6:
        return None
    name = _READERS.split()[kind - 1]
    module = __import__("tokenizer_" + name.lower(), globals(), None, (name,), 1)
    return getattr(module, name)


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
