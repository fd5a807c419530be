"""Kernels in assembler, for every Cortex-M: ARMv6-M code, which the later cores run as well.

They do what kernels_portable.py says, bit for bit, and are called as those of kernels_viper.py
are. How to read them:

- `data(2, ...)` is machine code, for what asm_thumb has no name or takes no such registers. The
  comment behind it is the instruction; tests/device/test_thumb.py compares the two. `add r8, r4`
  and its like make r8 to r12 and lr good for sums and constants; nothing else can be done with
  them.
- MicroPython saves r4 to r7 and lr. A kernel saves r8 to r11 itself, then takes room for words on
  the stack, whose names stand behind a colon where they are loaded and stored.
- A shift to the right leaves the last bit that it drops in the carry, so `adc` with 0 rounds.
- A conditional branch reaches 256 bytes; that is why some branch around another.
- What is left in r0 is returned as a number: 0, for which nothing is allocated.

The inner loop, in `linear` and for the values in `attend`, has 41 cycles for 12 products. A word W
holds one column of four rows, as unsigned bytes of weight + 128. With its activation x, four sums
take W x, (W >> 8) x, (W >> 16) x and (W >> 24) x, modulo 2**32. Sum i less 256 times sum i + 1 is
then the sum of (byte i) x: no byte is ever masked out. The 128 come off by the values that the
sums start with, or in the end. Loading one word takes 2 cycles, two 3, three 4: so columns go by
threes; and as there are registers for five operands and a product, the activations run one column
ahead.
"""

import micropython

BIAS = 0x20000000


# A row of a matrix whose words may lie in several runs, with its multiplier: 19 cycles an element.
@micropython.asm_thumb
def embed(r0, r1):
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    data(2, 0xB089)  # sub sp, 36
    mov(r2, 1)
    lsl(r2, r2, 29)
    sub(r2, r1, r2)
    data(2, 0x9200)  # str r2, [sp, 0]: BASE
    data(2, 0x9001)  # str r0, [sp, 4]: REC
    mov(r8, r1)
    ldr(r3, [r1, 12])
    lsl(r3, r3, 2)
    data(2, 0x9302)  # str r3, [sp, 8]: STRIDE
    ldr(r3, [r0, 20])
    cmp(r3, 0)
    bne(GIVEN)
    ldr(r3, [r1, 4])
    label(GIVEN)
    ldr(r4, [r0, 16])
    data(2, 0x9403)  # str r4, [sp, 12]: NEXT
    data(2, 0x9304)  # str r3, [sp, 16]: LAST
    ldr(r4, [r0, 12])
    bl(SHIFTS)
    data(2, 0x9405)  # str r4, [sp, 20]: RIGHT
    data(2, 0x9506)  # str r5, [sp, 24]: LEFT
    mov(r10, r6)
    b(CHECK)

    # SHIFTS: r4 bits to drop, negative to add -> r5 and r4, shifts to the left and to the right,
    # and r6, what to add between them.
    label(SHIFTS)
    mov(r5, 0)
    mov(r6, 0)
    cmp(r4, 0)
    bge(DROP)
    neg(r5, r4)
    mov(r4, 0)
    bx(lr)
    label(DROP)
    mov(r6, 1)
    lsl(r6, r4)
    lsr(r6, r6, 1)
    bx(lr)

    # A token, its position, or the type in its high half: r9 its frame's distance from the first,
    # r11 the row.
    label(TOKEN)
    data(2, 0x9A02)  # ldr r2, [sp, 8]: STRIDE
    mul(r2, r4)
    mov(r9, r2)
    data(2, 0x4442)  # add r2, r8
    add(r2, 64)
    ldr(r3, [r2, 0])
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r2, [r0, 28])
    cmp(r2, 1)
    beq(BYPOSITION)
    lsl(r2, r2, 3)
    lsr(r3, r2)
    data(2, 0xB29B)  # uxth r3, r3
    b(ROW)
    label(BYPOSITION)
    mov(r2, r8)
    ldr(r3, [r2, 0])
    add(r3, r3, r4)
    label(ROW)
    mov(r11, r3)
    lsr(r3, r3, 2)
    ldr(r4, [r0, 24])
    sub(r3, r3, r4)
    ldr(r7, [r0, 8])
    add(r5, r7, 2)
    mul(r3, r5)  # words in front of its row group
    ldr(r4, [r0, 4])
    data(2, 0x9D00)  # ldr r5, [sp, 0]: BASE
    add(r4, r4, r5)

    # r4 the run that word r3 is in
    label(SEEK)
    ldr(r2, [r4, 4])
    cmp(r3, r2)
    bcc(FOUND)
    sub(r3, r3, r2)
    add(r4, 8)
    b(SEEK)
    label(FOUND)
    data(2, 0x9407)  # str r4, [sp, 28]: RUN
    data(2, 0x9308)  # str r3, [sp, 32]: SKIP

    # The multiplier lies behind the columns, two a word.
    mov(r6, r11)
    lsl(r6, r6, 30)
    lsr(r6, r6, 31)
    add(r3, r3, r6)
    add(r3, r3, r7)
    label(SEEK2)
    ldr(r2, [r4, 4])
    cmp(r3, r2)
    bcc(FOUND2)
    sub(r3, r3, r2)
    add(r4, 8)
    b(SEEK2)
    label(FOUND2)
    ldr(r4, [r4, 0])
    add(r4, r4, r5)
    lsl(r3, r3, 2)
    data(2, 0x58E6)  # ldr r6, [r4, r3]
    mov(r3, r11)
    lsl(r3, r3, 31)
    lsr(r3, r3, 27)
    lsr(r6, r3)
    data(2, 0xB2B6)  # uxth r6, r6

    # Its row: r0 words, r1 out, r3 lane, r4 shift, r6 multiplier, which takes a shift to the left,
    # r7 -1 to add, else 0, r9 end of the run, r10 rounding, r12 end of out
    ldr(r1, [r0, 0])
    add(r1, r1, r5)
    data(2, 0x4449)  # add r1, r9
    lsl(r7, r7, 2)
    add(r7, r7, r1)
    mov(r12, r7)
    mov(r3, r11)
    lsl(r3, r3, 30)
    lsr(r3, r3, 27)
    ldr(r7, [r0, 28])
    neg(r7, r7)
    asr(r7, r7, 31)
    data(2, 0x9C07)  # ldr r4, [sp, 28]: RUN
    ldr(r0, [r4, 0])
    add(r0, r0, r5)
    ldr(r2, [r4, 4])
    lsl(r2, r2, 2)
    add(r2, r2, r0)
    mov(r9, r2)
    data(2, 0x9A08)  # ldr r2, [sp, 32]: SKIP
    lsl(r2, r2, 2)
    add(r0, r0, r2)
    data(2, 0x9C05)  # ldr r4, [sp, 20]: RIGHT
    data(2, 0x9D06)  # ldr r5, [sp, 24]: LEFT
    lsl(r6, r5)
    label(ELEMENT)
    data(2, 0x4548)  # cmp r0, r9
    beq(RUNOUT)
    data(2, 0xC804)  # ldmia r0!, {r2}
    lsr(r2, r3)
    data(2, 0xB2D2)  # uxtb r2, r2
    sub(r2, 128)
    mul(r2, r6)
    data(2, 0x4452)  # add r2, r10
    asr(r2, r4)
    ldr(r5, [r1, 0])
    and_(r5, r7)
    add(r2, r2, r5)
    data(2, 0xC104)  # stmia r1!, {r2}
    data(2, 0x4561)  # cmp r1, r12
    bne(ELEMENT)
    data(2, 0x9C03)  # ldr r4, [sp, 12]: NEXT
    add(r4, 1)
    data(2, 0x9403)  # str r4, [sp, 12]: NEXT
    label(CHECK)
    data(2, 0x9C03)  # ldr r4, [sp, 12]: NEXT
    data(2, 0x9B04)  # ldr r3, [sp, 16]: LAST
    cmp(r4, r3)
    bge(DONE)
    b(TOKEN)
    label(RUNOUT)
    data(2, 0x9A07)  # ldr r2, [sp, 28]: RUN
    add(r2, 8)
    data(2, 0x9207)  # str r2, [sp, 28]: RUN
    ldr(r0, [r2, 0])
    data(2, 0x9D00)  # ldr r5, [sp, 0]: BASE
    add(r0, r0, r5)
    ldr(r5, [r2, 4])
    lsl(r5, r5, 2)
    add(r5, r5, r0)
    mov(r9, r5)
    b(ELEMENT)
    label(DONE)
    data(2, 0xB009)  # add sp, 36
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    mov(r0, 0)


