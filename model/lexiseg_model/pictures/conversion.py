"""Convert decoded pixels to sRGB by LittleCMS.

Pictures of 8 bits are converted. A profile is hashed; its conversion is built once and kept. One that changes nothing,
as sRGB's many, costs its hash; others 15 ns a decoded pixel.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from lexiseg_model.pictures.bands import bands
from lexiseg_model.pictures.colours import ColourSpace, Note, profile_tags, profile_with_tags, unread_profile
from lexiseg_model.resources.lru import Lru

MAX_CONVERSIONS = 32  # that are kept
SAME = 2  # of 255: profiles of sRGB differ by so much
MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
# All that a conversion to sRGB needs. Floating-point pipelines may have thousands of stages, and are in no photograph.
KEPT_TAGS = (
    b"wtpt", b"chad", b"A2B0", b"A2B1", b"kTRC", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC",
)  # fmt: skip
SRGB_PROFILE = ImageCms.createProfile("sRGB")
CUBE = np.stack(np.meshgrid(*[np.linspace(0, 255, 9)] * 3, indexing="ij"), -1).reshape(27, 27, 3).astype(np.uint8)
RAMP = np.arange(256, dtype=np.uint8)[None]  # [1, 256]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Conversion:
    """From a mode of Pillow to sRGB; without a transform nothing is to be done."""

    mode: str
    transform: ImageCms.ImageCmsTransform | None
    notes: tuple[Note, ...] = ()

    def apply(self, pixels: Pixels) -> Pixels:
        """[H, W, C] or [H, W] of the mode -> [H, W, 3]."""
        assert self.transform is not None
        return np.asarray(self.transform.apply(Image.fromarray(pixels)))


_conversions: Lru[bytes, _Conversion] = Lru(MAX_CONVERSIONS)


def to_srgb(rgb: Pixels, space: ColourSpace) -> tuple[Note, ...]:
    """Convert [H, W, 3] in place, in bands; a profile of greys counts where the picture is grey."""
    conversion = _conversion_of(space.profile)
    notes = (*space.notes, *conversion.notes)
    if conversion.transform is None:
        return notes
    if conversion.mode == "L" and all((rgb[rows, :, :1] == rgb[rows]).all() for rows in bands(rgb.shape[:2])):
        table = conversion.apply(RAMP)[0, :, 0]
        for rows in bands(rgb.shape[:2]):
            rgb[rows] = table[rgb[rows]]
    elif conversion.mode == "RGB":
        for rows in bands(rgb.shape[:2]):
            rgb[rows] = conversion.apply(rgb[rows])
    else:
        notes += unread_profile(f"it is for {conversion.mode}, which the picture is not").notes
    return notes


def inks_to_srgb(picture: Image.Image, space: ColourSpace) -> Pixels | None:
    """A loaded CMYK picture as [H, W, 3], in bands; None without a profile of inks."""
    conversion = _conversion_of(space.profile) if space.profile else None
    if conversion is None or conversion.transform is None or conversion.mode != "CMYK":
        return None
    width, height = picture.size
    rgb = np.empty((height, width, 3), np.uint8)
    for rows in bands((height, width)):
        rgb[rows] = np.asarray(conversion.transform.apply(picture.crop((0, rows.start, width, rows.stop))))
    return rgb


def _conversion_of(profile: bytes) -> _Conversion:
    digest = hashlib.sha256(profile).digest()
    conversion = _conversions.get(digest)
    if conversion is None:
        conversion = _built(profile)
        _conversions.put(digest, conversion)
    return conversion


def _built(profile: bytes) -> _Conversion:
    mode = MODES.get(profile[16:20])
    if mode is None:
        return _Conversion("", None, unread_profile("it is for neither RGB, grey nor CMYK").notes)
    tags = profile_tags(profile)
    smaller = profile_with_tags(profile, {name: tags[name] for name in KEPT_TAGS if name in tags})
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(smaller)),
            SRGB_PROFILE,
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        return _Conversion(mode, None, unread_profile(f"it is damaged ({type(error).__name__})").notes)
    conversion = _Conversion(mode, transform)
    if mode == "CMYK":
        return conversion
    sample, expected = (CUBE, CUBE) if mode == "RGB" else (RAMP, np.dstack([RAMP] * 3))
    changes_nothing = np.abs(conversion.apply(sample).astype(int) - expected).max() <= SAME
    return _Conversion(mode, None) if changes_nothing else conversion
