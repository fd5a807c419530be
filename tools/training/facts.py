r"""Train the small question answerer of models/facts on facts that this file makes up.

Stages, each picking up where it stopped: `prepare` learns the vocabulary from generated text,
`train` fits the model to generated questions, `export` writes the folder, `evaluate` scores it on
held-out facts (or, with `--part validation`, where choices are made); `all` runs them in this
order, `show` prints a few examples, `heldout` writes a part for `picoformer eval --data`. The
exact commands of the shipped model:

    python3 -m venv .venv
    .venv/bin/pip install -e '.[train]' transformers
    .venv/bin/python -m tools.training.facts prepare
    .venv/bin/python -m tools.training.facts train
    .venv/bin/python -m tools.training.facts train --start small --run longer --steps 3000 \
        --rate 8e-4 --seed 2
    .venv/bin/python -m tools.training.facts export --run longer
    .venv/bin/python -m tools.training.facts evaluate

A context is a few sentences, each a fact of one of the RELATIONS between people, places, things
and numbers; a question asks for one member of one fact and its answer is a span of the context.
A hash of a fact decides its part: nothing in a training context is a fact of the other two parts.
The names and nouns after the bar in POOLS are in no training text at all. No data is needed and
nothing is downloaded.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import torch.nn.functional as F

from tools.training.fitting import (
    Stages,
    add_options,
    fit,
    load_exported,
    new_model,
    round_rows,
    run_stages,
    save_atomically,
    trained,
    write_folder,
)
from tools.training.text import PAD, SPECIAL, load_tokenizer, make_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
POSITIONS = 64
LONGEST = 6  # tokens of an answer
BATCH = 32
CONFIG: dict[str, Any] = {
    "architectures": ["BertForQuestionAnswering"],
    "model_type": "bert",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "max_position_embeddings": POSITIONS,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.05,
    "pad_token_id": PAD,
    "torch_dtype": "float16",
}

# --- facts -----------------------------------------------------------------------------------

# Words that fill a slot; after the bar those that no training text has.
POOLS = {
    "woman": "Anna Emma Julia Laura Maria Sophie Clara Nora Alice Eva Lena Mia Rosa Sara Tina "
    "Vera Ida Olga Paula Greta Helen Irene Jane Kate Lucy Molly Nina Ruth Susan Wendy "
    "| Bianca Doris Fiona Zoe Margot",
    "man": "Ben Carl David Erik Frank George Hugo Ivan Jack Karl Leo Max Noah Oscar Paul Peter "
    "Robert Simon Thomas Victor Walter Adam Bruno Daniel Felix Henry Jonas Lukas Martin Oliver "
    "| Arthur Cedric Gustav Quentin Ralph",
    "city": "Lyon Paris Berlin Madrid Rome Vienna Prague Oslo Dublin Lisbon Warsaw Athens Zurich "
    "Geneva Milan Turin Naples Porto Ghent Bruges Hamburg Munich Bremen Leeds York London Boston "
    "Chicago Denver Toronto Cairo Delhi Tokyo Sydney Lima Bergen Malmo Riga Sofia Nice "
    "| Bordeaux Cologne Glasgow Helsinki Seville",
    "thing": "box book key ball cup bag lamp bottle phone coin pen hat map shoe ring plate knife "
    "spoon clock radio camera basket candle brush umbrella letter wallet towel mirror glove "
    "| kettle puzzle helmet torch whistle",
    "place": "table chair bed sofa desk shelf door window cupboard stairs piano fridge carpet "
    "oven bench tree drawer fireplace wardrobe sink | bookcase hedge stove",
    "food": "pizza soup cheese bread rice apples pears grapes fish chicken salad pasta cake "
    "chocolate honey carrots beans olives mushrooms eggs | lentils noodles plums",
    "animals": "dogs cats horses rabbits birds sheep goats ducks hens cows pigs mice turtles "
    "snakes parrots bees | donkeys ferrets geese",
    "job": "baker teacher doctor nurse farmer painter driver lawyer cook singer dentist writer "
    "pilot plumber tailor waiter judge gardener builder dancer | barber miner sailor",
    "owned": "car house coat bike boat dress door umbrella sofa hat tent kitchen scarf | van sled",
    "colour": "red blue green yellow black white brown grey pink purple orange silver",
    "language": "French German Spanish Italian Polish Dutch Greek Danish Turkish Russian Arabic "
    "Hindi Chinese Japanese Swedish Czech | Finnish Welsh Korean",
    "vehicle": "train car bus plane boat bike ship taxi tram | coach ferry",
    "event": "meeting concert film party lesson match dinner show game class race talk "
    "| auction lecture wedding",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "room": "kitchen bathroom bedroom garage cellar office hall garden attic library "
    "| greenhouse nursery pantry",
    "small": "two three four five six seven eight nine ten eleven twelve",
    "preposition": "under|on|behind|near|beside|above|in front of|next to",
}  # fmt: skip


def split_pools() -> dict[str, tuple[list[str], list[str]]]:
    """Each pool's words that training may use and those that it may not."""
    found = {}
    for name, text in POOLS.items():
        if name == "preposition":
            found[name] = (text.split("|"), list[str]())
        else:
            seen, _, unseen = text.partition("|")
            found[name] = (seen.split(), unseen.split())
    return found