# First the largest magnitude; with a gain then the products with it, which need 15 bits, and the
# sum of their squares; at last the quantized values. Passes take 11, 24 and 14 cycles an element.
#
# It is `layernorm` as well, which has the same square root: instead of the bits, 12 at most, field
# 3 is then a scale, 2**14 at least. The record is taken as if it began a word before, which brings
# the last three fields where norm has them. Passes take 11, 11, 13, 24 and 19 cycles an element.
@micropython.asm_thumb
def norm(r0, r1):
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    data(2, 0xB08C)  # sub sp, 48
    mov(r2, 1)
    lsl(r2, r2, 29)
    sub(r2, r1, r2)
    data(2, 0x9200)  # str r2, [sp, 0]: BASE
    ldr(r3, [r1, 4])
    data(2, 0x9302)  # str r3, [sp, 8]: T
    ldr(r3, [r1, 12])
    lsl(r3, r3, 2)
    data(2, 0x9303)  # str r3, [sp, 12]: STRIDE
    mov(r3, 0)
    data(2, 0x9304)  # str r3, [sp, 16]: AT
    data(2, 0x930A)  # str r3, [sp, 40]: SHIFTED
    ldr(r4, [r0, 12])
    lsr(r4, r4, 14)
    beq(SQUARES)
    sub(r0, 4)
    ldr(r3, [r0, 12])
    label(SQUARES)
    data(2, 0x930B)  # str r3, [sp, 44]: N; 0: not layernorm
    data(2, 0x9001)  # str r0, [sp, 4]: REC
    b(VECTOR)

    # AMAX: the words from r0 to r1 -> r3, the largest magnitude, r4 its bits. Changes r0, r2, r5,
    # r6.
    label(AMAX)
    mov(r3, 0)
    label(LARGEST)
    data(2, 0xC804)  # ldmia r0!, {r2}
    asr(r4, r2, 31)
    eor(r2, r4)
    sub(r2, r2, r4)
    cmp(r2, r3)
    bls(SMALLER)
    mov(r3, r2)
    label(SMALLER)
    cmp(r0, r1)
    bne(LARGEST)

    # BITS: r3 >= 0 -> r4, the number of its bits. Changes r5, r6.
    label(BITS)
    mov(r5, r3)
    mov(r4, 0)
    lsr(r6, r5, 16)
    beq(BITS8)
    mov(r5, r6)
    add(r4, 16)
    label(BITS8)
    lsr(r6, r5, 8)
    beq(BITS4)
    mov(r5, r6)
    add(r4, 8)
    label(BITS4)
    lsr(r6, r5, 4)
    beq(BITS2)
    mov(r5, r6)
    add(r4, 4)
    label(BITS2)
    lsr(r6, r5, 2)
    beq(BITS1)
    mov(r5, r6)
    add(r4, 2)
    label(BITS1)
    lsr(r6, r5, 1)
    beq(BITS0)
    mov(r5, r6)
    add(r4, 1)
    label(BITS0)
    add(r4, r4, r5)
    bx(lr)

    # DIVIDE: r0 / r1 -> r2, for r0 < 2**31 and 0 < r1 < 2**16. Changes r0, r1, r3, r4.
    label(DIVIDE)
    mov(r2, 0)
    mov(r3, 1)
    lsl(r3, r3, 12)
    lsl(r1, r1, 12)
    lsr(r4, r0, 1)
    label(ALIGN)
    cmp(r1, r4)
    bhi(SUBTRACT)
    lsl(r1, r1, 1)
    lsl(r3, r3, 1)
    b(ALIGN)
    label(SUBTRACT)
    cmp(r0, r1)
    bcc(LESS)
    sub(r0, r0, r1)
    add(r2, r2, r3)
    label(LESS)
    lsr(r1, r1, 1)
    lsr(r3, r3, 1)
    bne(SUBTRACT)
    bx(lr)

    # SHIFTS: r4 bits to drop, negative to add -> r5 and r4, shifts to the left and to the right,
    # and r6, what to add between them.
    label(SHIFTS)
    mov(r5, 0)
    mov(r6, 0)
    cmp(r4, 0)
    bge(DROP)
    neg(r5, r4)
    mov(r4, 0)
    bx(lr)
    label(DROP)
    mov(r6, 1)
    lsl(r6, r4)
    lsr(r6, r6, 1)
    bx(lr)

    # The next vector: r3 its largest magnitude.
    label(VECTOR)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    data(2, 0x9A00)  # ldr r2, [sp, 0]: BASE
    data(2, 0x9B04)  # ldr r3, [sp, 16]: AT
    add(r2, r2, r3)
    data(2, 0x990B)  # ldr r1, [sp, 44]: N
    cmp(r1, 0)
    beq(ASITIS)

    # To 15 bits: r0 x, r1 out, r4, r5 and r6 shifts, r7 the sum, negative, r12 end of out
    ldr(r5, [r0, 20])
    neg(r5, r5)
    data(2, 0x9505)  # str r5, [sp, 20]: E; negative, and what the root adds is then taken off
    lsl(r1, r1, 2)
    ldr(r3, [r0, 8])
    add(r3, r3, r2)
    data(2, 0x9306)  # str r3, [sp, 24]: Y
    data(2, 0x9307)  # str r3, [sp, 28]: SOURCE
    add(r3, r3, r1)
    mov(r12, r3)
    ldr(r0, [r0, 4])
    add(r0, r0, r2)
    mov(r9, r0)
    add(r1, r1, r0)
    bl(AMAX)
    sub(r4, 15)
    data(2, 0x940A)  # str r4, [sp, 40]: SHIFTED
    bl(SHIFTS)
    mov(r0, r9)
    data(2, 0x9906)  # ldr r1, [sp, 24]: Y
    mov(r7, 0)
    label(MEAN)
    data(2, 0xC808)  # ldmia r0!, {r3}
    lsl(r3, r5)
    add(r3, r3, r6)
    asr(r3, r4)
    sub(r7, r7, r3)
    data(2, 0xC108)  # stmia r1!, {r3}
    data(2, 0x4561)  # cmp r1, r12
    bne(MEAN)

    # n times the distance from the mean; r3 has as many bits as the largest.
    data(2, 0x9806)  # ldr r0, [sp, 24]: Y
    data(2, 0x9A0B)  # ldr r2, [sp, 44]: N
    mov(r3, 0)
    label(CENTER)
    ldr(r4, [r0, 0])
    mul(r4, r2)
    add(r4, r4, r7)
    data(2, 0xC010)  # stmia r0!, {r4}
    asr(r5, r4, 31)
    eor(r4, r5)
    sub(r4, r4, r5)
    orr(r3, r4)
    data(2, 0x4560)  # cmp r0, r12
    bne(CENTER)
    bl(BITS)
    sub(r4, 15)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r1, [r0, 24])
    b(GAIN)

    label(ASITIS)
    ldr(r5, [r0, 24])
    ldr(r3, [r0, 16])
    cmp(r3, 0)
    beq(FIXED)
    add(r3, r3, r2)
    ldr(r3, [r3, 0])
    add(r5, r5, r3)
    label(FIXED)
    data(2, 0x9505)  # str r5, [sp, 20]: E
    ldr(r1, [r0, 8])
    lsl(r1, r1, 2)
    ldr(r3, [r0, 4])
    add(r3, r3, r2)
    add(r3, 16)
    data(2, 0x9306)  # str r3, [sp, 24]: Y
    add(r3, r3, r1)
    mov(r12, r3)
    ldr(r0, [r0, 0])
    add(r0, r0, r2)
    data(2, 0x9007)  # str r0, [sp, 28]: SOURCE
    add(r1, r1, r0)
    bl(AMAX)
    sub(r4, 15)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r1, [r0, 28])
    data(2, 0x9108)  # str r1, [sp, 32]: ROOT; 0: there is none
    cmp(r1, 0)
    bne(GAIN)
    b(LAST)

    # Times the gain, with the sum of squares. r0 x, r1 y, r2 gain, r4 and r5 shifts, r6 shift of a
    # square, r8 sum, r9 largest, r10 rounding, r12 end of y
    label(GAIN)
    ldr(r5, [r0, 40])
    data(2, 0x9E0A)  # ldr r6, [sp, 40]: SHIFTED
    add(r6, r6, r4)
    lsl(r6, r6, 1)
    sub(r5, r5, r6)
    # The exponent of epsilon, seen from the sum of squares
    data(2, 0x9509)  # str r5, [sp, 36]: EPSILON
    bl(SHIFTS)
    mov(r10, r6)
    data(2, 0x9A00)  # ldr r2, [sp, 0]: BASE
    add(r2, r2, r1)
    ldr(r6, [r0, 32])
    data(2, 0x9807)  # ldr r0, [sp, 28]: SOURCE
    data(2, 0x9906)  # ldr r1, [sp, 24]: Y
    data(2, 0x9107)  # str r1, [sp, 28]: SOURCE; of what follows
    mov(r3, 0)
    mov(r8, r3)
    mov(r9, r3)
    label(SQUARE)
    data(2, 0xC808)  # ldmia r0!, {r3}
    lsl(r3, r5)
    data(2, 0x4453)  # add r3, r10
    asr(r3, r4)
    mov(r7, r3)
    mul(r7, r7)
    lsr(r7, r6)
    data(2, 0x44B8)  # add r8, r7
    data(2, 0xCA80)  # ldmia r2!, {r7}
    mul(r3, r7)
    data(2, 0xC108)  # stmia r1!, {r3}
    asr(r7, r3, 31)
    eor(r3, r7)
    sub(r3, r3, r7)
    data(2, 0x454B)  # cmp r3, r9
    bls(NOTLARGER)
    mov(r9, r3)
    label(NOTLARGER)
    data(2, 0x4561)  # cmp r1, r12
    bne(SQUARE)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r4, [r0, 36])
    data(2, 0x9D09)  # ldr r5, [sp, 36]: EPSILON
    cmp(r5, 0)
    blt(TINY)
    cmp(r5, 15)
    ble(LARGE)
    mov(r5, 15)
    label(LARGE)
    lsl(r4, r5)
    b(ADDED)
    label(TINY)
    neg(r5, r5)
    cmp(r5, 31)
    ble(TINIER)
    mov(r5, 31)
    label(TINIER)
    lsr(r4, r5)
    label(ADDED)
    data(2, 0x4444)  # add r4, r8

    # The square root of the sum, shifted to 29 or 30 bits: bit by bit.
    mov(r3, r4)
    mov(r7, r4)
    bl(BITS)
    mov(r5, 30)
    sub(r5, r5, r4)
    asr(r5, r5, 1)
    data(2, 0x9E05)  # ldr r6, [sp, 20]: E
    add(r6, r6, r5)
    sub(r6, 1)
    data(2, 0x9605)  # str r6, [sp, 20]: E
    cmp(r5, 0)
    blt(HUGE)
    lsl(r5, r5, 1)
    lsl(r7, r5)
    b(ROOTS)
    label(HUGE)
    lsr(r7, r7, 2)
    label(ROOTS)
    mov(r0, 0)
    mov(r1, 1)
    lsl(r1, r1, 14)
    label(NEXTBIT)
    add(r2, r0, r1)
    mov(r4, r2)
    mul(r4, r4)
    cmp(r4, r7)
    bhi(NOBIT)
    mov(r0, r2)
    label(NOBIT)
    lsr(r1, r1, 1)
    bne(NEXTBIT)
    cmp(r0, 0)
    bne(ROOTED)
    add(r0, 1)  # no `mov`: behind this `bne` that is a word like an address, and keeps garbage
    label(ROOTED)
    data(2, 0x9A0B)  # ldr r2, [sp, 44]: N
    cmp(r2, 0)
    beq(NOSCALE)

    # Scale / root, to 15 bits, is what the products are multiplied by.
    mov(r1, r0)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r0, [r0, 16])
    lsl(r0, r0, 15)
    bl(DIVIDE)
    mov(r3, r2)
    bl(BITS)
    sub(r4, 15)
    data(2, 0x9F05)  # ldr r7, [sp, 20]: E
    add(r7, r7, r4)
    mvn(r7, r7)  # the shift: its negative, less 1, which the root took off
    sub(r7, 16)
    bgt(SHORT)
    mov(r7, 1)
    label(SHORT)
    cmp(r7, 31)
    ble(LONG)
    mov(r7, 31)
    label(LONG)
    bl(SHIFTS)
    add(r2, r3, r6)
    lsr(r2, r4)

    # r0 out, r1 bias, r2 multiplier, r5 shift, r6 0, r7 -1, or 0 without a bias
    mov(r5, r7)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r7, [r0, 28])
    data(2, 0x9806)  # ldr r0, [sp, 24]: Y
    mov(r1, r0)
    mov(r6, 0)
    cmp(r7, 0)
    beq(RESCALE)
    data(2, 0x9900)  # ldr r1, [sp, 0]: BASE
    add(r1, r1, r7)
    mvn(r7, r6)
    label(RESCALE)
    ldr(r3, [r0, 0])
    data(2, 0xB29C)  # uxth r4, r3
    asr(r3, r3, 16)
    mul(r4, r2)
    lsr(r4, r4, 16)
    mul(r3, r2)
    add(r3, r3, r4)
    asr(r3, r5)
    adc(r3, r6)
    data(2, 0xC910)  # ldmia r1!, {r4}
    and_(r4, r7)
    add(r3, r3, r4)
    data(2, 0xC008)  # stmia r0!, {r3}
    data(2, 0x4560)  # cmp r0, r12
    bne(RESCALE)
    b(NEXT)

    label(NOSCALE)
    data(2, 0x9008)  # str r0, [sp, 32]: ROOT
    mov(r3, r9)
    bl(BITS)
    sub(r4, 15)

    # r3 largest magnitude, r4 its bits less 15: quantize.
    label(LAST)
    data(2, 0x9D05)  # ldr r5, [sp, 20]: E
    add(r5, r5, r4)
    data(2, 0x9505)  # str r5, [sp, 20]: E
    bl(SHIFTS)
    mov(r10, r6)
    lsl(r3, r5)
    add(r3, r3, r6)
    lsr(r3, r4)
    bne(NONZERO)
    mov(r3, 1)
    label(NONZERO)
    mov(r9, r3)
    mov(r8, r4)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r7, [r0, 12])
    mov(r6, 31)
    sub(r6, r6, r7)
    sub(r7, 1)
    mov(r0, 1)
    lsl(r0, r7)
    sub(r0, 1)
    lsl(r0, r6)
    mov(r1, r3)
    bl(DIVIDE)
    mov(r3, 1)
    lsl(r3, r6)
    lsr(r3, r3, 1)
    mov(r11, r3)
    mov(r4, r8)
    data(2, 0x9807)  # ldr r0, [sp, 28]: SOURCE
    data(2, 0x9906)  # ldr r1, [sp, 24]: Y
    mov(r7, 0)
    label(QUANTIZE)
    data(2, 0xC808)  # ldmia r0!, {r3}
    lsl(r3, r5)
    data(2, 0x4453)  # add r3, r10
    asr(r3, r4)
    mul(r3, r2)
    data(2, 0x445B)  # add r3, r11
    asr(r3, r6)
    add(r7, r7, r3)
    data(2, 0xC108)  # stmia r1!, {r3}
    data(2, 0x4561)  # cmp r1, r12
    bne(QUANTIZE)
    mov(r8, r7)

    # The scale of the result.
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r0, [r0, 20])
    mov(r3, r9)
    mul(r3, r0)
    data(2, 0x9908)  # ldr r1, [sp, 32]: ROOT
    cmp(r1, 0)
    beq(NOROOT)
    lsl(r0, r3, 1)
    bl(DIVIDE)
    mov(r3, r2)
    label(NOROOT)
    bl(BITS)
    sub(r4, 14)
    data(2, 0x9F05)  # ldr r7, [sp, 20]: E
    add(r7, r7, r4)
    bl(SHIFTS)
    lsl(r3, r5)
    add(r3, r3, r6)
    lsr(r3, r4)
    mov(r4, r7)
    mov(r5, r8)
    data(2, 0x9806)  # ldr r0, [sp, 24]: Y
    sub(r0, 16)
    data(2, 0xC038)  # stmia r0!, {r3-r5}
    label(NEXT)
    data(2, 0x9804)  # ldr r0, [sp, 16]: AT
    data(2, 0x9903)  # ldr r1, [sp, 12]: STRIDE
    add(r0, r0, r1)
    data(2, 0x9004)  # str r0, [sp, 16]: AT
    data(2, 0x9802)  # ldr r0, [sp, 8]: T
    sub(r0, 1)
    data(2, 0x9002)  # str r0, [sp, 8]: T
    beq(DONE)
    b(VECTOR)
    label(DONE)
    data(2, 0xB00C)  # add sp, 48
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    mov(r0, 0)


layernorm = norm


