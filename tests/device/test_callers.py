"""A model is called by one at a time: callbacks, threads, generators, the server."""

from __future__ import annotations

import numpy as np
import pytest

import models

TEXTS = ["turn on the light", "what is the weather like", "play some music"]

INSIDE = """
from picoformer import Error, Model

m = Model(FILE)
calls = {
    "logits": lambda: m.logits([1]),
    "generate": lambda: next(m.generate("a")),
    "read": lambda: m.read("a", m.task),
    "classify": lambda: m.classify("a"),
    "embed": lambda: m.embed("a"),
    "answer": lambda: m.answer("a b", "a"),
    "translation": lambda: next(m.translation("a")),
    "translate": lambda: m.translate("a"),
    "beams": lambda: m.translate("a", 2),
    "source": lambda: m.source([1]),
    "close": m.close,
}
steps = m._body
kernel, record = steps[0]
said = {}


def called(record, space):
    for name in calls:
        try:
            calls[name]()
            said[name] = "it ran"
        except Error as e:
            said[name] = str(e)
    kernel(record, space)


before = list(m.logits(TOKENS))
m._filled = 0
steps[0] = called, record
assert list(m.logits(TOKENS)) == before
steps[0] = kernel, record
assert sorted(said) == sorted(calls)
print([name for name in calls if not said[name].startswith("the model is running")])
m._filled = 0
assert list(m.logits(TOKENS)) == before
m.close()
"""


def test_whoever_calls_a_running_model_is_refused(unix, own):
    assert unix(INSIDE, FILE=str(own("stories").path), TOKENS=[1, 5, 9]) == "[]\n"


SCHEDULED = """
import micropython
from picoformer import Error, Model

m = Model(FILE)
expected = {text: m.classify(text) for text in TEXTS}
refused = answered = 0


def callback(text):
    global refused, answered
    try:
        assert m.classify(text) == expected[text]
        answered += 1
    except Error as e:
        assert "running" in str(e)
        refused += 1


# A callback comes between any two steps, wherever one is due.
steps = m._body
kernel, record = steps[3]


def late(record, space):
    micropython.schedule(callback, TEXTS[1])
    kernel(record, space)


steps[3] = late, record
wrong = 0
for i in range(30):
    wrong += m.classify(TEXTS[i % 3]) != expected[TEXTS[i % 3]]
print(wrong, refused + answered >= 29, refused > 0)
"""


def test_callbacks_do_not_spoil_results(unix, own):
    said = unix(SCHEDULED, FILE=str(own("intents").path), TEXTS=TEXTS)
    assert said == "0 True True\n"


THREADS = """
import _thread, time
from picoformer import Error, Model

m = Model(FILE)
expected = {text: m.classify(text) for text in TEXTS}
done = []


def work(which):
    wrong = refused = right = 0
    while right + wrong < 20:
        text = TEXTS[(right + which) % 3]
        try:
            if m.classify(text) == expected[text]:
                right += 1
            else:
                wrong += 1
        except Error as e:
            assert "running" in str(e)
            refused += 1
        time.sleep_ms(1)
    done.append(wrong)


for which in range(2):
    _thread.start_new_thread(work, (which,))
while len(done) < 2:
    time.sleep_ms(5)
print(done, m.classify(TEXTS[0]) == expected[TEXTS[0]])
"""


def test_threads_do_not_spoil_results(unix, own):
    said = unix(THREADS, FILE=str(own("intents").path), TEXTS=TEXTS)
    assert said == "[0, 0] True\n"


GENERATORS = """
from picoformer import Error, Model

m = Model(FILE)
whole = list(m.generate("Once", 12, 800, 900, 7))

# One that is dropped, and one that waits, lock nothing.
for piece in m.generate("Once", 12):
    break
waiting = m.generate("The", 12)
next(waiting)
assert list(m.generate("Once", 12, 800, 900, 7)) == whole
try:
    next(waiting)
    print("it went on")
except Error as e:
    print(e)

# One that fails before it begins changes nothing of another, nor does what needs no model.
first = m.generate("Once", 12, 800, 900, 7)
pieces = [next(first), next(first)]
for bad in (lambda: m.generate("Once", 12, 800, 5000), lambda: m.generate("a " * 400, 12, 1)):
    try:
        next(bad())
        print("it ran")
    except Error:
        pass
print(pieces + list(first) == whole)

# An end that another text comes before flushes nothing of that text.
one = m.generate("Once", 1)
next(one)
two = m.generate("Once", 12, 800, 900, 7)
pieces = [next(two)]
print(list(one), pieces + list(two) == whole)
"""