WORDS = split_pools()


@dataclass(frozen=True)
class Relation:
    """A kind of fact: what fills its slots, how it is said, what can be asked."""

    slots: dict[str, str]  # name to kind; `p` is a person whom a pronoun may replace
    says: tuple[str, ...]
    asks: tuple[tuple[str, str], ...]  # the slot that answers, the question


RELATIONS = {
    "home": Relation(
        {"p": "person", "c": "city"},
        ("{p} lives in {c}.", "{p}'s home is in {c}.", "{p} has a flat in {c}.",
         "{p} moved to {c}."),
        (("c", "Where does {p} live?"), ("c", "In which city does {p} live?"),
         ("c", "Where is {p}'s home?"), ("p", "Who lives in {c}?"),
         ("p", "Whose home is in {c}?")),
    ),
    "animals": Relation(
        {"p": "person", "n": "small", "a": "animals"},
        ("{p} has {n} {a}.", "{p} keeps {n} {a}.", "{p} owns {n} {a}."),
        (("n", "How many {a} does {p} have?"), ("n", "How many {a} does {p} keep?"),
         ("a", "Which animals does {p} have?"), ("a", "What animals does {p} own?"),
         ("p", "Who has {n} {a}?"), ("p", "Who keeps {a}?")),
    ),
    "where": Relation(
        {"o": "object", "w": "spot"},
        ("The {o} is {w}.", "The {o} lies {w}.", "You find the {o} {w}.", "{W} is the {o}."),
        (("w", "Where is the {o}?"), ("w", "Where can I find the {o}?"),
         ("o", "What is {w}?"), ("o", "What lies {w}?")),
    ),
    "colour": Relation(
        {"p": "person", "o": "owned", "c": "colour"},
        ("{p}'s {o} is {c}.", "{p} painted the {o} {c}.", "{p} bought a {c} {o}.",
         "{p} has a {c} {o}."),
        (("c", "What colour is {p}'s {o}?"), ("c", "Which colour has {p}'s {o}?"),
         ("p", "Whose {o} is {c}?"), ("p", "Who has a {c} {o}?"), ("o", "What of {p}'s is {c}?")),
    ),
    "job": Relation(
        {"p": "person", "j": "job"},
        ("{p} is a {j}.", "{p} works as a {j}.", "{p}'s job is {j}.", "{p} became a {j}."),
        (("j", "What is {p}'s job?"), ("j", "What does {p} do?"), ("j", "What does {p} work as?"),
         ("p", "Who is a {j}?"), ("p", "Who works as a {j}?")),
    ),
    "age": Relation(
        {"p": "person", "n": "years"},
        ("{p} is {n} years old.", "{p} turned {n} today.", "{p}'s age is {n}."),
        (("n", "How old is {p}?"), ("n", "What is {p}'s age?"), ("p", "Who is {n} years old?"),
         ("p", "Who is {n}?")),
    ),
    "food": Relation(
        {"p": "person", "f": "food"},
        ("{p} likes {f}.", "{p} loves {f}.", "{p} eats {f} every day.",
         "{p}'s favourite food is {f}."),
        (("f", "What does {p} like?"), ("f", "What does {p} eat?"),
         ("f", "What is {p}'s favourite food?"), ("p", "Who likes {f}?"), ("p", "Who eats {f}?")),
    ),
    "language": Relation(
        {"p": "person", "l": "language"},
        ("{p} speaks {l}.", "{p} learns {l}.", "{p} studies {l} at school."),
        (("l", "Which language does {p} speak?"), ("l", "What does {p} speak?"),
         ("l", "Which language does {p} learn?"), ("p", "Who speaks {l}?"),
         ("p", "Who learns {l}?")),
    ),
    "journey": Relation(
        {"p": "person", "c": "city", "v": "vehicle"},
        ("{p} went to {c} by {v}.", "{p} took the {v} to {c}.", "{p} travels to {c} by {v}."),
        (("v", "How did {p} go to {c}?"), ("v", "How did {p} travel?"),
         ("c", "Where did {p} go?"), ("c", "Where did {p} go by {v}?"), ("p", "Who went to {c}?"),
         ("p", "Who took the {v}?"), ("p", "Who went to {c} by {v}?")),
    ),
    "gift": Relation(
        {"p": "person", "q": "person", "o": "thing"},
        ("{p} gave {q} a {o}.", "{p} gave a {o} to {q}.", "{p} sent {q} a {o}."),
        (("o", "What did {p} give {q}?"), ("o", "What did {p} give to {q}?"),
         ("p", "Who gave {q} a {o}?"), ("p", "Who gave a {o} to {q}?"),
         ("q", "Who got a {o} from {p}?"), ("q", "To whom did {p} give a {o}?")),
    ),
    "price": Relation(
        {"o": "object", "n": "euros"},
        ("The {o} costs {n}.", "The price of the {o} is {n}.", "You pay {n} for the {o}."),
        (("n", "How much does the {o} cost?"), ("n", "What is the price of the {o}?"),
         ("o", "What costs {n}?")),
    ),
    "when": Relation(
        {"e": "event", "d": "day", "t": "small"},
        ("The {e} is on {d} at {t}.", "The {e} starts on {d} at {t}.",
         "On {d} the {e} begins at {t}."),
        (("d", "On which day is the {e}?"), ("d", "On which day does the {e} start?"),
         ("t", "At what time does the {e} begin?"), ("t", "At what time is the {e}?"),
         ("e", "What is on {d}?"), ("e", "What starts at {t}?")),
    ),
    "warmth": Relation(
        {"r": "room", "n": "degrees"},
        ("The {r} is at {n}.", "It is {n} in the {r}.", "The temperature in the {r} is {n}."),
        (("n", "What is the temperature in the {r}?"), ("n", "How warm is it in the {r}?"),
         ("r", "Where is it {n}?"), ("r", "Which room is at {n}?")),
    ),
}  # fmt: skip
FILLERS = (
    "It is a sunny day.", "The train was late again.", "Nobody knows why.", "It rains a lot here.",
    "That was a long time ago.", "The shops are closed.", "Many people were there.",
    "The weather is fine.",
)  # fmt: skip


