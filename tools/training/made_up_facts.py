"""The facts and questions that models/facts is trained on: made up, a few sentences at a time.

A context is a few sentences, each a fact of one of the RELATIONS between people, places, things
and numbers; a question asks for one member of one fact and its answer is a span of the context.
A hash of a fact decides its part: nothing in a training context is a fact of the other two parts.
The names and nouns after the bar in POOLS are in no training text at all.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

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


def make_facts(
    part: str,
    draw: random.Random,
    relations: Callable[[int], str],
    facts: int,
    asked: int,
    chances: tuple[float, float, float],
) -> tuple[list[tuple[Fact, bool]], bool]:
    """Facts that do not contradict each other, each with whether a pronoun stands for its person.

    relations draws the relation of each; asked: the one that is asked about, which is of the part;
    of training all are. chances: see `fill`. The other result is whether words of it are new.
    """
    made: list[tuple[Fact, bool]] = []
    fresh = False
    for i in range(facts):
        person, pronoun = None, False
        last = made[-1][0] if made else None
        about = last and "p" in last.values and last.relation != "gift"
        if about and draw.random() < 0.45:  # the same person again, as a pronoun or by name
            person, pronoun = last, draw.random() < 0.6
        for attempt in itertools.count():
            if attempt == 20:  # nothing about this person may be of the part
                person, pronoun = None, False
            relation = relations(i)
            if "p" not in RELATIONS[relation].slots:
                person, pronoun = None, False
            fact, new = make_fact(relation, draw, *chances, person)
            values = list(fact.values.values())
            if len(set(values)) < len(values):
                continue
            if part == "train" and fact.part() != "train":
                continue
            if i == asked and fact.part() != part:
                continue
            same = [other for other, _ in made if other.relation == relation]
            clash = any(set(other.values.values()) & set(values) for other in same)
            if clash and person is not None:
                person, pronoun = None, False
            if not clash:
                break
        made.append((fact, pronoun))
        if i == asked:
            fresh = new
    return made, fresh


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

    def relation(i: int) -> str:
        return main if i == asked or draw.random() < alike else draw.choice(names)

    made, fresh = make_facts(part, draw, relation, facts, asked, (unseen, strange, odd))
    context = ""
    people: tuple[int, int] = (0, 0)
    spans: dict[str, tuple[int, int]] = {}
    for i, (fact, pronoun) in enumerate(made):
        if not pronoun and len(context) < 120 and draw.random() < 0.06:
            context += draw.choice(FILLERS) + " "
        sentence, found = say(draw.choice(RELATIONS[fact.relation].says), fact, pronoun)
        moved = {s: (a + len(context), b + len(context)) for s, (a, b) in found.items()}
        people = moved.get("p", people)
        if i == asked:
            spans = {"p": people, **moved}
        context += sentence + " "
    slot, question = draw.choice(RELATIONS[main].asks)
    question, _ = say(question, made[asked][0], False)
    return Example(question, context.strip(), *spans[slot], main, fresh)
