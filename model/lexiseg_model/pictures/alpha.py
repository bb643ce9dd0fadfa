"""Alpha: what is transparent is white, unless all of it is: then the picture is shown as its colours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.pictures.bands import bands

PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}  # modes that convert to their twins alone


def to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """A loaded picture of any mode of 8 bits as [H, W, 3]. In bands, which bounds the memory of intermediates."""
    width, height = picture.size
    rgb = np.empty((height, width, 3), np.uint8)
    is_seen = picture.has_transparency_data and any(_layer(band).getchannel("A").getbbox() for _, band in _cut(picture))
    for rows, band in _cut(picture):
        if is_seen:
            layer = _layer(band)
            band = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        rgb[rows] = np.asarray(band.convert("RGB") if is_seen else _colours(band))
    return rgb


def _cut(picture: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    width, height = picture.size
    for rows in bands((height, width)):
        yield rows, picture.crop((0, rows.start, width, rows.stop))


def _layer(band: Image.Image) -> Image.Image:
    return band.convert(PREMULTIPLIED.get(band.mode, band.mode)).convert("RGBA")


def _colours(band: Image.Image) -> Image.Image:
    return band.convert(PREMULTIPLIED.get(band.mode, band.mode)).convert("RGB")
