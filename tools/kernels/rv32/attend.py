"""`attend` for RV32IMC."""

from __future__ import annotations

from ..riscv import Kernel
from .attend_query import quantized, query
from .pieces import BIAS, bits, columns, differences, enclose, held, kernel

TURN = 4  # columns that are unrolled
WORDS = (
    "ARENA POS T STRIDE FRAMED CONTEXT SIZE KROW VROW CACHE VALUES SCALES SHARE X ROPE Q OUT K V "
    "SC SHARED H SEND VTURN"
)
SUMS = {
    "w": "a0", "x": "a1", "one": "a2", "v1": "a3", "two": "a4", "v2": "a5", "product": "t0",
    "sum0": "t1", "sum1": "t2", "sum2": "t3", "sum3": "t4", "until": "s0", "stop": "s1",
}  # fmt: skip


def begin(k: Kernel) -> None:
    """The record, in a0, and the arena, in a1. s11 is the base from here on, s10 the record."""
    k(f"""
        lui t0, {BIAS}; sub s11, a1, t0
        mv s10, a0
        sw a1, ARENA
        sw zero, FRAMED
        lw t0, .pos(a1); sw t0, POS
        lw t0, .stride(a1); slli t0, t0, 2; sw t0, STRIDE
        lw a2, .context(a1); slli a3, a2, 2; sw a3, CONTEXT  @ bytes, as all sizes
        lw a4, .size(s10); slli t0, a4, 2; sw t0, SIZE
        lw a5, .value_bits(s10); mul a5, a5, a4; addi a5, a5, 31
        srli a5, a5, 5; mul a5, a5, a3; sw a5, VROW  @ values of a head
        lw a3, .key_bits(s10); slli a3, a3, 1
        addi a3, a3, -8    @ bits of a lane of keys: 16 or 8
        mul a3, a3, a2; addi a3, a3, 31; srli a3, a3, 5; slli a3, a3, 2
        mul a3, a3, a4; sw a3, KROW  @ keys of a head
        lw a2, .kv_heads(s10); mul a3, a3, a2
        mul a5, a5, a2
        lw a0, .cache(s10); add a0, a0, s11; sw a0, CACHE
        add a0, a0, a3; sw a0, VALUES
        add a0, a0, a5; sw a0, SCALES
        lw a0, .heads(s10); divu a0, a0, a2
        sw a0, SHARE    @ heads of the query to a head of the keys
        lw a0, .scores(s10); add a0, a0, s11; sw a0, X
        lw a0, .total(a1); sw a0, T
        beqz a0, end
    """)


def position(k: Kernel) -> None:
    """The next position: how many it sees, its rotation, its frame."""
    k("""
    position:
        lw a3, POS; addi a2, a3, 1
        lw a4, .whole(s10); beqz a4, causal
        lw a2, ARENA
        slli a4, a4, 2; add a4, a4, a2; lw a2, 12(a4)
    causal:
        lw a5, X
        slli a4, a2, 2; add a4, a4, a5; sw a4, SEND
        srli a2, a2, 2; slli a2, a2, 4; add a2, a2, a5; sw a2, VTURN
        lw a4, .rotation(s10); beqz a4, still
        lw a5, SIZE; srli a5, a5, 1; mul a5, a5, a3; add a4, a4, a5
        add a4, a4, s11
    still:
        sw a4, ROPE
        lw a5, FRAMED; add a5, a5, s11
        lw a2, .q(s10); add a2, a2, a5; sw a2, Q
        lw a2, .out(s10); add a2, a2, a5; sw a2, OUT
        lw a2, CACHE; sw a2, K
        lw a2, VALUES; sw a2, V
        lw a2, SCALES; sw a2, SC
        lw a2, SHARE; sw a2, SHARED
        lw a2, .heads(s10); sw a2, H
        j head
    """)


def total(
    k: Kernel, name: str, step: int = 4, shift: int = 8, sums: int = 4, load: str = "lw"
) -> None:
    """The columns of x up to `until` and `stop`, and so many words, into the sums."""
    for i in range(sums):
        k(f"li sum{i}, 0")
    k(f"""
        beq x, until, {name}rest
    {name}turn:
    """)
    columns(k, TURN, shift, sums, load)
    k(f"""
        addi w, w, {step * TURN}
        addi x, x, {4 * TURN}; bne x, until, {name}turn
    {name}rest:
        beq x, stop, {name}done
    {name}single:
    """)
    columns(k, 1, shift, sums, load)
    k(f"""
        addi w, w, {step}
        addi x, x, 4; bne x, stop, {name}single
    {name}done:
    """)


