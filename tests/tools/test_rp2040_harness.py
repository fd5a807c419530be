"""The emulated RP2040: it boots, runs scripts, reads its flash and counts cycles exactly."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.emulation import filesystem, rp2040
from tools.emulation.errors import BoardError, RP2040Error

_REASON = rp2040.missing()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=_REASON or "")

_BLOB = bytes(range(256)) * 40

_KERNELS = """
import array, micropython

@micropython.viper
def dot(a: ptr32, b: ptr32, n: int) -> int:
    total = 0
    i = 0
    while i < n:
        total += a[i] * b[i]
        i += 1
    return total

@micropython.viper
def clocked(a: ptr32, b: ptr32, n: int) -> int:
    clock = ptr32(0x1F000000)
    start = clock[0]
    i = 0
    while i < n:
        a[i] += b[i]
        i += 1
    return clock[0] - start

@micropython.asm_thumb
def halve(r0):           # 1 + 3 (n - 1) + 2 cycles with n passes
    label(LOOP)
    sub(r0, 1)
    bne(LOOP)

@micropython.asm_thumb
def dot_thumb(r0, r1, r2):
    mov(r3, 0)
    label(LOOP)
    ldr(r4, [r0, 0])
    ldr(r5, [r1, 0])
    mul(r4, r5)
    add(r3, r3, r4)
    add(r0, 4)
    add(r1, 4)
    sub(r2, 1)
    bne(LOOP)
    mov(r0, r3)

