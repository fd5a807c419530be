"""Converted models and emulated boards that tests share."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

# Before numpy is imported: for matrices as small as these, BLAS threads only get in the way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A job in the background ignores Ctrl-C, one of nohup its end, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import pytest  # noqa: E402

import models  # noqa: E402


def pytest_xdist_auto_num_workers(config) -> int:
    """One more than there are processors: boards wait, for time-outs and for one another."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """A model asks for collections, as boards need them; here each looks at all that there is."""
    gc.collect()
    gc.freeze()
    gc.collect = lambda generation=2: 0  # type: ignore[assignment]


@pytest.fixture(scope="session")
def case(tmp_path_factory) -> Callable[[str], models.Case]:
    """case(name): one of `models.CASES`, converted once."""
    made: dict[str, models.Case] = {}

    def get(name: str) -> models.Case:
        if name not in made:
            made[name] = models.Case(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Callable[[str], models.Architecture]:
    """built(name): one of `models.ARCHITECTURES` or `models.SPECIAL`, compiled once."""
    made: dict[str, models.Architecture] = {}

    def get(name: str) -> models.Architecture:
        if name not in made:
            made[name] = models.Architecture(name, tmp_path_factory.mktemp("architecture"))
        return made[name]

    return get


@pytest.fixture(scope="session")
def cpu():
    """A Cortex-M0 with the assembler's kernels in its flash; see cores.py."""
    from cores import core

    return core("thumb", "M0")


@pytest.fixture(scope="session")
def stories(tmp_path_factory) -> models.Converted:
    """Our own story model."""
    path = tmp_path_factory.mktemp("stories") / "stories.pft"
    return models.Converted(models.STORIES, path)


@pytest.fixture(scope="session")
def own(tmp_path_factory) -> Callable[[str], models.Converted]:
    """own(name): one of the models that this project ships, converted once."""
    made: dict[str, models.Converted] = {}

    def get(name: str) -> models.Converted:
        if name not in made:
            path = tmp_path_factory.mktemp(name) / f"{name}.pft"
            made[name] = models.Converted(models.ROOT / "models" / name, path)
        return made[name]

    return get


@pytest.fixture(scope="session")
def stories260k(tmp_path_factory) -> models.Converted:
    """The real llama2.c checkpoint, where it is."""
    source = models.STORIES260K / "stories260K.bin"
    if not source.is_file():
        pytest.skip(f"no checkpoint {source}")
    return models.Converted(source, tmp_path_factory.mktemp("stories260K") / "stories260K.pft")


@pytest.fixture(scope="session")
def page_cache(tmp_path_factory) -> Path:
    """A user's cache in which the page has been made; one for all workers."""
    from picoformer.boards.emulated.flash import claim
    from picoformer.boards.errors import EmulatorError
    from picoformer.page import site

    base = tmp_path_factory.getbasetemp()
    folder = base.parent / "page" if "PYTEST_XDIST_WORKER" in os.environ else base / "page"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "a+b") as lock, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        while True:
            try:
                claim(lock.fileno(), "page", folder, "")
                break
            except EmulatorError:
                time.sleep(0.1)
        site.build([], str)
    return folder


@pytest.fixture(scope="session")
def page_files(page_cache) -> dict[str, bytes | Path]:
    """The files of the page by their places."""
    from picoformer.page import site

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(page_cache))
        return site.build([], str)


@pytest.fixture(scope="session")
def unix() -> Callable[..., str]:
    """unix(script, **names): what the script prints on MicroPython's unix port."""
    reason = models.no_micropython()
    if reason:
        pytest.skip(reason)
    return models.run_unix


@pytest.fixture(scope="session")
def families(unix) -> list[str]:
    """The kernel families that the unix port here can run."""
    script = """
try:
    import picoformer.kernels_viper
    print(1)
except (ImportError, SyntaxError):
    print(0)
"""
    return ["viper", "portable"] if unix(script) == "1\n" else ["portable"]


@pytest.fixture(scope="session")
def native(families) -> str:
    """The name of the native kernels, where the unix port has a code emitter."""
    if "viper" not in families:
        pytest.skip("this MicroPython has no native code emitter")
    return "viper"


REASONS = 20  # of skipped tests, that a screen has room for


def pytest_terminal_summary(terminalreporter) -> None:
    """Why tests were skipped, and how many faults the link's tests have tried."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, n in reasons.most_common(REASONS):
        terminalreporter.write_line(f"skipped {n}: {reason[:160]}")
    if len(reasons) > REASONS:
        terminalreporter.write_line(f"and for {len(reasons) - REASONS} more reasons (-rs)")
    protocol = sys.modules.get("test_protocol")
    if protocol and protocol.TRIED.faults:
        terminalreporter.write_line(protocol.TRIED.report())