def test_generators_that_wait_or_fail(unix, own):
    said = unix(GENERATORS, FILE=str(own("stories").path))
    assert said == (
        "the model ran something else between two pieces of this text\nTrue\n[] True\n"
    )


INTERRUPTED = """
from picoformer import Model

m = Model(FILE)
expected = list(m.logits(TOKENS))
m._filled = 0
steps = m._body
kernel, record = steps[2]


def interrupted(record, space):
    raise KeyboardInterrupt


steps[2] = interrupted, record
for call in (lambda: m.logits(TOKENS), lambda: next(m.generate("Once", 3))):
    m._filled = 0
    try:
        call()
        print("it ran")
    except KeyboardInterrupt:
        pass
steps[2] = kernel, record
print(list(m.logits(TOKENS)) == expected)
"""


def test_ctrl_c_gives_the_model_back(unix, own):
    assert unix(INTERRUPTED, FILE=str(own("stories").path), TOKENS=[1, 5, 9]) == "True\n"


def example(page: str, heading: str, own) -> list[str]:
    """The programs of a section of a page of docs/, with the paths of these models."""
    page = (models.ROOT / "docs" / page).read_text("utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = [part.partition("```")[0] for part in section.split("```python\n")[1:]]
    assert found
    for name in "intents", "stories", "fashion":
        if any(f"/{name}.pft" in part for part in found):
            path = str(own(name).path)
            found = [part.replace(f"/{name}.pft", path) for part in found]
    return found


@pytest.mark.parametrize("name", ["README.md", "docs/api.md"])
def test_the_board_in_other_pages(unix, own, name):
    """The first example is the board's; then the PC is asked for the same text."""
    page = (models.ROOT / name).read_text("utf-8")
    code = page.split("```python\n")[1].partition("```")[0]
    assert "from picoformer import Model" in code
    said = unix(code.replace("/stories.pft", str(own("stories").path)))
    options = {"temperature": 0.8, "top_p": 0.9, "seed": 7}
    for value in options.values():
        assert f"={value}" in code
    assert said == "".join(own("stories").sim.generate("Tom was", 50, **options))


def test_callers_in_the_guide(unix, own):
    first, second = example("product.md", "Callbacks, threads and asyncio", own)
    said = unix(first + "tick(0)\nmodel._lock.acquire(0)\ntick(0)\n")
    assert said.startswith("('PlayMusic', ") and "\nbusy: the model is running" in said
    said = unix(second)
    assert said.count("*") == 5 and "*" not in said[-20:], said
    told = "".join(own("stories").sim.generate("Once upon a time", 20))
    assert said.replace("*", "") == told


def test_a_threshold_in_the_guide(unix, own):
    code, _ = example("text.md", "How sure it is", own)
    sim = own("intents").sim
    rain, deal = (
        sim.probabilities(sim.classify(text))[0]
        for text in ("will it rain tomorrow?", "a deal is a deal")
    )
    assert rain == ("GetWeather", rain[1]) and deal[1] < 0.98 < rain[1]
    assert unix(code) == f"GetWeather {rain[1]!r}\nnone of these {deal[1]!r}\n"


PINS = """
import builtins, sys

lit = []


class Pin:
    OUT = 1

    def __init__(self, name, mode):
        assert name == "LED" and mode == self.OUT

    def value(self, on):
        lit.append(int(on))


class Machine:
    pass


def typed(prompt):
    if not LINES:
        raise KeyboardInterrupt
    print(end=prompt)
    return LINES.pop(0)


Machine.Pin = Pin
sys.modules["machine"] = Machine
builtins.input = typed
"""


def test_a_first_product_in_the_guide(unix, own):
    """Its main.py: what is typed is answered, and music lights the LED."""
    (main,) = example("product.md", "The program", own)
    sim = own("intents").sim
    texts = ["play some jazz", "will it rain tomorrow?", "a deal is a deal"]
    answers = []
    for text in texts:
        label, share = sim.probabilities(sim.classify(text))[0]
        answers.append(f"{label if share >= 0.98 else 'none of these'} {share!r}")
    assert [a.split()[0] for a in answers] == ["PlayMusic", "GetWeather", "none"]
    ends = "\nexcept KeyboardInterrupt:\n    print(lit)\n"
    said = unix(f"{PINS}try:\n    exec({main!r}){ends}", LINES=texts)
    assert said.splitlines() == [*(f"command> {a}" for a in answers), "[1, 0, 0]"]
    page = (models.ROOT / "docs/product.md").read_text("utf-8")
    for text, answer in zip(texts[::2], answers[::2], strict=True):
        assert f"command> {text}\n{answer}\n" in page


MACHINE = """
import sys

fed = []
said = []


class UART:
    def __init__(self, number, rate):
        self.lines = iter(LINES)

    def read(self):
        line = next(self.lines)
        if line == "Ctrl-C":
            raise KeyboardInterrupt
        return line

    def write(self, text):
        said.append(text)


class WDT:
    def __init__(self, timeout):
        assert timeout <= 8388

    def feed(self):
        fed.append(len(said))


class Machine:
    UART = UART
    WDT = WDT


sys.modules["machine"] = Machine
"""


def test_a_product_in_the_guide(unix, own, tmp_path):
    """Its main.py: a line that is no text does no harm, and feeds nothing; Ctrl-C ends it."""
    (main,) = example("product.md", "A program that mends itself", own)
    (tell,) = example("product.md", "The watchdog", own)
    assert 'os.listdir("/")' in main
    main = main.replace('os.listdir("/")', f"os.listdir({str(tmp_path)!r})")
    ends = "\nexcept KeyboardInterrupt:\n    print(said, fed)\n"
    script = f"{MACHINE}try:\n    exec({main!r}){ends}"
    lines = [b"will it", b" rain tomorrow?\n", None, b"\xff\xfe\n", b"a deal is a deal\n"]
    lines += [b"no " * 67, "Ctrl-C"]
    error, result = unix(script, LINES=lines).splitlines()
    assert error.startswith("error: ")
    other = "none of these\\n"
    assert result == rf"['GetWeather\n', '{other}', '{other}'] [0, 1, 1, 2, 3]"
    (tmp_path / "setup").touch()  # which keeps it from all that
    assert unix(script, LINES=lines) == ""
    told = unix(
        f"{MACHINE}{tell}from picoformer import Model\nmodel = Model(FILE)\n"
        "print(tell(model, WDT(5), 'Once upon a time'))\nprint(len(fed))\n",
        FILE=str(own("stories").path),
    )
    text = list(own("stories").sim.generate("Once upon a time", 50, 0.8, 0.9))
    assert told == "".join(text) + f"\n{len(text)}\n"


def test_an_update_in_the_guide(unix, own, tmp_path):
    """A file that has arrived takes the old one's place if it is a model, else it goes."""
    (code,) = example("product.md", "Updates in the field", own)
    old, new = tmp_path / "old.pft", tmp_path / "new.pft"
    old.write_bytes(b"old")
    ends = "try:\n    replace(NEW, OLD)\nexcept Error as e:\n    print(str(e)[:5])\n"
    whole = own("intents").path.read_bytes()
    for sent, said, kept in ((whole[:-1], "model\n", b"old"), (whole, "", whole)):
        new.write_bytes(sent)
        assert unix(code + ends, NEW=str(new), OLD=str(old)) == said
        assert old.read_bytes() == kept and not new.exists()
    new.write_bytes(whole)
    full = "class Model:\n    def __init__(self, *a, **k):\n"
    full += "        raise Error('not enough memory: 1 are free')\n"
    assert unix(code + full + ends, NEW=str(new), OLD=str(old)) == "not e\n"
    assert old.read_bytes() == whole and new.exists()


def test_a_camera_in_the_guide(unix, own, tmp_path):
    """A frame, dark on white and four times as large, is classified as the picture is."""
    (code,) = example("images.md", "From a camera", own)
    boot = np.load(models.ROOT / "tests" / "data" / "fashion.npz")["images"][0]
    frame = np.full((120, 160), 255, np.uint8)
    frame[4:116, 24:136] = 255 - boot.reshape(28, 28).repeat(4, 0).repeat(4, 1)
    (tmp_path / "frame.bin").write_bytes(frame.tobytes())
    sim = own("fashion").sim
    label, share = sim.probabilities(sim.classify(boot.reshape(28, 28)))[0]
    code = code.replace("/frame.bin", str(tmp_path / "frame.bin"))
    assert unix(code) == f"{label} {share!r}\n"


def test_a_port_without_threads(monkeypatch, own):
    """Callbacks there are refused by a plain flag."""
    import importlib
    import sys

    from picoformer.device import model as module

    monkeypatch.setitem(sys.modules, "_thread", None)
    plain = importlib.reload(module)
    try:
        lock = plain.allocate_lock()
        assert lock.acquire(0) and not lock.acquire(0)
        lock.release()
        assert lock.acquire(0)
    finally:
        monkeypatch.undo()
        importlib.reload(module)
