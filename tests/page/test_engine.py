"""The page's engine in node: MicroPython, the runtime and the kernels as the browser runs them."""

from __future__ import annotations

import base64
import json
import subprocess
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import models
from conftest import no_node
from picoformer.device.listener import Listener
from picoformer.runtime.files import sources
from tools.kernels import wasm
from tools.kernels.__main__ import BOARD
from tools.sweeps.mutations import Parts

WEB = models.ROOT / "web"
SCRIPT = Path(__file__).with_name("engine.mjs")
TEXTS = "Will it rain in Lyon tomorrow?", "A dull film; I left early.", "caf\u00e9 \U0001f600 \0 x"
CONTEXT = "Anna lives in Lyon. She has two dogs. The red box is under the table."


pytestmark = pytest.mark.skipif(bool(no_node()), reason=no_node())


class Engine:
    """An Interpreter in node."""

    def __init__(self, site: Path) -> None:
        """site: a folder of files that web/ does not have, or that are others there."""
        files = {name: data.decode() for name, data in sources().items()}
        (site / "runtime").mkdir(parents=True)
        (site / "runtime" / "sources.json").write_text(json.dumps({"files": files}))
        self.process = subprocess.Popen(
            ["node", str(SCRIPT), str(site), str(WEB)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.loaded = 0

    def ask(self, name: str, as_: str = "", /, file=None, most=None, **given) -> dict:
        """All that a task tells, how long it took, and whether it failed."""
        for key, value in given.items():
            if isinstance(value, np.ndarray):
                value = value.tobytes()
            if isinstance(value, bytes):
                given[key] = {"base64": base64.b64encode(value).decode()}
        asked = {"task": name, "given": given, "as": as_ or None}
        asked |= {"file": str(file)} if file else {}
        asked |= {"most": most} if most else {}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        said = self.process.stdout.readline()
        assert said, self.process.stderr.read()
        return json.loads(said)

    def __call__(self, name: str, as_: str = "", /, **given) -> list:
        """All that a task tells."""
        found = self.ask(name, as_, **given)
        assert not found.get("error"), found["error"]
        assert not found["printed"]
        return found["values"]

    def load(self, file: Path, kernels: str = "wasm", context: int | None = None) -> dict:
        self.loaded += 1
        path = f"/{self.loaded}.pft"
        return self("load", file=file, path=path, kernels=kernels, context=context)[0]

    def logits(self, given, source=None) -> list[int]:
        return self("logits", "Int32Array", given=given, source=source)[0]

    def text(self, prompt: str, n: int | None, **more) -> tuple[str, dict]:
        """A text, and how it ended."""
        given = {"temperature": 0, "top_p": 1, "seed": 1, "stop": None, "raw": False} | more
        *pieces, end = self("generate", prompt=prompt, max_tokens=n, **given)
        return "".join(p["text"] for p in pieces), end


@contextmanager
def started(site: Path, viper: Path | None = None) -> Iterator[Engine]:
    """viper: the source of other kernels, in the place of BOARD's."""
    if viper:
        others = [BOARD / f"kernels_{name}.py" for name in ("viper4", "windows", "sound")]
        kernels = site / "engine" / "kernels.wasm"
        kernels.parent.mkdir(parents=True)
        kernels.write_bytes(wasm.module([viper, *others]))
    found = Engine(site)
    yield found
    found.process.communicate(timeout=10)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with started(tmp_path_factory.mktemp("engine")) as found:
        yield found


def results(found) -> list[tuple[str, int]]:
    return [(r["label"], r["logit"]) for r in found[0]]


def test_stories(engine, own):
    model = own("stories")
    about = engine.load(model.path)
    assert about["task"] == "generate" and about["kernels"] == "wasm"
    assert about["bytes"] == model.path.stat().st_size
    for tokens in ([1], [1, 5, 9, 300], list(range(40, 90))):
        assert engine.logits(tokens) == model.sim.logits(tokens)[-1].tolist()
    numbers = {"temperature": 0.8, "top_p": 0.9, "seed": 7}
    for more in ({}, numbers, {"temperature": 1, "seed": 3}):
        text, end = engine.text("Once upon a time", 60, **more)
        assert text == "".join(model.sim.generate("Once upon a time", 60, **more))
        assert end == {"tokens": 60, "stopped": "length"}
    text, end = engine.text("Once upon a time", None, stop=["Lily"])
    assert text == " there was a little girl named " and end["stopped"] == "end"
    assert engine.text("Once", None, temperature=0.5)[1]["stopped"] in ("context", "end")
    assert not engine.ask("generate", most=2, prompt="Once", max_tokens=9, temperature=0, top_p=1,
                          seed=1, stop=None, raw=False).get("error")  # fmt: skip


@pytest.mark.parametrize("name", ["intents", "sentiment"])
def test_texts(engine, own, name):
    model = own(name)
    assert engine.load(model.path)["labels"] == model.sim.labels
    for text in TEXTS:
        found = engine("read", task="classify", given=text)
        expected = model.sim.classify(text)
        assert results(found) == expected
        shares = [(r["label"], r["probability"]) for r in found[0]]
        assert shares == model.sim.probabilities(expected)


def test_translations(engine, own):
    model = own("english-french")
    engine.load(model.path)
    for text in ("Where is the cat?", "I have lost my key."):
        for beams in (1, 3):
            *pieces, end = engine("translate", text=text, beams=beams)
            said = "".join(p["text"] for p in pieces)
            assert said == model.sim.translate(text, beams=beams)
            assert end["stopped"] == "end"


def test_answers(engine, own):
    model = own("facts")
    engine.load(model.path)
    for question in ("Where is the red box?", "How many dogs does Anna have?"):
        said = engine("answer", context=CONTEXT, question=question)[0]["text"]
        assert said == model.sim.answer(CONTEXT, question)


def test_images(engine, own):
    model = own("fashion")
    height, width, channels = engine.load(model.path)["image"]
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels))
        found = engine("read", task="classify", given=pixels.astype(np.uint8))
        assert results(found) == model.sim.classify(pixels)