def bytes_(k: Kernel) -> None:
    """A subroutine, `jal ra, bytes`: sums of words with four lanes, as those of a matrix."""
    k.registers(**SUMS)
    k("bytes:")
    total(k, "bytes")
    differences(k, 8)
    k("jr ra")
    k.registers()


def products(k: Kernel) -> None:
    """The query times the keys, into the scores, as they are; by twos or fours of positions."""
    k.registers(**SUMS, bias="s4", query="s6", to="a7", last="s5")
    k("""
        lw query, Q
        lw t0, SIZE; add stop, query, t0
        andi t0, t0, -16; add until, query, t0
        lw w, K
        lw to, X
        lw last, SEND
        lw t0, .key_bits(s10); addi t0, t0, -12; beqz t0, twos
    fours:
        mv x, query
        jal ra, bytes
    """)
    for j in range(4):
        k(f"""
            slli sum{j}, sum{j}, 4    @ as keys of 12 bits
            sub sum{j}, sum{j}, bias; sw sum{j}, {4 * j}(to)
        """)
    k("""
        addi to, to, 16; bltu to, last, fours
        j scores
    twos:
        mv x, query
    """)
    total(k, "twos", shift=16, sums=2)
    differences(k, 16, 2)
    k("""
        sub sum0, sum0, bias
        sub sum1, sum1, bias
        sw sum0, 0(to)
        sw sum1, 4(to)
        addi to, to, 8; bltu to, last, twos
    """)


def scores(k: Kernel) -> None:
    """Scores, with the scales of query and keys; the best, and the largest exponent of a value."""
    k.registers(
        p="a0", sc="a1", v="a2", scale="a3", m="a4", e="a5", shift="s2", a="s3", last="s5",
        best="s7", most="s8", limit="t5",
    )  # fmt: skip
    k("""
    scores:
        lw p, X
        lw sc, SC
        lui best, 0x80000
        li most, 0
        li limit, 30
        addi shift, shift, -17
    score:
        lw scale, 0(sc)
        lw v, 0(p)
        andi m, scale, 2047; mul m, m, a
        srli e, scale, 11; andi e, e, 31; sub e, shift, e
        addi m, m, 1024; srli m, m, 11; slli m, m, 16; mulhsu v, v, m
        bgez e, right
        li e, 0
    right:
        ble e, limit, near
        mv e, limit
    near:
        sra v, v, e; addi v, v, 1; srai v, v, 1; sw v, 0(p)
        ble v, best, notbest
        mv best, v
    notbest:
        srli scale, scale, 27; ble scale, most, notmost
        mv most, scale
    notmost:
        addi sc, sc, 4; addi p, p, 4; bne p, last, score
    """)


def distances(k: Kernel) -> None:
    """What a score grows by, by the distance, and with it another best.

    The query's own position has the word with which the head's begin.
    """
    k("""
        lw a3, .bias(s10); beqz a3, softmax
        lw a4, .row(s10)
        lw a5, .heads(s10)
        lw a2, H; sub a5, a5, a2; mul a4, a4, a5
        lw a2, POS; sub a4, a4, a2; slli a4, a4, 2; add a3, a3, a4
        add a3, a3, s11
        lui best, 0x80000
        lw p, X
    lean:
        lw v, 0(p)
        lw a4, 0(a3)
        addi a3, a3, 4
        add v, v, a4; sw v, 0(p)
        addi p, p, 4
        ble v, best, notbetter
        mv best, v
    notbetter:
        bne p, last, lean
    """)


def softmax(k: Kernel) -> None:
    """Powers of two of the scores, with the values' scales: weights, and their sum."""
    k.registers(
        p="a0", sc="a1", v="a2", d="a3", e="a4", fine="a5", den="s0", weight="s1", down="s2",
        powers="s4", last="s5", limit="s6", best="s7", most="s8", half="t5",
    )  # fmt: skip
    k("""
    softmax:
        lw p, X
        lw sc, SC
        lw powers, .exp2(s10); add powers, powers, s11
        lw down, .ps(s10); addi down, down, 10; add down, down, most
        li limit, 30
        lui half, 4    @ 2**14, which is where the powers end, too
        li den, 0
        li weight, 0
    power:
        lw d, 0(p)
        li v, 0
        sub d, best, d; bgeu d, half, nothing
        srli e, d, 3; andi e, e, 124; add e, e, powers
        slli fine, d, 2; andi fine, fine, 124; add fine, fine, powers
        lw v, 0(e)
        lw fine, 128(fine)
        srli d, d, 10
        mul v, v, fine; add v, v, half; srli v, v, 15; srl v, v, d
        add den, den, v
        lw d, 0(sc); srli e, d, 27
        srli d, d, 16; andi d, d, 2047; mul v, v, d
        sub e, down, e; ble e, limit, close
        mv e, limit
    close:
        srl v, v, e; addi v, v, 1; srli v, v, 1; add weight, weight, v
    nothing:
        sw v, 0(p)
        addi sc, sc, 4; addi p, p, 4; bne p, last, power
    """)