# Vectors times a matrix, with requantization; a matrix may be cut into runs at any word.
#
# While sums are taken:
#     r0 weights          r4, r5, r6 words of weights, then products
#     r1 activations      r2, r3, r7 activations; r3 or r4 also products
#     r8 to r11 sums 0 to 3       r12 end of the activations, one word on       lr rounding
#
# Behind a row group: r2 to r5 multipliers, then results; r0 and r1 a product; r6 and r7 shifts.
#
# The stack begins with what a row group needs at once, in the order of ldmia: W and X where
# weights and activations begin, I0 to I3 what the sums begin with, JUMP into the unrolled columns.
# WMAX is the last address at which the run holds a whole row group; from there on, REST is 1 and
# the columns go piece by piece, C of them left. Several vectors take eight row groups in turn, so
# that what depends on the vector is computed once for them, and weights from flash stay in its
# cache.
@micropython.asm_thumb
def linear(r0, r1):
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    data(2, 0xB0A5)  # sub sp, 148
    mov(r2, 1)
    lsl(r2, r2, 29)
    sub(r2, r1, r2)
    data(2, 0x9210)  # str r2, [sp, 64]: BASE
    data(2, 0x9017)  # str r0, [sp, 92]: REC
    ldr(r3, [r0, 0])
    add(r3, r3, r2)
    data(2, 0x9321)  # str r3, [sp, 132]: XS
    data(2, 0x931B)  # str r3, [sp, 108]: XH
    ldr(r3, [r0, 4])
    add(r3, r3, r2)
    ldr(r4, [r0, 32])
    lsl(r4, r4, 4)
    add(r3, r3, r4)
    data(2, 0x9320)  # str r3, [sp, 128]: TO; out of the first row group, first vector
    data(2, 0x930C)  # str r3, [sp, 48]: OUT
    ldr(r4, [r0, 36])
    lsl(r4, r4, 4)
    add(r4, r4, r3)
    data(2, 0x941C)  # str r4, [sp, 112]: OUTEND
    ldr(r5, [r1, 4])
    data(2, 0x9518)  # str r5, [sp, 96]: TOTAL
    data(2, 0x9519)  # str r5, [sp, 100]: T
    sub(r4, r4, r3)
    bne(ANY)
    b(DONE)
    label(ANY)
    cmp(r5, 1)
    beq(ALL)
    cmp(r4, 128)
    bls(ALL)
    mov(r4, 128)
    label(ALL)
    data(2, 0x9424)  # str r4, [sp, 144]: CHUNK
    add(r4, r4, r3)
    data(2, 0x940D)  # str r4, [sp, 52]: STOP
    ldr(r4, [r1, 12])
    lsl(r4, r4, 2)
    data(2, 0x941A)  # str r4, [sp, 104]: STRIDE
    ldr(r4, [r0, 28])
    data(2, 0x940F)  # str r4, [sp, 60]: ADD
    ldr(r5, [r0, 8])
    add(r5, r5, r2)
    data(2, 0x9511)  # str r5, [sp, 68]: RUN
    data(2, 0x951E)  # str r5, [sp, 120]: RUN0
    ldr(r3, [r5, 0])
    add(r3, r3, r2)
    data(2, 0x9300)  # str r3, [sp, 0]: W
    data(2, 0x931D)  # str r3, [sp, 116]: W0
    ldr(r6, [r5, 4])
    lsl(r6, r6, 2)
    add(r6, r6, r3)
    data(2, 0x9612)  # str r6, [sp, 72]: END
    data(2, 0x961F)  # str r6, [sp, 124]: END0
    ldr(r3, [r0, 12])
    data(2, 0x9313)  # str r3, [sp, 76]: COLS
    add(r4, r3, 2)
    lsl(r4, r4, 2)
    data(2, 0x9414)  # str r4, [sp, 80]: SIZE
    sub(r6, r6, r4)
    data(2, 0x9608)  # str r6, [sp, 32]: WMAX
    mov(r4, 0)
    data(2, 0x940E)  # str r4, [sp, 56]: REST
    bl(JUMPS)
    data(2, 0x9406)  # str r4, [sp, 24]: JUMP
    data(2, 0x9507)  # str r5, [sp, 28]: JUMP2
    data(2, 0x9523)  # str r5, [sp, 140]: JUMPW
    b(SETUP)

    # JUMPS: r3 columns -> where to enter the unrolled code: r4 from its first jump, r5 from its
    # second. The rest of the division by 24 counts. Changes r3, r6, r7.
    label(JUMPS)
    mov(r6, 3)
    lsl(r6, r6, 15)
    label(MANY)
    cmp(r3, r6)
    bcc(FEW)
    sub(r3, r3, r6)
    b(MANY)
    label(FEW)
    mov(r6, 171)  # 0xAAAB, 2**20 / 24 rounded up
    mov(r7, 170)
    lsl(r7, r7, 8)
    add(r6, r6, r7)
    mul(r6, r3)
    lsr(r6, r6, 20)
    mov(r7, 24)
    mul(r6, r7)
    sub(r3, r3, r6)
    mov(r6, 11)
    mul(r6, r3)
    lsr(r6, r6, 5)  # threes
    lsl(r7, r6, 1)
    add(r7, r7, r6)
    sub(r3, r3, r7)  # singles
    mov(r7, 8)
    sub(r7, r7, r6)
    mov(r5, 70)  # bytes of a three
    mul(r5, r7)
    mov(r4, r5)
    add(r4, 58)  # past the singles and the second jump
    cmp(r3, 0)
    beq(JUMPED)
    mov(r4, 2)
    sub(r4, r4, r3)
    mov(r6, 26)  # bytes of a single
    mul(r4, r6)
    label(JUMPED)
    bx(lr)

    # The next run: r0 its first word, END; changes r2, r3.
    label(NEXTRUN)
    data(2, 0x9A11)  # ldr r2, [sp, 68]: RUN
    add(r2, 8)
    data(2, 0x9211)  # str r2, [sp, 68]: RUN
    ldr(r0, [r2, 0])
    data(2, 0x9B10)  # ldr r3, [sp, 64]: BASE
    add(r0, r0, r3)
    ldr(r3, [r2, 4])
    lsl(r3, r3, 2)
    add(r3, r3, r0)
    data(2, 0x9312)  # str r3, [sp, 72]: END
    bx(lr)

    # Columns cut by the end of a run, piece by piece.
    label(SLOW)
    mov(r3, 1)
    data(2, 0x930E)  # str r3, [sp, 56]: REST
    data(2, 0x9B13)  # ldr r3, [sp, 76]: COLS
    data(2, 0x9315)  # str r3, [sp, 84]: C
    label(PIECE)
    data(2, 0x9B12)  # ldr r3, [sp, 72]: END
    sub(r3, r3, r0)
    bne(HAVE)
    bl(NEXTRUN)
    b(PIECE)
    label(HAVE)
    lsr(r3, r3, 2)
    data(2, 0x9A15)  # ldr r2, [sp, 84]: C
    cmp(r3, r2)
    bls(SHORT)
    mov(r3, r2)
    label(SHORT)
    sub(r2, r2, r3)
    data(2, 0x9215)  # str r2, [sp, 84]: C
    lsl(r4, r3, 2)
    add(r4, r4, r1)
    add(r4, 4)
    mov(r12, r4)
    bl(JUMPS)
    data(2, 0x9507)  # str r5, [sp, 28]: JUMP2
    mov(r6, r4)
    b(ENTER)
    label(MORE)
    sub(r1, 4)  # one activation was read ahead
    data(2, 0x9A15)  # ldr r2, [sp, 84]: C
    cmp(r2, 0)
    bne(PIECE)
    label(MUL0)
    data(2, 0x9B12)  # ldr r3, [sp, 72]: END
    cmp(r0, r3)
    bne(MUL1)
    bl(NEXTRUN)
    b(MUL0)
    label(MUL1)
    data(2, 0xC810)  # ldmia r0!, {r4}
    label(MUL2)
    data(2, 0x9B12)  # ldr r3, [sp, 72]: END
    cmp(r0, r3)
    bne(MUL3)
    bl(NEXTRUN)
    b(MUL2)
    label(MUL3)
    mov(r2, r4)
    data(2, 0xC810)  # ldmia r0!, {r4}
    data(2, 0x9B16)  # ldr r3, [sp, 88]: XEND
    mov(r12, r3)
    data(2, 0x9B22)  # ldr r3, [sp, 136]: RND
    mov(lr, r3)
    data(2, 0x9B23)  # ldr r3, [sp, 140]: JUMPW
    data(2, 0x9307)  # str r3, [sp, 28]: JUMP2
    data(2, 0x9B12)  # ldr r3, [sp, 72]: END
    data(2, 0x9D14)  # ldr r5, [sp, 80]: SIZE
    sub(r3, r3, r5)
    data(2, 0x9308)  # str r3, [sp, 32]: WMAX
    mov(r3, 0)
    data(2, 0x930E)  # str r3, [sp, 56]: REST
    b(SCALES)

    # These rows are done: the next vector takes the same, and after the last come the next rows.
    label(NEXT)
    data(2, 0x9818)  # ldr r0, [sp, 96]: TOTAL
    cmp(r0, 1)
    bne(SEVERAL)
    b(DONE)
    label(SEVERAL)
    data(2, 0x9B24)  # ldr r3, [sp, 144]: CHUNK
    data(2, 0x9819)  # ldr r0, [sp, 100]: T
    sub(r0, 1)
    beq(LAST)
    data(2, 0x9019)  # str r0, [sp, 100]: T
    data(2, 0x9A1A)  # ldr r2, [sp, 104]: STRIDE
    data(2, 0x981B)  # ldr r0, [sp, 108]: XH
    add(r0, r0, r2)
    data(2, 0x901B)  # str r0, [sp, 108]: XH
    data(2, 0x980C)  # ldr r0, [sp, 48]: OUT
    add(r0, r0, r2)
    data(2, 0x900D)  # str r0, [sp, 52]: STOP
    sub(r0, r0, r3)
    data(2, 0x900C)  # str r0, [sp, 48]: OUT
    data(2, 0x981D)  # ldr r0, [sp, 116]: W0
    data(2, 0x9000)  # str r0, [sp, 0]: W
    data(2, 0x981E)  # ldr r0, [sp, 120]: RUN0
    data(2, 0x9011)  # str r0, [sp, 68]: RUN
    data(2, 0x981F)  # ldr r0, [sp, 124]: END0
    data(2, 0x9012)  # str r0, [sp, 72]: END
    data(2, 0x9914)  # ldr r1, [sp, 80]: SIZE
    sub(r0, r0, r1)
    data(2, 0x9008)  # str r0, [sp, 32]: WMAX
    b(SETUP)
    label(LAST)
    data(2, 0x9820)  # ldr r0, [sp, 128]: TO
    add(r0, r0, r3)
    data(2, 0x991C)  # ldr r1, [sp, 112]: OUTEND
    sub(r1, r1, r0)
    bne(AGAIN)
    b(DONE)
    label(AGAIN)
    cmp(r1, r3)
    bhi(CHUNKED)
    data(2, 0x9124)  # str r1, [sp, 144]: CHUNK
    mov(r3, r1)
    label(CHUNKED)
    data(2, 0x9020)  # str r0, [sp, 128]: TO
    data(2, 0x900C)  # str r0, [sp, 48]: OUT
    add(r0, r0, r3)
    data(2, 0x900D)  # str r0, [sp, 52]: STOP
    data(2, 0x9818)  # ldr r0, [sp, 96]: TOTAL
    data(2, 0x9019)  # str r0, [sp, 100]: T
    data(2, 0x9821)  # ldr r0, [sp, 132]: XS
    data(2, 0x901B)  # str r0, [sp, 108]: XH
    data(2, 0x9800)  # ldr r0, [sp, 0]: W
    data(2, 0x901D)  # str r0, [sp, 116]: W0
    data(2, 0x9811)  # ldr r0, [sp, 68]: RUN
    data(2, 0x901E)  # str r0, [sp, 120]: RUN0
    data(2, 0x9812)  # ldr r0, [sp, 72]: END
    data(2, 0x901F)  # str r0, [sp, 124]: END0

    # What depends on the vector alone.
    label(SETUP)
    data(2, 0x981B)  # ldr r0, [sp, 108]: XH
    data(2, 0xC81C)  # ldmia r0!, {r2-r4}; scale, exponent, sum
    add(r0, 4)
    data(2, 0x9001)  # str r0, [sp, 4]: X
    data(2, 0x9209)  # str r2, [sp, 36]: SCALE
    data(2, 0x9D13)  # ldr r5, [sp, 76]: COLS
    lsl(r5, r5, 2)
    add(r5, r5, r0)
    add(r5, 4)
    data(2, 0x9516)  # str r5, [sp, 88]: XEND
    mov(r12, r5)
    lsl(r4, r4, 7)  # 128 times the sum, and what it makes of the sums of the shifted words
    neg(r4, r4)
    data(2, 0x9405)  # str r4, [sp, 20]: I3
    lsl(r5, r4, 8)
    add(r5, r5, r4)
    data(2, 0x9504)  # str r5, [sp, 16]: I2
    lsl(r5, r5, 8)
    add(r5, r5, r4)
    data(2, 0x9503)  # str r5, [sp, 12]: I1
    lsl(r5, r5, 8)
    add(r5, r5, r4)
    data(2, 0x9502)  # str r5, [sp, 8]: I0
    data(2, 0x9D17)  # ldr r5, [sp, 92]: REC
    ldr(r6, [r5, 20])
    sub(r6, r6, r3)
    ldr(r5, [r5, 24])
    mov(r4, 17)
    sub(r4, r4, r6)
    cmp(r4, 0)
    bge(UP)
    mov(r4, 0)
    label(UP)
    cmp(r4, r5)
    ble(ROOM)
    mov(r4, r5)
    label(ROOM)
    add(r6, r6, r4)
    cmp(r6, 17)
    bge(LOW)
    mov(r6, 17)
    label(LOW)
    cmp(r6, 47)
    ble(HIGH)
    mov(r6, 47)
    label(HIGH)
    sub(r6, 17)
    mov(r3, 1)
    lsl(r3, r6)
    data(2, 0x9322)  # str r3, [sp, 136]: RND
    mov(lr, r3)
    add(r6, 1)
    data(2, 0x960B)  # str r6, [sp, 44]: S
    data(2, 0x940A)  # str r4, [sp, 40]: K

    # A row group, times a vector.
    label(GROUP)
    mov(r7, sp)
    data(2, 0xCF7F)  # ldmia r7!, {r0-r6}; W, X, I0 to I3, JUMP
    mov(r8, r2)
    mov(r9, r3)
    mov(r10, r4)
    mov(r11, r5)
    data(2, 0x9A08)  # ldr r2, [sp, 32]: WMAX
    cmp(r0, r2)
    bls(ENTER)
    b(SLOW)
    label(ENTER)
    data(2, 0xC980)  # ldmia r1!, {r7}; from here on r7 is one activation ahead
    data(2, 0x44B7)  # add pc, r6; past what this number of columns does not need
    nop()

    # One column, twice: for a number of columns that three does not divide.
    data(2, 0xC810)  # ldmia r0!, {r4}
    lsr(r3, r4, 8)
    mul(r3, r7)
    data(2, 0x4499)  # add r9, r3
    lsr(r3, r4, 16)
    mul(r3, r7)
    data(2, 0x449A)  # add r10, r3
    lsr(r3, r4, 24)
    mul(r3, r7)
    data(2, 0x449B)  # add r11, r3
    mul(r4, r7)
    data(2, 0x44A0)  # add r8, r4
    data(2, 0xC980)  # ldmia r1!, {r7}
    data(2, 0xC810, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A)
    data(2, 0x0E23, 0x437B, 0x449B, 0x437C, 0x44A0, 0xC980)
    data(2, 0x9E07)  # ldr r6, [sp, 28]: JUMP2
    data(2, 0x44B7)  # add pc, r6
    nop()
    label(THREES)
    # Three columns: the registers of those that are done take the next operands.
    data(2, 0xC870)  # ldmia r0!, {r4-r6}
    lsr(r3, r4, 8)
    mul(r3, r7)
    data(2, 0x4499)  # add r9, r3
    lsr(r3, r4, 16)
    mul(r3, r7)
    data(2, 0x449A)  # add r10, r3
    lsr(r3, r4, 24)
    mul(r3, r7)
    data(2, 0x449B)  # add r11, r3
    mul(r4, r7)
    data(2, 0x44A0)  # add r8, r4
    data(2, 0xC98C)  # ldmia r1!, {r2, r3, r7}
    lsr(r4, r5, 8)
    mul(r4, r2)
    data(2, 0x44A1)  # add r9, r4
    lsr(r4, r5, 16)
    mul(r4, r2)
    data(2, 0x44A2)  # add r10, r4
    lsr(r4, r5, 24)
    mul(r4, r2)
    data(2, 0x44A3)  # add r11, r4
    mul(r5, r2)
    data(2, 0x44A8)  # add r8, r5
    lsr(r4, r6, 8)
    mul(r4, r3)
    data(2, 0x44A1)  # add r9, r4
    lsr(r4, r6, 16)
    mul(r4, r3)
    data(2, 0x44A2)  # add r10, r4
    lsr(r4, r6, 24)
    mul(r4, r3)
    data(2, 0x44A3)  # add r11, r4
    mul(r6, r3)
    data(2, 0x44B0)  # add r8, r6
    # The same seven times more.
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0x4561)  # cmp r1, r12
    beq(SWEPT)
    b(THREES)

    # One row group is summed up. Multipliers first: r2 to r5, times the vector's scale.
    label(SWEPT)
    data(2, 0x9B0E)  # ldr r3, [sp, 56]: REST
    cmp(r3, 0)
    bne(TOMORE)
    data(2, 0xC814)  # ldmia r0!, {r2, r4}; the multipliers of four rows
    label(SCALES)
    data(2, 0x9000)  # str r0, [sp, 0]: W
    data(2, 0x9F09)  # ldr r7, [sp, 36]: SCALE
    mov(r6, 1)
    lsl(r6, r6, 13)
    lsr(r3, r2, 16)
    data(2, 0xB292)  # uxth r2, r2
    lsr(r5, r4, 16)
    data(2, 0xB2A4)  # uxth r4, r4
    mul(r2, r7)
    add(r2, r2, r6)
    lsr(r2, r2, 14)
    mul(r3, r7)
    add(r3, r3, r6)
    lsr(r3, r3, 14)
    mul(r4, r7)
    add(r4, r4, r6)
    lsr(r4, r4, 14)
    mul(r5, r7)
    add(r5, r5, r6)
    lsr(r5, r5, 14)
    data(2, 0x9E0A)  # ldr r6, [sp, 40]: K
    data(2, 0x9F0B)  # ldr r7, [sp, 44]: S

    # Row 0: the accumulator less 256 times the next, times r2
    mov(r0, r8)
    mov(r1, r9)
    lsl(r1, r1, 8)
    sub(r0, r0, r1)
    lsl(r0, r6)
    data(2, 0xB281)  # uxth r1, r0
    asr(r0, r0, 16)
    mul(r1, r2)
    mul(r2, r0)
    lsr(r1, r1, 16)
    add(r2, r2, r1)
    data(2, 0x4472)  # add r2, lr
    asr(r2, r7)

    # Row 1: the accumulator less 256 times the next, times r3
    mov(r0, r9)
    mov(r1, r10)
    lsl(r1, r1, 8)
    sub(r0, r0, r1)
    lsl(r0, r6)
    data(2, 0xB281)  # uxth r1, r0
    asr(r0, r0, 16)
    mul(r1, r3)
    mul(r3, r0)
    lsr(r1, r1, 16)
    add(r3, r3, r1)
    data(2, 0x4473)  # add r3, lr
    asr(r3, r7)

    # Row 2: the accumulator less 256 times the next, times r4
    mov(r0, r10)
    mov(r1, r11)
    lsl(r1, r1, 8)
    sub(r0, r0, r1)
    lsl(r0, r6)
    data(2, 0xB281)  # uxth r1, r0
    asr(r0, r0, 16)
    mul(r1, r4)
    mul(r4, r0)
    lsr(r1, r1, 16)
    add(r4, r4, r1)
    data(2, 0x4474)  # add r4, lr
    asr(r4, r7)

    # Row 3: the accumulator less 256 times the next, times r5
    mov(r0, r11)
    lsl(r0, r6)
    data(2, 0xB281)  # uxth r1, r0
    asr(r0, r0, 16)
    mul(r1, r5)
    mul(r5, r0)
    lsr(r1, r1, 16)
    add(r5, r5, r1)
    data(2, 0x4475)  # add r5, lr
    asr(r5, r7)

    # To the result, added to what is there if the record says so.
    data(2, 0x980C)  # ldr r0, [sp, 48]: OUT
    data(2, 0x990F)  # ldr r1, [sp, 60]: ADD
    cmp(r1, 0)
    beq(STORE)
    data(2, 0xC8C0)  # ldmia r0!, {r6, r7}
    add(r2, r2, r6)
    add(r3, r3, r7)
    data(2, 0xC8C0)  # ldmia r0!, {r6, r7}
    add(r4, r4, r6)
    add(r5, r5, r7)
    sub(r0, 16)
    label(STORE)
    data(2, 0xC03C)  # stmia r0!, {r2-r5}
    data(2, 0x900C)  # str r0, [sp, 48]: OUT
    data(2, 0x990D)  # ldr r1, [sp, 52]: STOP
    cmp(r0, r1)
    beq(TONEXT)
    b(GROUP)
    label(TONEXT)
    b(NEXT)
    label(TOMORE)
    b(MORE)
    label(DONE)
    data(2, 0xB025)  # add sp, 148
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    mov(r0, 0)