def test_signals(engine, own):
    model = own("motions")
    length, channels = engine.load(model.path)["frames"]
    for rows in (length, length - 20):
        signal = np.random.default_rng(rows).integers(-9000, 9000, (rows, channels))
        found = engine("read", task="classify", given=signal.astype("<i2"))
        assert results(found) == model.sim.classify(signal)


@pytest.mark.parametrize("kernels", ["wasm", "portable"])
def test_sounds(engine, own, kernels):
    model = own("digits")
    about = engine.load(model.path, kernels)
    rate = about["sound"]["rate"]
    t = np.arange(rate if kernels == "wasm" else rate // 8)
    samples = np.rint(9000 * np.sin(t * t / 9000)).astype("<i2")
    expected = model.sim.frames.sound(samples)
    (found,) = engine("rows", "Int16Array", given=samples)
    assert found == expected.reshape(-1).tolist()
    if kernels == "wasm":
        rows = expected[-about["frames"][0] :].astype("<i2")
        found = engine("read", task="classify", given=rows)
        assert results(found) == model.sim.classify(rows.astype(np.int64))
        options = {"threshold": 0.1, "rest": 0.1}
        events = engine("listen", given=np.tile(samples, 3), options=options)
        heard = Listener(model.sim, BytesIO(np.tile(samples, 3).tobytes()), **options)
        found = [(e["label"], e["share"], e["ms"]) for e in events if e]
        assert found == list(heard)
        assert events.count(None) > len(samples) // about["sound"]["hop"] // 20  # where it may end
    said = engine.ask("rows", "Int16Array", given=samples[:5])["error"]["message"]
    assert "the sound has 5 samples, expected" in said


TOKENS = ["gpt2", "gpt2 deep", "bert", "distilbert", "minilm distances", "gpt2 four",
          "bert one four", "gpt2 odd narrow", "minilm distances narrow"]  # fmt: skip


@pytest.mark.parametrize("name", TOKENS)
def test_other_architectures(engine, built, name):
    a = built(name)
    about = engine.load(a.file())
    tokens = [t % about["vocab"] for t in range(3, 3 + min(about["context"], 19))]
    assert engine.logits(tokens) == a.sim().logits(tokens)[-1].tolist()


@pytest.mark.parametrize("name", ["signal four", "forecast", "forecast narrow"])
def test_other_signals(engine, built, name):
    a = built(name)
    engine.load(a.file())
    signal = a.signal(seed=1)
    assert engine.logits(signal.astype("<i2")) == a.sim()._read(signal, a.graph.task).tolist()
    if a.graph.task == "predict":
        found = engine("read", "Float32Array", task="predict", given=signal.astype("<i2"))
        assert array("f", found[0]) == array("f", a.sim().predict(signal))


def test_words_and_embeddings(engine, built):
    tagged = built("tagged")
    engine.load(tagged.file())
    text = "w3 w5 w9"
    found = engine("read", task="tag", given=text)[0]
    assert [(w["word"], w["label"], w["logit"]) for w in found] == tagged.sim().tag(text)
    encoder = built("minilm")
    engine.load(encoder.file())
    found = engine("read", "Int32Array", task="embed", given=text)[0]
    assert found == encoder.sim().embed(text).tolist()


def test_a_check(engine, own):
    sim = own("stories").sim
    engine.load(own("stories").path)
    for tokens, wrong in ([1, 40], 0), ([1], 1), ([1], None):
        crc = zlib.crc32(sim.logits(tokens)[-1].astype("<i4").tobytes())
        said = None if wrong is None else crc ^ wrong
        asked = engine.ask("check", given={"tokens": tokens}, crc=said)
        *progress, found = asked["values"]
        assert {p["total"] for p in progress} == {len(progress)}
        assert [p["done"] for p in progress] == list(range(1, len(progress) + 1))
        assert found["equal"] and found["compared"] == len(tokens) * 512
        assert found["recorded"] == (None if said is None else said == crc)
    assert engine("check", given={"input": "a"}, crc=None)[-1]["equal"]
    translator = own("english-french").sim
    engine.load(own("english-french").path)
    source, bos = translator.encode("I run."), translator.model.bos
    translator.source(source)
    crc = zlib.crc32(translator.logits([bos])[-1].astype("<i4").tobytes())
    found = engine("check", given={"tokens": [bos], "source": source}, crc=crc)[-1]
    assert found["equal"] and found["recorded"]


LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("facts", "intents", "digits")]