@dataclass
class Fact:
    """A relation and what fills its slots."""

    relation: str
    values: dict[str, str]
    woman: dict[str, bool] = field(default_factory=dict)

    def part(self) -> str:
        """A hash decides: a tenth are test, a tenth are validation facts."""
        text = "|".join([self.relation, *self.values.values()]).lower()
        bucket = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % 10
        return {0: "test", 1: "validation"}.get(bucket, "train")


@dataclass
class Example:
    """A question, its context, where in that the answer is."""

    question: str
    context: str
    start: int
    end: int
    relation: str
    new: bool  # a word of the fact asked about is one that training never saw

    @property
    def answer(self) -> str:
        return self.context[self.start : self.end]


def invented(draw: random.Random) -> str:
    """A name of two or three random syllables, so that names are matched piece by piece."""
    count = draw.choice((2, 2, 3))
    text = "".join(draw.choice("bcdfghjklmnprstvwz") + draw.choice("aeiou") for _ in range(count))
    return (text + draw.choice(("", "", "n", "l", "r", "s", "t", "m"))).capitalize()


def fill(
    kind: str, draw: random.Random, unseen: float, strange: float, odd: float
) -> tuple[str, bool, bool]:
    """Something of a kind, whether it is a woman, whether it holds a word training never saw.

    `unseen` is the chance of such a word where the pool has any, `strange` that of an invented
    name, `odd` that of an invented word in place of any that such a pool has.
    """

    def word(pool: str) -> tuple[str, bool]:
        seen, kept = WORDS[pool]
        if odd and kept and draw.random() < odd:
            return invented(draw).lower(), False
        if kept and draw.random() < unseen:
            return draw.choice(kept), True
        return draw.choice(seen), False

    if kind in ("years", "euros", "degrees"):
        low, high = {"years": (5, 90), "euros": (2, 99), "degrees": (1, 39)}[kind]
        number = str(draw.randint(low, high))
        return number if kind == "years" else f"{number} {kind}", False, False
    if kind in ("person", "city"):
        woman = draw.random() < 0.5
        if draw.random() < strange:
            return invented(draw), woman, False
        text, new = word(kind if kind == "city" else "woman" if woman else "man")
        return text, woman, new
    if kind == "object":
        text, new = word("thing")
        return f"{word('colour')[0]} {text}", False, new
    if kind == "spot":
        text, new = word("place")
        return f"{word('preposition')[0]} the {text}", False, new
    text, new = word(kind)
    return text, False, new


