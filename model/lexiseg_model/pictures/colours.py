"""Colours: what a file says about them, as an ICC profile, and their conversion to sRGB by LittleCMS.

The profile is that of a JPEG, PNG, TIFF, WebP, HEIC or AVIF, or made of numbers: ITU-T H.273 (cICP of PNG, nclx of HEIC
and AVIF, cicp in a profile), gAMA and cHRM of PNG. As in browsers, cICP goes before a profile and a profile before nclx
and gAMA. It is empty for sRGB, or where nothing is said.

Pictures of 8 bits are converted. A profile is hashed; its conversion is built once and kept. One that changes nothing,
as sRGB's many, costs its hash; others 15 ns a decoded pixel.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from lexiseg_model.pictures.bands import bands
from lexiseg_model.pictures.note import GUESSED_COLOURS, Note
from lexiseg_model.pictures.structure import png_chunks
from lexiseg_model.resources.lru import Lru

MAX_PROFILE_BYTES = 4 << 20  # tables of printers take two megabytes
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# x and y of red, green, blue and white, by H.273's number.
BT_709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
PRIMARIES = {
    1: BT_709,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.31, 0.316),
    5: (0.64, 0.33, 0.29, 0.6, 0.15, 0.06, 0.3127, 0.329),
    6: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, 0.3127, 0.329),
    7: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, 0.3127, 0.329),
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329),
    11: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.314, 0.351),
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329),
}
PQ, HLG = 16, 18
REFERENCE_WHITE = 203.0  # cd/m2, of a sheet of paper in HDR: ITU-R BT.2408
MAX_COLUMN = 8.0  # of a display's primaries in XYZ
NO_DISPLAY = "its chromaticities are those of no display"
SRGB_GAMMA = 0.45455  # of gAMA: what it says of sRGB
MAX_EXPONENT = 10.0  # of a gamma, and its inverse: others are damage
Floats = NDArray[np.float64]
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
class ColourSpace:
    """An ICC profile, and notes on what is lost of the picture by converting from it."""

    profile: bytes = b""
    notes: tuple[Note, ...] = ()


SRGB = ColourSpace()


def space_of_icc(profile: bytes | None) -> ColourSpace:
    """The colour space of an ICC profile, which may say by its own numbers that it is HDR."""
    if not profile:
        return SRGB
    if len(profile) > MAX_PROFILE_BYTES:
        return unread_profile(f"it has {len(profile):,} bytes, at most {MAX_PROFILE_BYTES:,} are read")
    numbers = profile_tags(profile).get(b"cicp", b"")[8:10]
    if len(numbers) == 2 and numbers[1] in (PQ, HLG):
        return space_of_numbers(*numbers)
    return ColourSpace(profile)


def space_of_png(content: bytes, info: Mapping[Any, Any]) -> ColourSpace:
    """The colour space of a PNG: of its chunks before the pixels, and of what Pillow has read of them."""
    if (numbers := _chunk(content, b"cICP")) is not None and len(numbers) == 4:
        return space_of_numbers(numbers[0], numbers[1])
    if "icc_profile" in info:
        return space_of_icc(info["icc_profile"])
    gamma = info.get("gamma", 0.0)
    if "srgb" in info or not 1 / MAX_EXPONENT < gamma < MAX_EXPONENT:
        return SRGB
    x, y, *others = info.get("chromaticity", (BT_709[6], BT_709[7], *BT_709[:6]))  # white comes first
    is_srgb = abs(gamma - SRGB_GAMMA) < 0.005
    return _space_of_primaries((*others, x, y), _srgb if is_srgb else lambda codes: codes ** (1 / gamma))


def space_of_heif(info: Mapping[str, Any]) -> ColourSpace:
    """The colour space of HEIC or AVIF, by what libheif has read of the container."""
    if info.get("icc_profile"):
        return space_of_icc(info["icc_profile"])
    numbers = info.get("nclx_profile") or {}
    return space_of_numbers(int(numbers.get("color_primaries", 2)), int(numbers.get("transfer_characteristics", 2)))


def space_of_numbers(primaries: int, transfer: int) -> ColourSpace:
    """The colour space of two numbers of H.273; unknown and unspecified ones and the curves of television mean sRGB."""
    curves: dict[int, Callable[[Floats], Floats]] = {
        4: lambda codes: codes**2.2, 5: lambda codes: codes**2.8, 8: lambda codes: codes, PQ: _pq, HLG: _hlg,
    }  # fmt: skip
    space = _space_of_primaries(PRIMARIES.get(primaries, BT_709), curves.get(transfer, _srgb))
    if transfer not in (PQ, HLG):
        return space
    name = "PQ" if transfer == PQ else "HLG"
    text = (
        f"the picture is HDR ({name}): it was converted to sRGB, and what is brighter than reference white "
        f"({REFERENCE_WHITE:.0f} cd/m2) became white; send a picture of the standard range to decide that yourself"
    )
    return ColourSpace(space.profile, (Note(GUESSED_COLOURS, text),))


def unread_profile(reason: str) -> ColourSpace:
    """sRGB, with a note that there is a profile and why it was not read."""
    return ColourSpace(b"", (Note(GUESSED_COLOURS, f"the colour profile was not read, and sRGB assumed: {reason}"),))


def profile_tags(profile: bytes) -> dict[bytes, bytes]:
    """The content of each tag of an ICC profile; none of a damaged one."""
    tags: dict[bytes, bytes] = {}
    if len(profile) < 132:
        return tags
    (n_tags,) = struct.unpack_from(">I", profile, 128)
    for number in range(min(n_tags, 100, (len(profile) - 132) // 12)):
        name, place, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        tags.setdefault(name, profile[place : place + size])
    return tags


def profile_with_tags(head: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """An ICC profile of these tags; `head` is 128 bytes, of which the size is written anew."""
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    return struct.pack(">I", 128 + len(table) + len(body)) + head[4:128] + table + body


def _chunk(content: bytes, name: bytes) -> bytes | None:
    """The content of a PNG's chunk before the pixels."""
    ours = ((kind, place) for kind, place in png_chunks(content) if kind in (name, b"IDAT"))
    kind, place = next(ours, (b"", slice(0)))
    return content[place] if kind == name else None