@pytest.mark.parametrize("name", ["english-french", "motions", *LONG])
def test_a_check_of_whatever_there_is(engine, own, name):
    engine.load(own(name).path)
    found = engine("check", given={}, crc=None)[-1]
    assert found["equal"] and found["recorded"] is None


def test_a_difference_is_seen(own, tmp_path):
    """Kernels that round otherwise."""
    source = tmp_path / "kernels_viper.py"
    text = (BOARD / source.name).read_text("utf-8").replace("scale + 0x2000)", "scale + 0x1FF0)")
    source.write_text(text, "utf-8")
    with started(tmp_path / "site", source) as engine:
        sim = own("stories").sim
        engine.load(own("stories").path)
        tokens = [1]
        crc = zlib.crc32(sim.logits(tokens)[-1].astype("<i4").tobytes())
        found = engine("check", given={"tokens": tokens}, crc=crc)[-1]
        assert not found["equal"] and not found["recorded"]


def test_errors_are_told_and_the_model_stays(engine, own, tmp_path):
    engine.load(own("stories").path)
    data = own("stories").path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", b"\x89PFT", data[:5000], data + b"more", bytes(300)]
    for _ in range(12):
        other = bytearray(data)
        for at in rng.integers(0, len(data), 1 + rng.integers(3)):
            other[at] ^= int(rng.integers(1, 256))
        damaged.append(bytes(other))
    for bad in damaged:
        (tmp_path / "bad.pft").write_bytes(bad)
        given = {"path": "/bad.pft", "kernels": "wasm", "context": None}
        error = engine.ask("load", file=tmp_path / "bad.pft", **given)["error"]
        assert error["code"] == "error" and "\n" not in error["message"]
        assert engine.logits([1, 5]) == own("stories").sim.logits([1, 5])[-1].tolist()
    for said, task, given in (
        ("made to generate, not to classify", "read", {"task": "classify", "given": "x"}),
        ("0 tokens, expected 1 to 256", "logits", {"given": [], "source": None}),
        ("no task 'sing'", "read", {"task": "sing", "given": ""}),
    ):
        error = engine.ask(task, **given)["error"]
        assert said in error["message"] and error["code"] == "error"
    asked = engine.ask("generate", prompt="a", max_tokens=1, temperature=200, top_p=1, seed=1,
                       stop=None, raw=False)  # fmt: skip
    assert asked["error"]["message"] == "temperature is 200.0, expected 0.0 to 100.0"
    engine("unload")
    assert "no model is loaded" in engine.ask("logits", given=[1], source=None)["error"]["message"]


