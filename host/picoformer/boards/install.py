"""The runtime on a board: which files belong there, whether they are, and how they get there.

The files go through the raw REPL, because the link's server is one of them.
"""

from __future__ import annotations

import ast
from binascii import b2a_base64, crc32
from collections.abc import Callable, Iterable

from ..device import server_frames as wire
from ..runtime.files import FOLDER, READER, Runtime, readers, wanted
from ..runtime.platforms import Platform
from .errors import DeployError
from .repl import Repl

BLOCK = 768  # bytes of a file in one line; a multiple of 3
LONE_BLOCK = 1536  # where a link drops what is not read in time: only one is on its way
PIECE = 240  # bytes that such a board has room for, and
PAUSE = PIECE / 11520  # seconds that a UART takes for them; native USB brings them at once
AHEAD = 3  # blocks on their way, where nothing is dropped
WRITE_LIMIT = 60.0  # seconds without a word, for a board to write a block or read a file

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
            sums[name] = crc & 0xFFFFFFFF
        except OSError:
            try:
                if os.stat(folder + "/" + name)[0] & 0x4000:
                    continue
            except OSError:
                pass
            sums[name] = None
        print(end=" ")
    print(sums)
picoformer_sums(%r)
del picoformer_sums
"""

# Of each model in the board's flash, what begins its tokenizer's section.
TOKENIZERS = """
def picoformer_tokenizers():
    import os
    found = []
    for name in os.listdir("/"):
        if name.endswith(".pft"):
            try:
                with open("/" + name, "rb") as f:
                    f.seek(68)
                    f.seek(int.from_bytes(f.read(4), "little"))
                    found.append(f.read(8))
            except (OSError, OverflowError):
                pass
    print(found)
picoformer_tokenizers()
del picoformer_tokenizers
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
# No memory is asked for while a block comes: to collect it may take too long.
RECEIVE = """
def picoformer_receive(path, size, block):
    import sys
    from binascii import a2b_base64, crc32
    readinto, write = sys.stdin.buffer.readinto, sys.stdout.buffer.write
    text = memoryview(bytearray((block + 2) // 3 * 4))
    crc = 0
    with open(path, "wb") as f:
        write(b"!")
        while size > 0:
            n = min(size, block)
            part = text[: (n + 2) // 3 * 4]
            readinto(part)
            data = a2b_base64(part)
            f.write(data)
            crc = crc32(data, crc)
            size -= n
            write(b".")
    print(crc & 0xFFFFFFFF)
"""

# Says a word of each file: a board may take its time.
REMOVE = """
import os
for name in {names!r}:
    os.remove({folder!r} + name)
    print(name)
"""

REPLACE = """
import os
try:
    os.remove({path!r})
except OSError:
    pass
os.rename({part!r}, {path!r})
"""

PART = ".part"
DOORS = "server", "__init__"  # the modules without which no other is imported

Progress = Callable[[str, int, int], object]


def installed(repl: Repl) -> dict[str, int | None]:
    """CRC32 of each file of the board's runtime, by name; None of what cannot be read."""
    sums = ast.literal_eval(repl.run(SUMS % FOLDER, WRITE_LIMIT).strip())
    assert isinstance(sums, dict)
    return sums


def stored(repl: Repl) -> list[bytes]:
    """The first 8 bytes of the tokenizer's section of each model in the board's flash."""
    found = ast.literal_eval(repl.run(TOKENIZERS, WRITE_LIMIT).strip())
    return [begins for begins in found if len(begins) == 8]


def compare(
    repl: Repl, board: Platform, tokenizers: Iterable[bytes]
) -> tuple[dict[str, int | None], Runtime, dict[str, int]]:
    """What the board has of the runtime, what it is to have, and CRC32 of each file of that."""
    found = installed(repl)
    had = {name.partition(".")[0] for name in found if name.startswith(READER)}
    sections = list(tokenizers)
    runtime = wanted(board, readers(sections) | had if sections or had else None)
    return found, runtime, {name: crc32(data) for name, data in runtime.files.items()}


def install(
    repl: Repl,
    board: Platform,
    tokenizers: Iterable[bytes] = (),
    progress: Progress | None = None,
) -> tuple[Runtime, bool]:
    """Bring the board's runtime up to date. Returns what it is now, and whether anything was
    written.

    tokenizers: sections of such models as are to come. It gets what reads these and those of the
    models in its flash, of a board without any all; what it has had of them it keeps, for models
    that may lie elsewhere.
    The board needs a soft reset afterwards: what it has imported is the old one. Wherever this is
    cut, the board has the old runtime, the new one, or one that does not start: files of two
    versions never run together.
    """
    found, runtime, sums = compare(repl, board, [*tokenizers, *stored(repl)])
    if found == sums:
        return runtime, False
    total = sum(map(len, runtime.files.values()))
    done = 0
    repl.run(FOLDERS, WRITE_LIMIT)
    # What starts it goes first and comes last. A .py hides the .mpy of its name, and goes behind
    # it; nothing else belongs here, and first of all it makes room.
    doors = [module + form for module in DOORS for form in (".mpy", ".py")]
    _forget_twins(found)
    others = sorted(name for name in found if name not in sums or found[name] is None)
    _remove(repl, [n for n in doors if n in found] + [n for n in others if n not in doors])
    repl.run(RECEIVE)
    for name in sorted(sums, key=lambda name: (name in doors, name)):
        data = runtime.files[name]
        if name in doors or found.get(name) != sums[name]:
            _send(repl, board, f"{FOLDER}/{name}", data)
        done += len(data)
        if progress:
            progress("runtime", done, total)
    return runtime, True


def _forget_twins(found: dict[str, int | None]) -> None:
    """On FAT a rename that was cut leaves two names of one file, which goes with either."""
    for name, crc in list(found.items()):
        if crc is not None and found.get(name + PART) == crc:
            found[name] = None


def _remove(repl: Repl, names: list[str]) -> None:
    if names:
        repl.run(REMOVE.format(names=names, folder=FOLDER + "/"), WRITE_LIMIT)


def _send(repl: Repl, board: Platform, path: str, data: bytes) -> None:
    roomy = board.platform in wire.PATIENT
    block, ahead = (BLOCK, AHEAD) if roomy else (LONE_BLOCK, 1)
    part = path + PART
    repl.start(f"picoformer_receive({part!r}, {len(data)}, {block})")
    repl.mark(b"!", WRITE_LIMIT)
    waiting = 0
    for at in range(0, len(data), block):
        if waiting == ahead:
            repl.mark(b".", WRITE_LIMIT)
            waiting -= 1
        text = b2a_base64(data[at : at + block], newline=False)
        step = len(text) if roomy else PIECE
        for i in range(0, len(text), step):
            if i:
                repl.sleep(PAUSE)
            repl.write(text[i : i + step])
        waiting += 1
    for _ in range(waiting):
        repl.mark(b".", WRITE_LIMIT)
    said = repl.finish(WRITE_LIMIT).strip()
    if said != str(crc32(data)):
        raise DeployError(
            f"{path} arrived damaged (CRC32 {said}, expected {crc32(data)}); check the cable and "
            "deploy again"
        )
    repl.run(REPLACE.format(path=path, part=part), WRITE_LIMIT)
