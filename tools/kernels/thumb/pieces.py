"""What kernels have in common.

A shift to the right leaves the last bit that it drops in the carry, so `adcs` with 0 rounds. `add`
with r8 to r12 or lr makes these good for sums and constants; Armv6-M can do nothing else with
them. A conditional branch reaches 256 bytes; `far` is for those that may not.
"""

from __future__ import annotations

from picoformer.device import program

from ..arm import CONDITIONS, Kernel

ARENA = "pos total context stride"
RUN = "start words"
FIELDS = {name: limits for name, _, limits in program.OPS.values()}
FIELDS["sample"] = "logits n exp2 factor shift top_p random chosen"


def kernel(name: str, about: str) -> Kernel:
    """A kernel that is called with a record in r0 and the arena in r1, whose fields it knows."""
    k = Kernel(name, about)
    for fields in ARENA, RUN, FIELDS[name]:
        k.fields(" ".join(field.partition(":")[0] for field in fields.split()))
    return k


def new(k: Kernel, label: str) -> str:
    """A label that is not there yet."""
    n = sum(have.rstrip("0123456789") == label for have in k.labels)
    return f"{label}{n + 1}" if n else label


def far(k: Kernel, branch: str, to: str) -> None:
    """A conditional branch around one that goes to a label far away."""
    condition = CONDITIONS[CONDITIONS.index(branch[1:]) ^ 1]
    past = new(k, "past")
    k(f"""
        b{condition} {past}
        b {to}
    {past}:
    """)


# How kernels begin and end


def base(k: Kernel, into: str = "r2") -> None:
    """What is added to an operand to make it an address, of the arena in r1."""
    k(f"movs {into}, #1; lsls {into}, {into}, #29; subs {into}, r1, {into}")


def prologue(k: Kernel, words: str) -> None:
    """Save the registers that MicroPython does not, and take room for words on the stack.

    BASE and REC get theirs: r2 is what is added to an operand, r0 the record.
    """
    room = k.stack(words)
    k(f"""
        mov r4, r8; mov r5, r9; mov r6, r10; mov r7, r11
        push {{r4-r7}}
        sub sp, #{room}
    """)
    base(k)
    k("str r2, BASE; str r0, REC")


def vectors(k: Kernel) -> None:
    """T, the positions to go through, and STRIDE, bytes from one frame to the next."""
    k("""
        ldr r3, [r1, .total]; str r3, T
        ldr r3, [r1, .stride]; lsls r3, r3, #2; str r3, STRIDE
    """)


def epilogue(k: Kernel) -> None:
    """Give back what `prologue` took; the result is a number, so that nothing is allocated."""
    k(f"""
        add sp, #{4 * len(k.words)}
        pop {{r4-r7}}
        mov r8, r4; mov r9, r5; mov r10, r6; mov r11, r7
        movs r0, #0
    """)


def operand(k: Kernel, field: str, *words: str) -> None:
    """The address that an operand means, with BASE in r2, becomes words. In r3."""
    k(f"ldr r3, [r0, .{field}]; adds r3, r3, r2")
    for word in words:
        k(f"str r3, {word}")


def more(k: Kernel, word: str, by: str, r: str = "r0") -> None:
    """A word grows by a register, or by a number."""
    k(f"ldr {r}, {word}")
    k(f"adds {r}, {by}" if by[0] == "#" else f"adds {r}, {r}, {by}")
    k(f"str {r}, {word}")


# Numbers


def at_least(k: Kernel, r: str, least: int | str, compared: bool = False) -> None:
    """A register is made no less than a number or another one."""
    _limit(k, r, least, "bge", compared)


def at_most(k: Kernel, r: str, most: int | str) -> None:
    _limit(k, r, most, "ble", False)


