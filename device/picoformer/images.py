"""An image's pixels as the patches that a vision Transformer reads."""

from .errors import Error


def place(pixels, image, positions, arena, at, stride):
    """Write the patches to word `at` of the frames, `stride` words apart.

    pixels: 0 to 255, row by row, the channels of a pixel together. image: height, width, channels,
    patch, class tokens, which get patches of zeros. positions: frames that there are.
    """
    height, width, channels, patch, extra = image
    if len(pixels) != height * width * channels:
        raise Error(
            "the image has %d values, expected %d x %d x %d"
            % (len(pixels), height, width, channels)
        )
    across = width // patch
    count = extra + across * (height // patch)
    if count > positions:
        raise Error("the image has %d patches, the context is %d" % (count, positions))
    for t in range(count):
        to = at + t * stride + 4
        total = 0
        corner = ((t - extra) // across * width + (t - extra) % across) * patch * channels
        for c in range(channels):
            for y in range(patch):
                # A row of the patch: its pixels lie `channels` values apart.
                row = corner + y * width * channels + c
                for i in range(row, row + patch * channels, channels):
                    v = 0
                    if t >= extra:
                        v = pixels[i] - 128
                        if not -128 <= v <= 127:
                            raise Error("a pixel is %d, expected 0 to 255" % pixels[i])
                    arena[to] = v
                    total += v
                    to += 1
        # A quantized vector whose scale is 1: mantissa, exponent, sum, unused, elements.
        to = at + t * stride
        arena[to] = 8192
        arena[to + 1] = -13
        arena[to + 2] = total
