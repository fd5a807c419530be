"""Parts of a text: the one that answers a question, and labels of the words."""

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


def tag(tokenizer, run, positions, text):
    """[(i, results)] of words i of a text: what run(ids) gives for each one's first token.

    run(ids) gives the results of each token. positions: tokens that the model takes; words that
    are too much, or have no tokens, are left out.
    """
    room = positions - len(tokenizer.wrap([]))
    front = tokenizer.wrap([-1]).index(-1)
    places = []
    ids = []
    words = text.split()
    for i in range(len(words)):
        # Behind another one a word has a space in front, which some tokenizers see.
        more = tokenizer.encode(" " + words[i] if ids else words[i])
        if more and len(ids) < room:
            places.append((i, front + len(ids)))
            ids += more
    if not ids:
        raise Error("the text has no tokens")
    results = run(tokenizer.wrap(ids[:room]))
    return [(i, results[at]) for i, at in places]


def named(text, labels, tags):
    """[(word, label, logit)] of `tags` of a text: the likeliest label of each word."""
    words = text.split()
    found = []
    for i, logits in tags:
        best = max(range(len(labels)), key=lambda k: logits[k])
        found.append((words[i], labels[best], int(logits[best])))
    return found


def answer_of(model, context, question):
    """What `answer` finds with the model of a board."""
    def run(ids, types):
        each = _each(model, ids, types)
        return [r[0] for r in each], [r[1] for r in each]

    return answer(model.tokenizer, run, model.context, context, question)


def tags_of(model, text):
    """What `tag` finds with the model of a board."""
    return tag(model.tokenizer, lambda ids: _each(model, ids), model.context, text)


def _each(model, ids, types=None):
    """The results of each position, array('i')."""
    model._sweep(ids, types)
    at = range(model._logits, model._logits + len(ids) * model._stride, model._stride)
    return [model._arena[i : i + model.outputs] for i in at]


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
