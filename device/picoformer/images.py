"""An image's pixels as the patches that a vision Transformer reads."""

from .errors import Error


def place(model, pixels):
    """Write the patches to a model's frames; returns tokens, of which each has one.

    pixels: 0 to 255, row by row, the channels of a pixel together. Class tokens get patches of
    zeros. Raises Error.
    """
    height, width, channels, patch, extra, wide = model.image  # extra: class tokens
    arena = model._arena
    if len(pixels) != height * width * channels:
        raise Error(
            "the image has %d values, expected %d x %d x %d"
            % (len(pixels), height, width, channels)
        )
    across = width // wide
    count = extra + across * (height // patch)
    if count > model.context:
        raise Error("the image has %d patches, the context is %d" % (count, model.context))
    for t in range(count):
        head = model._patch + t * model._stride
        to = head + 4
        total = 0
        corner = (t - extra) // across * width * patch + (t - extra) % across * wide
        for c in range(channels):
            for y in range(patch):
                # A row of the patch: its pixels lie `channels` values apart.
                row = (corner + y * width) * channels + c
                for i in range(row, row + wide * channels, channels):
                    v = 0
                    if t >= extra:
                        v = pixels[i] - 128
                        if not -128 <= v <= 127:
                            raise Error("a pixel is %d, expected 0 to 255" % pixels[i])
                    arena[to] = v
                    total += v
                    to += 1
        # A quantized vector whose scale is 1: mantissa, exponent, sum, unused, elements.
        arena[head] = 8192
        arena[head + 1] = -13
        arena[head + 2] = total
    return bytes(count)
