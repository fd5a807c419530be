"""The runtime on a board: which files belong there, whether they are, and how they get there.

The files go through the raw REPL, because the link's server is one of them.
"""

from __future__ import annotations

import ast
from binascii import b2a_base64, crc32
from collections.abc import Callable

from ..device import server_frames as wire
from ..runtime.files import FOLDER, sources, wanted
from ..runtime.platforms import Platform
from .errors import DeployError
from .repl import Repl

BLOCK = 768  # bytes of a file in one line; a multiple of 3
SMALL_BLOCK = 144  # where the link drops what the board does not read in time
AHEAD = 3  # blocks on their way, where nothing is dropped
WRITE_LIMIT = 30.0  # seconds for a board to write a block

SUMS = """
def picoformer_sums(folder):
    import os
    from binascii import crc32
    sums = {}
    block = bytearray(512)
    try:
        names = os.listdir(folder)
    except OSError:
        names = ()
    for name in names:
        crc = 0
        try:
            with open(folder + "/" + name, "rb") as f:
                while True:
                    n = f.readinto(block)
                    if not n:
                        break
                    crc = crc32(memoryview(block)[:n], crc)
        except OSError:
            continue
        sums[name] = crc & 0xFFFFFFFF
    print(sums)
picoformer_sums(%r)
del picoformer_sums
"""

FOLDERS = f"""
import os
for folder in "/lib", {FOLDER!r}:
    try:
        os.mkdir(folder)
    except OSError:
        pass
"""

# Says "!" when it is ready, "." after each block that is in flash, and at last the file's CRC32.
RECEIVE = """
def picoformer_receive(path, size, block):
    import sys
    from binascii import a2b_base64, crc32
    read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
    crc = 0
    with open(path, "wb") as f:
        write(b"!")
        while size > 0:
            n = min(size, block)
            data = a2b_base64(read((n + 2) // 3 * 4))
            f.write(data)
            crc = crc32(data, crc)
            size -= n
            write(b".")
    print(crc & 0xFFFFFFFF)
"""

Progress = Callable[[str, int, int], object]


def installed(repl: Repl) -> dict[str, int]:
    """CRC32 of each file of the board's runtime, by name."""
    sums = ast.literal_eval(repl.run(SUMS % FOLDER, 30.0).strip())
    assert isinstance(sums, dict)
    return sums


def up_to_date(board: Platform, found: dict[str, int]) -> bool:
    """Whether the board has this picoformer's runtime, in either form."""
    return any(
        found == {name: crc32(data) for name, data in form.items()}
        for form in (wanted(board.mpy, board.architecture), sources())
    )


def install(repl: Repl, board: Platform, progress: Progress | None = None) -> bool:
    """Bring the board's runtime up to date. Returns whether anything was written.

    The board needs a soft reset afterwards: what it has imported is the old one.
    """
    found = installed(repl)
    if up_to_date(board, found):
        return False
    runtime = wanted(board.mpy, board.architecture)
    total = sum(map(len, runtime.values()))
    done = 0
    repl.run(FOLDERS)
    repl.run(RECEIVE)
    for name, data in runtime.items():
        if found.get(name) != crc32(data):
            _send(repl, board, f"{FOLDER}/{name}", data)
        done += len(data)
        if progress:
            progress("runtime", done, total)
    # A .py would hide the .mpy of its name, and nothing else belongs here.
    others = sorted(set(found) - set(runtime))
    if others:
        repl.run(f"for n in {others!r}: os.remove({FOLDER + '/'!r} + n)")
    return True


def _send(repl: Repl, board: Platform, path: str, data: bytes) -> None:
    roomy = board.platform in wire.PATIENT
    block, ahead = (BLOCK, AHEAD) if roomy else (SMALL_BLOCK, 1)
    part = path + ".part"
    repl.start(f"picoformer_receive({part!r}, {len(data)}, {block})")
    repl.expect(b"!", WRITE_LIMIT)
    waiting = 0
    for at in range(0, len(data), block):
        if waiting == ahead:
            repl.expect(b".", WRITE_LIMIT)
            waiting -= 1
        repl.write(b2a_base64(data[at : at + block], newline=False))
        waiting += 1
    for _ in range(waiting):
        repl.expect(b".", WRITE_LIMIT)
    said = repl.finish(WRITE_LIMIT).strip()
    if said != str(crc32(data)):
        raise DeployError(
            f"{path} arrived damaged (CRC32 {said}, expected {crc32(data)}); check the cable and "
            "deploy again"
        )
    repl.run(
        f"try:\n    os.remove({path!r})\nexcept OSError:\n    pass\nos.rename({part!r}, {path!r})"
    )