# Keys as 16-bit lanes, positions 2 i and 2 i + 1 in a word, or as bytes; values as bytes, four
# dimensions a word, or as halves of bytes.
@micropython.asm_thumb
def store(r0, r1):
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    data(2, 0xB096)  # sub sp, 88
    mov(r2, 1)
    lsl(r2, r2, 29)
    sub(r2, r1, r2)
    data(2, 0x9200)  # str r2, [sp, 0]: BASE
    data(2, 0x9001)  # str r0, [sp, 4]: REC
    ldr(r3, [r1, 0])
    data(2, 0x9302)  # str r3, [sp, 8]: POS
    ldr(r3, [r1, 4])
    data(2, 0x9303)  # str r3, [sp, 12]: T
    ldr(r3, [r1, 12])
    lsl(r3, r3, 2)
    data(2, 0x9304)  # str r3, [sp, 16]: STRIDE
    ldr(r3, [r0, 0])
    add(r3, r3, r2)
    data(2, 0x9305)  # str r3, [sp, 20]: K
    ldr(r3, [r0, 4])
    add(r3, r3, r2)
    data(2, 0x9306)  # str r3, [sp, 24]: V
    ldr(r4, [r1, 8])
    lsl(r4, r4, 2)
    data(2, 0x9407)  # str r4, [sp, 28]: CONTEXT; bytes, as all sizes from here on
    ldr(r3, [r0, 16])
    ldr(r5, [r0, 28])
    mul(r5, r3)
    add(r5, 31)
    lsr(r5, r5, 5)
    mul(r5, r4)
    data(2, 0x9508)  # str r5, [sp, 32]: VROW
    lsl(r6, r3, 2)
    data(2, 0x9609)  # str r6, [sp, 36]: SIZE
    ldr(r6, [r0, 24])
    lsr(r6, r6, 2)
    sub(r6, 1)
    lsl(r4, r6)  # bits of the lanes of all positions: of 16 or 8 each
    add(r4, 31)
    lsr(r4, r4, 5)
    lsl(r4, r4, 2)
    mul(r4, r3)
    data(2, 0x940A)  # str r4, [sp, 40]: KROW
    ldr(r3, [r0, 12])
    mul(r4, r3)
    mul(r5, r3)
    ldr(r6, [r0, 8])
    add(r6, r6, r2)
    data(2, 0x960B)  # str r6, [sp, 44]: KEYS
    add(r6, r6, r4)
    data(2, 0x960C)  # str r6, [sp, 48]: VALUES
    add(r6, r6, r5)
    data(2, 0x960D)  # str r6, [sp, 52]: SCALES
    b(POSITION)

    # BITS: r3 >= 0 -> r4, the number of its bits. Changes r5, r6.
    label(BITS)
    mov(r5, r3)
    mov(r4, 0)
    lsr(r6, r5, 16)
    beq(BITS8)
    mov(r5, r6)
    add(r4, 16)
    label(BITS8)
    lsr(r6, r5, 8)
    beq(BITS4)
    mov(r5, r6)
    add(r4, 8)
    label(BITS4)
    lsr(r6, r5, 4)
    beq(BITS2)
    mov(r5, r6)
    add(r4, 4)
    label(BITS2)
    lsr(r6, r5, 2)
    beq(BITS1)
    mov(r5, r6)
    add(r4, 2)
    label(BITS1)
    lsr(r6, r5, 1)
    beq(BITS0)
    mov(r5, r6)
    add(r4, 1)
    label(BITS0)
    add(r4, r4, r5)
    bx(lr)

    # DIVIDE: r0 / r1 -> r2, for r0 < 2**31 and 0 < r1 < 2**16. Changes r0, r1, r3, r4.
    label(DIVIDE)
    mov(r2, 0)
    mov(r3, 1)
    lsl(r3, r3, 12)
    lsl(r1, r1, 12)
    lsr(r4, r0, 1)
    label(ALIGN)
    cmp(r1, r4)
    bhi(SUBTRACT)
    lsl(r1, r1, 1)
    lsl(r3, r3, 1)
    b(ALIGN)
    label(SUBTRACT)
    cmp(r0, r1)
    bcc(LESS)
    sub(r0, r0, r1)
    add(r2, r2, r3)
    label(LESS)
    lsr(r1, r1, 1)
    lsr(r3, r3, 1)
    bne(SUBTRACT)
    bx(lr)

    # NORMALIZE: the vector at r0, of SIZE bytes, to 15 bits in place, at most 10 of them added
    # -> r3 its largest magnitude, SHIFT the bits dropped plus 10, r1 its end. Changes all but r7.
    label(NORMALIZE)
    mov(r11, lr)
    mov(r10, r0)
    data(2, 0x9909)  # ldr r1, [sp, 36]: SIZE
    add(r1, r1, r0)
    mov(r3, 0)
    label(LARGEST)
    data(2, 0xC804)  # ldmia r0!, {r2}
    asr(r4, r2, 31)
    eor(r2, r4)
    sub(r2, r2, r4)
    cmp(r2, r3)
    bls(SMALLER)
    mov(r3, r2)
    label(SMALLER)
    cmp(r0, r1)
    bne(LARGEST)
    bl(BITS)
    mov(r0, 0)
    sub(r4, 15)
    add(r4, 10)
    bge(ENOUGH)
    mov(r4, 0)
    label(ENOUGH)
    data(2, 0x940E)  # str r4, [sp, 56]: SHIFT
    sub(r4, 10)
    mov(r0, r10)
    ble(LEFT)
    mov(r6, 0)
    lsr(r3, r4)  # a shift by a register leaves the last bit in the carry, and that rounds
    adc(r3, r6)
    label(RIGHTS)
    ldr(r2, [r0, 0])
    asr(r2, r4)
    adc(r2, r6)
    data(2, 0xC004)  # stmia r0!, {r2}
    cmp(r0, r1)
    bne(RIGHTS)
    bx(r11)
    label(LEFT)
    neg(r4, r4)
    lsl(r3, r4)
    label(LEFTS)
    ldr(r2, [r0, 0])
    lsl(r2, r4)
    data(2, 0xC004)  # stmia r0!, {r2}
    cmp(r0, r1)
    bne(LEFTS)
    bx(r11)

    # PACK: r3 largest magnitude, r5 bits of the result -> r7 the scale for the cache, r2 what to
    # multiply with, r5 bits to drop then. Changes the rest.
    label(PACK)
    mov(r11, lr)
    mov(r7, r5)
    cmp(r3, 0)
    bne(SOME)
    mov(r3, 1)
    label(SOME)
    mov(r2, r3)
    lsr(r3, r3, 11)
    bl(BITS)
    mov(r5, 1)
    lsl(r5, r4)
    sub(r5, 1)
    add(r2, r2, r5)
    lsr(r2, r4)
    lsr(r5, r2, 11)
    beq(FITS)
    lsr(r2, r2, 1)
    add(r4, 1)
    label(FITS)
    mov(r1, r2)
    lsl(r1, r4)
    data(2, 0x9D0E)  # ldr r5, [sp, 56]: SHIFT
    add(r5, r5, r4)
    lsl(r5, r5, 11)
    orr(r5, r2)
    mov(r0, 1)
    mov(r6, 31)
    sub(r6, r6, r7)
    sub(r7, 1)
    lsl(r0, r7)
    sub(r0, 1)
    lsl(r0, r6)
    bl(DIVIDE)
    mov(r7, r5)
    mov(r5, r6)
    bx(r11)

    # The next position: its places in the cache.
    label(POSITION)
    data(2, 0x9805)  # ldr r0, [sp, 20]: K
    data(2, 0x900F)  # str r0, [sp, 60]: KX
    data(2, 0x9806)  # ldr r0, [sp, 24]: V
    data(2, 0x9010)  # str r0, [sp, 64]: VX
    data(2, 0x9A02)  # ldr r2, [sp, 8]: POS
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r0, [r0, 24])
    lsr(r0, r0, 2)
    add(r0, 1)
    mov(r3, r2)
    lsl(r3, r0)
    lsr(r0, r3, 5)
    data(2, 0x9909)  # ldr r1, [sp, 36]: SIZE
    mul(r0, r1)
    data(2, 0x990B)  # ldr r1, [sp, 44]: KEYS
    add(r0, r0, r1)
    lsl(r3, r3, 27)
    lsr(r3, r3, 30)
    add(r0, r0, r3)
    # Where a key of this position goes: one lane of its words
    data(2, 0x9011)  # str r0, [sp, 68]: KTO
    lsl(r2, r2, 2)
    data(2, 0x980C)  # ldr r0, [sp, 48]: VALUES
    add(r0, r0, r2)
    data(2, 0x9012)  # str r0, [sp, 72]: VTO
    data(2, 0x980D)  # ldr r0, [sp, 52]: SCALES
    add(r0, r0, r2)
    data(2, 0x9013)  # str r0, [sp, 76]: STO
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r0, [r0, 12])
    data(2, 0x9014)  # str r0, [sp, 80]: H

    # The key of a head.
    label(HEAD)
    data(2, 0x980F)  # ldr r0, [sp, 60]: KX
    bl(NORMALIZE)
    data(2, 0x9C01)  # ldr r4, [sp, 4]: REC
    ldr(r2, [r4, 20])
    cmp(r2, 0)
    beq(ROTATED)
    data(2, 0x9D00)  # ldr r5, [sp, 0]: BASE
    add(r2, r2, r5)
    data(2, 0x9C09)  # ldr r4, [sp, 36]: SIZE
    lsr(r4, r4, 1)
    data(2, 0x9D02)  # ldr r5, [sp, 8]: POS
    mul(r4, r5)
    add(r2, r2, r4)

    # Rotate it: r4 cosine, r5 sine, r6 and r7 the two elements, r3 the largest of the results.
    mov(r12, r1)
    data(2, 0x980F)  # ldr r0, [sp, 60]: KX
    data(2, 0x9909)  # ldr r1, [sp, 36]: SIZE
    lsr(r1, r1, 1)
    add(r1, r1, r0)
    mov(r3, 1)
    lsl(r3, r3, 14)
    mov(r10, r3)
    mov(r3, 0)
    label(ROTATION)
    data(2, 0xCA20)  # ldmia r2!, {r5}
    data(2, 0xB22C)  # sxth r4, r5
    asr(r5, r5, 16)
    ldr(r6, [r0, 0])
    mov(r8, r6)
    ldr(r7, [r1, 0])
    mov(r9, r7)
    mul(r6, r4)
    mul(r7, r5)
    sub(r6, r6, r7)
    data(2, 0x4456)  # add r6, r10
    asr(r6, r6, 15)
    data(2, 0xC040)  # stmia r0!, {r6}
    asr(r7, r6, 31)
    eor(r6, r7)
    sub(r6, r6, r7)
    cmp(r6, r3)
    bls(ROTATION2)
    mov(r3, r6)
    label(ROTATION2)
    mov(r6, r8)
    mov(r7, r9)
    mul(r6, r5)
    mul(r7, r4)
    add(r6, r6, r7)
    data(2, 0x4456)  # add r6, r10
    asr(r6, r6, 15)
    data(2, 0xC140)  # stmia r1!, {r6}
    asr(r7, r6, 31)
    eor(r6, r7)
    sub(r6, r6, r7)
    cmp(r6, r3)
    bls(ROTATION3)
    mov(r3, r6)
    label(ROTATION3)
    data(2, 0x4561)  # cmp r1, r12
    bne(ROTATION)
    label(ROTATED)
    data(2, 0x9D01)  # ldr r5, [sp, 4]: REC
    ldr(r5, [r5, 24])
    bl(PACK)
    data(2, 0x9715)  # str r7, [sp, 84]: SCALE
    data(2, 0x980F)  # ldr r0, [sp, 60]: KX
    data(2, 0x9909)  # ldr r1, [sp, 36]: SIZE
    add(r1, r1, r0)
    data(2, 0x910F)  # str r1, [sp, 60]: KX
    data(2, 0x9B11)  # ldr r3, [sp, 68]: KTO
    mov(r6, 1)
    lsl(r7, r6, 30)
    lsr(r7, r5)
    lsl(r6, r5)
    lsr(r6, r6, 1)
    label(KEY)
    ldr(r4, [r0, 0])
    mul(r4, r2)
    add(r4, r4, r6)
    asr(r4, r5)
    data(2, 0xC010)  # stmia r0!, {r4}
    add(r4, r4, r7)
    cmp(r5, 19)
    beq(WIDE)
    strb(r4, [r3, 0])
    b(NARROW)
    label(WIDE)
    strh(r4, [r3, 0])
    label(NARROW)
    add(r3, 4)
    cmp(r0, r1)
    bne(KEY)

    # Its value.
    data(2, 0x9810)  # ldr r0, [sp, 64]: VX
    bl(NORMALIZE)
    data(2, 0x9D01)  # ldr r5, [sp, 4]: REC
    ldr(r5, [r5, 28])
    cmp(r5, 4)
    bne(WHOLE)
    mov(r5, 5)  # 15 for the largest, of which one bit goes: 7.5
    label(WHOLE)
    bl(PACK)
    lsl(r7, r7, 16)
    data(2, 0x9815)  # ldr r0, [sp, 84]: SCALE
    orr(r7, r0)
    data(2, 0x9813)  # ldr r0, [sp, 76]: STO
    str(r7, [r0, 0])
    data(2, 0x9810)  # ldr r0, [sp, 64]: VX
    data(2, 0x9909)  # ldr r1, [sp, 36]: SIZE
    add(r1, r1, r0)
    mov(r12, r1)
    data(2, 0x9110)  # str r1, [sp, 64]: VX
    data(2, 0x9B12)  # ldr r3, [sp, 72]: VTO
    data(2, 0x9F07)  # ldr r7, [sp, 28]: CONTEXT
    sub(r7, 4)
    cmp(r5, 26)
    beq(FOUR)
    mov(r6, 1)
    lsl(r6, r5)
    lsr(r6, r6, 1)
    label(VALUE)
    ldr(r4, [r0, 0])
    mul(r4, r2)
    add(r4, r4, r6)
    asr(r4, r5)
    data(2, 0xC010)  # stmia r0!, {r4}
    add(r4, 128)
    strb(r4, [r3, 0])
    add(r3, 1)
    lsl(r4, r3, 30)
    bne(SAMEWORD)
    add(r3, r3, r7)  # four dimensions a word, then on by the context
    label(SAMEWORD)
    data(2, 0x4560)  # cmp r0, r12
    bne(VALUE)
    b(VALUED)
    label(FOUR)
    ldr(r4, [r0, 0])
    mul(r4, r2)
    asr(r4, r4, 27)
    data(2, 0xC010)  # stmia r0!, {r4}
    add(r4, 8)
    ldrb(r1, [r3, 0])
    lsr(r1, r1, 4)
    lsl(r1, r1, 4)
    orr(r1, r4)
    strb(r1, [r3, 0])
    data(2, 0x4560)  # cmp r0, r12
    beq(VALUED)
    ldr(r4, [r0, 0])
    mul(r4, r2)
    asr(r4, r4, 27)
    data(2, 0xC010)  # stmia r0!, {r4}
    add(r4, 8)
    lsl(r4, r4, 4)
    lsl(r1, r1, 28)
    lsr(r1, r1, 28)
    orr(r1, r4)
    strb(r1, [r3, 0])
    add(r3, 1)
    lsl(r4, r3, 30)
    bne(SAMEFOUR)
    add(r3, r3, r7)  # eight dimensions a word
    label(SAMEFOUR)
    data(2, 0x4560)  # cmp r0, r12
    bne(FOUR)
    label(VALUED)
    data(2, 0x9811)  # ldr r0, [sp, 68]: KTO
    data(2, 0x990A)  # ldr r1, [sp, 40]: KROW
    add(r0, r0, r1)
    data(2, 0x9011)  # str r0, [sp, 68]: KTO
    data(2, 0x9812)  # ldr r0, [sp, 72]: VTO
    data(2, 0x9908)  # ldr r1, [sp, 32]: VROW
    add(r0, r0, r1)
    data(2, 0x9012)  # str r0, [sp, 72]: VTO
    data(2, 0x9813)  # ldr r0, [sp, 76]: STO
    data(2, 0x9907)  # ldr r1, [sp, 28]: CONTEXT
    add(r0, r0, r1)
    data(2, 0x9013)  # str r0, [sp, 76]: STO
    data(2, 0x9814)  # ldr r0, [sp, 80]: H
    sub(r0, 1)
    data(2, 0x9014)  # str r0, [sp, 80]: H
    beq(STORED)
    b(HEAD)
    label(STORED)
    data(2, 0x9A04)  # ldr r2, [sp, 16]: STRIDE
    data(2, 0x9805)  # ldr r0, [sp, 20]: K
    add(r0, r0, r2)
    data(2, 0x9005)  # str r0, [sp, 20]: K
    data(2, 0x9806)  # ldr r0, [sp, 24]: V
    add(r0, r0, r2)
    data(2, 0x9006)  # str r0, [sp, 24]: V
    data(2, 0x9802)  # ldr r0, [sp, 8]: POS
    add(r0, 1)
    data(2, 0x9002)  # str r0, [sp, 8]: POS
    data(2, 0x9803)  # ldr r0, [sp, 12]: T
    sub(r0, 1)
    data(2, 0x9003)  # str r0, [sp, 12]: T
    beq(DONE)
    b(POSITION)
    label(DONE)
    data(2, 0xB016)  # add sp, 88
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    mov(r0, 0)


