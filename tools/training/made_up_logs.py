"""Made-up logs of a sensor, the facts of any such log, and the summary that tells them.

A log has a header that says what is measured and in which unit, then lines of a time and either a
value or an event:

    Kitchen temperature in °C
    13:40 21.5
    13:50 21.4
    13:52 door open
    14:05 18.9
    14:10 door closed
    14:30 20.2

Its summary is "Temperature went from 21.5 to 20.2 °C, highest 21.5 at 13:40, lowest 18.9 at
14:05. Door open once, from 13:52 to 14:10." Values have one decimal, or are whole numbers from
100 on.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, fields
from decimal import Decimal

# What is measured: units, and the least and the largest value; whole numbers from 100 on, else
# with one decimal.
KINDS: dict[str, list[tuple[str, int, int]]] = {
    "temperature": [("°C", -15, 40), ("°F", 10, 110)],
    "humidity": [("%", 15, 99)],
    "moisture": [("%", 5, 95)],
    "pressure": [("hPa", 960, 1045)],
    "CO2": [("ppm", 380, 2600)],
    "brightness": [("lx", 100, 3000), ("%", 0, 99)],
    "voltage": [("V", 2, 15), ("mV", 100, 5000)],
    "current": [("mA", 100, 3000), ("A", 0, 20)],
    "power": [("W", 100, 3500), ("kW", 0, 10)],
    "level": [("cm", 0, 350), ("mm", 100, 3500)],
    "distance": [("cm", 2, 400), ("mm", 100, 4000)],
    "noise": [("dB", 25, 99)],
    "weight": [("kg", 0, 80), ("g", 100, 5000)],
    "wind": [("m/s", 0, 35)],
}
UNITS = list(dict.fromkeys(unit for units in KINDS.values() for unit, *_ in units))
SHORT = {"°c": "°C", "°f": "°F", "c": "°C", "f": "°F"}  # how a log may write a unit
SHORT |= {unit.lower(): unit for unit in UNITS}
NAMES = {"temp": "temperature"} | {kind.lower(): kind for kind in KINDS}

# Things with two states, and how a log and a summary call these.
OPENING = ("door", "window", "gate", "lid", "valve", "drawer")
SWITCHED = ("pump", "fan", "heater", "light", "lamp", "motor", "charger", "compressor")
BEGUN = {"open": "opened", "opened": "opened", "on": "on", "started": "on"}
ENDED = ("closed", "shut", "off", "stopped")
# What happens at a moment.
MOMENTS = {
    "motion": "detected", "rain": "detected", "leak": "detected", "button": "pressed",
    "alarm": "triggered", "knock": "heard",
}  # fmt: skip
THINGS = (*OPENING, *SWITCHED, *MOMENTS)
TIMES = {"once": 1, "twice": 2} | {f"{n} times": n for n in (3, 4)}  # as a summary counts
MOST = max(TIMES.values())  # of one event in a log
PLACES = ("kitchen", "greenhouse", "cellar", "office", "tank", "garden", "shed", "battery", "hive")

# --- facts ------------------------------------------------------------------------------------


@dataclass
class Events:
    """What happened to one thing: how often, when last; `end` of a state that it left again.

    A count of 0: at `end` it left a state that it had from the start.
    """

    thing: str
    count: int = 0
    last: str = ""
    end: str = ""


@dataclass
class Facts:
    """What a summary tells of a log; numbers and times are written as in the log."""

    kind: str
    unit: str
    first: str
    final: str
    highest: str
    highest_at: str
    lowest: str
    lowest_at: str
    events: list[Events]


def read_log(log: str) -> Facts:
    """The facts of a log; of equal extremes the first counts."""
    header, *lines = log.lower().split("\n")
    words = re.findall(r"[^\s(),]+", header)
    kind = next(NAMES[word] for word in words if word in NAMES)
    unit = next(SHORT[word] for word in words if word in SHORT)
    values: list[tuple[Decimal, str, str]] = []
    events: dict[str, Events] = {}
    for line in lines:
        time, what, *more = line.split()
        if what in THINGS:
            _happened(events.setdefault(what, Events(what)), more[0], time)
        else:
            values.append((Decimal(what), what, time))
    _, highest, highest_at = max(values, key=lambda v: v[0])
    _, lowest, lowest_at = min(values, key=lambda v: v[0])
    return Facts(
        kind, unit, values[0][1], values[-1][1], highest, highest_at, lowest, lowest_at,
        list(events.values()),
    )  # fmt: skip


def _happened(events: Events, state: str, time: str) -> None:
    if state in ENDED:
        events.end = time
    else:
        events.count, events.last, events.end = events.count + 1, time, ""


# --- summaries --------------------------------------------------------------------------------


def _say_events(events: Events) -> str:
    thing, opens = events.thing, events.thing in OPENING
    if not events.count:
        return f"{thing} {'closed' if opens else 'off'} at {events.end}"
    count = next(word for word, n in TIMES.items() if n == events.count)
    state = "" if thing in MOMENTS else " open" if opens else " on"
    said = f"{thing}{state} {count}, {'last ' if events.count > 1 else ''}"
    if events.end:
        return f"{said}from {events.last} to {events.end}"
    still = f", still{state}" if state else ""
    return f"{said}at {events.last}{still}"


def write_summary(facts: Facts) -> str:
    """The one summary of these facts."""
    happened = "; ".join(map(_say_events, facts.events)) or "no events"
    return (
        f"{facts.kind[0].upper()}{facts.kind[1:]} went from "
        f"{facts.first} to {facts.final} {facts.unit}, highest "
        f"{facts.highest} at {facts.highest_at}, lowest {facts.lowest} at {facts.lowest_at}. "
        f"{happened[0].upper()}{happened[1:]}."
    )


_TIME, _NUMBER = r"\d\d:\d\d", r"-?\d+(?:\.\d+)?"
_SUMMARY = re.compile(
    rf"(?P<kind>\w+) went from (?P<first>{_NUMBER}) to (?P<final>{_NUMBER}) (?P<unit>\S+), "
    rf"highest (?P<highest>{_NUMBER}) at (?P<highest_at>{_TIME}), lowest (?P<lowest>{_NUMBER}) at "
    rf"(?P<lowest_at>{_TIME})\. "
    r"(?P<events>.+)\."
)
_EVENTS = re.compile(
    rf"(?P<thing>\w+)(?: (?:open|on))?(?: (?P<count>{'|'.join(TIMES)}), (?:last )?(?:from "
    rf"(?P<begin>{_TIME}) to (?P<end>{_TIME})|at (?P<last>{_TIME})(?:, still \w+)?)"
    rf"| (?:closed|off) at (?P<left>{_TIME}))"
)


def read_summary(summary: str) -> Facts | None:
    """The facts that a summary tells; None where it is not one that write_summary writes."""
    found = _SUMMARY.fullmatch(summary)
    if not found:
        return None
    named = {name.lower(): name for name in KINDS}
    told = found.groupdict() | {"kind": named.get(found["kind"].lower(), "")}
    events = []
    for text in (told.pop("events") or "").split("; "):
        if text == "No events":
            continue
        event = _EVENTS.fullmatch(text)
        if not event:
            return None
        count, last = TIMES.get(event["count"], 0), event["begin"] or event["last"] or ""
        ends = event["end"] or event["left"] or ""
        events.append(Events(event["thing"].lower(), count, last, ends))
    facts = Facts(**told, events=events)
    return facts if write_summary(facts) == summary else None


ASPECTS = {
    "kind and unit": ("kind", "unit"),
    "first and last value": ("first", "final"),
    "highest value": ("highest",),
    "its time": ("highest", "highest_at"),
    "lowest value": ("lowest",),
    "its time, of the lowest": ("lowest", "lowest_at"),
    "events": ("events",),
    "all": tuple(field.name for field in fields(Facts)),
}


def right(log: str, summary: str) -> set[str]:
    """Those of ASPECTS that a summary tells as they are in the log."""
    facts, told = read_log(log), read_summary(summary)
    return {
        aspect
        for aspect, names in ASPECTS.items()
        if told and all(getattr(told, name) == getattr(facts, name) for name in names)
    }


# --- logs -------------------------------------------------------------------------------------


def _values(draw: random.Random, count: int, least: float, largest: float) -> list[float]:
    """A sensor's values: they wander, rise and fall as a day does, jump, or stay near one."""
    span = largest - least
    width = span * draw.choice((0.02, 0.05, 0.1, 0.2, 0.5, 1))
    low = draw.uniform(least, largest - width)
    if draw.random() < 0.2:
        return [draw.uniform(low, low + width) for _ in range(count)]
    at, drift = draw.random(), draw.gauss(0, 0.06)
    rough, jump = draw.choice((0.03, 0.1, 0.25)), draw.choice((0, 0, 0.1))
    found = []
    for _ in range(count):
        found.append(low + width * at)
        at = draw.random() if draw.random() < jump else at + drift + draw.gauss(0, rough)
        if not 0 <= at <= 1:
            at, drift = min(max(at, 0.0), 1.0), -drift
    return found