@pytest.mark.parametrize("odd", [b"[" * 99999 + b"]" * 99999, b"1e999"])
def test_metadata_that_are_no_json_for_a_page_are_absent(engine, own, tmp_path, odd):
    parts = Parts.of(own("intents").path.read_bytes())
    labels = own("intents").sim.labels
    meta = b'{"labels":%s,"x":%s}' % (json.dumps(labels).encode(), odd)
    parts.meta = meta + b" " * (-len(meta) % 4)
    (tmp_path / "odd.pft").write_bytes(parts.data())
    about = engine.load(tmp_path / "odd.pft")
    assert about["meta"] == {} and about["labels"] == labels


def test_a_kernel_that_fails(own, tmp_path):
    """Its own words are told; Python knows nothing of it, and the engine begins anew."""
    source = tmp_path / "kernels_viper.py"
    text = (BOARD / source.name).read_text("utf-8")
    text = text.replace("    n = rec[2]\n", "    n = rec[2] // (base - base)\n", 1)
    source.write_text(text, "utf-8")
    with started(tmp_path / "site", source) as engine:
        engine.load(own("intents").path)
        error = engine.ask("read", task="classify", given="play a song")["error"]
        assert error["message"] == "divide by zero"


HANGING = """
import { pathToFileURL } from "node:url";
const wait = setTimeout;
globalThis.setTimeout = (act, ms) => wait(act, ms / 20);
let begun = 0;
let silent = false;
globalThis.Worker = class {
  constructor() {
    begun += 1;
    wait(() => this.onmessage({ data: { ready: true } }));
  }
  terminate() {
    this.gone = true;
  }
  postMessage({ id, task }) {
    if (task === "load") this.onmessage({ data: { id, value: { title: "" }, end: true } });
    // Between what it says it is at something else.
    const talk = () => !silent && wait(() => {
      this.onmessage({ data: { id: 99, value: 1 } });
      talk();
    }, 50);
    if (task === "read") talk();
  }
};
const { Engine } = await import(pathToFileURL(process.argv[1]));
const engine = await Engine.start("http://localhost/");
await engine.load(new ArrayBuffer(4), "a");
const control = new AbortController();
const said = engine.listen(new Int16Array(4), {}, control).catch((error) => error.code);
const other = engine.read("classify", "x").catch((error) => error.code);
control.abort();
const early = await Promise.race([said, new Promise((done) => wait(done, 700, "alive"))]);
silent = true;
const told = [early, await said, await other, engine.worker.gone, begun];
const { title } = await engine.load(new ArrayBuffer(4), "b");
console.log(JSON.stringify([...told, begun, title]));
process.exit();
"""


def test_a_worker_that_does_not_stop_is_ended():
    done = subprocess.run(
        ["node", "--input-type=module", "-e", HANGING, "--", str(WEB / "engine" / "engine.js")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout) == ["alive", "broken", "broken", True, 1, 2, ""], done.stderr


def test_memory_comes_back(engine, own):
    sizes = []
    for i in range(12):
        engine.load(own(("stories", "intents", "facts")[i % 3]).path)
        engine.logits([1, 5])
        sizes.append(engine.ask("unload")["heap"])
    assert sizes[-1] <= sizes[5]


def test_the_story_model_is_fast(engine, own):
    engine.load(own("stories").path)
    asked = engine.ask("generate", prompt="Once upon a time", max_tokens=200, temperature=0,
                       top_p=1, seed=1, stop=None, raw=False)  # fmt: skip
    speed = 200 / asked["ms"] * 1000
    print(f"tokens/s {speed:.0f}, in node")
    assert speed > 100
