"""The compiler from viper to WebAssembly: what the page has is what it makes, and its errors."""

from __future__ import annotations

import numpy as np
import pytest

from cores import Memory
from picoformer import Error
from tools.kernels import wasm
from tools.kernels.__main__ import PAGE, page
from wasmcore import WebAssembly

HEAD = "import micropython\n\n\n@micropython.viper\ndef f(p: ptr32, n: int):\n    "


def test_what_the_page_has_is_what_the_kernels_say():
    assert PAGE.read_bytes() == page(), f"{PAGE}: python -m tools.kernels"


@pytest.mark.parametrize("n, data", [(0, "00"), (127, "7f"), (128, "8001"), (624485, "e58e26")])
def test_unsigned_numbers(n, data):
    assert wasm.unsigned(n).hex() == data


@pytest.mark.parametrize(
    "n, data", [(63, "3f"), (64, "c000"), (-64, "40"), (-65, "bf7f"), (1 << 31, "8080808078")]
)
def test_signed_numbers(n, data):
    assert wasm.signed(n).hex() == data


@pytest.fixture
def written(tmp_path):
    def write(lines):
        path = tmp_path / "some.py"
        path.write_text(HEAD + "\n    ".join(lines.split("; ")) + "\n", encoding="utf-8")
        return path

    return write


WORDS = 7, -7, 0, (1 << 31) - 1, -(1 << 31), 0x12345678, 33, -3


def low(v):
    return (v & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)


@pytest.mark.parametrize(
    "lines, expected",
    [
        ("p[0] = p[0] + p[1] * n - 5", lambda a, b, n: a + b * n - 5),
        ("p[0] = p[0] // 3", lambda a, b, n: a // 3),
        ("p[0] = p[0] // (0 - 3)", lambda a, b, n: a // -3),
        ("p[0] = (p[0] >> 3 | p[1] & 0xFF0FF) ^ n", lambda a, b, n: (a >> 3 | b & 0xFF0FF) ^ n),
        ("p[0] = int(uint(p[0]) >> 3)", lambda a, b, n: (a & 0xFFFFFFFF) >> 3),
        ("p[0] = ptr16(p)[1]", lambda a, b, n: a >> 16 & 0xFFFF),
        ("p[0] = ptr8(int(p) + 1)[2]", lambda a, b, n: a >> 24 & 255),
        ("ptr8(p)[1] = p[1]", lambda a, b, n: a & ~0xFF00 | (b & 255) << 8),
        ("ptr16(p)[1] = p[1]", lambda a, b, n: a & 0xFFFF | b << 16),
        ("if not p[0] < n:\n        p[0] <<= 2", lambda a, b, n: a if a < n else a << 2),
        ("if p[0] < n or p[0] > p[1]:\n        p[0] = 1",
         lambda a, b, n: 1 if a < n or a > b else a),
        ("if p[0] < n and p[0]:\n        p[0] = 1\n    elif p[0] == 7:\n        return; p[0] += 1",
         lambda a, b, n: 2 if a < n and a else a if a == 7 else a + 1),
        ("t = 0; i = n; while i > 0:\n        t += i\n        i -= 1\n    p[0] = t",
         lambda a, b, n: n * (n + 1) // 2),
    ],
)  # fmt: skip
def test_it_counts_as_viper_does_on_32_bits(written, lines, expected):
    cpu = WebAssembly(written(lines))
    for a in WORDS:
        memory = Memory(np.random.default_rng(0))
        at = memory.put([a, -a // 3])
        words = memory.words.copy()
        words[memory.index(at)] = expected(a, low(-a // 3), 9) & 0xFFFFFFFF
        assert (cpu.call("f", memory, at, 9, watch=True) == words).all(), a


def test_an_access_outside_is_seen(written):
    for line in "p[2] = 0", "n = p[2]", "n = ptr8(n)[0]", "ptr16(int(p) - 8)[0] = n":
        memory = Memory(np.random.default_rng(0))
        at = memory.put([1, 2])
        with pytest.raises(AssertionError, match="f fails: it touches 0x"):
            WebAssembly(written(line)).call("f", memory, at, 9, watch=True)


@pytest.mark.parametrize(
    "lines, said",
    [
        ("p = n", "line 6: p is ptr32, and becomes int"),
        ("p[n] = 1", "the index of `p.n.` is not a constant"),
        ("n = n % 3", "the operator of `n % 3` is not known"),
        ("n = p + 4", "ptr32 and int, expected int"),
        ("n = n << uint(3)", "int and uint, expected int"),
        ("n = q", "`q` is not known"),
        ("n = n[0]", "`n` is int, expected a pointer"),
        ("n = len(p)", "`len.p.` is not known"),
        ("p[0] = p", "a pointer is stored"),
        ("return n", "`return n` is not known"),
        ("for n in range(3):\n        pass", "`for n in range.3.:` is not known"),
        ("if p == n:\n        pass", "expected two int"),
        ("while n:\n        n -= 1\n    else:\n        n = 3", "`else` of a loop"),
        ("n = n = 3", "more than one name"),
        ("n.a = 3", "nothing can be put into `n.a`"),
    ],
)
def test_what_it_does_not_know_is_told(written, lines, said):
    with pytest.raises(Error, match=said):
        wasm.module([written(lines)])


@pytest.mark.parametrize(
    "text, said",
    [
        ("def f(p: ptr32):\n    pass\n", "line 1: f is no viper function"),
        ("@micropython.viper\ndef f(p):\n    pass\n", "the argument p without a type of viper's"),
        ("@micropython.viper\ndef f(*p):\n    pass\n", "an argument that is not plain"),
    ],
)
def test_so_is_what_is_no_kernel(tmp_path, text, said):
    path = tmp_path / "some.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Error, match=said):
        wasm.module([path])