# For every head: its query, the products with the keys, the scores, softmax, the sum of the
# values.
#
# Products: r0 keys, r1 query; as in linear, with two lanes a word: sums in r8 and r9. SUMS has
# four lanes, for keys of 8 bits and for the values. Scores: 37 cycles each. Softmax: 40 each.
# Registers are listed where each of them begins. K, V and SC are the keys, values and scales of
# this head, Q and OUT its query and its result, W the values of four dimensions; CONTEXT, SIZE,
# KROW and VROW are bytes. The word behind the last score is read, not used. Products go by pairs
# or fours, which write up to three more scores; for values of 4 bits zeros come there.
@micropython.asm_thumb
def attend(r0, r1):
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    data(2, 0xB0AC)  # sub sp, 176
    mov(r2, 1)
    lsl(r2, r2, 29)
    sub(r2, r1, r2)
    data(2, 0x9209)  # str r2, [sp, 36]: BASE
    data(2, 0x9008)  # str r0, [sp, 32]: REC
    data(2, 0x910A)  # str r1, [sp, 40]: ARENA
    ldr(r3, [r1, 0])
    data(2, 0x9316)  # str r3, [sp, 88]: POS
    ldr(r3, [r1, 4])
    data(2, 0x9314)  # str r3, [sp, 80]: T
    ldr(r3, [r1, 12])
    lsl(r3, r3, 2)
    data(2, 0x9315)  # str r3, [sp, 84]: STRIDE
    mov(r3, 0)
    data(2, 0x9317)  # str r3, [sp, 92]: FRAMED
    ldr(r4, [r1, 8])
    lsl(r4, r4, 2)
    data(2, 0x940B)  # str r4, [sp, 44]: CONTEXT; bytes, as all sizes from here on
    ldr(r3, [r0, 20])
    ldr(r5, [r0, 72])
    data(2, 0x9504)  # str r5, [sp, 16]: VBITS
    mul(r5, r3)
    add(r5, 31)
    lsr(r5, r5, 5)
    mul(r5, r4)
    data(2, 0x950F)  # str r5, [sp, 60]: VROW; values of a head
    lsl(r6, r3, 2)
    data(2, 0x960D)  # str r6, [sp, 52]: SIZE
    ldr(r6, [r0, 68])
    lsr(r6, r6, 2)
    sub(r6, 1)
    lsl(r4, r6)  # bits of the lanes of all positions: of 16 or 8 each
    add(r4, 31)
    lsr(r4, r4, 5)
    lsl(r4, r4, 2)
    mul(r4, r3)
    data(2, 0x940E)  # str r4, [sp, 56]: KROW; keys of a head
    ldr(r3, [r0, 16])
    mul(r4, r3)
    mul(r5, r3)
    ldr(r6, [r0, 8])
    add(r6, r6, r2)
    data(2, 0x9610)  # str r6, [sp, 64]: CACHE
    add(r6, r6, r4)
    data(2, 0x9611)  # str r6, [sp, 68]: VALUES
    add(r6, r6, r5)
    data(2, 0x9612)  # str r6, [sp, 72]: SCALES
    ldr(r4, [r0, 12])
    data(2, 0x940C)  # str r4, [sp, 48]: HEADS
    mov(r5, 0)
    label(SHARES)
    add(r5, 1)
    sub(r4, r4, r3)
    bgt(SHARES)
    data(2, 0x9513)  # str r5, [sp, 76]: SHARE; heads of the query to a head of the keys
    ldr(r3, [r0, 32])
    add(r3, r3, r2)
    data(2, 0x9301)  # str r3, [sp, 4]: X
    ldr(r6, [r0, 68])
    ldr(r3, [r0, 20])
    mov(r4, 34)
    mov(r5, 14)
    cmp(r6, 8)
    bne(WIDE)
    mov(r4, 70)
    mov(r5, 26)
    label(WIDE)
    bl(JUMPS)
    data(2, 0x9422)  # str r4, [sp, 136]: KJUMP
    data(2, 0x9523)  # str r5, [sp, 140]: KJUMP2

    # The next position.
    label(POSITION)
    data(2, 0x9B16)  # ldr r3, [sp, 88]: POS
    add(r3, 1)
    data(2, 0x9808)  # ldr r0, [sp, 32]: REC
    ldr(r4, [r0, 56])
    cmp(r4, 0)
    beq(CAUSAL)
    data(2, 0x9A0A)  # ldr r2, [sp, 40]: ARENA
    lsl(r4, r4, 2)
    add(r4, r4, r2)
    ldr(r3, [r4, 12])
    label(CAUSAL)
    lsl(r4, r3, 2)
    data(2, 0x9D01)  # ldr r5, [sp, 4]: X
    add(r6, r4, r5)
    data(2, 0x9624)  # str r6, [sp, 144]: SEND
    add(r6, 4)
    data(2, 0x9F04)  # ldr r7, [sp, 16]: VBITS
    cmp(r7, 8)
    beq(BYTES)
    add(r4, 15)
    lsr(r4, r4, 4)
    lsl(r4, r4, 4)
    add(r6, r4, r5)
    label(BYTES)
    # One ahead of the last score; for values of 4 bits, where its four end
    data(2, 0x9619)  # str r6, [sp, 100]: VEND
    mov(r4, 70)
    mov(r5, 26)
    bl(JUMPS)
    data(2, 0x9406)  # str r4, [sp, 24]: VJUMP
    data(2, 0x9518)  # str r5, [sp, 96]: VJUMP2
    data(2, 0x9808)  # ldr r0, [sp, 32]: REC
    data(2, 0x9A09)  # ldr r2, [sp, 36]: BASE
    ldr(r3, [r0, 24])
    cmp(r3, 0)
    beq(STILL)
    add(r3, r3, r2)
    data(2, 0x9C0D)  # ldr r4, [sp, 52]: SIZE
    lsr(r4, r4, 1)
    data(2, 0x9D16)  # ldr r5, [sp, 88]: POS
    mul(r4, r5)
    add(r3, r3, r4)
    label(STILL)
    data(2, 0x931A)  # str r3, [sp, 104]: ROPE
    data(2, 0x9C17)  # ldr r4, [sp, 92]: FRAMED
    add(r2, r2, r4)
    ldr(r3, [r0, 0])
    add(r3, r3, r2)
    data(2, 0x931B)  # str r3, [sp, 108]: Q
    ldr(r3, [r0, 4])
    add(r3, r3, r2)
    data(2, 0x931C)  # str r3, [sp, 112]: OUT
    data(2, 0x9B10)  # ldr r3, [sp, 64]: CACHE
    data(2, 0x931D)  # str r3, [sp, 116]: K
    data(2, 0x9B11)  # ldr r3, [sp, 68]: VALUES
    data(2, 0x931E)  # str r3, [sp, 120]: V
    data(2, 0x9B12)  # ldr r3, [sp, 72]: SCALES
    data(2, 0x931F)  # str r3, [sp, 124]: SC
    data(2, 0x9B13)  # ldr r3, [sp, 76]: SHARE
    data(2, 0x9320)  # str r3, [sp, 128]: SHARED
    data(2, 0x9B0C)  # ldr r3, [sp, 48]: HEADS
    data(2, 0x9321)  # str r3, [sp, 132]: H
    b(HEAD)

    # JUMPS: r3 columns, r4 bytes of three columns, r5 of one -> where to enter unrolled code: r4
    # from its first jump, r5 from its second. The rest of the division by 12 counts. Changes r3,
    # r6, r7.
    label(JUMPS)
    mov(r6, 171)  # 0xAAAB, 2**19 / 12 rounded up
    mov(r7, 170)
    lsl(r7, r7, 8)
    add(r6, r6, r7)
    mul(r6, r3)
    lsr(r6, r6, 19)
    mov(r7, 12)
    mul(r6, r7)
    sub(r3, r3, r6)
    mov(r6, 11)
    mul(r6, r3)
    lsr(r6, r6, 5)  # threes
    sub(r3, r3, r6)
    sub(r3, r3, r6)
    sub(r3, r3, r6)  # singles
    mov(r7, 4)
    sub(r7, r7, r6)
    mul(r7, r4)
    cmp(r3, 0)
    beq(NOSINGLES)
    mov(r4, 2)
    sub(r4, r4, r3)
    mul(r4, r5)
    mov(r5, r7)
    bx(lr)
    label(NOSINGLES)
    lsl(r4, r5, 1)
    add(r4, 6)
    add(r4, r4, r7)
    mov(r5, r7)
    bx(lr)

    # BITS: r3 >= 0 -> r4, the number of its bits. Changes r5, r6.
    label(BITS)
    mov(r5, r3)
    mov(r4, 0)
    lsr(r6, r5, 16)
    beq(BITS8)
    mov(r5, r6)
    add(r4, 16)
    label(BITS8)
    lsr(r6, r5, 8)
    beq(BITS4)
    mov(r5, r6)
    add(r4, 8)
    label(BITS4)
    lsr(r6, r5, 4)
    beq(BITS2)
    mov(r5, r6)
    add(r4, 4)
    label(BITS2)
    lsr(r6, r5, 2)
    beq(BITS1)
    mov(r5, r6)
    add(r4, 2)
    label(BITS1)
    lsr(r6, r5, 1)
    beq(BITS0)
    mov(r5, r6)
    add(r4, 1)
    label(BITS0)
    add(r4, r4, r5)
    bx(lr)

    # SUMS: r0 words of four bytes, r1 a vector, r6 where to enter, JUMP2 where then, r12 the
    # vector's end and one more -> r8 to r11 the sums of linear, without its starts; r0 the words
    # that follow. Changes all but r12.
    label(SUMS)
    mov(r2, 0)
    mov(r8, r2)
    mov(r9, r2)
    mov(r10, r2)
    mov(r11, r2)
    data(2, 0xC980)  # ldmia r1!, {r7}
    data(2, 0x44B7)  # add pc, r6
    nop()
    data(2, 0xC810, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A)
    data(2, 0x0E23, 0x437B, 0x449B, 0x437C, 0x44A0, 0xC980)
    data(2, 0xC810, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A)
    data(2, 0x0E23, 0x437B, 0x449B, 0x437C, 0x44A0, 0xC980)
    data(2, 0x9E07)  # ldr r6, [sp, 28]: JUMP2
    data(2, 0x44B7)  # add pc, r6
    nop()
    label(VTHREES)
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0A23, 0x437B, 0x4499, 0x0C23, 0x437B, 0x449A, 0x0E23, 0x437B)
    data(2, 0x449B, 0x437C, 0x44A0, 0xC98C, 0x0A2C, 0x4354, 0x44A1, 0x0C2C, 0x4354)
    data(2, 0x44A2, 0x0E2C, 0x4354, 0x44A3, 0x4355, 0x44A8, 0x0A34, 0x435C, 0x44A1)
    data(2, 0x0C34, 0x435C, 0x44A2, 0x0E34, 0x435C, 0x44A3, 0x435E, 0x44B0)
    data(2, 0x4561)  # cmp r1, r12
    beq(SUMSEND)
    b(VTHREES)
    label(SUMSEND)
    bx(lr)

    # DIVIDE: r0 / r1 -> r2, for 2**28 <= r0 < 2**31 and 0 < r1 < 2**16. Changes r0, r1, r3, r4.
    label(DIVIDE)
    mov(r2, 0)
    mov(r3, 1)
    lsl(r3, r3, 12)
    lsl(r1, r1, 12)
    lsr(r4, r0, 1)
    label(ALIGN)
    cmp(r1, r4)
    bhi(SUBTRACT)
    lsl(r1, r1, 1)
    lsl(r3, r3, 1)
    b(ALIGN)
    label(SUBTRACT)
    cmp(r0, r1)
    bcc(LESS)
    sub(r0, r0, r1)
    add(r2, r2, r3)
    label(LESS)
    lsr(r1, r1, 1)
    lsr(r3, r3, 1)
    bne(SUBTRACT)
    bx(lr)

    # The next head. Its query: to 15 bits, in place.
    label(HEAD)
    data(2, 0x981B)  # ldr r0, [sp, 108]: Q
    data(2, 0x990D)  # ldr r1, [sp, 52]: SIZE
    add(r1, r1, r0)
    mov(r3, 0)
    label(LARGEST)
    data(2, 0xC804)  # ldmia r0!, {r2}
    asr(r4, r2, 31)
    eor(r2, r4)
    sub(r2, r2, r4)
    cmp(r2, r3)
    bls(NOTLARGER)
    mov(r3, r2)
    label(NOTLARGER)
    cmp(r0, r1)
    bne(LARGEST)
    bl(BITS)
    sub(r4, 15)
    data(2, 0x9808)  # ldr r0, [sp, 32]: REC
    ldr(r5, [r0, 40])
    sub(r5, r5, r4)
    data(2, 0x9525)  # str r5, [sp, 148]: SE
    data(2, 0x981B)  # ldr r0, [sp, 108]: Q
    cmp(r4, 0)
    ble(QLEFT)
    mov(r6, 0)
    lsr(r3, r4)  # a shift by a register leaves the last bit in the carry, and that rounds
    adc(r3, r6)
    label(QRIGHTS)
    ldr(r2, [r0, 0])
    asr(r2, r4)
    adc(r2, r6)
    data(2, 0xC004)  # stmia r0!, {r2}
    cmp(r0, r1)
    bne(QRIGHTS)
    b(ROTATE)
    label(QLEFT)
    neg(r4, r4)
    lsl(r3, r4)
    label(QLEFTS)
    ldr(r2, [r0, 0])
    lsl(r2, r4)
    data(2, 0xC004)  # stmia r0!, {r2}
    cmp(r0, r1)
    bne(QLEFTS)

    # Rotate: r4 cosine, r5 sine, r6 and r7 the two elements, r3 the largest of the results.
    label(ROTATE)
    data(2, 0x9A1A)  # ldr r2, [sp, 104]: ROPE
    cmp(r2, 0)
    beq(ROTATED)
    mov(r12, r1)
    data(2, 0x981B)  # ldr r0, [sp, 108]: Q
    data(2, 0x990D)  # ldr r1, [sp, 52]: SIZE
    lsr(r1, r1, 1)
    add(r1, r1, r0)
    mov(r3, 1)
    lsl(r3, r3, 14)
    mov(r10, r3)
    mov(r3, 0)
    label(ROTATION)
    data(2, 0xCA20)  # ldmia r2!, {r5}
    data(2, 0xB22C)  # sxth r4, r5
    asr(r5, r5, 16)
    ldr(r6, [r0, 0])
    mov(r8, r6)
    ldr(r7, [r1, 0])
    mov(r9, r7)
    mul(r6, r4)
    mul(r7, r5)
    sub(r6, r6, r7)
    data(2, 0x4456)  # add r6, r10
    asr(r6, r6, 15)
    data(2, 0xC040)  # stmia r0!, {r6}
    asr(r7, r6, 31)
    eor(r6, r7)
    sub(r6, r6, r7)
    cmp(r6, r3)
    bls(ROTATION2)
    mov(r3, r6)
    label(ROTATION2)
    mov(r6, r8)
    mov(r7, r9)
    mul(r6, r5)
    mul(r7, r4)
    add(r6, r6, r7)
    data(2, 0x4456)  # add r6, r10
    asr(r6, r6, 15)
    data(2, 0xC140)  # stmia r1!, {r6}
    asr(r7, r6, 31)
    eor(r6, r7)
    sub(r6, r6, r7)
    cmp(r6, r3)
    bls(ROTATION3)
    mov(r3, r6)
    label(ROTATION3)
    data(2, 0x4561)  # cmp r1, r12
    bne(ROTATION)

    # To 12 bits, with the sum of the results, negative. r1 is left where they end.
    label(ROTATED)
    cmp(r3, 0)
    bne(NONZERO)
    mov(r3, 1)
    label(NONZERO)
    mov(r8, r3)
    mov(r1, r3)
    mov(r0, 255)
    lsl(r0, r0, 3)
    add(r0, 7)
    lsl(r0, r0, 19)  # 2047 << 19
    bl(DIVIDE)
    data(2, 0x981B)  # ldr r0, [sp, 108]: Q
    data(2, 0x990D)  # ldr r1, [sp, 52]: SIZE
    add(r1, r1, r0)
    mov(r5, 1)
    lsl(r5, r5, 18)
    mov(r6, 0)
    label(ROUND)
    ldr(r3, [r0, 0])
    mul(r3, r2)
    add(r3, r3, r5)
    asr(r3, r3, 19)
    sub(r6, r6, r3)
    data(2, 0xC008)  # stmia r0!, {r3}
    cmp(r0, r1)
    bne(ROUND)
    lsl(r6, r6, 11)
    data(2, 0x9627)  # str r6, [sp, 156]: BIAS, negative
    data(2, 0x9808)  # ldr r0, [sp, 32]: REC
    ldr(r4, [r0, 36])
    mov(r3, r8)
    mul(r3, r4)
    bl(BITS)
    data(2, 0x9D25)  # ldr r5, [sp, 148]: SE
    sub(r5, r5, r4)
    data(2, 0x9525)  # str r5, [sp, 148]: SE
    sub(r4, 15)
    beq(SCALED)
    lsr(r3, r4)
    mov(r5, 0)
    adc(r3, r5)
    label(SCALED)
    data(2, 0x9326)  # str r3, [sp, 152]: A

    # Products of the query and the keys, two positions a word: into the scores, as they are.
    # r0 keys, r1 query, r8 and r9 sums, r10 and r12 the query's start and end, r11 first jump,
    # lr scores
    data(2, 0x981B)  # ldr r0, [sp, 108]: Q
    mov(r10, r0)
    add(r1, 4)
    mov(r12, r1)
    data(2, 0x9A08)  # ldr r2, [sp, 32]: REC
    ldr(r2, [r2, 68])
    cmp(r2, 8)
    bne(PAIRS)

    # Of 8 bits, four positions a word, as keys of 12 bits.
    data(2, 0x9823)  # ldr r0, [sp, 140]: KJUMP2
    data(2, 0x9007)  # str r0, [sp, 28]: JUMP2
    data(2, 0x981D)  # ldr r0, [sp, 116]: K
    data(2, 0x9901)  # ldr r1, [sp, 4]: X
    label(FOURS)
    data(2, 0x9102)  # str r1, [sp, 8]: TO
    data(2, 0x991B)  # ldr r1, [sp, 108]: Q
    data(2, 0x9E22)  # ldr r6, [sp, 136]: KJUMP
    bl(SUMS)
    mov(r2, r8)
    mov(r3, r9)
    mov(r4, r10)
    mov(r5, r11)
    lsl(r6, r3, 8)
    sub(r2, r2, r6)
    lsl(r6, r4, 8)
    sub(r3, r3, r6)
    lsl(r6, r5, 8)
    sub(r4, r4, r6)
    lsl(r2, r2, 4)
    lsl(r3, r3, 4)
    lsl(r4, r4, 4)
    lsl(r5, r5, 4)
    data(2, 0x9902)  # ldr r1, [sp, 8]: TO
    data(2, 0xC13C)  # stmia r1!, {r2-r5}
    data(2, 0x9A24)  # ldr r2, [sp, 144]: SEND
    cmp(r1, r2)
    bcc(FOURS)
    b(PRODUCTS)

    label(PAIRS)
    data(2, 0x9822)  # ldr r0, [sp, 136]: KJUMP
    mov(r11, r0)
    data(2, 0x9801)  # ldr r0, [sp, 4]: X
    mov(lr, r0)
    data(2, 0x981D)  # ldr r0, [sp, 116]: K
    label(PAIR)
    mov(r2, 0)
    mov(r8, r2)
    mov(r9, r2)
    mov(r1, r10)
    data(2, 0xC980)  # ldmia r1!, {r7}
    data(2, 0x44DF)  # add pc, r11
    nop()
    data(2, 0xC810)  # ldmia r0!, {r4}
    lsr(r3, r4, 16)
    mul(r3, r7)
    data(2, 0x4499)  # add r9, r3
    mul(r4, r7)
    data(2, 0x44A0)  # add r8, r4
    data(2, 0xC980)  # ldmia r1!, {r7}
    data(2, 0xC810, 0x0C23, 0x437B, 0x4499, 0x437C, 0x44A0, 0xC980)
    data(2, 0x9E23)  # ldr r6, [sp, 140]: KJUMP2
    data(2, 0x44B7)  # add pc, r6
    nop()
    label(KTHREES)
    data(2, 0xC870)  # ldmia r0!, {r4-r6}
    lsr(r3, r4, 16)
    mul(r3, r7)
    data(2, 0x4499)  # add r9, r3
    mul(r4, r7)
    data(2, 0x44A0)  # add r8, r4
    data(2, 0xC98C)  # ldmia r1!, {r2, r3, r7}
    lsr(r4, r5, 16)
    mul(r4, r2)
    data(2, 0x44A1)  # add r9, r4
    mul(r5, r2)
    data(2, 0x44A8)  # add r8, r5
    lsr(r4, r6, 16)
    mul(r4, r3)
    data(2, 0x44A1)  # add r9, r4
    mul(r6, r3)
    data(2, 0x44B0)  # add r8, r6
    # The same three times more.
    data(2, 0xC870, 0x0C23, 0x437B, 0x4499, 0x437C, 0x44A0, 0xC98C, 0x0C2C, 0x4354)
    data(2, 0x44A1, 0x4355, 0x44A8, 0x0C34, 0x435C, 0x44A1, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0C23, 0x437B, 0x4499, 0x437C, 0x44A0, 0xC98C, 0x0C2C, 0x4354)
    data(2, 0x44A1, 0x4355, 0x44A8, 0x0C34, 0x435C, 0x44A1, 0x435E, 0x44B0)
    data(2, 0xC870, 0x0C23, 0x437B, 0x4499, 0x437C, 0x44A0, 0xC98C, 0x0C2C, 0x4354)
    data(2, 0x44A1, 0x4355, 0x44A8, 0x0C34, 0x435C, 0x44A1, 0x435E, 0x44B0)
    data(2, 0x4561)  # cmp r1, r12
    beq(KEYED)
    b(KTHREES)
    label(KEYED)
    mov(r2, r8)
    mov(r3, r9)
    lsl(r4, r3, 16)
    sub(r2, r2, r4)
    mov(r1, lr)
    data(2, 0xC10C)  # stmia r1!, {r2, r3}
    mov(lr, r1)
    data(2, 0x9A24)  # ldr r2, [sp, 144]: SEND
    cmp(r1, r2)
    bcc(PAIR)
    label(PRODUCTS)

    # Scores: r0 they, r1 scales of the cache, r6 the query's scale, r7 shift - 17, r8 -bias,
    # r9 best score, r10 largest exponent of a value, r11 1024, r12 end
    data(2, 0x9801)  # ldr r0, [sp, 4]: X
    mov(r12, r2)
    data(2, 0x991F)  # ldr r1, [sp, 124]: SC
    data(2, 0x9A27)  # ldr r2, [sp, 156]: BIAS
    mov(r8, r2)
    mov(r2, 1)
    lsl(r3, r2, 31)
    mov(r9, r3)
    mov(r3, 0)
    mov(r10, r3)
    lsl(r2, r2, 10)
    mov(r11, r2)
    data(2, 0x9E26)  # ldr r6, [sp, 152]: A
    data(2, 0x9F25)  # ldr r7, [sp, 148]: SE
    sub(r7, 17)
    label(SCORE)
    data(2, 0xC908)  # ldmia r1!, {r3}
    ldr(r2, [r0, 0])
    data(2, 0x4442)  # add r2, r8
    lsl(r5, r3, 21)
    lsr(r5, r5, 21)
    mul(r5, r6)
    data(2, 0x445D)  # add r5, r11
    lsr(r5, r5, 11)
    lsl(r4, r3, 16)
    lsr(r4, r4, 27)
    sub(r4, r7, r4)
    cmp(r4, 30)
    bhi(CLAMP)
    label(CLAMPED)
    add(r4, 1)
    lsr(r3, r3, 27)
    data(2, 0x4553)  # cmp r3, r10
    bls(HIGHER)
    mov(r10, r3)
    label(HIGHER)
    data(2, 0xB293)  # uxth r3, r2
    asr(r2, r2, 16)
    mul(r3, r5)
    lsr(r3, r3, 16)
    mul(r2, r5)
    add(r2, r2, r3)
    mov(r3, 0)
    asr(r2, r4)
    adc(r2, r3)
    data(2, 0xC004)  # stmia r0!, {r2}
    data(2, 0x454A)  # cmp r2, r9
    ble(WORSE)
    mov(r9, r2)
    label(WORSE)
    data(2, 0x4560)  # cmp r0, r12
    bne(SCORE)
    data(2, 0x9808)  # ldr r0, [sp, 32]: REC
    ldr(r4, [r0, 60])
    cmp(r4, 0)
    beq(SOFTMAX)

    # What is added by the distance, 13 cycles each: r1 scores, r3 best score, r4 biases, of which
    # that of the query's own position is where the head's words begin
    ldr(r2, [r0, 64])
    data(2, 0x9B0C)  # ldr r3, [sp, 48]: HEADS
    data(2, 0x9D21)  # ldr r5, [sp, 132]: H
    sub(r3, r3, r5)
    mul(r2, r3)
    data(2, 0x9B16)  # ldr r3, [sp, 88]: POS
    sub(r2, r2, r3)
    lsl(r2, r2, 2)
    add(r4, r4, r2)
    data(2, 0x9A09)  # ldr r2, [sp, 36]: BASE
    add(r4, r4, r2)
    mov(r3, 1)
    lsl(r3, r3, 31)
    data(2, 0x9901)  # ldr r1, [sp, 4]: X
    label(LEAN)
    data(2, 0xCC04)  # ldmia r4!, {r2}
    ldr(r5, [r1, 0])
    add(r2, r2, r5)
    data(2, 0xC104)  # stmia r1!, {r2}
    cmp(r2, r3)
    ble(LEANED)
    mov(r3, r2)
    label(LEANED)
    data(2, 0x4561)  # cmp r1, r12
    bne(LEAN)
    mov(r9, r3)
    b(SOFTMAX)
    label(CLAMP)
    cmp(r4, 0)
    blt(TOOLOW)
    mov(r4, 30)
    b(CLAMPED)
    label(TOOLOW)
    mov(r4, 0)
    b(CLAMPED)

    # Softmax, with the values' scales folded into the weights. r0 the record, then scores, r1
    # scales, r5 powers of two, r6 sum, r7 the largest shift, r8 sum of weights, r9 best, r11
    # 0x4000, r12 end
    label(SOFTMAX)
    ldr(r5, [r0, 28])
    data(2, 0x9A09)  # ldr r2, [sp, 36]: BASE
    add(r5, r5, r2)
    ldr(r7, [r0, 52])
    add(r7, 11)
    data(2, 0x4457)  # add r7, r10
    mov(r6, 0)
    mov(r8, r6)
    mov(r2, 1)
    lsl(r2, r2, 14)
    mov(r11, r2)
    data(2, 0x9801)  # ldr r0, [sp, 4]: X
    data(2, 0x991F)  # ldr r1, [sp, 124]: SC
    label(WEIGH)
    ldr(r3, [r0, 0])
    mov(r2, r9)
    sub(r2, r2, r3)
    lsr(r3, r2, 14)
    bne(NOTHING)
    lsl(r3, r2, 22)
    lsr(r3, r3, 27)
    lsl(r3, r3, 2)
    data(2, 0x58EB)  # ldr r3, [r5, r3]
    lsl(r4, r2, 27)
    lsr(r4, r4, 25)
    add(r4, 128)
    data(2, 0x592C)  # ldr r4, [r5, r4]
    mul(r3, r4)
    data(2, 0x445B)  # add r3, r11
    lsr(r3, r3, 15)
    lsr(r2, r2, 10)
    lsr(r3, r2)
    add(r6, r6, r3)
    data(2, 0xC910)  # ldmia r1!, {r4}
    lsr(r2, r4, 27)
    sub(r2, r7, r2)
    cmp(r2, 31)
    bhi(TOOFAR)
    label(NEAR)
    lsl(r4, r4, 5)
    lsr(r4, r4, 21)
    mul(r3, r4)
    mov(r4, 0)
    lsr(r3, r2)
    adc(r3, r4)
    data(2, 0xC008)  # stmia r0!, {r3}
    data(2, 0x4498)  # add r8, r3
    data(2, 0x4560)  # cmp r0, r12
    bne(WEIGH)
    b(WEIGHED)
    label(NOTHING)
    add(r1, 4)
    mov(r3, 0)
    data(2, 0xC008)  # stmia r0!, {r3}
    data(2, 0x4560)  # cmp r0, r12
    bne(WEIGH)
    b(WEIGHED)
    label(TOOFAR)
    mov(r2, 31)
    b(NEAR)

    # The divisor, and the shifts of the weighted sum.
    label(WEIGHED)
    data(2, 0x9919)  # ldr r1, [sp, 100]: VEND
    mov(r2, 0)
    b(PADDED)
    label(PAD)
    data(2, 0xC004)  # stmia r0!, {r2}
    label(PADDED)
    cmp(r0, r1)
    bcc(PAD)
    mov(r3, r6)
    bl(BITS)
    mov(r1, r3)
    mov(r5, r4)
    sub(r5, 16)
    lsr(r1, r5)
    data(2, 0x9E08)  # ldr r6, [sp, 32]: REC
    ldr(r0, [r6, 44])
    ldr(r5, [r6, 48])
    add(r5, r5, r4)
    mov(r2, r10)
    sub(r5, r5, r2)
    mov(r10, r5)
    bl(DIVIDE)
    data(2, 0x922A)  # str r2, [sp, 168]: MUL
    mov(r3, r8)
    bl(BITS)
    mov(r5, 24)
    sub(r5, r5, r4)
    bge(ROOM)
    mov(r5, 0)
    label(ROOM)
    mov(r6, r10)
    mov(r4, 17)
    sub(r4, r4, r6)
    bge(UPWARD)
    mov(r4, 0)
    label(UPWARD)
    cmp(r4, r5)
    ble(ENOUGH)
    mov(r4, r5)
    label(ENOUGH)
    # The lanes' bias, 128 or 120 times the sum of weights; values of 4 bits count 16 times.
    data(2, 0x9904)  # ldr r1, [sp, 16]: VBITS
    mov(r2, 8)
    sub(r2, r2, r1)
    lsl(r1, r2, 1)
    sub(r1, 128)
    mul(r3, r1)
    lsl(r3, r4)
    data(2, 0x9305)  # str r3, [sp, 20]: OFF
    add(r2, r2, r4)
    data(2, 0x9229)  # str r2, [sp, 164]: UP
    add(r6, r6, r4)
    cmp(r6, 17)
    bge(LOWEST)
    mov(r6, 17)
    label(LOWEST)
    cmp(r6, 47)
    ble(HIGHEST)
    mov(r6, 47)
    label(HIGHEST)
    sub(r6, 17)
    mov(r3, 1)
    lsl(r3, r6)
    data(2, 0x9303)  # str r3, [sp, 12]: HALF
    add(r6, 1)
    data(2, 0x9628)  # str r6, [sp, 160]: SHIFT
    data(2, 0x9B18)  # ldr r3, [sp, 96]: VJUMP2
    data(2, 0x9307)  # str r3, [sp, 28]: JUMP2
    data(2, 0x9B1E)  # ldr r3, [sp, 120]: V
    data(2, 0x9300)  # str r3, [sp, 0]: W
    data(2, 0x9B0D)  # ldr r3, [sp, 52]: SIZE
    lsr(r3, r3, 2)
    data(2, 0x932B)  # str r3, [sp, 172]: LEFT

    # Weighted sums of the values, four dimensions at a time: positions are columns.
    label(QUAD)
    data(2, 0x9B19)  # ldr r3, [sp, 100]: VEND
    mov(r12, r3)
    data(2, 0x9B04)  # ldr r3, [sp, 16]: VBITS
    data(2, 0x9800)  # ldr r0, [sp, 0]: W
    data(2, 0x9901)  # ldr r1, [sp, 4]: X
    cmp(r3, 8)
    bne(NIBBLES)
    data(2, 0x9E06)  # ldr r6, [sp, 24]: VJUMP
    bl(SUMS)
    b(SUMMED)

    # Of 4 bits each, 61 cycles for 16 products: r0 half-words, r1 weights, four positions at once
    label(NIBBLES)
    mov(r2, 0)
    mov(r8, r2)
    mov(r9, r2)
    mov(r10, r2)
    mov(r11, r2)
    label(NIBBLE)
    data(2, 0xC9F0)  # ldmia r1!, {r4-r7}
    ldrh(r2, [r0, 0])
    lsr(r3, r2, 4)
    mul(r3, r4)
    data(2, 0x4499)  # add r9, r3
    lsr(r3, r2, 8)
    mul(r3, r4)
    data(2, 0x449A)  # add r10, r3
    lsr(r3, r2, 12)
    mul(r3, r4)
    data(2, 0x449B)  # add r11, r3
    mul(r2, r4)
    data(2, 0x4490)  # add r8, r2
    ldrh(r2, [r0, 4])
    lsr(r3, r2, 4)
    mul(r3, r5)
    data(2, 0x4499)  # add r9, r3
    lsr(r3, r2, 8)
    mul(r3, r5)
    data(2, 0x449A)  # add r10, r3
    lsr(r3, r2, 12)
    mul(r3, r5)
    data(2, 0x449B)  # add r11, r3
    mul(r2, r5)
    data(2, 0x4490)  # add r8, r2
    ldrh(r2, [r0, 8])
    lsr(r3, r2, 4)
    mul(r3, r6)
    data(2, 0x4499)  # add r9, r3
    lsr(r3, r2, 8)
    mul(r3, r6)
    data(2, 0x449A)  # add r10, r3
    lsr(r3, r2, 12)
    mul(r3, r6)
    data(2, 0x449B)  # add r11, r3
    mul(r2, r6)
    data(2, 0x4490)  # add r8, r2
    ldrh(r2, [r0, 12])
    lsr(r3, r2, 4)
    mul(r3, r7)
    data(2, 0x4499)  # add r9, r3
    lsr(r3, r2, 8)
    mul(r3, r7)
    data(2, 0x449A)  # add r10, r3
    lsr(r3, r2, 12)
    mul(r3, r7)
    data(2, 0x449B)  # add r11, r3
    mul(r2, r7)
    data(2, 0x4490)  # add r8, r2
    add(r0, 16)
    data(2, 0x4561)  # cmp r1, r12
    bne(NIBBLE)
    label(SUMMED)
    data(2, 0x9803)  # ldr r0, [sp, 12]: HALF
    mov(lr, r0)
    data(2, 0x9805)  # ldr r0, [sp, 20]: OFF
    mov(r12, r0)
    data(2, 0x9A04)  # ldr r2, [sp, 16]: VBITS
    data(2, 0x9B2B)  # ldr r3, [sp, 172]: LEFT
    data(2, 0x9C1C)  # ldr r4, [sp, 112]: OUT
    data(2, 0x9D2A)  # ldr r5, [sp, 168]: MUL
    data(2, 0x9E29)  # ldr r6, [sp, 164]: UP
    data(2, 0x9F28)  # ldr r7, [sp, 160]: SHIFT
    mov(r0, r8)
    mov(r1, r9)
    lsl(r1, r2)
    sub(r0, r0, r1)
    lsl(r0, r6)
    data(2, 0x4460)  # add r0, r12
    data(2, 0xB281)  # uxth r1, r0
    asr(r0, r0, 16)
    mul(r1, r5)
    lsr(r1, r1, 16)
    mul(r0, r5)
    add(r0, r0, r1)
    data(2, 0x4470)  # add r0, lr
    asr(r0, r7)
    data(2, 0xC401)  # stmia r4!, {r0}
    sub(r3, 1)
    beq(FULL)
    mov(r0, r9)
    mov(r1, r10)
    lsl(r1, r2)
    sub(r0, r0, r1)
    lsl(r0, r6)
    data(2, 0x4460)  # add r0, r12
    data(2, 0xB281)  # uxth r1, r0
    asr(r0, r0, 16)
    mul(r1, r5)
    lsr(r1, r1, 16)
    mul(r0, r5)
    add(r0, r0, r1)
    data(2, 0x4470)  # add r0, lr
    asr(r0, r7)
    data(2, 0xC401)  # stmia r4!, {r0}
    sub(r3, 1)
    beq(FULL)
    mov(r0, r10)
    mov(r1, r11)
    lsl(r1, r2)
    sub(r0, r0, r1)
    lsl(r0, r6)
    data(2, 0x4460)  # add r0, r12
    data(2, 0xB281)  # uxth r1, r0
    asr(r0, r0, 16)
    mul(r1, r5)
    lsr(r1, r1, 16)
    mul(r0, r5)
    add(r0, r0, r1)
    data(2, 0x4470)  # add r0, lr
    asr(r0, r7)
    data(2, 0xC401)  # stmia r4!, {r0}
    sub(r3, 1)
    beq(FULL)
    mov(r0, r11)
    lsl(r0, r6)
    data(2, 0x4460)  # add r0, r12
    data(2, 0xB281)  # uxth r1, r0
    asr(r0, r0, 16)
    mul(r1, r5)
    lsr(r1, r1, 16)
    mul(r0, r5)
    add(r0, r0, r1)
    data(2, 0x4470)  # add r0, lr
    asr(r0, r7)
    data(2, 0xC401)  # stmia r4!, {r0}
    sub(r3, 1)
    label(FULL)
    data(2, 0x941C)  # str r4, [sp, 112]: OUT
    data(2, 0x932B)  # str r3, [sp, 172]: LEFT
    data(2, 0x9800)  # ldr r0, [sp, 0]: W
    mov(r1, 8)
    sub(r1, r1, r2)
    lsr(r1, r1, 1)
    eor(r0, r1)  # the other halves of these words, or the next ones
    lsl(r1, r0, 30)
    bne(HALVES)
    data(2, 0x990B)  # ldr r1, [sp, 44]: CONTEXT
    add(r0, r0, r1)
    label(HALVES)
    data(2, 0x9000)  # str r0, [sp, 0]: W
    cmp(r3, 0)
    beq(HEADED)
    b(QUAD)

    # On to the next head of the query, and after SHARE of them to the next keys.
    label(HEADED)
    data(2, 0x980D)  # ldr r0, [sp, 52]: SIZE
    data(2, 0x991B)  # ldr r1, [sp, 108]: Q
    add(r1, r1, r0)
    data(2, 0x911B)  # str r1, [sp, 108]: Q
    data(2, 0x9820)  # ldr r0, [sp, 128]: SHARED
    sub(r0, 1)
    bne(SAME)
    data(2, 0x981D)  # ldr r0, [sp, 116]: K
    data(2, 0x990E)  # ldr r1, [sp, 56]: KROW
    add(r0, r0, r1)
    data(2, 0x901D)  # str r0, [sp, 116]: K
    data(2, 0x981E)  # ldr r0, [sp, 120]: V
    data(2, 0x990F)  # ldr r1, [sp, 60]: VROW
    add(r0, r0, r1)
    data(2, 0x901E)  # str r0, [sp, 120]: V
    data(2, 0x981F)  # ldr r0, [sp, 124]: SC
    data(2, 0x990B)  # ldr r1, [sp, 44]: CONTEXT
    add(r0, r0, r1)
    data(2, 0x901F)  # str r0, [sp, 124]: SC
    data(2, 0x9813)  # ldr r0, [sp, 76]: SHARE
    label(SAME)
    data(2, 0x9020)  # str r0, [sp, 128]: SHARED
    data(2, 0x9821)  # ldr r0, [sp, 132]: H
    sub(r0, 1)
    data(2, 0x9021)  # str r0, [sp, 132]: H
    beq(LASTHEAD)
    b(HEAD)
    label(LASTHEAD)
    data(2, 0x9816)  # ldr r0, [sp, 88]: POS
    add(r0, 1)
    data(2, 0x9016)  # str r0, [sp, 88]: POS
    data(2, 0x9817)  # ldr r0, [sp, 92]: FRAMED
    data(2, 0x9915)  # ldr r1, [sp, 84]: STRIDE
    add(r0, r0, r1)
    data(2, 0x9017)  # str r0, [sp, 92]: FRAMED
    data(2, 0x9814)  # ldr r0, [sp, 80]: T
    sub(r0, 1)
    data(2, 0x9014)  # str r0, [sp, 80]: T
    beq(DONE)
    b(POSITION)
    label(DONE)
    data(2, 0xB02C)  # add sp, 176
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    mov(r0, 0)