def _limit(k: Kernel, r: str, limit: int | str, branch: str, compared: bool) -> None:
    number = isinstance(limit, int)
    value = f"#{limit}" if number else limit
    within = new(k, "within")
    if not compared:
        k(f"cmp {r}, {value}")
    k(f"""
        {branch} {within}
        {"movs" if number else "mov"} {r}, {value}
    {within}:
    """)


def magnitude(k: Kernel, value: str, spare: str) -> None:
    k(f"asrs {spare}, {value}, #31; eors {value}, {spare}; subs {value}, {value}, {spare}")


def larger(k: Kernel, value: str, spare: str, best: str = "r3") -> None:
    """`best` becomes the magnitude of a value, which the value then is, if it is larger."""
    smaller = new(k, "smaller")
    magnitude(k, value, spare)
    k(f"""
        cmp {value}, {best}; bls {smaller}
        mov {best}, {value}
    {smaller}:
    """)


def closed(
    k: Kernel, loop: str, until: str, value: str, best: str, larger: str, rare: str = ""
) -> None:
    """The end of a loop, which goes on until two registers are equal; `best` is the largest value.

    larger: the branch for a new one. That is rare, so it goes around, not all others; as what else
    is `rare` may, which is reached by its labels.
    """
    best_, done = new(k, "best"), new(k, "closed")
    k(f"""
        cmp {value}, {best}; {larger} {best_}
        cmp {until}; bne {loop}
        b {done}
        {rare}
    {best_}:
        mov {best}, {value}
        cmp {until}; bne {loop}
    {done}:
    """)


def largest(k: Kernel) -> None:
    """The words from r0 to r1 -> r3, the largest magnitude. Changes r0, r2, r4."""
    k("""
        movs r3, #0
    largest:
        ldmia r0!, {r2}
    """)
    magnitude(k, "r2", "r4")
    closed(k, "largest", "r0, r1", "r2", "r3", "bhi")


def bits(k: Kernel) -> None:
    """r3 >= 0 -> r4, the number of its bits. Changes r5, r6."""
    k("mov r5, r3; movs r4, #0")
    for n in 16, 8, 4, 2, 1:
        k(f"""
            lsrs r6, r5, #{n}
            beq bits{n}
            mov r5, r6; adds r4, #{n}
        bits{n}:
        """)
    k("adds r4, r4, r5")


def divide(k: Kernel) -> None:
    """A function: r0 / r1 -> r2, for r0 < 2**31 and 0 < r1 < 2**16. Changes r0, r1.

    r2 has a bit that leaves it when all of the quotient are there.
    """
    k("""
    divide:
        movs r2, #1; lsls r2, r2, #19
        lsls r1, r1, #13
    align:
        cmp r1, r0; bhi quotient
        lsls r1, r1, #1; lsrs r2, r2, #1
        b align
    quotient:
        lsrs r1, r1, #1
        cmp r0, r1; blo less
        subs r0, r0, r1
    less:
        adcs r2, r2; blo quotient
        bx lr
    """)


def shifts(k: Kernel) -> None:
    """A function: r4 bits to drop, negative to add -> r5 and r4, shifts to the left and right.

    And r6, what to add between them.
    """
    k("""
    shifts:
        movs r5, #0; movs r6, #0
        cmp r4, #0; bge drop
        negs r5, r4; movs r4, #0
        bx lr
    drop:
        movs r6, #1; lsls r6, r4; lsrs r6, r6, #1
        bx lr
    """)


def shifted(k: Kernel, leave: str) -> None:
    """The words from r0 to r1, and r3, go r4 bits to the right, by the flags of r4 and 0.

    leave: where to go on; from bits to the left it falls through. Changes r0, r2, r4, r6.
    """
    k(f"""
        ble left
        movs r6, #0
        lsrs r3, r4; adcs r3, r6
    rights:
        ldr r2, [r0, #0]
        asrs r2, r4; adcs r2, r6
        stmia r0!, {{r2}}
        cmp r0, r1; bne rights
        {leave}
    left:
        negs r4, r4
        lsls r3, r4
    lefts:
        ldr r2, [r0, #0]
        lsls r2, r4
        stmia r0!, {{r2}}
        cmp r0, r1; bne lefts
    """)


