"""The matrix product with weights of 4 bits, in assembler; see kernels_thumb.py.

Sixteen columns at a time, 18 cycles for the eight products of one. A word W holds a column of
eight rows. With its activation x, three sums take ((W >> 4 i) & 0x000F000F) x, modulo 2**32: row i
in the low half and row i + 4 in the high one, both exact, as no sum of sixteen products leaves 16
bits. The sum of W x is row 0 and 4 plus 16, 256 and 4096 times these three, so it needs no mask.
The 8 that each weight has too much come off by the sum of the activations. Then each row's sum,
times the scale of these columns, goes to its accumulator on the stack.
"""

import micropython

from .kernels_embed4 import embed4  # noqa: F401


# The stack begins with the accumulators of eight rows. Up to XTAIL full blocks are taken at once,
# all others by pieces, C columns left: the rest of a row, which begins at XFULL, and each block of
# a row group that the end of a run cuts (XTAIL is 0 then). XSPAN is where the next scales come.
# Several vectors take four row groups in turn, so that what depends on a vector is computed once
# for them.
@micropython.asm_thumb
def linear4(r0, r1):
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    data(2, 0xB0A7)  # sub sp, 156
    mov(r2, 1)
    lsl(r2, r2, 29)
    sub(r2, r1, r2)
    data(2, 0x9217)  # str r2, [sp, 92]: BASE
    data(2, 0x9018)  # str r0, [sp, 96]: REC
    ldr(r3, [r0, 0])
    add(r3, r3, r2)
    data(2, 0x9325)  # str r3, [sp, 148]: XS
    data(2, 0x931F)  # str r3, [sp, 124]: XH
    ldr(r3, [r0, 4])
    add(r3, r3, r2)
    ldr(r4, [r0, 32])
    lsl(r4, r4, 4)
    add(r3, r3, r4)
    data(2, 0x9324)  # str r3, [sp, 144]: TO; out of the first row group, first vector
    data(2, 0x9314)  # str r3, [sp, 80]: OUT
    ldr(r4, [r0, 36])
    lsl(r4, r4, 4)
    add(r4, r4, r3)
    data(2, 0x9420)  # str r4, [sp, 128]: OUTEND
    ldr(r5, [r1, 4])
    data(2, 0x951C)  # str r5, [sp, 112]: TOTAL
    data(2, 0x951D)  # str r5, [sp, 116]: T
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
    data(2, 0x9426)  # str r4, [sp, 152]: CHUNK
    add(r4, r4, r3)
    data(2, 0x9415)  # str r4, [sp, 84]: STOP
    ldr(r4, [r1, 12])
    lsl(r4, r4, 2)
    data(2, 0x941E)  # str r4, [sp, 120]: STRIDE
    ldr(r4, [r0, 28])
    neg(r4, r4)
    data(2, 0x9416)  # str r4, [sp, 88]: ADD; -1 to add, else 0
    ldr(r5, [r0, 8])
    add(r5, r5, r2)
    data(2, 0x9519)  # str r5, [sp, 100]: RUN
    data(2, 0x9522)  # str r5, [sp, 136]: RUN0
    ldr(r3, [r5, 0])
    add(r3, r3, r2)
    data(2, 0x9308)  # str r3, [sp, 32]: W
    data(2, 0x9321)  # str r3, [sp, 132]: W0
    ldr(r6, [r5, 4])
    lsl(r6, r6, 2)
    add(r6, r6, r3)
    data(2, 0x961A)  # str r6, [sp, 104]: END
    data(2, 0x9623)  # str r6, [sp, 140]: END0
    mov(r4, 0)
    data(2, 0x940E)  # str r4, [sp, 56]: C
    # Words of a row group: columns, scales, four of multipliers
    ldr(r3, [r0, 12])
    ldr(r4, [r0, 40])
    add(r5, r3, 4)
    label(SPANS)
    add(r5, 1)
    sub(r3, r3, r4)
    bgt(SPANS)
    lsl(r5, r5, 2)
    data(2, 0x951B)  # str r5, [sp, 108]: SIZE
    lsl(r4, r4, 2)
    data(2, 0x940D)  # str r4, [sp, 52]: SPAN
    b(SETUP)

    # The next run: r0 its first word, END; changes r3, r4.
    label(NEXTRUN)
    data(2, 0x9B19)  # ldr r3, [sp, 100]: RUN
    add(r3, 8)
    data(2, 0x9319)  # str r3, [sp, 100]: RUN
    ldr(r0, [r3, 0])
    data(2, 0x9C17)  # ldr r4, [sp, 92]: BASE
    add(r0, r0, r4)
    ldr(r3, [r3, 4])
    lsl(r3, r3, 2)
    add(r3, r3, r0)
    data(2, 0x931A)  # str r3, [sp, 104]: END
    bx(lr)

    # These rows are done: the next vector takes the same, and after the last come the next rows.
    label(NEXT)
    data(2, 0x981C)  # ldr r0, [sp, 112]: TOTAL
    cmp(r0, 1)
    bne(SEVERAL)
    b(DONE)
    label(SEVERAL)
    data(2, 0x9B26)  # ldr r3, [sp, 152]: CHUNK
    data(2, 0x981D)  # ldr r0, [sp, 116]: T
    sub(r0, 1)
    beq(LAST)
    data(2, 0x901D)  # str r0, [sp, 116]: T
    data(2, 0x9A1E)  # ldr r2, [sp, 120]: STRIDE
    data(2, 0x981F)  # ldr r0, [sp, 124]: XH
    add(r0, r0, r2)
    data(2, 0x901F)  # str r0, [sp, 124]: XH
    data(2, 0x9814)  # ldr r0, [sp, 80]: OUT
    add(r0, r0, r2)
    data(2, 0x9015)  # str r0, [sp, 84]: STOP
    sub(r0, r0, r3)
    data(2, 0x9014)  # str r0, [sp, 80]: OUT
    data(2, 0x9821)  # ldr r0, [sp, 132]: W0
    data(2, 0x9008)  # str r0, [sp, 32]: W
    data(2, 0x9822)  # ldr r0, [sp, 136]: RUN0
    data(2, 0x9019)  # str r0, [sp, 100]: RUN
    data(2, 0x9823)  # ldr r0, [sp, 140]: END0
    data(2, 0x901A)  # str r0, [sp, 104]: END
    b(SETUP)
    label(LAST)
    data(2, 0x9824)  # ldr r0, [sp, 144]: TO
    add(r0, r0, r3)
    data(2, 0x9920)  # ldr r1, [sp, 128]: OUTEND
    sub(r1, r1, r0)
    bne(AGAIN)
    b(DONE)
    label(AGAIN)
    cmp(r1, r3)
    bhi(CHUNKED)
    data(2, 0x9126)  # str r1, [sp, 152]: CHUNK
    mov(r3, r1)
    label(CHUNKED)
    data(2, 0x9024)  # str r0, [sp, 144]: TO
    data(2, 0x9014)  # str r0, [sp, 80]: OUT
    add(r0, r0, r3)
    data(2, 0x9015)  # str r0, [sp, 84]: STOP
    data(2, 0x981C)  # ldr r0, [sp, 112]: TOTAL
    data(2, 0x901D)  # str r0, [sp, 116]: T
    data(2, 0x9825)  # ldr r0, [sp, 148]: XS
    data(2, 0x901F)  # str r0, [sp, 124]: XH
    data(2, 0x9808)  # ldr r0, [sp, 32]: W
    data(2, 0x9021)  # str r0, [sp, 132]: W0
    data(2, 0x9819)  # ldr r0, [sp, 100]: RUN
    data(2, 0x9022)  # str r0, [sp, 136]: RUN0
    data(2, 0x981A)  # ldr r0, [sp, 104]: END
    data(2, 0x9023)  # str r0, [sp, 140]: END0

    # What depends on the vector alone.
    label(SETUP)
    data(2, 0x981F)  # ldr r0, [sp, 124]: XH
    data(2, 0xC80C)  # ldmia r0!, {r2-r3}; scale, exponent
    add(r0, 8)
    data(2, 0x9009)  # str r0, [sp, 36]: X
    data(2, 0x9210)  # str r2, [sp, 64]: SCALE
    data(2, 0x9D18)  # ldr r5, [sp, 96]: REC
    ldr(r4, [r5, 12])
    lsl(r6, r4, 2)
    add(r6, r6, r0)
    data(2, 0x960B)  # str r6, [sp, 44]: XEND
    lsr(r4, r4, 4)
    lsl(r4, r4, 6)
    add(r4, r4, r0)
    data(2, 0x940F)  # str r4, [sp, 60]: XFULL
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
    data(2, 0x9313)  # str r3, [sp, 76]: RND
    add(r6, 1)
    data(2, 0x9612)  # str r6, [sp, 72]: S
    data(2, 0x9411)  # str r4, [sp, 68]: K

    # A row group, times a vector: r0 weights, r1 activations, r2 the mask.
    label(GROUP)
    mov(r3, 0)
    mov(r4, 0)
    mov(r5, 0)
    mov(r6, 0)
    mov(r7, sp)
    data(2, 0xC778)  # stmia r7!, {r3-r6}
    data(2, 0xC778)  # stmia r7!, {r3-r6}
    data(2, 0x9808)  # ldr r0, [sp, 32]: W
    data(2, 0x9909)  # ldr r1, [sp, 36]: X
    data(2, 0x910C)  # str r1, [sp, 48]: XSPAN
    data(2, 0x9B1A)  # ldr r3, [sp, 104]: END
    sub(r3, r3, r0)
    data(2, 0x9D1B)  # ldr r5, [sp, 108]: SIZE
    cmp(r3, r5)
    bcc(CUT)
    data(2, 0x9C0F)  # ldr r4, [sp, 60]: XFULL
    label(CUT)
    data(2, 0x940A)  # str r4, [sp, 40]: XTAIL
    mov(r2, 15)
    lsl(r3, r2, 16)
    orr(r2, r3)
    b(BLOCK)

    # A block by pieces, or the end of the row.
    label(OTHER)
    data(2, 0x9B0B)  # ldr r3, [sp, 44]: XEND
    sub(r3, r3, r1)
    bne(PART)
    b(ROWS)
    label(PART)
    lsr(r3, r3, 2)
    cmp(r3, 16)
    bls(REST)
    mov(r3, 16)
    label(REST)
    data(2, 0x930E)  # str r3, [sp, 56]: C
    data(2, 0x9B0C)  # ldr r3, [sp, 48]: XSPAN
    cmp(r1, r3)
    bne(KEPT)
    data(2, 0x9C0D)  # ldr r4, [sp, 52]: SPAN
    add(r3, r3, r4)
    data(2, 0x930C)  # str r3, [sp, 48]: XSPAN
    label(FETCH)
    data(2, 0x9B1A)  # ldr r3, [sp, 104]: END
    cmp(r0, r3)
    bne(FETCHED)
    bl(NEXTRUN)
    b(FETCH)
    label(FETCHED)
    data(2, 0xC810)  # ldmia r0!, {r4}
    mov(lr, r4)
    label(KEPT)
    mov(r3, 0)
    mov(r8, r3)
    mov(r9, r3)
    mov(r10, r3)
    mov(r11, r3)
    mov(r12, r3)
    label(PIECE)
    data(2, 0x9B1A)  # ldr r3, [sp, 104]: END
    sub(r3, r3, r0)
    bne(HAVE)
    mov(r7, lr)
    bl(NEXTRUN)
    mov(lr, r7)
    b(PIECE)
    label(HAVE)
    lsr(r3, r3, 2)
    data(2, 0x9C0E)  # ldr r4, [sp, 56]: C
    cmp(r3, r4)
    bls(SHORT)
    mov(r3, r4)
    label(SHORT)
    sub(r4, r4, r3)
    data(2, 0x940E)  # str r4, [sp, 56]: C
    mov(r6, 8)
    lsr(r3, r3, 1)  # pairs; the carry is a single
    bcc(EVEN)
    sub(r6, r6, r3)
    data(2, 0xC810)  # ldmia r0!, {r4}
    data(2, 0xC980)  # ldmia r1!, {r7}
    data(2, 0x44BC)  # add r12, r7
    lsr(r3, r4, 4)
    and_(r3, r2)
    mul(r3, r7)
    data(2, 0x4499)  # add r9, r3
    lsr(r3, r4, 8)
    and_(r3, r2)
    mul(r3, r7)
    data(2, 0x449A)  # add r10, r3
    lsr(r3, r4, 12)
    and_(r3, r2)
    mul(r3, r7)
    data(2, 0x449B)  # add r11, r3
    mul(r4, r7)
    data(2, 0x44A0)  # add r8, r4
    mov(r3, 0)
    label(EVEN)
    sub(r6, r6, r3)
    lsl(r6, r6, 6)  # bytes of a pair
    b(ENTER)

    # A full block. Its scales are in lr.
    label(FULL)
    data(2, 0x9B0C)  # ldr r3, [sp, 48]: XSPAN
    cmp(r1, r3)
    bne(SAME)
    data(2, 0x9C0D)  # ldr r4, [sp, 52]: SPAN
    add(r3, r3, r4)
    data(2, 0x930C)  # str r3, [sp, 48]: XSPAN
    data(2, 0xC810)  # ldmia r0!, {r4}
    mov(lr, r4)
    label(SAME)
    mov(r6, 0)
    mov(r8, r6)
    mov(r9, r6)
    mov(r10, r6)
    mov(r11, r6)
    mov(r12, r6)
    label(ENTER)
    data(2, 0x44B7)  # add pc, r6
    nop()
    # Two columns
    data(2, 0xC830)  # ldmia r0!, {r4-r5}
    data(2, 0xC9C0)  # ldmia r1!, {r6-r7}
    data(2, 0x44B4)  # add r12, r6
    data(2, 0x44BC)  # add r12, r7
    lsr(r3, r4, 4)
    and_(r3, r2)
    mul(r3, r6)
    data(2, 0x4499)  # add r9, r3
    lsr(r3, r4, 8)
    and_(r3, r2)
    mul(r3, r6)
    data(2, 0x449A)  # add r10, r3
    lsr(r3, r4, 12)
    and_(r3, r2)
    mul(r3, r6)
    data(2, 0x449B)  # add r11, r3
    mul(r4, r6)
    data(2, 0x44A0)  # add r8, r4
    lsr(r3, r5, 4)
    and_(r3, r2)
    mul(r3, r7)
    data(2, 0x4499)  # add r9, r3
    lsr(r3, r5, 8)
    and_(r3, r2)
    mul(r3, r7)
    data(2, 0x449A)  # add r10, r3
    lsr(r3, r5, 12)
    and_(r3, r2)
    mul(r3, r7)
    data(2, 0x449B)  # add r11, r3
    mul(r5, r7)
    data(2, 0x44A8)  # add r8, r5
    # The same seven times more.
    data(2, 0xC830, 0xC9C0, 0x44B4, 0x44BC, 0x0923, 0x4013, 0x4373, 0x4499)
    data(2, 0x0A23, 0x4013, 0x4373, 0x449A, 0x0B23, 0x4013, 0x4373, 0x449B)
    data(2, 0x4374, 0x44A0, 0x092B, 0x4013, 0x437B, 0x4499, 0x0A2B, 0x4013)
    data(2, 0x437B, 0x449A, 0x0B2B, 0x4013, 0x437B, 0x449B, 0x437D, 0x44A8)
    data(2, 0xC830, 0xC9C0, 0x44B4, 0x44BC, 0x0923, 0x4013, 0x4373, 0x4499)
    data(2, 0x0A23, 0x4013, 0x4373, 0x449A, 0x0B23, 0x4013, 0x4373, 0x449B)
    data(2, 0x4374, 0x44A0, 0x092B, 0x4013, 0x437B, 0x4499, 0x0A2B, 0x4013)
    data(2, 0x437B, 0x449A, 0x0B2B, 0x4013, 0x437B, 0x449B, 0x437D, 0x44A8)
    data(2, 0xC830, 0xC9C0, 0x44B4, 0x44BC, 0x0923, 0x4013, 0x4373, 0x4499)
    data(2, 0x0A23, 0x4013, 0x4373, 0x449A, 0x0B23, 0x4013, 0x4373, 0x449B)
    data(2, 0x4374, 0x44A0, 0x092B, 0x4013, 0x437B, 0x4499, 0x0A2B, 0x4013)
    data(2, 0x437B, 0x449A, 0x0B2B, 0x4013, 0x437B, 0x449B, 0x437D, 0x44A8)
    data(2, 0xC830, 0xC9C0, 0x44B4, 0x44BC, 0x0923, 0x4013, 0x4373, 0x4499)
    data(2, 0x0A23, 0x4013, 0x4373, 0x449A, 0x0B23, 0x4013, 0x4373, 0x449B)
    data(2, 0x4374, 0x44A0, 0x092B, 0x4013, 0x437B, 0x4499, 0x0A2B, 0x4013)
    data(2, 0x437B, 0x449A, 0x0B2B, 0x4013, 0x437B, 0x449B, 0x437D, 0x44A8)
    data(2, 0xC830, 0xC9C0, 0x44B4, 0x44BC, 0x0923, 0x4013, 0x4373, 0x4499)
    data(2, 0x0A23, 0x4013, 0x4373, 0x449A, 0x0B23, 0x4013, 0x4373, 0x449B)
    data(2, 0x4374, 0x44A0, 0x092B, 0x4013, 0x437B, 0x4499, 0x0A2B, 0x4013)
    data(2, 0x437B, 0x449A, 0x0B2B, 0x4013, 0x437B, 0x449B, 0x437D, 0x44A8)
    data(2, 0xC830, 0xC9C0, 0x44B4, 0x44BC, 0x0923, 0x4013, 0x4373, 0x4499)
    data(2, 0x0A23, 0x4013, 0x4373, 0x449A, 0x0B23, 0x4013, 0x4373, 0x449B)
    data(2, 0x4374, 0x44A0, 0x092B, 0x4013, 0x437B, 0x4499, 0x0A2B, 0x4013)
    data(2, 0x437B, 0x449A, 0x0B2B, 0x4013, 0x437B, 0x449B, 0x437D, 0x44A8)
    data(2, 0xC830, 0xC9C0, 0x44B4, 0x44BC, 0x0923, 0x4013, 0x4373, 0x4499)
    data(2, 0x0A23, 0x4013, 0x4373, 0x449A, 0x0B23, 0x4013, 0x4373, 0x449B)
    data(2, 0x4374, 0x44A0, 0x092B, 0x4013, 0x437B, 0x4499, 0x0A2B, 0x4013)
    data(2, 0x437B, 0x449A, 0x0B2B, 0x4013, 0x437B, 0x449B, 0x437D, 0x44A8)
    data(2, 0x9B0E)  # ldr r3, [sp, 56]: C
    cmp(r3, 0)
    beq(SWEPT)
    b(PIECE)

    # A block is summed up: its rows by twos, times their scales, to the accumulators.
    label(SWEPT)
    mov(r7, r12)
    lsl(r7, r7, 3)
    lsl(r3, r7, 16)
    add(r7, r7, r3)
    mov(r6, lr)
    mov(r3, r11)
    lsl(r3, r3, 4)
    data(2, 0x4453)  # add r3, r10
    lsl(r3, r3, 4)
    data(2, 0x444B)  # add r3, r9
    lsl(r3, r3, 4)
    mov(r4, r8)
    sub(r4, r4, r3)
    sub(r4, r4, r7)
    data(2, 0xB223)  # sxth r3, r4
    sub(r4, r4, r3)
    asr(r4, r4, 16)
    lsl(r5, r6, 28)
    lsr(r5, r5, 28)
    mul(r3, r5)
    data(2, 0x9D00)  # ldr r5, [sp, 0]
    add(r5, r5, r3)
    data(2, 0x9500)  # str r5, [sp, 0]
    lsl(r5, r6, 12)
    lsr(r5, r5, 28)
    mul(r4, r5)
    data(2, 0x9D04)  # ldr r5, [sp, 16]
    add(r5, r5, r4)
    data(2, 0x9504)  # str r5, [sp, 16]
    mov(r4, r9)
    sub(r4, r4, r7)
    data(2, 0xB223)  # sxth r3, r4
    sub(r4, r4, r3)
    asr(r4, r4, 16)
    lsl(r5, r6, 24)
    lsr(r5, r5, 28)
    mul(r3, r5)
    data(2, 0x9D01)  # ldr r5, [sp, 4]
    add(r5, r5, r3)
    data(2, 0x9501)  # str r5, [sp, 4]
    lsl(r5, r6, 8)
    lsr(r5, r5, 28)
    mul(r4, r5)
    data(2, 0x9D05)  # ldr r5, [sp, 20]
    add(r5, r5, r4)
    data(2, 0x9505)  # str r5, [sp, 20]
    mov(r4, r10)
    sub(r4, r4, r7)
    data(2, 0xB223)  # sxth r3, r4
    sub(r4, r4, r3)
    asr(r4, r4, 16)
    lsl(r5, r6, 20)
    lsr(r5, r5, 28)
    mul(r3, r5)
    data(2, 0x9D02)  # ldr r5, [sp, 8]
    add(r5, r5, r3)
    data(2, 0x9502)  # str r5, [sp, 8]
    lsl(r5, r6, 4)
    lsr(r5, r5, 28)
    mul(r4, r5)
    data(2, 0x9D06)  # ldr r5, [sp, 24]
    add(r5, r5, r4)
    data(2, 0x9506)  # str r5, [sp, 24]
    mov(r4, r11)
    sub(r4, r4, r7)
    data(2, 0xB223)  # sxth r3, r4
    sub(r4, r4, r3)
    asr(r4, r4, 16)
    lsl(r5, r6, 16)
    lsr(r5, r5, 28)
    mul(r3, r5)
    data(2, 0x9D03)  # ldr r5, [sp, 12]
    add(r5, r5, r3)
    data(2, 0x9503)  # str r5, [sp, 12]
    lsr(r5, r6, 28)
    mul(r4, r5)
    data(2, 0x9D07)  # ldr r5, [sp, 28]
    add(r5, r5, r4)
    data(2, 0x9507)  # str r5, [sp, 28]
    label(BLOCK)
    data(2, 0x9B0A)  # ldr r3, [sp, 40]: XTAIL
    cmp(r1, r3)
    bcs(TOOTHER)
    b(FULL)
    label(TOOTHER)
    b(OTHER)

    # All columns are done: r1 accumulators, r6 result, r7 -1 to add to it.
    label(ROWS)
    mov(r1, sp)
    data(2, 0x9B13)  # ldr r3, [sp, 76]: RND
    mov(r8, r3)
    data(2, 0x9B10)  # ldr r3, [sp, 64]: SCALE
    mov(r9, r3)
    mov(r3, 1)
    lsl(r3, r3, 13)
    mov(r10, r3)
    data(2, 0x9B11)  # ldr r3, [sp, 68]: K
    mov(r11, r3)
    data(2, 0x9B12)  # ldr r3, [sp, 72]: S
    mov(r12, r3)
    data(2, 0x9E14)  # ldr r6, [sp, 80]: OUT
    data(2, 0x9F16)  # ldr r7, [sp, 88]: ADD
    label(TWO)
    data(2, 0x9B1A)  # ldr r3, [sp, 104]: END
    cmp(r0, r3)
    bne(MUL)
    bl(NEXTRUN)
    b(TWO)
    label(MUL)
    data(2, 0xC820)  # ldmia r0!, {r5}; the multipliers of two rows
    data(2, 0xB2AA)  # uxth r2, r5
    mov(r3, r9)
    mul(r2, r3)
    data(2, 0x4452)  # add r2, r10
    lsr(r2, r2, 14)
    data(2, 0xC908)  # ldmia r1!, {r3}
    mov(r4, r11)
    lsl(r3, r4)
    data(2, 0xB29C)  # uxth r4, r3
    asr(r3, r3, 16)
    mul(r4, r2)
    mul(r3, r2)
    lsr(r4, r4, 16)
    add(r3, r3, r4)
    data(2, 0x4443)  # add r3, r8
    mov(r4, r12)
    asr(r3, r4)
    ldr(r4, [r6, 0])
    and_(r4, r7)
    add(r3, r3, r4)
    data(2, 0xC608)  # stmia r6!, {r3}
    lsr(r2, r5, 16)
    mov(r3, r9)
    mul(r2, r3)
    data(2, 0x4452)  # add r2, r10
    lsr(r2, r2, 14)
    data(2, 0xC908)  # ldmia r1!, {r3}
    mov(r4, r11)
    lsl(r3, r4)
    data(2, 0xB29C)  # uxth r4, r3
    asr(r3, r3, 16)
    mul(r4, r2)
    mul(r3, r2)
    lsr(r4, r4, 16)
    add(r3, r3, r4)
    data(2, 0x4443)  # add r3, r8
    mov(r4, r12)
    asr(r3, r4)
    ldr(r4, [r6, 0])
    and_(r4, r7)
    add(r3, r3, r4)
    data(2, 0xC608)  # stmia r6!, {r3}
    # Four rows may be the last: a row group is half empty then.
    data(2, 0x9B15)  # ldr r3, [sp, 84]: STOP
    cmp(r6, r3)
    beq(ALLROWS)
    mov(r3, sp)
    add(r3, 32)
    cmp(r1, r3)
    bne(TWO)
    label(ALLROWS)
    data(2, 0x9008)  # str r0, [sp, 32]: W
    data(2, 0x9614)  # str r6, [sp, 80]: OUT
    data(2, 0x9B15)  # ldr r3, [sp, 84]: STOP
    cmp(r6, r3)
    beq(TONEXT)
    b(GROUP)
    label(TONEXT)
    b(NEXT)
    label(DONE)
    data(2, 0xB027)  # add sp, 156
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    mov(r0, 0)
