"""Steps of a model in one call of machine code, without Python between them: a `series`.

Its table has the address of each step's record and of its kernel, which only kernels in assembler
can be called by. Imported where such run a model, and dropped when it is loaded.
"""

from array import array

from . import regions

_LINEAR, _ATTEND, _LINEAR4 = 3, 5, 10
_OTHER = 512  # work of a step that is none of these, and of a call


def fuse(model, memory, words, series, most, address, code):
    """The parts of a model, with series in the place of steps, for `memory` with what they need.

    series: the kernel. most: what a call may do, as nothing else happens meanwhile, Ctrl-C among
    it; 0: all. Work is counted in four multiply-accumulates, about 16 cycles of an RP2040.
    address, code: as in regions.
    """
    kind = type(series)
    table = array("i")  # not a list, which would take the double where little is left
    used = [series]  # of which only addresses tell
    parts = []
    i = regions.caches(words) + words[11] + 2
    for steps in (model._encoder, model._body, model._head):
        part = []
        room = 0
        for kernel, record in steps:
            if most:
                work = _OTHER
                if words[i - 2] in (_LINEAR, _LINEAR4):
                    work += words[i + 3] * words[i + 9] * model._batch
                elif words[i - 2] == _ATTEND:
                    work += words[i + 3] * words[i + 5] * model.context * model._batch
                i += words[i - 1] + 2
                room -= work
            if type(kernel) is not kind:
                part.append((kernel, record))
                room = 0
                continue
            if not part or part[-1][0] is not series or room < 0:
                if table:
                    table.append(0)
                    table.append(0)
                part.append((series, len(table)))
                room = most and most - work
            if kernel not in used:
                used.append(kernel)
            table.append(regions.signed(record))
            table.append(regions.signed(code(kernel)))
        parts.append(part)
    table.append(0)
    table.append(0)
    at = address(table)
    for part in parts:
        for n in range(len(part)):
            if part[n][0] is series:
                part[n] = series, at + 4 * part[n][1]
    memory.append(table)
    memory.append(used)
    return parts