# An activation, and by choice times another vector, both to 15 bits. Passes take 31 (without a
# table 9), twice 11, and 15 cycles an element.
@micropython.asm_thumb
def gate(r0, r1):
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    data(2, 0xB088)  # sub sp, 32
    mov(r2, 1)
    lsl(r2, r2, 29)
    sub(r2, r1, r2)
    data(2, 0x9200)  # str r2, [sp, 0]: BASE
    data(2, 0x9001)  # str r0, [sp, 4]: REC
    ldr(r3, [r1, 4])
    data(2, 0x9302)  # str r3, [sp, 8]: T
    ldr(r3, [r1, 12])
    lsl(r3, r3, 2)
    data(2, 0x9303)  # str r3, [sp, 12]: STRIDE
    ldr(r3, [r0, 0])
    add(r3, r3, r2)
    data(2, 0x9304)  # str r3, [sp, 16]: G
    ldr(r3, [r0, 4])
    add(r3, r3, r2)
    data(2, 0x9305)  # str r3, [sp, 20]: U
    ldr(r3, [r0, 20])
    add(r3, r3, r2)
    data(2, 0x9306)  # str r3, [sp, 24]: DYN
    ldr(r3, [r0, 8])
    lsl(r3, r3, 2)
    data(2, 0x9307)  # str r3, [sp, 28]: N
    b(VECTOR)

    # EXCESS: the words from r0 to r1 -> r4, the bits that the largest magnitude has above 15.
    # Changes r0, r2, r3, r5, r6.
    label(EXCESS)
    mov(r3, 0)
    label(LARGEST)
    data(2, 0xC804)  # ldmia r0!, {r2}
    asr(r4, r2, 31)
    eor(r2, r4)
    sub(r2, r2, r4)
    cmp(r2, r3)
    bls(SMALLER)
    mov(r3, r2)
    label(SMALLER)
    cmp(r0, r1)
    bne(LARGEST)
    mov(r5, r3)
    mov(r4, 0)
    lsr(r6, r5, 16)
    beq(BITS8)
    mov(r5, r6)
    add(r4, 16)
    label(BITS8)
    lsr(r6, r5, 8)
    beq(BITS4)
    mov(r5, r6)
    add(r4, 8)
    label(BITS4)
    lsr(r6, r5, 4)
    beq(BITS2)
    mov(r5, r6)
    add(r4, 4)
    label(BITS2)
    lsr(r6, r5, 2)
    beq(BITS1)
    mov(r5, r6)
    add(r4, 2)
    label(BITS1)
    lsr(r6, r5, 1)
    beq(BITS0)
    mov(r5, r6)
    add(r4, 1)
    label(BITS0)
    add(r4, r4, r5)
    sub(r4, 15)
    bge(KEEP)
    mov(r4, 0)
    label(KEEP)
    bx(lr)

    # SHIFTS: r4 bits to drop, negative to add -> r5 and r4, shifts to the left and to the right,
    # and r6, what to add between them.
    label(SHIFTS)
    mov(r5, 0)
    mov(r6, 0)
    cmp(r4, 0)
    bge(DROP)
    neg(r5, r4)
    mov(r4, 0)
    bx(lr)
    label(DROP)
    mov(r6, 1)
    lsl(r6, r4)
    lsr(r6, r6, 1)
    bx(lr)

    # The activation in place: max(x, 0) less a table of |x|. r0 x, r1 and r2 shift and mask of the
    # fraction between two entries, r7 shift of an entry, r10 rounding, r11 table, r12 end
    label(VECTOR)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    data(2, 0x9A00)  # ldr r2, [sp, 0]: BASE
    ldr(r3, [r0, 12])
    add(r2, r2, r3)
    mov(r11, r2)
    ldr(r3, [r0, 16])
    mov(r7, 17)
    sub(r7, r7, r3)
    mov(r4, 1)
    lsl(r4, r7)
    lsr(r4, r4, 1)
    mov(r10, r4)
    mov(r4, 1)
    lsl(r4, r3)
    mov(r9, r4)
    sub(r1, r3, 5)
    mov(r2, 1)
    lsl(r2, r1)
    sub(r2, 1)
    data(2, 0x9E01)  # ldr r6, [sp, 4]: REC
    data(2, 0x9804)  # ldr r0, [sp, 16]: G
    data(2, 0x9B07)  # ldr r3, [sp, 28]: N
    add(r3, r3, r0)
    mov(r12, r3)
    ldr(r3, [r6, 12])
    cmp(r3, 0)
    beq(RELU)
    ldr(r3, [r6, 24])
    cmp(r3, 0)
    beq(ACTIVATE)

    # Odd: r9 1.0. The entries have two fraction bits less, so they are taken four times.
    label(ODD)
    ldr(r5, [r0, 0])
    asr(r3, r5, 31)
    mov(r6, 0)
    eor(r5, r3)
    sub(r5, r5, r3)  # |x|
    beq(SIGNED)
    mov(r4, r5)
    lsr(r4, r1)
    lsr(r6, r4, 9)
    beq(NEAR)
    mov(r6, 0)
    b(FAR)
    label(NEAR)
    lsl(r4, r4, 1)
    data(2, 0x445C)  # add r4, r11
    ldrh(r6, [r4, 0])
    ldrh(r4, [r4, 2])
    sub(r4, r4, r6)
    and_(r5, r2)
    mul(r4, r5)
    asr(r4, r1)
    adc(r6, r4)
    lsl(r6, r6, 2)
    data(2, 0x4456)  # add r6, r10
    lsr(r6, r7)
    neg(r6, r6)
    label(FAR)
    data(2, 0x444E)  # add r6, r9
    eor(r6, r3)
    sub(r6, r6, r3)
    label(SIGNED)
    data(2, 0xC040)  # stmia r0!, {r6}
    data(2, 0x4560)  # cmp r0, r12
    bne(ODD)
    b(NEXT)

    label(RELU)
    ldr(r3, [r0, 0])
    asr(r4, r3, 31)
    bic(r3, r4)
    data(2, 0xC008)  # stmia r0!, {r3}
    data(2, 0x4560)  # cmp r0, r12
    bne(RELU)
    b(ACTIVE)

    label(ACTIVATE)
    ldr(r3, [r0, 0])
    asr(r4, r3, 31)
    mov(r5, r3)
    eor(r5, r4)
    sub(r5, r5, r4)  # |x|
    bic(r3, r4)  # max(x, 0)
    mov(r4, r5)
    lsr(r4, r1)
    lsr(r6, r4, 9)
    bne(LINEAR)  # past the table: nothing to take off
    lsl(r4, r4, 1)
    data(2, 0x445C)  # add r4, r11
    ldrh(r6, [r4, 0])
    ldrh(r4, [r4, 2])
    sub(r4, r4, r6)
    and_(r5, r2)
    mul(r4, r5)
    asr(r4, r1)
    adc(r6, r4)  # the carry is the last bit shifted out: it rounds
    data(2, 0x4456)  # add r6, r10
    lsr(r6, r7)
    sub(r3, r3, r6)
    label(LINEAR)
    data(2, 0xC008)  # stmia r0!, {r3}
    data(2, 0x4560)  # cmp r0, r12
    bne(ACTIVATE)

    # Both to 15 bits, multiplied.
    label(ACTIVE)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r3, [r0, 4])
    cmp(r3, 0)
    beq(NEXT)
    data(2, 0x9804)  # ldr r0, [sp, 16]: G
    mov(r1, r12)
    bl(EXCESS)
    mov(r7, r4)
    bl(SHIFTS)
    mov(r8, r6)
    data(2, 0x9805)  # ldr r0, [sp, 20]: U
    data(2, 0x9907)  # ldr r1, [sp, 28]: N
    add(r1, r1, r0)
    bl(EXCESS)
    data(2, 0x9806)  # ldr r0, [sp, 24]: DYN
    add(r5, r7, r4)
    str(r5, [r0, 0])
    bl(SHIFTS)
    mov(r9, r6)
    data(2, 0x9804)  # ldr r0, [sp, 16]: G
    data(2, 0x9905)  # ldr r1, [sp, 20]: U
    label(MULTIPLY)
    ldr(r2, [r0, 0])
    data(2, 0xC908)  # ldmia r1!, {r3}
    data(2, 0x4442)  # add r2, r8
    asr(r2, r7)
    data(2, 0x444B)  # add r3, r9
    asr(r3, r4)
    mul(r2, r3)
    data(2, 0xC004)  # stmia r0!, {r2}
    data(2, 0x4560)  # cmp r0, r12
    bne(MULTIPLY)
    label(NEXT)
    data(2, 0x9A03)  # ldr r2, [sp, 12]: STRIDE
    data(2, 0x9804)  # ldr r0, [sp, 16]: G
    add(r0, r0, r2)
    data(2, 0x9004)  # str r0, [sp, 16]: G
    data(2, 0x9805)  # ldr r0, [sp, 20]: U
    add(r0, r0, r2)
    data(2, 0x9005)  # str r0, [sp, 20]: U
    data(2, 0x9806)  # ldr r0, [sp, 24]: DYN
    add(r0, r0, r2)
    data(2, 0x9006)  # str r0, [sp, 24]: DYN
    data(2, 0x9802)  # ldr r0, [sp, 8]: T
    sub(r0, 1)
    data(2, 0x9002)  # str r0, [sp, 8]: T
    beq(DONE)
    b(VECTOR)
    label(DONE)
    data(2, 0xB008)  # add sp, 32
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    mov(r0, 0)


