"""The kernel in viper that cuts a signal into windows, for models that read such ones."""

import micropython


@micropython.viper
def windows(rec: ptr32, arena: ptr32):
    m = 1
    m <<= 31
    base = int(arena) - 0x20000000
    stride = arena[3] << 2
    channels = rec[4]
    high = rec[5]
    wide = rec[6]
    table = base + rec[12]
    step = channels << 2
    row = 0 - rec[9]  # of the window's corner
    column = 0
    t = 0
    while t < arena[1]:
        out = ptr32(base + rec[0] + t * stride)
        y = row
        end = row + high
        if t < rec[11]:
            y = rec[2]  # a class token reads what is behind the signal
            end = y + high
        while y < end:
            i = wide
            if y < 0:
                i = 0
            if y >= rec[2]:
                i = 0
            rest = wide - i
            x = ptr16(base + rec[1] + ((y * channels + column) << 1))
            mul = ptr32(table + (column << 2))
            while i:
                add = ptr32(int(mul) + step)
                down = ptr32(int(add) + step)
                v = (x[0] ^ 0x8000) - 0x8000
                out[0] = (v * mul[0] + ((add[0] ^ m) - m)) >> down[0]
                x = ptr16(int(x) + 2)
                mul = ptr32(int(mul) + 4)
                out = ptr32(int(out) + 4)
                i -= 1
            while rest:
                out[0] = 0
                out = ptr32(int(out) + 4)
                rest -= 1
            y += 1
        if t >= rec[11]:
            column += rec[8]
            if column + wide > channels:
                column = 0
                row += rec[7]
        t += 1