def _happenings(draw: random.Random, lines: int) -> dict[int, str]:
    """The events of a log: what stands in which line."""
    happened: dict[int, str] = {}
    things = draw.sample(THINGS, draw.choice((0, 1, 1, 1, 2, 2)))
    free = list(range(lines))
    for thing in things:
        states = 1 if thing in MOMENTS else 2
        count = min(draw.choice((1, 1, 2, 3, 4)) * states, len(free) // 2)
        count = min(max(0, count - (states == 2 and draw.random() < 0.35)), MOST * states)
        begun = draw.random() > 0.08
        if thing in MOMENTS:
            words = [MOMENTS[thing]]
        elif thing in OPENING:
            words = [draw.choice(("open", "opened")), draw.choice(("closed", "shut"))]
        else:
            words = list(draw.choice((("on", "off"), ("started", "stopped"))))
        for i, line in enumerate(sorted(draw.sample(free, count))):
            free.remove(line)
            happened[line] = f"{thing} {words[(i + (not begun)) % states]}"
    return happened


def make_log(draw: random.Random, lines: int) -> str:
    """A log of so many lines, the header not counted."""
    kind = draw.choice(list(KINDS))
    unit, least, largest = draw.choice(KINDS[kind])
    name = "temp" if kind == "temperature" and draw.random() < 0.3 else kind
    if draw.random() < 0.3:
        name = f"{draw.choice(PLACES)} {name}"
    shown = unit[1:] if unit[0] == "°" and draw.random() < 0.3 else unit
    upper = f"{name[0].upper()}{name[1:]}"
    header = draw.choice((f"{name} {shown}", f"{name} in {shown}", f"{upper} {shown}"))
    happened = _happenings(draw, lines)
    values = _values(draw, lines, least, largest)
    minute, step = draw.randrange(1440), draw.choice((0, 1, 5, 10, 15, 20, 30, 60))
    if step > 1:
        minute -= minute % step
    found = [header]
    for i, value in enumerate(values):
        number = f"{value:.{0 if least >= 100 else 1}f}".replace("-0.0", "0.0")
        found.append(f"{minute // 60 % 24:02}:{minute % 60:02} {happened.get(i, number)}")
        even = step and not {i, i + 1} & happened.keys()  # events come at any time
        minute += step if even else draw.randint(1, step or 59)
    return "\n".join(found)