def _space_of_primaries(places: tuple[float, ...], curve: Callable[[Floats], Floats]) -> ColourSpace:
    """The colour space of chromaticities (red, green, blue, white) and of a curve from codes 0..1 to light 0..1."""
    if places == BT_709 and curve is _srgb:
        return SRGB
    points = np.array(places, np.float64).reshape(4, 2)
    if (points[:, 1] <= 0).any():
        return unread_profile(NO_DISPLAY)
    try:
        xyz = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])  # [3, RGBW]
        matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
        white, white_by_d50 = BRADFORD @ xyz[:, 3], BRADFORD @ D50
        columns = (np.linalg.inv(BRADFORD) @ np.diag(white_by_d50 / white) @ BRADFORD @ matrix).T
    except np.linalg.LinAlgError:
        return unread_profile(NO_DISPLAY)
    if not (np.isfinite(columns).all() and np.abs(columns).max() < MAX_COLUMN):
        return unread_profile(NO_DISPLAY)
    light = np.round(curve(np.arange(256) / 255).clip(0, 1) * 65535).astype(">u2").tobytes()
    tags = {b"wtpt": _xyz(D50)}
    for name, column in zip((b"r", b"g", b"b"), columns, strict=True):
        tags |= {name + b"XYZ": _xyz(column), name + b"TRC": b"curv\0\0\0\0" + struct.pack(">I", 256) + light}
    head = bytes(8) + struct.pack(">I", 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + _xyz(D50)[8:]
    return ColourSpace(profile_with_tags(head.ljust(128, b"\0"), tags))


def _xyz(values: Floats) -> bytes:
    """A tag of three fixed-point numbers."""
    return b"XYZ \0\0\0\0" + np.round(values * 65536).astype(">i4").tobytes()


def _srgb(codes: Floats) -> Floats:
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def _pq(codes: Floats) -> Floats:
    """SMPTE ST 2084, over reference white."""
    power = codes ** (32 / 2523)
    light: Floats = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (8192 / 1305)
    return light * (10_000 / REFERENCE_WHITE)


def _hlg(codes: Floats) -> Floats:
    """ARIB STD-B67 on a display of 1,000 cd/m2, over reference white."""
    scene = np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    light: Floats = scene**1.2 * (1000 / REFERENCE_WHITE)
    return light


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
    if not space.profile:
        return space.notes
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
    sample = CUBE if mode == "RGB" else np.dstack([RAMP] * 3)
    if mode != "CMYK":
        converted = conversion.apply(sample if mode == "RGB" else RAMP)
        if np.abs(converted.astype(int) - sample).max() <= SAME:
            return _Conversion(mode, None)
    return conversion