def make_fact(
    relation: str,
    draw: random.Random,
    unseen: float,
    strange: float,
    odd: float,
    person: Fact | None,
) -> tuple[Fact, bool]:
    """A random fact, about the person of another one if that is given; whether words are new."""
    fact, new = Fact(relation, {}), False
    for slot, kind in RELATIONS[relation].slots.items():
        if slot == "p" and person is not None:
            fact.values["p"], fact.woman["p"] = person.values["p"], person.woman["p"]
        else:
            fact.values[slot], fact.woman[slot], fresh = fill(kind, draw, unseen, strange, odd)
            new |= fresh
    return fact, new


def say(template: str, fact: Fact, pronoun: bool) -> tuple[str, dict[str, tuple[int, int]]]:
    """A sentence and where in it each slot is, without the person where a pronoun stands."""
    text, spans = "", dict[str, tuple[int, int]]()
    for piece in re.split(r"(\{\w\}(?:'s)?)", template):
        if not piece.startswith("{"):
            text += piece
            continue
        slot = piece[1]
        if pronoun and slot == "p":
            own = piece.endswith("'s")
            she = ("Her" if own else "She") if fact.woman["p"] else ("His" if own else "He")
            text += she
            continue
        value = fact.values[slot.lower()]
        value = value[0].upper() + value[1:] if slot.isupper() else value
        spans[slot.lower()] = (len(text), len(text) + len(value))
        text += value + piece[3:]
    return text, spans


def make_example(
    part: str,
    draw: random.Random,
    facts: int,
    unseen: float = 0.25,
    alike: float = 0.4,
    odd: float = 0.0,
) -> Example:
    """A question about one of `facts` facts; that one is of the part, in training all are.

    `alike` is the chance that another fact is of the same relation, `odd` that of invented words.
    """
    if part == "train":
        unseen = 0.0
    strange = 0.25 if part == "train" else 0.1
    unseen = unseen if draw.random() < 0.5 else 0.0  # in half of the contexts none
    names = list(RELATIONS)
    asked = draw.randrange(facts)
    main = draw.choice(names)
    made: list[Fact] = []
    pronouns: list[bool] = []
    fresh = False
    for i in range(facts):
        person, pronoun = None, False
        about = made and "p" in made[-1].values and made[-1].relation != "gift"
        if about and draw.random() < 0.45:  # the same person again, as a pronoun or by name
            person, pronoun = made[-1], draw.random() < 0.6
        for attempt in itertools.count():
            if attempt == 20:  # nothing about this person may be of the part
                person, pronoun = None, False
            relation = main if i == asked or draw.random() < alike else draw.choice(names)
            if "p" not in RELATIONS[relation].slots:
                person, pronoun = None, False
            fact, new = make_fact(relation, draw, unseen, strange, odd, person)
            values = list(fact.values.values())
            if len(set(values)) < len(values):
                continue
            if part == "train" and fact.part() != "train":
                continue
            if i == asked and fact.part() != part:
                continue
            same = [other for other in made if other.relation == relation]
            clash = any(set(other.values.values()) & set(values) for other in same)
            if clash and person is not None:
                person, pronoun = None, False
            if not clash:
                break
        made.append(fact)
        pronouns.append(pronoun)
        if i == asked:
            fresh = new
    context = ""
    people: tuple[int, int] = (0, 0)
    spans: dict[str, tuple[int, int]] = {}
    for i, (fact, pronoun) in enumerate(zip(made, pronouns, strict=True)):
        if not pronoun and len(context) < 120 and draw.random() < 0.06:
            context += draw.choice(FILLERS) + " "
        sentence, found = say(draw.choice(RELATIONS[fact.relation].says), fact, pronoun)
        moved = {s: (a + len(context), b + len(context)) for s, (a, b) in found.items()}
        people = moved.get("p", people)
        if i == asked:
            spans = {"p": people, **moved}
        context += sentence + " "
    slot, question = draw.choice(RELATIONS[main].asks)
    question, _ = say(question, made[asked], False)
    return Example(question, context.strip(), *spans[slot], main, fresh)


