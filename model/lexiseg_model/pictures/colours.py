"""Colour spaces by what a file says about its colours, as ICC profiles; what a decoder had to guess.

The profile is the file's, or made of numbers: ITU-T H.273 (cICP of PNG, nclx of HEIC and AVIF, cicp in a profile), gAMA
and cHRM of PNG. As in browsers, cICP goes before a profile and a profile before nclx and gAMA.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.pictures.structure import png_chunks

GUESSED_DEPTH = "guessed-depth"
GUESSED_COLOURS = "guessed-colours"
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


class Note(NamedTuple):
    """What a decoder had to guess: the type of a warning, and its sentence."""

    type: str
    text: str


class ColourSpace(NamedTuple):
    """An ICC profile, empty for sRGB or where nothing is said, and notes on what is lost by converting from it."""

    profile: bytes = b""
    notes: tuple[Note, ...] = ()


SRGB = ColourSpace()


def unread_profile(reason: str) -> ColourSpace:
    """sRGB, with a note that there is a profile and why it was not read."""
    return ColourSpace(b"", (Note(GUESSED_COLOURS, f"the colour profile was not read, and sRGB assumed: {reason}"),))


def space_of_icc(profile: bytes) -> ColourSpace:
    """The colour space of an ICC profile, which may say by its own numbers that it is HDR."""
    if len(profile) > MAX_PROFILE_BYTES:
        return unread_profile(f"it has {len(profile):,} bytes, at most {MAX_PROFILE_BYTES:,} are read")
    numbers = profile_tags(profile).get(b"cicp", b"")[8:10]
    if len(numbers) == 2 and numbers[1] in (PQ, HLG):
        return space_of_numbers(*numbers)
    return ColourSpace(profile)


def space_of_png(content: bytes, info: Mapping[Any, Any]) -> ColourSpace:
    """The colour space of a PNG: of its chunks before the pixels, and of what Pillow has read of them."""
    before_pixels = takewhile(lambda chunk: chunk[0] != b"IDAT", png_chunks(content))
    numbers = next((content[place] for name, place in before_pixels if name == b"cICP"), b"")
    if len(numbers) == 4:
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
