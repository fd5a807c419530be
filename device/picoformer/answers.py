"""The answer to a question as a part of a text, from logits of where it starts and ends."""

from .errors import Error

LONGEST = 30  # tokens of an answer


def answer(tokenizer, run, positions, context, question):
    """The part of `context` that answers; "" where the text has no words.

    run(ids, types) gives the logits of a start and those of an end, one of each a token.
    positions: tokens that the model takes; what of the context is too much is cut off.
    """
    asked = tokenizer.encode(question)
    room = positions - len(tokenizer.wrap(asked, []))
    if room < 1:
        raise Error("the question has %d tokens: too long" % len(asked))
    # Words are encoded one by one, so that a token's place in the text is known.
    words = context.split()
    ids = []
    owner = []
    for w in range(len(words)):
        for t in tokenizer.encode(words[w]):
            ids.append(t)
            owner.append(w)
    ids = ids[:room]
    if not ids:
        return ""
    types = tokenizer.types(asked, ids)
    first = types.index(1) if 1 in types else len(types)
    # A model's table of types has two; the tokenizer of a file may have others.
    if first + len(ids) > len(types) or max(types) > 1:
        raise Error("this model's tokenizer does not tell a question from a text")
    starts, ends = run(tokenizer.wrap(asked, ids), types)
    best = None
    begin = end = 0
    for i in range(len(ids)):
        for j in range(i, min(i + LONGEST, len(ids))):
            score = starts[first + i] + ends[first + j]
            if best is None or score > best:
                best = score
                begin = i
                end = j
    a = owner[begin]
    b = owner[end]
    # A word may begin or end with what does not belong to the answer, as a full stop does, but
    # letters and digits in a row are answered whole.
    head = _part(tokenizer, words[a], begin - owner.index(a))
    while _within(words[a], head):
        head -= 1
    tail = _part(tokenizer, words[b], end + 1 - owner.index(b))
    while _within(words[b], tail):
        tail += 1
    words[b] = words[b][:tail]
    words[a] = words[a][head:]
    return " ".join(words[a : b + 1])


def _within(word, k):
    """Whether letters or digits stand on both sides of character k."""
    for c in word[max(k, 1) - 1 : k + 1]:
        if c < "\x80" and not (c.isalpha() or c.isdigit()):
            return False
    return 0 < k < len(word)


def _part(tokenizer, word, n):
    """Characters of a word that give its first n tokens; all of them if none do."""
    ids = tokenizer.encode(word)[:n]
    for k in range(len(word)):
        if tokenizer.encode(word[:k]) == ids:
            return k
    return len(word)
