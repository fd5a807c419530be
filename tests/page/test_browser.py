"""The page in a browser: its models against the simulator, its board against the unix port."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest

import models
import wavs
from conftest import SERIAL, no_browser
from picoformer.data.pictures import picture
from picoformer.data.signals import signal
from picoformer.data.sounds import sound
from picoformer.device.listener import Listener

pytestmark = pytest.mark.skipif(bool(no_browser()), reason=no_browser())

NAMES = (
    "stories", "intents", "sentiment", "facts", "english-french", "fashion", "motions", "digits",
    "digest",
)  # fmt: skip
WITHOUT = "delete Navigator.prototype.serial;"
WRITE = "#here button[type=submit]"
FIGURES = "#here .figures:not(:empty)"
IDLE = "#here:not([aria-busy])"


def choose(page: Any, name: str) -> None:
    page.locator(f'#models input[value="{name}"]').check(force=True)
    page.wait_for_function(
        "name => document.querySelector('#here:not([aria-busy]) form')"
        " && document.querySelector('#here h3').dataset.name === name", arg=name,
    )  # fmt: skip


def run(page: Any) -> str:
    """What the chosen model says of what is in its form."""
    page.click(WRITE)
    page.wait_for_selector(FIGURES)
    page.wait_for_selector(IDLE)
    return str(page.inner_text("#here .result"))


def stop_soon(page: Any, where: str) -> None:
    """Begin a text, and stop it when the first of it is there."""
    page.evaluate("""async (where) => {
      const button = document.querySelector(`${where} button[type=submit]`);
      button.click();
      while (!document.querySelector(`${where} .story span:last-child`)?.textContent) {
        await new Promise((done) => setTimeout(done));
      }
      button.click();
    }""", where)


def error(page: Any, where: str) -> str:
    found = page.locator(f"{where}:not(:empty)").first
    found.wait_for()
    return str(found.inner_text())


def labels(page: Any, where: str = "#here") -> list[tuple[str, str]]:
    texts = page.locator(f"{where} .bars li").all_inner_texts()
    return [tuple(text.split("\n")[::2]) if text.count("\n") > 1 else tuple(text.split("\n"))
            for text in texts]  # fmt: skip


def shares(sim: Any, given: Any) -> list[tuple[str, str]]:
    """The first labels, as the page shows them."""
    found = sim.classify(given)
    return [(label, f"{100 * share:.1f}\u00a0%") for label, share in sim.probabilities(found)][:5]


def test_models_answer_as_the_simulator_does(opened, built_site) -> None:
    """And nothing is wider than a phone."""
    page = opened(360, dark=True)
    sims = {name: built_site.simulator(name) for name in NAMES}
    inputs: dict[str, Any] = {
        "intents": "Will it rain in Lyon tomorrow?",
        "sentiment": "A warm, funny film with a big heart.",
        "fashion": picture(models.ROOT / "models/fashion/boot.png", (28, 28, 1)),
        "motions": signal(models.ROOT / "models/motions/walking.csv", sims["motions"].frames),
        "digits": signal(models.ROOT / "models/digits/seven.wav", sims["digits"].frames),
    }  # fmt: skip
    for name in NAMES:
        choose(page, name)
        said = run(page)
        if name == "stories":
            assert said == built_site.story
        elif name == "digest":
            log = (models.ROOT / "models/digest/sample.txt").read_text("utf-8")
            assert said == log + "".join(sims[name].generate(log)) and "27.5 at 12:00" in said
        elif name == "facts":
            context, question = (area.input_value() for area in page.locator("textarea").all())
            assert said == sims[name].answer(context, question) == "under the table"
        elif name == "english-french":
            assert said == sims[name].translate("Where is the cat?")
        else:
            assert labels(page) == shares(sims[name], inputs[name])
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == 360, name


def test_numbers_are_checked(opened) -> None:
    page = opened()
    choose(page, "motions")
    run(page)
    page.click("text=Check the arithmetic")
    page.wait_for_selector("#here .good")
    said = page.inner_text("#here .check")
    assert "Equal:" in said and "PC's simulator" in said
    # One that runs does not hold up what comes next.
    choose(page, "facts")
    run(page)
    page.click("text=Check the arithmetic")
    page.evaluate("globalThis.old = document.querySelector('#here .check [role=status]')")
    choose(page, "intents")
    assert page.evaluate("old.textContent") == ""


def test_stories(opened, built_site) -> None:
    page = opened()
    rates = []
    for _ in range(3):
        run(page)
        rates.append(float(page.locator("#here [data-rate]").get_attribute("data-rate")))
    print(f"\ntokens/s {max(rates):.0f}")
    assert max(rates) >= 100
    assert "longest" not in page.inner_text("#here .figures")  # the story has an end
    page.click("text=Another one")
    page.wait_for_selector(FIGURES)
    assert page.inner_text("#here .result") not in ("", built_site.story)
    page.click("summary:has-text('More')")
    page.get_by_label("Seed").fill("1")
    stop_soon(page, "#here")
    page.wait_for_selector(FIGURES)
    assert "stopped" in page.inner_text("#here .figures")
    said = page.inner_text("#here .result")
    assert built_site.story.startswith(said) and len(said) < len(built_site.story)
    # The settings are those of picoformer generate.
    page.get_by_label("Length in tokens").fill("20")
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Beginning").fill("Tom was")
    sim = built_site.simulator("stories")
    assert run(page) == "Tom was" + "".join(sim.generate("Tom was", 20))
    page.get_by_label("Temperature").fill("-3")
    run(page)
    said = page.inner_text("#here .settings + .note")
    assert said == "Temperature goes from 0 to 10: it is 0 now."


def test_files_of_the_user(opened, built_site, tmp_path) -> None:
    page = opened()
    run(page)
    said = page.inner_text("#here .result")
    good = built_site.model("intents")
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 1
    for data in (bytes(damaged), good[:5000], b"no model", b""):
        page.set_input_files("#own-file", {"name": "mine.pft", "mimeType": "", "buffer": data})
        text, details = error(page, "#models-error").split("\n")
        assert details == "Details" and text.startswith("mine.pft is ")
        assert "no picoformer model" in text or "damaged" in text
        assert page.inner_text("#here .result") == said
    page.set_input_files("#own-file", {"name": "mine.pft", "mimeType": "", "buffer": good})
    page.wait_for_selector('#models input[value="mine"]:checked', state="attached")
    page.get_by_label("Text", exact=True).fill("book a table for two")
    run(page)
    assert labels(page)[0][0] == "BookRestaurant"


def drop(page: Any, name: str, data: bytes) -> None:
    """Drop a file on the page."""
    page.evaluate("""([name, data]) => {
      const moved = new DataTransfer();
      moved.items.add(new File([Uint8Array.from(data)], name));
      const given = { dataTransfer: moved, bubbles: true, cancelable: true };
      document.body.dispatchEvent(new DragEvent("dragenter", given));
      document.body.dispatchEvent(new DragEvent("drop", given));
    }""", [name, list(data)])


def test_pictures(opened, built_site, tmp_path) -> None:
    image = pytest.importorskip("PIL.Image")
    page = opened()
    sim = built_site.simulator("fashion")
    choose(page, "fashion")
    rng = np.random.default_rng(0)
    turned = image.Exif()
    turned[0x112] = 6  # its orientation
    for mode, kind, more in (
        ("RGB", "png", {}), ("RGBA", "png", {}), ("L", "png", {}), ("L", "jpg", {}),
        ("RGB", "jpg", {"exif": turned}), ("RGB", "webp", {}),
    ):  # fmt: skip
        pixels = rng.integers(0, 256, (9, 7, len(mode)), np.uint8)
        given = image.fromarray(pixels.squeeze()).resize((70, 90), image.Resampling.BICUBIC)
        file = tmp_path / f"given.{kind}"
        given.save(file, **more)
        found = page.evaluate("""async ([data, name]) => {
          const { picture } = await import(new URL("ui/picture.js", location));
          return [...await picture(new File([Uint8Array.from(data)], name), [28, 28, 1])];
        }""", [list(file.read_bytes()), file.name])
        assert found == picture(file, (28, 28, 1)).reshape(-1).tolist(), (mode, kind)
    page.set_input_files("#here input[type=file]", str(file))
    page.wait_for_timeout(300)
    run(page)
    assert labels(page) == shares(sim, picture(file, (28, 28, 1)))
    # The negative of a garment is told.
    boot = 255 - picture(models.ROOT / "models/fashion/boot.png", (28, 28, 1))
    image.fromarray(boot[..., 0]).save(tmp_path / "negative.png")
    drop(page, "negative.png", (tmp_path / "negative.png").read_bytes())
    page.wait_for_selector("text=this model knows dark ones: press Invert")
    page.click("text=Invert >> nth=0")
    run(page)
    assert labels(page)[0][0] == "Ankle boot"
    drop(page, "notes.txt", b"hello")
    assert "notes.txt is no picture" in error(page, "#here .side .error")
    # Drawn, with the mouse and by keys.
    page.click("text=Clear")
    canvas = page.locator("canvas.pixels")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 200, steps=5)
    page.mouse.up()
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    run(page)
    assert len(labels(page)) == 5


def test_signals_and_sounds(opened, built_site, tmp_path) -> None:
    page = opened()
    choose(page, "motions")
    drop(page, "mine.csv", b"ax,ay\n1,2\n")
    assert "no column az" in error(page, "#here .error")
    run(page)  # the example is still there
    assert labels(page)[0][0] == "Walking"
    choose(page, "digits")
    spoken = sound(models.ROOT / "models/digits/seven.wav", 8000)
    calm = np.zeros(6000, np.int16)
    long = wavs.write(tmp_path / "long.wav", np.concatenate([calm, spoken, calm, spoken, calm]))
    drop(page, "long.wav", long.read_bytes())
    page.wait_for_selector("text=it listens along")
    page.wait_for_selector("#here tbody tr")
    page.wait_for_selector(IDLE)
    assert page.inner_text(WRITE) == "Find words"
    run(page)
    heard = Listener(built_site.simulator("digits"), BytesIO(sound(long, 8000).tobytes()))
    expected = [f"{ms / 1000:.2f}\u00a0s\t{label}\t{round(100 * share)}\u00a0%"
                for label, share, ms in heard]  # fmt: skip
    assert page.locator("#here tbody tr").all_inner_texts() == expected != []
    page.click("text=Record")
    page.wait_for_selector("text=Speak now")  # and it ends by itself
    page.wait_for_selector("text=your recording, where it is loudest, 1.0")
    page.wait_for_selector("#here .bars")
    page.click("text=Play")
    page.wait_for_selector("text=Stop playing")


def test_tasks_that_no_shipped_model_has(opened, built) -> None:
    page = opened()

    def given(name: str, text: str = "") -> Any:
        page.evaluate("document.querySelector('#here h3').dataset.old = true")
        page.set_input_files("#own-file", str(built(name).file()))
        page.wait_for_selector("#here h3:not([data-old])")
        page.wait_for_selector(IDLE)
        if text:
            page.get_by_label("Text", exact=True).fill(text)
        run(page)
        return built(name).sim()

    text = "w3 w5 w9"
    sim = given("tagged", text)
    words = [tuple(said.split("\n")) for said in page.locator("#here .words li").all_inner_texts()]
    assert words == [(word, label) for word, label, _ in sim.tag(text)]
    sim = given("minilm", text)
    first = ", ".join(map(str, sim.embed(text)[:12].tolist()))
    assert page.inner_text("#here .result code").startswith(first)
    page.get_by_label("Text", exact=True).fill("w4")
    run(page)
    assert "Cosine to the text before: 0." in page.inner_text("#here .result")
    page.click("text=Check the arithmetic")
    page.wait_for_selector("#here .good")
    page.set_input_files("#own-file", str(built("forecast").file()))
    page.wait_for_selector("text=Choose a .csv")
    rows = built("forecast").signal(seed=1)
    drop(page, "rows.csv", "\n".join(",".join(map(str, row)) for row in rows).encode())
    page.wait_for_selector("text=rows.csv, ")
    run(page)
    found = [float(said) for said in page.locator("#here td.n").all_inner_texts()]
    assert np.allclose(found, built("forecast").sim().predict(rows), rtol=1e-5)


def test_no_result_beside_another_input(opened, built_site) -> None:
    page = opened()
    run(page)
    page.get_by_label("Beginning").fill("Tom")
    assert page.inner_text("#here .result") == "" == page.inner_text("#here .figures")
    run(page)
    page.click("summary:has-text('More')")
    page.get_by_label("Seed").fill("3")
    assert page.inner_text("#here .result") == ""
    # A change while it writes ends the text, of which nothing stays.
    page.evaluate("""async (where) => {
      const area = document.querySelector("#here textarea");
      document.querySelector(where).click();
      while (!document.querySelector("#here .story span:last-child")?.textContent) {
        await new Promise((done) => setTimeout(done));
      }
      area.value = "Lily";
      area.dispatchEvent(new Event("input", { bubbles: true }));
    }""", WRITE)
    page.wait_for_selector(IDLE)
    assert page.inner_text("#here .result") == "" == page.inner_text("#here .figures")
    # Pictures and signals are read at once.
    choose(page, "fashion")
    page.wait_for_selector("#here .bars li:has-text('Ankle boot') >> nth=0")
    sim = built_site.simulator("fashion")
    page.click("text=Invert >> nth=0")
    negative = 255 - picture(models.ROOT / "models/fashion/boot.png", (28, 28, 1))
    page.wait_for_function(
        "said => document.querySelector('#here .bars .share')?.textContent === said",
        arg=shares(sim, negative)[0][1],
    )
    page.click("text=Clear")
    page.wait_for_function("!document.querySelector('#here .bars')")
    assert page.inner_text("#here .error >> nth=-1") == ""
    page.click(WRITE)
    assert error(page, "#here form > .error") == "Draw something first."


def test_inputs_that_are_none(opened) -> None:
    page = opened()
    for name in "stories", "intents", "facts", "english-french":
        choose(page, name)
        page.locator("#here textarea").last.fill(" \n")
        page.click(WRITE)
        assert error(page, "#here .error") == "Write something first.", name


def test_texts_that_are_too_long(opened, built_site) -> None:
    page = opened()
    text = "Once there was a dog. " * 60
    page.get_by_label("Beginning").fill(text)
    page.click(WRITE)
    sim = built_site.simulator("stories")
    tokens = len(sim.tokenizer.prompt(text))
    said = error(page, "#here .error")
    assert f"{tokens} tokens, the model reads at most 256 (about " in said and tokens > 256
    assert page.inner_text("#here .result") == ""
    for name in "intents", "facts":
        choose(page, name)
        sim = built_site.simulator(name)
        page.get_by_label("Text", exact=True).fill(text)
        run(page)
        if name == "facts":
            question = page.get_by_label("Question about it").input_value()
            ids = sim.tokenizer.encode(question)
            room = sim.model.context - len(sim.tokenizer.wrap(ids, []))
        else:
            room = sim.model.context - len(sim.tokenizer.wrap([]))
        tokens = len(sim.tokenizer.encode(text))
        assert f"Only the first {room} of {tokens} tokens" in page.inner_text("#here"), name


def test_keys_and_clicks(opened, built_site) -> None:
    page = opened()
    page.dblclick(WRITE)
    page.wait_for_selector(FIGURES)
    page.wait_for_selector(IDLE)
    assert page.inner_text("#here .result") == built_site.story
    area = page.get_by_label("Beginning")
    area.fill("Tom")
    area.press("Shift+Enter")
    assert area.input_value() == "Tom\n"
    area.fill("Tom was")
    area.press("Enter")
    page.wait_for_selector("#here .story")
    assert area.input_value() == "Tom was"
    page.wait_for_selector(IDLE)
    choose(page, "facts")
    area = page.get_by_label("Text", exact=True)
    area.press("Enter")
    assert "\n" in area.input_value() and not page.inner_text("#here .result")
    area.press("Control+Enter")
    page.wait_for_selector("#here .story")
    page.click("summary:has-text('Where the numbers')")
    # What was typed, and what was opened, is there when one comes back.
    choose(page, "stories")
    assert page.get_by_label("Beginning").input_value() == "Tom was"
    assert page.locator("#here .check details[open]").count() == 1


def test_the_address_names_the_model(opened) -> None:
    page = opened()
    assert page.url.endswith("#stories")
    choose(page, "digits")
    assert page.url.endswith("#digits")
    page.go_back()
    page.wait_for_selector("#here h3[data-name=stories]")
    page.goto(page.url.replace("#stories", "#motions"))
    page.wait_for_selector("#here h3[data-name=motions]")
    page.reload()
    page.wait_for_selector("#here h3[data-name=motions]")
    page.goto(page.url.replace("#motions", "#%"))
    page.reload()
    page.wait_for_selector("#here h3[data-name=stories]")
    page.goto(page.url.replace("#stories", "#motions"))
    page.wait_for_selector("#here h3[data-name=motions]")
    assert page.locator("#models :checked").get_attribute("value") == "motions"


def test_files_that_another_model_reads(opened) -> None:
    page = opened()
    drop(page, "boot.png", (models.ROOT / "models/fashion/boot.png").read_bytes())
    said = error(page, "#models-error")
    assert said.startswith("boot.png is a picture, and stories reads text. fashion reads pictures")
    drop(page, "notes.txt", b"hello")
    page.wait_for_selector("#models-error:has-text('notes.txt: expected a model file')")


def test_a_signal_that_is_longer_than_the_model_reads(opened, built_site) -> None:
    page = opened()
    choose(page, "motions")
    sim = built_site.simulator("motions")
    rows = signal(models.ROOT / "models/motions/walking.csv", sim.model.frames)
    long = np.concatenate([rows, rows // 8, rows[:30]])
    text = "ax,ay,az,gx,gy,gz\n" + "\n".join(",".join(map(str, row)) for row in long)
    drop(page, "long.csv", text.encode())
    page.wait_for_selector("text=long.csv, 230 rows, 23.0 s")
    page.wait_for_selector("#here tbody tr")
    page.wait_for_selector(IDLE)
    found = page.locator("#here tbody tr").all_inner_texts()
    expected = []
    for at in (0, 50, 100, 130):
        label, share = shares(sim, long[at : at + 100])[0]
        expected.append(f"{at / 10:.1f} \u2013 {at / 10 + 10:.1f}\t{label}\t{share}")
    assert found == expected


def test_a_model_can_be_saved(opened, built_site) -> None:
    page = opened()
    with page.expect_download() as saved:
        page.click("text=Save stories.pft")
    assert saved.value.suggested_filename == "stories.pft"
    assert saved.value.path().read_bytes() == built_site.model("stories")


def walk(page: Any, most: int = 60) -> list[str]:
    """What has the focus, Tab after Tab."""
    seen = []
    for _ in range(most):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("""() => {
          const at = document.activeElement;
          if (at === document.body) return "";
          const named = at.getAttribute("aria-label") || at.labels?.[0]?.textContent
            || at.textContent;
          return `${at.localName} ${named.trim()}`;
        }"""))
        if not seen[-1]:
            break
    return seen


def test_keys_alone(opened) -> None:
    page = opened()
    seen = walk(page)
    assert all(len(name.split(" ", 1)[1]) > 1 for name in seen if name), seen
    order = ["a To the models", "input storieswrites text", "input Open a model file",
             "textarea Beginning of the text", "button Write", "summary More"]  # fmt: skip
    assert [name for name in seen if name in order] == order
    page.locator("#models input >> nth=0").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#here h3[data-name=intents]")
    page.wait_for_selector(IDLE)
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("play some jazz")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#here .bars")
    assert labels(page)[0][0] == "PlayMusic"
    assert page.evaluate("document.activeElement.textContent") == "Classify"
    assert "PlayMusic" in page.inner_text("#said")


# Boards


def connect(page: Any) -> None:
    page.click("text=Connect a board")
    page.wait_for_selector("#board dl")


# Notes in `sent` how much of a model was, and cancels where it is more than `least`; once.
SENT = """([size, least]) => {
  globalThis.sent = [];
  let cut = false;
  new MutationObserver(() => {
    const bar = document.querySelector("#board progress");
    if (bar?.max !== size || bar.value === sent.at(-1)) return;
    sent.push(bar.value);
    if (cut || bar.value <= least) return;
    cut = true;
    bar.nextElementSibling.click();
  }).observe(document.querySelector("#board"), { subtree: true, attributes: true });
}"""


def test_a_board(opened, built_site, board) -> None:
    page = opened(script=SERIAL)
    connect(page)
    assert "There is no model on the board yet" in page.inner_text("#board")
    # Cut where a third of the model is there, it goes on from there.
    page.evaluate(SENT, [len(built_site.model("stories")), 90_000])
    page.click("#board button:has-text('Send stories')")
    page.wait_for_selector("text=Cancelled: sent again, it goes on", timeout=60_000)
    page.evaluate("sent.length = 0")
    page.click("#board button:has-text('Send stories')")
    form = "#board form"
    page.wait_for_selector(form, timeout=60_000)
    assert page.evaluate("sent[0]") > 90_000
    page.click(f"{form} button[type=submit]")
    page.wait_for_selector("#board .figures:not(:empty)")
    assert page.inner_text("#board .result") == built_site.story
    assert "kernels on the board" in page.inner_text("#board .figures")
    # The same in this browser, by the same form.
    page.get_by_label("this browser").check()
    page.click(f"{form} button[type=submit]")
    page.wait_for_selector("#board .figures:has-text('this browser')")
    assert page.inner_text("#board .result") == built_site.story
    # Another model beside it; a picture goes over the cable.
    choose(page, "fashion")
    page.click("#board button:has-text('Send fashion')")
    page.wait_for_selector("#board canvas", timeout=60_000)
    page.wait_for_timeout(200)
    page.click(f"{form} button[type=submit]")
    page.wait_for_selector("#board .bars")
    assert labels(page, "#board")[0][0] == "Ankle boot"
    for name in "fashion", "stories":
        page.get_by_role("button", name=f"Remove {name} from the board").click()
        page.get_by_role("button", name=f"Remove {name} from the board").wait_for(state="detached")
    assert "There is no model on the board yet" in page.inner_text("#board")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.click("text=Disconnect")
    page.wait_for_selector("text=can have the port")
    connect(page)  # and again
    assert "up to date" in page.inner_text("#board")


def test_a_small_board_is_stopped_and_unplugged(opened, built_site, small_board) -> None:
    board = small_board
    page = opened(360, script=SERIAL)
    connect(page)
    page.wait_for_selector("#board .plan:has-text('tokens in place of 256')")
    page.click("#board button:has-text('Send stories')")
    page.wait_for_selector("#board form", timeout=60_000)
    assert "in place of 256: more do not fit" in page.inner_text("#board-panel")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    button = "#board form button[type=submit]"
    stop_soon(page, "#board")
    page.wait_for_selector("#board .figures:not(:empty)")
    assert built_site.story.startswith(page.inner_text("#board .result"))
    beginning = page.locator("#board form textarea")
    beginning.fill("Once there was a dog. " * 60)
    page.click(button)
    assert "tokens, the model reads at most" in error(page, "#board form .error")
    assert page.inner_text("#board .result") == ""
    beginning.fill("Once upon a time")
    page.click(button)
    page.wait_for_selector("#board .story span:last-child:not(:empty)")
    board.pulled = True
    said = error(page, "#board-panel > .panel .error")
    assert "unplugged" in said and "\n" not in said
    board.pulled = False
    connect(page)
    assert not page.locator("#board form").is_visible()  # it was the other connection's
    assert page.get_by_role("button", name="Try stories on the board").count() == 1


def test_ports_that_do_not_open(opened, board) -> None:
    page = opened(script=SERIAL)
    page.evaluate("globalThis.nothingChosen = true")
    page.click("text=Connect a board")
    page.wait_for_selector("#board .note:has-text('No port was chosen')")
    assert not page.locator("#board .error:not(:empty)").count()
    page.evaluate("globalThis.nothingChosen = false")
    board.taken = True
    page.get_by_role("button", name="Choose among all ports").click()
    page.wait_for_selector("#board .error:has-text('Another program has it')")
    board.taken = False
    page.evaluate("""() => {
      const button = document.querySelector("#board button");
      button.click();
      button.click();
    }""")
    page.wait_for_selector("#board dl")


def test_what_fits(opened) -> None:
    page = opened()
    page.locator("#board select").scroll_into_view_if_needed()
    page.wait_for_selector("#board .plan:has-text('It fits.')")
    page.select_option("#board select", "pico-w")
    # As docs/boards.md has it, beside the server.
    page.wait_for_selector("#board .plan:has-text('It fits, with texts of up to 180 tokens')")
    said = page.inner_text("#board .plan")
    assert "--key-bits 8" in said and "tokens/s on a Raspberry Pi Pico W" in said
    # The picture is that of what fits.
    assert page.locator("#board .plan svg .limit").count() == 0


def test_a_browser_without_web_serial(opened) -> None:
    page = opened(360, script=WITHOUT)
    said = page.inner_text("#board")
    assert "no Web Serial" in said and "Chrome" in said and "picoformer deploy" in said
    assert page.locator("#board button").all_inner_texts() == ["Copy"]
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    run(page)