def times(k: Kernel, value: str, factor: str, spare: str, shift: str = "asrs") -> None:
    """value * factor >> 16, for a factor of 16 bits."""
    k(f"""
        uxth {spare}, {value}; {shift} {value}, {value}, #16
        muls {spare}, {factor}; lsrs {spare}, {spare}, #16
        muls {value}, {factor}; adds {value}, {value}, {spare}
    """)


def rescale(k: Kernel, half: str, shift: str, between: str = "") -> None:
    """A shift to the right by r6 with `times` in front of it, which drops 16 bits.

    It begins with one to the left, r4, where r6 is below 17, as far as there is room, r5. Words
    get the rest of the shift and what rounds in it, r3. Changes r3 to r6; `between` may others.
    """
    k("movs r4, #17; subs r4, r4, r6")
    at_least(k, "r4", 0, compared=True)
    at_most(k, "r4", "r5")
    k(between)
    k("adds r6, r6, r4")
    at_least(k, "r6", 17)
    at_most(k, "r6", 47)
    k(f"""
        subs r6, #17
        movs r3, #1; lsls r3, r6; str r3, {half}
        adds r6, #1; str r6, {shift}
    """)


def exp2(k: Kernel, weight: str, other: str, mask: str = "") -> None:
    """2**-r2, for r2 < 2**14 with 10 bits of fraction: 15 bits, the table of it in r5.

    r11: 0x4000; mask: 0x7C. In `weight`, which the result is, and another register. Changes r2.
    """
    if mask:
        k(f"lsrs r3, r2, #3; ands r3, {mask}; ldr r3, [r5, r3]")
    else:
        k("lsls r3, r2, #22; lsrs r3, r3, #27; lsls r3, r3, #2; ldr r3, [r5, r3]")
    k(f"""
        lsls r4, r2, #27; lsrs r4, r4, #25; adds r4, #128; ldr r4, [r5, r4]
        muls {weight}, {other}; add {weight}, r11; lsrs {weight}, {weight}, #15
        lsrs r2, r2, #10; lsrs {weight}, r2
    """)


def rotate(k: Kernel, vector: str) -> None:
    """A head from the word `vector` on, to r1, by the angles at r2 -> r3, the largest magnitude.

    Halves of it are turned, 15 bits. r4 cosine, r5 sine, r6 and r7 the two elements. Changes all
    but r11, r1 stays.
    """
    k(f"""
        mov r12, r1
        ldr r0, {vector}
        ldr r1, SIZE; lsrs r1, r1, #1; adds r1, r1, r0
        movs r3, #1; lsls r3, r3, #14; mov r10, r3
        movs r3, #0
    rotation:
        ldmia r2!, {{r5}}; sxth r4, r5; asrs r5, r5, #16
        ldr r6, [r0, #0]; mov r8, r6
        ldr r7, [r1, #0]; mov r9, r7
        muls r6, r4; muls r7, r5; subs r6, r6, r7
        add r6, r10; asrs r6, r6, #15; stmia r0!, {{r6}}
    """)
    larger(k, "r6", "r7")
    k("""
        mov r6, r8; mov r7, r9
        muls r6, r5; muls r7, r4; adds r6, r6, r7
        add r6, r10; asrs r6, r6, #15; stmia r1!, {r6}
    """)
    larger(k, "r6", "r7")
    k("""
        cmp r1, r12; bne rotation
    """)


def angles(k: Kernel, table: str) -> None:
    """A table's address becomes that of the angles of position POS. Changes r4 and r5."""
    k(f"""
        ldr r4, SIZE; lsrs r4, r4, #1
        ldr r5, POS; muls r4, r5
        adds {table}, {table}, r4
    """)