def held_out(part: str, count: int, tokenizer: Tokenizer) -> list[Example]:
    """The fixed questions of a part: 2 to 5 facts, those that fit."""
    draw = random.Random(f"{part} questions")
    found: list[Example] = []
    while len(found) < count:
        example = make_example(part, draw, draw.randint(2, 5))
        if len(tokenizer.encode(example.question, example.context).ids) <= POSITIONS:
            found.append(example)
    return found


# --- vocabulary ------------------------------------------------------------------------------


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


def stage_prepare(args: argparse.Namespace) -> None:
    """Learn the pieces from training text and save tokenizer.json."""
    path = args.out / "tokenizer.json"
    if path.exists():
        print(f"{path} exists: kept")
        return
    draw = random.Random(0)
    examples = [make_example("train", draw, 4) for _ in range(20_000)]
    texts = [text for e in examples for text in (e.question, e.context)]
    tokenizer = make_tokenizer(learn_pieces(texts, CONFIG["vocab_size"]))
    save_atomically(path, lambda p: tokenizer.save(str(p)))
    for facts in range(1, 6):
        rows = [make_example("train", draw, facts) for _ in range(1000)]
        lengths = [len(tokenizer.encode(e.question, e.context).ids) for e in rows]
        long = np.mean(np.array(lengths) > POSITIONS)
        print(f"{facts} facts: {np.mean(lengths):.1f} tokens, {long:.1%} over {POSITIONS}")
    print(f"{tokenizer.get_vocab_size()} pieces", flush=True)


# --- batches ---------------------------------------------------------------------------------


def tokenize(
    tokenizer: Tokenizer, examples: list[Example]
) -> tuple[dict[str, torch.Tensor], torch.Tensor, list[list[tuple[int, int]]]]:
    """The model's inputs, (examples, 2) first and last tokens of the answers, offsets.

    The offsets are those of the context's tokens, and (0, 0) for all others.
    """
    encoded = tokenizer.encode_batch([(e.question, e.context) for e in examples])
    longest = max(len(e.ids) for e in encoded)
    ids, types, mask = (torch.zeros(len(encoded), longest, dtype=torch.long) for _ in range(3))
    spans = torch.zeros(len(encoded), 2, dtype=torch.long)
    offsets = []
    for i, (e, example) in enumerate(zip(encoded, examples, strict=True)):
        n = len(e.ids)
        ids[i, :n] = torch.tensor(e.ids)
        types[i, :n] = torch.tensor(e.type_ids)
        mask[i, :n] = 1
        context = [o if s == 1 else (0, 0) for o, s in zip(e.offsets, e.sequence_ids, strict=True)]
        offsets.append(context)
        for j, (start, end) in enumerate(context):
            if end and start == example.start:
                spans[i, 0] = j
            if end and end == example.end:
                spans[i, 1] = j
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}, spans, offsets


def training_batch(
    tokenizer: Tokenizer, step: int, steps: int, seed: int, later: bool = False
) -> list[Example]:
    """BATCH questions that fit; contexts grow from one or two facts to five in three tenths.

    In a later run they have up to five from the start, and a fifth of the nouns are invented.
    """
    draw = random.Random(f"{seed} {step}")
    most = 5 if later else min(5, 2 + int(10 * step / steps))
    facts = draw.randint(1 if most < 4 else 2, most)
    found: list[Example] = []
    while len(found) < BATCH:
        count = BATCH - len(found)
        odd = 0.2 if later else 0.0
        batch = [make_example("train", draw, facts, alike=0.65, odd=odd) for _ in range(count)]
        lengths = tokenizer.encode_batch([(e.question, e.context) for e in batch])
        found += [e for e, n in zip(batch, lengths, strict=True) if len(n.ids) <= POSITIONS]
    return found


