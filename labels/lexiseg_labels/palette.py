"""The colours of classes, the same in overlays of the service, in pictures of the client and on the page."""

import colorsys

COUNT = 256  # of different colours
GOLDEN_ANGLE = 0.381966  # of the colour circle, so that neighbours in the class list differ


def colour(index: int) -> tuple[int, int, int]:
    """RGB of the index-th class, 0 to 255 each."""
    place = index % COUNT
    lightness = (0.55, 0.42, 0.68)[place % 3]
    red, green, blue = colorsys.hls_to_rgb((0.58 + place * GOLDEN_ANGLE) % 1.0, lightness, 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)