A = array.array("i", range(-10, 22))
B = array.array("i", (i * i for i in range(32)))
"""

_FILES = {
    "/blob.bin": _BLOB,
    "/lib/pack/__init__.py": b"from . import deep\n",
    "/lib/pack/deep.py": b"VALUE = 42\n",
    "/lib/kernels.py": _KERNELS.encode(),
}


@pytest.fixture(scope="module")
def board() -> Iterator[rp2040.RP2040]:
    with rp2040.RP2040(_FILES) as booted:
        yield booted


def test_runs_scripts_and_keeps_globals(board: rp2040.RP2040) -> None:
    assert board.exec("x = 6 * 7\nprint('one'); print(x)") == "one\n42\n"
    assert board.exec("print(x)") == "42\n"
    assert board.exec("import sys; print(sys.platform)") == "rp2\n"
    assert board.exec("import gc; gc.collect(); print(gc.mem_free() > 200_000)") == "True\n"
    long_script = "# longer than the USB buffers\n" * 100 + "print('end')"
    assert board.exec(long_script) == "end\n"
    assert board.exec("") == ""
    assert board.exec("print(x)") == "42\n"


def test_raises_the_boards_traceback_with_the_output(board: rp2040.RP2040) -> None:
    with pytest.raises(BoardError, match="ZeroDivisionError") as caught:
        board.exec("print('before')\n1 // 0")
    assert caught.value.output == "before\n"
    assert "line 2" in str(caught.value)


def test_times_out_and_stays_usable(board: rp2040.RP2040) -> None:
    with pytest.raises(TimeoutError, match="begun"):
        board.exec("print('begun')\nwhile True: pass", timeout=0.1)
    assert board.exec("print('fine')") == "fine\n"


def test_mounts_the_image_it_was_given(board: rp2040.RP2040) -> None:
    assert board.exec("import os; print(sorted(os.listdir('/')))") == "['blob.bin', 'lib']\n"
    assert board.exec("import pack; print(pack.deep.VALUE)") == "42\n"
    script = "d = open('/blob.bin', 'rb').read(); print(d == bytes(range(256)) * 40)"
    assert board.exec(script) == "True\n"
    assert (
        board.exec("print(os.statvfs('/')[:3])")
        == f"({filesystem.FS_BLOCK}, {filesystem.FS_BLOCK}, 352)\n"
    )


def test_what_the_board_writes_can_be_read_and_booted_again(board: rp2040.RP2040) -> None:
    board.exec("with open('/lib/new.txt', 'w') as f: f.write('kept')")
    image = board.filesystem
    assert filesystem.read_image(image) == {**_FILES, "/lib/new.txt": b"kept"}
    with rp2040.RP2040(filesystem=image) as second:
        assert second.exec("print(open('/lib/new.txt').read())") == "kept\n"


def test_native_kernels_run(board: rp2040.RP2040) -> None:
    expected = sum(a * i * i for i, a in enumerate(range(-10, 22)))
    script = "from kernels import *\nprint(dot(A, B, 32), dot_thumb(A, B, 32))"
    assert board.exec(script) == f"{expected} {expected}\n"


def test_cycle_counts_are_exact(board: rp2040.RP2040) -> None:
    setup = "from kernels import *"

    def cost(passes: int) -> int:
        return board.measure(f"f({passes})", setup + "\nf = halve", names="f")

    # sub 1, taken branch 2 (a conditional branch that falls through: 1).
    assert cost(200) - cost(100) == 300
    # Two loads, each 2 cycles, and six single-cycle instructions, and the branch.
    names = "dot_thumb, A, B"
    assert board.measure("dot_thumb(A, B, 32)", setup, names) - board.measure(
        "dot_thumb(A, B, 16)", setup, names
    ) == 16 * (2 * 2 + 5 + 2)
    assert board.measure("pass") == 0


def test_cycle_counts_repeat_on_another_board(board: rp2040.RP2040) -> None:
    def count(on: rp2040.RP2040) -> int:
        return on.measure("dot(A, B, 32)", "from kernels import *", "dot, A, B")

    first = count(board)
    assert 1_000 < first < 10_000
    assert count(board) == first
    with rp2040.RP2040(_FILES) as second:
        assert count(second) == first


def test_scripts_can_read_the_cycle_counter(board: rp2040.RP2040) -> None:
    script = """
        from kernels import clocked, A, B
        import machine

        def both(memory, passes):
            state = machine.disable_irq()
            memory[0xE000E010] = 5
            systick = memory[0xE000E018]
            counter = memory[0x1F000000]
            for _ in range(passes):
                pass
            systick -= memory[0xE000E018]
            counter = memory[0x1F000000] - counter
            machine.enable_irq(state)
            print(systick, counter)

        print(clocked(A, B, 4), clocked(A, B, 8), clocked(A, B, 16))
        both(machine.mem32, 20)
        both(machine.mem32, 80)
    """
    numbers = [int(word) for word in board.exec(textwrap.dedent(script)).split()]
    four, eight, sixteen, systick, counter, later_systick, later_counter = numbers
    assert sixteen - eight == 2 * (eight - four) > 0
    assert later_systick - systick == later_counter - counter
    assert 60 * 200 < later_counter - counter < 60 * 800


def test_survives_resets(board: rp2040.RP2040) -> None:
    board.exec("x = 1")
    board.soft_reset()
    assert board.exec("print('x' in globals())") == "False\n"
    before = board.cycles
    with pytest.raises(RP2040Error, match="reset"):
        board.exec("import machine; machine.reset()")
    assert board.exec("print('up')") == "up\n"
    assert board.cycles > before


def test_the_image_refuses_what_does_not_fit() -> None:
    with pytest.raises(RP2040Error, match="/big.bin"):
        filesystem.flash_image({"/big.bin": bytes(2_000_000)})


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "script.py"
    script.write_text("import pack.deep as d\nprint(d.VALUE)\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "deep.py").write_text("VALUE = 7\n")
    assert rp2040.main([str(script), "--file", f"{tmp_path / 'pack'}:/lib/pack"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "7\n"
    assert "cycles" in printed.err
    script.write_text("print('a')\nraise ValueError(3)\n")
    assert rp2040.main([str(script)]) == 1
    printed = capsys.readouterr()
    assert printed.out == "a\n"
    assert "ValueError: 3" in printed.err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
def test_serial_port(board: rp2040.RP2040) -> None:
    serial = pytest.importorskip("serial")
    reply = bytearray()
    finished = threading.Event()

    def client(path: str) -> None:
        try:
            with serial.Serial(path, timeout=5) as port:
                port.write(b"\x03\x02print('ser' + 'ial')\r")
                reply.extend(port.read_until(b"\nserial\r\n"))
        finally:
            finished.set()

    limit = time.monotonic() + 15
    board.serve_pty(
        lambda path: threading.Thread(target=client, args=(path,), daemon=True).start(),
        until=lambda: finished.is_set() or time.monotonic() > limit,
    )
    assert reply.endswith(b"\nserial\r\n")
    assert board.exec("print(1)") == "1\n"


def test_mark_hook_gets_what_a_script_writes(board):
    marks: list[int] = []
    board.mark_hook = marks.append
    try:
        board.exec(f"import machine\nmachine.mem32[{rp2040.CYCLES}] = 7\n")
    finally:
        board.mark_hook = None
    board.exec(f"machine.mem32[{rp2040.CYCLES}] = 8\n")
    assert marks == [7]