def best_span(
    start: np.ndarray, end: np.ndarray, offsets: list[tuple[int, int]]
) -> tuple[int, int]:
    """The characters of the likeliest answer: first and last token in the context, in order."""
    scores = start[:, None] + end[None, :]
    context = np.array([b > 0 for _, b in offsets])
    scores = scores[: len(offsets), : len(offsets)]
    at = np.arange(len(offsets))
    ahead = at[None, :] - at[:, None]
    allowed = context[:, None] & context[None, :] & (ahead >= 0) & (ahead < LONGEST)
    first, last = divmod(int(np.where(allowed, scores, -np.inf).argmax()), len(offsets))
    return offsets[first][0], offsets[last][1]


def whole_words(context: str, start: int, end: int) -> tuple[int, int]:
    """The span, longer where it begins or ends within a word: as transformers' pipeline does."""
    while start and context[start - 1].isalnum() and context[start].isalnum():
        start -= 1
    while end < len(context) and context[end - 1].isalnum() and context[end].isalnum():
        end += 1
    return start, end


@torch.inference_mode()
def predict(
    model: Any, tokenizer: Tokenizer, examples: list[Example], whole: bool = False
) -> list[str]:
    """The answers to questions; with `whole` of whole words."""
    model.eval()
    found = []
    for at in range(0, len(examples), 50):
        part = examples[at : at + 50]
        inputs, _, offsets = tokenize(tokenizer, part)
        output = model(**inputs)
        start, end = output.start_logits.numpy(), output.end_logits.numpy()
        for i, example in enumerate(part):
            a, b = best_span(start[i], end[i], offsets[i])
            if whole:
                a, b = whole_words(example.context, a, b)
            found.append(example.context[a:b])
    return found


def score(right: int, total: int) -> str:
    """A share with its standard error, in words."""
    share = right / total
    error = (share * (1 - share) / total) ** 0.5
    return f"{100 * share:.2f} % ± {100 * error:.2f} ({right} of {total})"