# One position's vector is left: the last one, the first one, or the mean of all.
@micropython.asm_thumb
def pool(r0, r1):
    mov(lr, r1)
    mov(r2, 1)
    lsl(r2, r2, 29)
    sub(r2, r1, r2)
    ldr(r3, [r0, 0])
    add(r3, r3, r2)  # the first frame's
    ldr(r2, [r0, 4])
    lsl(r2, r2, 2)
    add(r2, r2, r3)
    mov(r12, r2)  # its end
    ldr(r2, [r1, 4])
    ldr(r5, [r1, 12])
    lsl(r5, r5, 2)
    ldr(r6, [r0, 8])
    cmp(r6, 1)
    beq(DONE)
    bhi(MEAN)
    sub(r2, 1)
    mul(r5, r2)
    add(r5, r5, r3)
    ldr(r6, [r1, 0])
    add(r6, r6, r2)
    str(r6, [r1, 0])  # its position is the first one's now
    label(COPY)
    data(2, 0xCD40)  # ldmia r5!, {r6}
    data(2, 0xC340)  # stmia r3!, {r6}
    data(2, 0x4563)  # cmp r3, r12
    bne(COPY)
    b(DONE)

    # r7 2**(r6 + 16) // count, for the least r6 from 1 on that gives 15 bits or more. One more
    # bit for 2 and 3 than the definition has keeps sums of 32 bits in range, and changes nothing;
    # one vector is its own mean.
    label(MEAN)
    cmp(r2, 1)
    beq(DONE)
    mov(r6, 1)
    lsl(r0, r6, 17)
    lsr(r7, r2, 3)
    label(WIDER)
    beq(WIDE)
    lsl(r0, r0, 1)
    add(r6, 1)
    lsr(r7, r7, 1)
    b(WIDER)
    label(WIDE)
    lsl(r4, r2, 16)
    mov(r1, 1)
    lsl(r1, r1, 16)
    label(DIVIDE)
    cmp(r0, r4)
    bcc(LESS)
    sub(r0, r0, r4)
    add(r7, r7, r1)
    label(LESS)
    lsr(r4, r4, 1)
    lsr(r1, r1, 1)
    bne(DIVIDE)

    # r0 sum, r1 and r2 the next vector and the end, r3 out, r5 stride
    mul(r2, r5)
    label(ELEMENT)
    mov(r0, 0)
    mov(r1, r3)
    add(r2, r2, r3)
    label(SUM)
    ldr(r4, [r1, 0])
    add(r0, r0, r4)
    add(r1, r1, r5)
    cmp(r1, r2)
    bne(SUM)
    sub(r2, r2, r3)
    data(2, 0xB284)  # uxth r4, r0
    asr(r0, r0, 16)
    mul(r4, r7)
    lsr(r4, r4, 16)
    mul(r0, r7)
    add(r0, r0, r4)
    mov(r4, 0)
    asr(r0, r6)
    adc(r0, r4)
    data(2, 0xC301)  # stmia r3!, {r0}
    data(2, 0x4563)  # cmp r3, r12
    bne(ELEMENT)
    label(DONE)
    mov(r0, 1)
    mov(r1, lr)
    str(r0, [r1, 4])
    mov(r0, 0)


