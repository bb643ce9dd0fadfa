"""From a photograph's file to its pixels. Free of torch, which takes seconds to load: commands over files need none."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lexiseg_model.data.pairs.source import StoredPair
from lexiseg_model.errors import SampleError

MOST_PIXELS = 64_000_000  # of a photograph; larger ones are counted as broken


def decode(pair: StoredPair) -> NDArray[np.uint8]:
    """RGB [H, W, 3], turned as its EXIF data says, for that is what the caption's writer saw.

    Raises:
        SampleError: it is no image, is cut off, or is larger than MOST_PIXELS.
    """
    try:
        # Pillow's own warning of large pictures: the size is judged here.
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(pair.photograph)) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                size = f"{picture.width} x {picture.height}"
                raise SampleError(pair.name, f"{size} pixels; expected at most {MOST_PIXELS:,}")
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except UnidentifiedImageError:
        raise SampleError(pair.name, "cannot be read as an image: its format is none that is known") from None
    # Pillow's decoders raise whatever they stumble over, beside OSError.
    except (OSError, ValueError, SyntaxError, TypeError, IndexError, Image.DecompressionBombError) as error:
        raise SampleError(pair.name, f"cannot be read as an image: {error}") from None