def divisor(k: Kernel) -> None:
    """What the values' sums are multiplied by and shifted."""
    k.registers(
        den="s0", weight="s1", mul="s2", s="s3", up="s4", half="s7", most="s8", less="s9",
        room="a3",
    )  # fmt: skip
    k("""
        mv a1, den
        jal t6, bits
        addi a1, t0, -16; srl a1, den, a1
        lw mul, .num(s10); divu mul, mul, a1; slli mul, mul, 16
        lw s, .num_e(s10); add s, s, t0; sub s, s, most
        mv a1, weight
        jal t6, bits
        li room, 24; sub room, room, t0; bgez room, roomy
        li room, 0
    roomy:
        lw less, .value_bits(s10); slli less, less, 1
        addi less, less, 112    @ 128 or 120: what lanes of values have too many
        mul less, less, weight
    """)
    held(k, "s", "room", "up", "half")


def values(k: Kernel) -> None:
    """The weights times the values, four elements at a time: of a word, or half of one."""
    k.registers(
        **SUMS, mul="s2", s="s3", up="s4", row="s5", weights="s6", half="s7", less="s9", n="a6",
        to="a7", context="t5", wide="t6",
    )  # fmt: skip
    k("""
        lw row, V
        lw weights, X
        lw until, VTURN
        lw stop, SEND
        lw n, .size(s10)
        lw to, OUT
        lw context, CONTEXT
        lw wide, .value_bits(s10); addi wide, wide, -4
    elements:
        mv w, row
        mv x, weights
        beqz wide, narrow
        jal ra, bytes
        add row, row, context
        j summed
    narrow:
    """)
    total(k, "narrow", shift=4, load="lhu")
    differences(k, 4)
    for j in range(4):
        k(f"slli sum{j}, sum{j}, 4")
    k("""
        xori row, row, 2    @ the other half of these words, or the next ones
        andi product, row, 2; bnez product, summed
        add row, row, context
    summed:
    """)
    for j in range(4):
        k(f"""
            sub sum{j}, sum{j}, less; sll sum{j}, sum{j}, up
            mulhsu sum{j}, sum{j}, mul; add sum{j}, sum{j}, half
            sra sum{j}, sum{j}, s; sw sum{j}, {4 * j}(to)
            addi n, n, -1; beqz n, advance
        """)
    k("""
        addi to, to, 16
        j elements
    """)
    k.registers()


def advance(k: Kernel) -> None:
    """On to the next head of the query, and after SHARE of them to the next keys."""
    k("""
    advance:
        lw a2, SIZE
        lw a3, Q; add a3, a3, a2; sw a3, Q
        lw a3, OUT; add a3, a3, a2; sw a3, OUT
        lw a2, SHARED; addi a2, a2, -1; bnez a2, together
    """)
    for at, step in ("K", "KROW"), ("V", "VROW"), ("SC", "CONTEXT"):
        k(f"""
            lw a2, {at}
            lw a3, {step}; add a2, a2, a3; sw a2, {at}
        """)
    k("""
        lw a2, SHARE
    together:
        sw a2, SHARED
        lw a2, H; addi a2, a2, -1; sw a2, H
        bnez a2, head
        lw a2, POS; addi a2, a2, 1; sw a2, POS
        lw a2, FRAMED
        lw a3, STRIDE; add a2, a2, a3; sw a2, FRAMED
        lw a2, T; addi a2, a2, -1; sw a2, T
        bnez a2, position
    end:
    """)


def attend() -> Kernel:
    """K, V and SC are the keys, values and scales of this head, Q and OUT its query and result.

    Products are made by pairs or fours, so up to three scores behind the last one are written.
    """
    k = kernel("attend", "for every head the scores, softmax, the sum of the values", WORDS)
    for part in (
        begin, position, bits, bytes_, query, quantized, products, scores, distances, softmax,
        divisor, values, advance,
    ):  # fmt: skip
        part(k)
    enclose(k)
    return k