# A vector of words that may lie in several runs: 11 cycles an element.
@micropython.asm_thumb
def bias(r0, r1):
    push({r0, r1})
    mov(r2, 1)
    lsl(r2, r2, 29)
    sub(r2, r1, r2)
    mov(lr, r2)
    ldr(r3, [r0, 0])
    add(r3, r3, r2)
    ldr(r4, [r1, 4])
    mov(r12, r4)

    # A position: r0 words, r1 their end in out, r2 -1 to add, else 0, r3 out, r6 the next run,
    # r7 end of out, r12 positions left, lr base
    label(VECTOR)
    data(2, 0x9800)  # ldr r0, [sp, 0]: REC
    ldr(r7, [r0, 8])
    lsl(r7, r7, 2)
    add(r7, r7, r3)
    ldr(r6, [r0, 4])
    data(2, 0x4476)  # add r6, lr
    ldr(r2, [r0, 12])
    neg(r2, r2)
    label(RUN)
    data(2, 0xCE03)  # ldmia r6!, {r0, r1}
    data(2, 0x4470)  # add r0, lr
    lsl(r1, r1, 2)
    beq(RUN)
    sub(r5, r7, r3)
    cmp(r1, r5)
    bls(FITS)
    mov(r1, r5)
    label(FITS)
    add(r1, r1, r3)
    label(ELEMENT)
    data(2, 0xC810)  # ldmia r0!, {r4}
    ldr(r5, [r3, 0])
    and_(r5, r2)
    add(r4, r4, r5)
    data(2, 0xC310)  # stmia r3!, {r4}
    cmp(r3, r1)
    bne(ELEMENT)
    cmp(r3, r7)
    bne(RUN)
    data(2, 0x9800)  # ldr r0, [sp, 0]: REC
    ldr(r4, [r0, 8])
    data(2, 0x9801)  # ldr r0, [sp, 4]: ARENA
    ldr(r5, [r0, 12])
    sub(r5, r5, r4)
    lsl(r5, r5, 2)
    add(r3, r3, r5)
    mov(r4, r12)
    sub(r4, 1)
    mov(r12, r4)
    bne(VECTOR)
    data(2, 0xB002)  # add sp, 8
    mov(r0, 0)


# The largest logit, or a random one among the most likely: powers of two of the logits, then the
# least weight that still belongs to top-p by halving, then a running sum.
@micropython.asm_thumb
def sample(r0, r1):
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    data(2, 0xB084)  # sub sp, 16
    mov(r2, 1)
    lsl(r2, r2, 29)
    sub(r2, r1, r2)
    data(2, 0x9200)  # str r2, [sp, 0]: BASE
    data(2, 0x9001)  # str r0, [sp, 4]: REC
    ldr(r4, [r0, 0])
    add(r4, r4, r2)
    data(2, 0x9402)  # str r4, [sp, 8]: START
    ldr(r5, [r0, 4])
    lsl(r5, r5, 2)
    add(r5, r5, r4)
    data(2, 0x9503)  # str r5, [sp, 12]: END
    mov(r12, r5)

    # The largest, and where it is first.
    mov(r3, 1)
    lsl(r3, r3, 31)
    add(r6, r4, 4)
    label(LARGEST)
    data(2, 0xCC04)  # ldmia r4!, {r2}
    cmp(r2, r3)
    ble(SMALLER)
    mov(r3, r2)
    mov(r6, r4)
    label(SMALLER)
    cmp(r4, r5)
    bne(LARGEST)
    mov(r9, r3)
    ldr(r1, [r0, 12])
    cmp(r1, 0)
    bne(WEIGHT)
    data(2, 0x9C02)  # ldr r4, [sp, 8]: START
    sub(r6, r6, r4)
    lsr(r6, r6, 2)
    sub(r6, 1)
    str(r6, [r0, 28])
    b(DONE)

    # Weights: r0 logits, r1 multiplier, r5 powers of two, r6 and r7 shifts, r8 sum, r9 largest,
    # r10 2**24, r11 0x4000, r12 end
    label(WEIGHT)
    ldr(r7, [r0, 16])
    mov(r6, 17)
    sub(r6, r6, r7)
    bge(UP)
    mov(r6, 0)
    label(UP)
    cmp(r6, 6)
    ble(ROOM)
    mov(r6, 6)
    label(ROOM)
    add(r7, r7, r6)
    sub(r7, 16)
    cmp(r7, 1)
    bge(LOWEST)
    mov(r7, 1)
    label(LOWEST)
    cmp(r7, 31)
    ble(HIGHEST)
    mov(r7, 31)
    label(HIGHEST)
    ldr(r5, [r0, 8])
    data(2, 0x9B00)  # ldr r3, [sp, 0]: BASE
    add(r5, r5, r3)
    mov(r3, 0)
    mov(r8, r3)
    mov(r3, 1)
    lsl(r4, r3, 24)
    mov(r10, r4)
    lsl(r4, r3, 14)
    mov(r11, r4)
    data(2, 0x9802)  # ldr r0, [sp, 8]: START
    label(WEIGH)
    ldr(r3, [r0, 0])
    mov(r2, r9)
    sub(r2, r2, r3)
    data(2, 0x4552)  # cmp r2, r10
    bls(CLOSE)
    mov(r2, r10)
    label(CLOSE)
    lsl(r2, r6)
    data(2, 0xB293)  # uxth r3, r2
    lsr(r2, r2, 16)
    mul(r3, r1)
    lsr(r3, r3, 16)
    mul(r2, r1)
    add(r2, r2, r3)
    mov(r4, 0)
    lsr(r2, r7)
    adc(r2, r4)  # the last bit shifted out rounds
    lsr(r3, r2, 14)
    bne(NOTHING)
    lsl(r3, r2, 22)
    lsr(r3, r3, 27)
    lsl(r3, r3, 2)
    data(2, 0x58EB)  # ldr r3, [r5, r3]
    lsl(r4, r2, 27)
    lsr(r4, r4, 25)
    add(r4, 128)
    data(2, 0x592C)  # ldr r4, [r5, r4]
    mul(r4, r3)
    data(2, 0x445C)  # add r4, r11
    lsr(r4, r4, 15)
    lsr(r2, r2, 10)
    lsr(r4, r2)
    data(2, 0x44A0)  # add r8, r4
    label(NOTHING)
    data(2, 0xC010)  # stmia r0!, {r4}
    data(2, 0x4560)  # cmp r0, r12
    bne(WEIGH)
    b(WEIGHED)

    # SUM: r2 a least weight -> r3 the sum of those that reach it. Changes r0, r4 to r7.
    label(SUM)
    mov(r3, 0)
    data(2, 0x9802)  # ldr r0, [sp, 8]: START
    mov(r1, r12)
    sub(r1, r1, r0)
    lsl(r1, r1, 28)
    lsr(r1, r1, 28)
    beq(FOURS)  # bytes that four at a time leave over
    add(r1, r1, r0)
    label(ONES)
    data(2, 0xC810)  # ldmia r0!, {r4}
    cmp(r4, r2)
    blt(LESS0)
    add(r3, r3, r4)
    label(LESS0)
    cmp(r0, r1)
    bne(ONES)
    data(2, 0x4560)  # cmp r0, r12
    beq(SUMMED)
    label(FOURS)
    data(2, 0xC8F0)  # ldmia r0!, {r4-r7}
    cmp(r4, r2)
    blt(LESS1)
    add(r3, r3, r4)
    label(LESS1)
    cmp(r5, r2)
    blt(LESS2)
    add(r3, r3, r5)
    label(LESS2)
    cmp(r6, r2)
    blt(LESS3)
    add(r3, r3, r6)
    label(LESS3)
    cmp(r7, r2)
    blt(LESS4)
    add(r3, r3, r7)
    label(LESS4)
    data(2, 0x4560)  # cmp r0, r12
    bne(FOURS)
    label(SUMMED)
    bx(lr)

    # The least weight that belongs to top-p, by halving. r8 low, r9 high, r10 what to reach
    label(WEIGHED)
    mov(r3, r8)
    mov(r2, 1)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r1, [r0, 20])
    lsr(r4, r1, 15)
    bne(CHOSEN)
    lsr(r4, r3, 15)
    mul(r4, r1)
    lsl(r5, r3, 17)
    lsr(r5, r5, 17)
    mul(r5, r1)
    lsr(r5, r5, 15)
    add(r4, r4, r5)
    mov(r10, r4)
    mov(r8, r2)
    lsl(r3, r2, 15)
    add(r3, 1)
    mov(r9, r3)
    label(HALVE)
    mov(r3, r9)
    mov(r2, r8)
    sub(r4, r3, r2)
    cmp(r4, 1)
    ble(HALVED)
    add(r2, r2, r3)
    lsr(r2, r2, 1)
    bl(SUM)
    data(2, 0x4553)  # cmp r3, r10
    bge(ENOUGH)
    mov(r9, r2)
    b(HALVE)
    label(ENOUGH)
    mov(r8, r2)
    b(HALVE)
    label(HALVED)
    bl(SUM)

    # r2 least weight, r3 the sum: a random number (xorshift32) times the sum
    label(CHOSEN)
    data(2, 0x9801)  # ldr r0, [sp, 4]: REC
    ldr(r4, [r0, 24])
    lsl(r5, r4, 13)
    eor(r4, r5)
    lsr(r5, r4, 17)
    eor(r4, r5)
    lsl(r5, r4, 5)
    eor(r4, r5)
    str(r4, [r0, 24])
    lsr(r4, r4, 2)
    lsr(r5, r3, 15)  # both in halves of 15 bits
    lsl(r6, r3, 17)
    lsr(r6, r6, 17)
    lsr(r7, r4, 15)
    lsl(r4, r4, 17)
    lsr(r4, r4, 17)
    mov(r1, r5)
    mul(r1, r7)
    mul(r5, r4)
    mul(r7, r6)
    mul(r6, r4)
    lsr(r6, r6, 15)
    add(r5, r5, r6)
    add(r5, r5, r7)
    lsr(r5, r5, 15)
    add(r1, r1, r5)
    data(2, 0x9B02)  # ldr r3, [sp, 8]: START
    mov(r4, r3)
    label(PICK)
    data(2, 0xCC20)  # ldmia r4!, {r5}
    cmp(r5, r2)
    blt(UNLIKELY)
    sub(r1, r1, r5)
    bmi(PICKED)
    label(UNLIKELY)
    data(2, 0x4564)  # cmp r4, r12
    bne(PICK)
    b(DONE)
    label(PICKED)
    sub(r4, r4, r3)
    lsr(r4, r4, 2)
    sub(r4, 1)
    str(r4, [r0, 28])
    label(DONE)
    data(2, 0xB004)  # add sp, 16
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    mov(r0, 0)
