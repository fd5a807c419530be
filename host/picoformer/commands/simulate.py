"""The commands that run a model on the PC: simulate and eval."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from ..errors import Error
from .arguments import (
    add_beams,
    add_config,
    add_json,
    add_model,
    add_sampling,
    command,
    then,
    warn,
    warned,
)
from .chat import add_chat, check_chat, converse
from .doubts import of_input
from .inputs import add_image, add_input, of_file
from .printing import (
    Stages,
    bar,
    confusion,
    show_embedding,
    show_json,
    show_labels,
    show_tags,
    show_values,
    table,
)
from .texts import LINES, each_text, lines

if TYPE_CHECKING:
    from ..simulate.evaluation import Scores
    from ..simulate.simulator import Simulator

DATA = """
formats of --data, by what the model does:
  generate    a text file; .npy of token ids
  classify    .tsv lines of label and text
  translate   .tsv lines of source and target
  answer      .tsv lines of text, question and answer
  pictures    .npz of images and labels; a folder with a folder of pictures for each label
  signals     .npz, .npy, .ts or .csv; a folder with a folder of files for each label
  sounds      .wav; a folder with a folder of .wav files for each label
"""
SHOWN = 12  # predicted numbers, of many
FIRST, MUCH = 3, 0.5  # values of a model, and their error, that tell of other weights


def add_commands(commands: Any) -> None:
    """Add the commands to the subparsers of `picoformer`."""
    p = command(
        commands, "simulate", _simulate, "run a model on this PC, exactly as a board would",
        'stories.pft --prompt "Once upon a time" -n 50', 'intents.pft --prompt "will it rain?"',
        "fashion.pft --image models/fashion/boot.png",
        "motions.pft --input models/motions/walking.csv",
        'facts.pft --context "Anna lives in Lyon." --prompt "Where does Anna live?"',
    )  # fmt: skip
    add_model(p)
    add_image(p, " (instead of --prompt)")
    add_input(p, " (instead of --prompt)")
    p.add_argument("--context", metavar="TEXT", help="text to find the answer in")
    add_sampling(p, "text to continue, classify or translate; or a question to answer" + LINES)
    p.set_defaults(prompt=None)
    add_chat(p)
    add_beams(p)
    add_json(p)

    text = "measure what a model file lost against its checkpoint"
    p = command(
        commands, "eval", _eval, text, "stories.pft --reference models/stories",
        "intents.pft --reference models/intents --data my-texts.tsv --layers --plot scores.png",
    )  # fmt: skip
    p.description = f"{p.description}\n{DATA.rstrip()}"
    add_model(p)
    p.add_argument(
        "--reference", required=True, metavar="SOURCE", help="checkpoint that it was made of"
    )
    add_config(p, "checkpoint")
    p.add_argument(
        "--data", metavar="FILE",
        help="examples to measure with, in one of the formats above (default: text that the "
        "checkpoint writes, or random input)",
    )  # fmt: skip
    p.add_argument(
        "--expect", metavar="FILE.npy",
        help="what your own framework gives for --data, to compare with that as well",
    )  # fmt: skip
    p.add_argument(
        "--layers", action="store_true", help="show the error of each layer, in order"
    )
    p.add_argument(
        "--plot", metavar="FILE.png",
        help="draw the results (needs matplotlib)",
    )  # fmt: skip
    for name, least, such in (
        ("--at-least", "smallest", "accuracy_int=0.95"),
        ("--at-most", "largest", "kl=0.001"),
    ):
        p.add_argument(
            name, action="append", default=[], metavar="NAME=VALUE", type=_limit,
            help=f"the {least} value of a figure, as {such}, or else the command fails "
            "(docs/json.md has the names; more than once for several)",
        )  # fmt: skip
    add_json(p)


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected NAME=VALUE") from None


def _simulate(o: argparse.Namespace) -> None:
    from ..simulate.simulator import Simulator

    sim = Simulator(o.model)
    check_chat(o)
    task = sim.model.task
    if task == "answer" and o.context is None:
        raise Error("this model answers questions: give the text with --context")
    lacking = o.prompt is None and not (task == "generate" or o.chat)
    o.prompt = o.prompt or ""
    given: Any = of_file(o, sim.model)
    if lacking and isinstance(given, str):
        each_text(o, None, lambda line: _run(o, sim, line), "a --prompt")
    else:
        _run(o, sim, given)
    if lines(o) != "typed":
        then(o, f"picoformer deploy {o.model}")


def _run(o: argparse.Namespace, sim: Simulator, given: Any) -> None:
    """Print what a model makes of a text, a picture, a signal."""
    task = sim.model.task
    for doubt in of_input(sim.model, given, o.context if task == "answer" else None):
        warn(o, doubt)
    more = {"prompt": given} if isinstance(given, str) else {}
    if task == "classify":
        found = sim.classify(given)
        show_labels(o, found, sim.probabilities(found), **more)
    elif task == "embed":
        show_embedding(o, sim.embed(given), **more)
    elif task == "predict":
        show_values(o, sim.predict(given), sim.labels, **more)
    elif task == "tag":
        show_tags(o, sim.tag(given), **more)
    elif task == "generate" or o.chat:
        _generate(o, sim)
    else:
        if task == "translate":
            text = sim.translate(given, o.beams, o.length_penalty)
        else:
            text = sim.answer(o.context, given)
        if o.json:
            show_json({**more, "text": text, "warnings": warned(o)})
        else:
            print(text)


def _generate(o: argparse.Namespace, sim: Simulator) -> None:
    start = time.perf_counter()
    pieces: list[str] = []
    numbers = o.n, o.temperature, o.top_p, o.seed, o.stop
    if o.chat:
        said = converse(o, sim.model.meta, o.model, lambda p: sim.generate(p, *numbers, True))
        if o.json:
            show_json({"prompt": o.prompt, "text": said, "warnings": warned(o)})
        elif o.prompt:
            print()
        return
    for piece in sim.generate(o.prompt, *numbers):
        if not o.json:
            print(piece if pieces else o.prompt + piece, end="", flush=True)
        pieces.append(piece)
    seconds = time.perf_counter() - start
    if o.json:
        text, n = "".join(pieces), len(pieces)
        found = {"prompt": o.prompt, "text": text, "tokens": n, "seconds": seconds}
        show_json({**found, "warnings": warned(o)})
    else:
        print(f"\n\n{len(pieces)} tokens in {seconds:.1f} s, on the PC")


def _eval(o: argparse.Namespace) -> int:
    from ..simulate.evaluation import evaluate
    from ..simulate.plot import plot, plotter

    if o.plot:
        plotter()  # what is missing is better said before the work than after it
    start = time.perf_counter()
    with Stages(o, "example") as stages:
        stages.say("float model and integers")
        s = evaluate(
            o.model, o.reference, data=o.data, expect=o.expect, tokenizer=o.tokenizer,
            config=o.config, progress=stages,
        )  # fmt: skip
    if o.plot:
        plot(s, o.plot)
    off = max((e.error for e in s.layers[:FIRST]), default=0.0)
    if off > MUCH:
        warn(
            o, f"the first values are off by {off:.0%}, far more than rounding explains: "
            f"{o.reference} is not the checkpoint that {o.model} was made of",
        )  # fmt: skip
    beyond = _beyond(o, s)
    if o.json:
        show_json({**s.to_dict(), "beyond": beyond, "warnings": warned(o)})
        return int(bool(beyond))
    _show_scores(o, s)
    print(f"in {time.perf_counter() - start:.1f} s")
    if beyond:
        raise Error("; ".join(beyond))
    then(o, f"picoformer plan {o.model}")
    return 0


def _beyond(o: argparse.Namespace, s: Scores) -> list[str]:
    """The figures that are beyond what was asked for, in words. Raises Error for another name."""
    found = {k: v for k, v in s.to_dict().items() if type(v) in (int, float)}
    out = []
    for name, value, sign, how in (
        *((*one, 1, "less than") for one in o.at_least),
        *((*one, -1, "more than") for one in o.at_most),
    ):
        if name not in found:
            raise Error(f"no figure {name!r} was measured: there are {', '.join(found)}")
        if not sign * (found[name] - value) >= 0:  # nor if it is no number
            out.append(f"{name} is {found[name]:.6g}, {how} {value:g}")
    return out


def _show_scores(o: argparse.Namespace, s: Scores) -> None:
    from ..compile.modelfile import load
    from ..simulate.expected import ALIKE

    m = load(o.model)
    unit = "windows" if m.frames else "patches" if m.program[14] else "tokens"
    print(f"{s.tokens:,} {unit}, {s.sequences:,} examples: {s.data}")
    print(table(_figures(s)))
    if s.expect_cosine_float is not None and s.expect_cosine_float < ALIKE:
        print(f"\nthe float model is not that of {o.expect}: is what describes it right?")
    for example in s.examples:
        print()
        print(table(example.items()))
    if s.outputs and len(s.outputs) > 1:
        print("\nof each number")
        print(table(_outputs(s.outputs), right=True))
    if s.confusion_int and s.labels:
        print()
        print(confusion(s.labels, s.confusion_int))
    if o.layers:
        print("\nerror of each value, relative to its size")
        widest = max((e.error for e in s.layers), default=0.0)
        for e in s.layers:
            print(f"  {e.value:12} {e.error:8.3%}  {bar(e.error, widest, 40) if widest else ''}")
    if o.plot:
        print(f"\n{o.plot} shows it")


def _figures(s: Scores) -> list[tuple[str, str, str]]:
    """What applies: its name, its value, what that means."""
    rows: list[tuple[str, str, str]] = []
    if s.kl is not None and s.top1 is not None:
        rows.append(("kl", f"{s.kl:.6f}", "nats a prediction from the float model"))
        rows.append(("top1", f"{s.top1:.2%}", "of the predictions are the same"))
    if s.perplexity_float is not None and s.perplexity_int is not None:
        change = s.perplexity_int / s.perplexity_float - 1
        rows.append(("perplexity_float", f"{s.perplexity_float:.4f}", ""))
        rows.append(("perplexity_int", f"{s.perplexity_int:.4f}", f"{change:+.3%}"))
    if s.accuracy_float is not None and s.accuracy_int is not None:
        points = 100 * (s.accuracy_int - s.accuracy_float)
        rows.append(("accuracy_float", f"{s.accuracy_float:.2%}", ""))
        rows.append(("accuracy_int", f"{s.accuracy_int:.2%}", f"{points:+.2f} points"))
    for name, a, b in (
        ("exact", s.exact_float, s.exact_int),
        ("cer", s.cer_float, s.cer_int),
        ("chrf", s.chrf_float, s.chrf_int),
    ):
        if a is not None and b is not None:
            one = "{:.2f}" if name == "chrf" else "{:.2%}"
            off = f"{b - a:+.2f}" if name == "chrf" else f"{100 * (b - a):+.2f} points"
            rows.append((name + "_float", one.format(a), ""))
            rows.append((name + "_int", one.format(b), off))
    for name, a, b, shown, meaning in (
        ("expect_cosine", s.expect_cosine_float, s.expect_cosine_int, "{:.6f}", ""),
        ("expect_off", s.expect_off_float, s.expect_off_int, "{:.6f}", "the largest difference"),
        ("expect_top1", s.expect_top1_float, s.expect_top1_int, "{:.2%}", "as the framework's"),
    ):
        if a is not None and b is not None:
            rows.append((name + "_float", shown.format(a), meaning))
            rows.append((name + "_int", shown.format(b), meaning))
    for name, a, b in (
        ("mae", s.mae_float, s.mae_int), ("rmse", s.rmse_float, s.rmse_int),
        ("r2", s.r2_float, s.r2_int),
    ):  # fmt: skip
        if a is not None and b is not None:
            one = "{:.4f}" if name == "r2" else "{:.6g}"
            off = f"{b - a:+.4f}" if name == "r2" else f"{b / a - 1:+.2%}" if a else ""
            rows.append((name + "_float", one.format(a), ""))
            rows.append((name + "_int", one.format(b), off))
    if s.off_mean is not None:
        rows.append(("off_mean", f"{s.off_mean:.4%}", "of the deviation of the float outputs"))
        rows.append(("off_max", f"{s.off_max:.4%}", "the largest"))
    if s.cosine is not None:
        rows.append(("cosine", f"{s.cosine:.6f}", f"at worst {s.cosine_min:.6f}"))
    return rows


def _outputs(outputs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The figures of some of several numbers, under what they are."""
    names = [k for k in outputs[0] if k != "name"]
    shown = outputs if len(outputs) <= SHOWN else [*outputs[: SHOWN - 1], outputs[-1]]
    rows: list[tuple[str, ...]] = [
        (str(one["name"]), *("" if one[k] is None else f"{one[k]:.4g}" for k in names))
        for one in shown
    ]
    return [("", *names), *rows]