def start_alike(model: Any) -> None:
    """Initialize attention so that two heads fall on equal words and two on near ones.

    Words begin in one half of the dimensions, positions, as waves, and segments in the other; keys
    are made by the same matrix as queries. Without this the model finds what kind of answer is
    wanted, but not, for a long time, which one: the one beside the name in the question.
    """
    embeddings = model.bert.embeddings
    with torch.no_grad():
        table = embeddings.position_embeddings.weight
        half = table.shape[1] // 2
        lengths = 4 * 32 ** (torch.arange(half // 2) / (half // 2 - 1))
        angles = 2 * np.pi * torch.arange(len(table))[:, None] / lengths
        table.zero_()
        table[:, :half] = 0.07 * torch.cat([angles.sin(), angles.cos()], 1)
        embeddings.word_embeddings.weight.normal_(0, 0.07)[:, :half] = 0
        embeddings.token_type_embeddings.weight.normal_(0, 0.03)[:, half:] = 0
        for layer in model.bert.encoder.layer:
            attention = layer.attention.self
            weight = attention.query.weight.normal_(0, 0.2)
            weight[:half, :half] = 0  # rows of the first two heads: words
            weight[half:, half:] = 0  # of the others: positions
            attention.key.weight.copy_(weight)
            attention.value.weight.normal_(0, 0.1)
            layer.attention.output.dense.weight.normal_(0, 0.1)


# --- stages ----------------------------------------------------------------------------------


def stage_train(args: argparse.Namespace) -> None:
    """Fit the model to generated questions; print exact match on the validation part."""
    tokenizer = load_tokenizer(args.out, 4 * POSITIONS)
    torch.manual_seed(args.seed)
    model = new_model(CONFIG)
    start_alike(model)
    if args.start:
        model.load_state_dict(trained(args.work / f"{args.start}.pt", "train"))
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    examples = held_out("validation", 300, tokenizer)

    def loss_of(step: int) -> torch.Tensor:
        if step % 500 == 0:
            answers = predict(model, tokenizer, examples)
            right = sum(a == e.answer for a, e in zip(answers, examples, strict=True))
            print(f"step {step}: validation {score(right, len(examples))}", flush=True)
            model.train()
        batch = training_batch(tokenizer, step, args.steps, args.seed, bool(args.start))
        inputs, spans, _ = tokenize(tokenizer, batch)
        output = model(**inputs)
        hidden = inputs["attention_mask"] == 0
        total = torch.zeros(())
        for logits, target in zip((output.start_logits, output.end_logits), spans.T, strict=True):
            total = total + F.cross_entropy(logits.masked_fill(hidden, -1e4), target)
        return total / 2

    seconds = fit(
        model, args.work / f"{args.run}.pt", loss_of, steps=args.steps, rate=args.rate,
        decay=0.02, seed=args.seed,
    )  # fmt: skip
    examples = held_out("validation", 2000, tokenizer)
    for word, one in (("float", model), ("8-bit rows", round_rows(model))):
        answers = predict(one, tokenizer, examples)
        right = sum(a == e.answer for a, e in zip(answers, examples, strict=True))
        print(f"{args.run}: validation, {word} {score(right, len(examples))}")
    print(f"{seconds:.0f} s", flush=True)


def stage_export(args: argparse.Namespace) -> None:
    """Write model.safetensors in float16 and the two configuration files."""
    model = new_model(CONFIG)
    model.load_state_dict(trained(args.work / f"{args.run}.pt", "train"))
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "model_max_length": POSITIONS,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    write_folder(args.out, model, {"config": CONFIG, "tokenizer_config": tokenizer_config})


def evaluate_folder(folder: Path, part: str = "test", count: int = 2000) -> dict[str, Any]:
    """Exact answers of a folder's model and its mistakes.

    `right` counts those with float16 weights, `int8` with 8-bit rows, `whole` those in whole
    words.
    """
    tokenizer = load_tokenizer(folder, 4 * POSITIONS)
    examples = held_out(part, count, tokenizer)
    model = load_exported(folder)
    counts = {key: Counter[str]() for key in ("all", "right", "int8", "whole")}
    mistakes = []
    answers = {"right": predict(model, tokenizer, examples)}
    answers["int8"] = predict(round_rows(model), tokenizer, examples)
    answers["whole"] = predict(round_rows(model), tokenizer, examples, whole=True)
    for i, example in enumerate(examples):
        groups = ["total", example.relation, "new word" if example.new else "known words"]
        counts["all"].update(groups)
        for key, found in answers.items():
            if found[i] == example.answer:
                counts[key].update(groups)
        if answers["right"][i] != example.answer:
            mistakes.append((example, answers["right"][i]))
    return {"counts": counts, "mistakes": mistakes}


def stage_evaluate(args: argparse.Namespace) -> None:
    """Exact match of the exported folder on a part, by kind of fact, and some mistakes."""
    result = evaluate_folder(args.out, args.part, args.count)
    counts = result["counts"]
    for group in sorted(counts["all"], key=lambda g: (g in RELATIONS, g)):
        total = counts["all"][group]
        names = {"right": "float16", "int8": "8-bit rows", "whole": "whole words"}
        figures = (f"{name} {score(counts[key][group], total)}" for key, name in names.items())
        print(f"{args.part}, {group}: " + "; ".join(figures))
    for example, answer in result["mistakes"][:12]:
        print(f"{example.context}\n  {example.question} {answer!r}, not {example.answer!r}")


def stage_show(args: argparse.Namespace) -> None:
    """Print generated examples of a part."""
    draw = random.Random(args.seed)
    for _ in range(10):
        example = make_example(args.part, draw, draw.randint(2, 5))
        print(f"{example.context}\n  {example.question} {example.answer}")


def stage_heldout(args: argparse.Namespace) -> None:
    """Write a part as text, tab, question, tab, answer, for `picoformer eval --data`."""
    examples = held_out(args.part, args.count, load_tokenizer(args.out, 4 * POSITIONS))
    rows = [f"{e.context}\t{e.question}\t{e.answer}\n" for e in examples]
    Path(f"{args.part}.tsv").write_text("".join(rows), encoding="utf-8")
    print(f"{args.part}.tsv: {len(rows)} questions")


# --- command line ----------------------------------------------------------------------------

STAGES: Stages = {
    "prepare": stage_prepare,
    "train": stage_train,
    "export": stage_export,
    "evaluate": stage_evaluate,
}
APART: Stages = {"show": stage_show, "heldout": stage_heldout}


def main() -> None:
    """Parse the command line and run one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser, [*STAGES, *APART], ROOT / "models/facts")
    parser.add_argument("--steps", type=int, default=7500)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="train: the learning rate")
    parser.add_argument("--start", help="train: a complete checkpoint to go on from")
    parser.add_argument("--count", type=int, default=2000, help="evaluate: questions")
    args = parser.parse_args()
    run_stages(args, "facts", STAGES, APART)


if __name__ == "__main__":
    main()
