"""Pictures of other colour spaces than sRGB: the reader's pixels are those of the sRGB picture."""

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from lexiseg_model.pictures import conversion
from lexiseg_model.pictures.colours import (
    GUESSED_COLOURS,
    HLG,
    MAX_PROFILE_BYTES,
    PQ,
    profile_tags,
    profile_with_tags,
    space_of_numbers,
)
from lexiseg_model.pictures.header import read_header
from lexiseg_model.pictures.reader import read
from tests import pictures
from tests.model.pictures.tiffs import tiff

PHOTOGRAPH = pictures.small("flower").resize((64, 48))  # of strong colours
RGB = np.asarray(PHOTOGRAPH)
# Linear light of sRGB as that of Display P3 and of BT.2020 (both have its white).
TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])
TO_BT_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
P3, LINEAR = space_of_numbers(12, 13).profile, space_of_numbers(1, 8).profile
Pixels = NDArray[np.uint8]


def light() -> NDArray[np.float64]:
    codes = RGB / 255
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def in_p3() -> Pixels:
    values = light() @ TO_P3.T
    return to_bytes(np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055))


def to_bytes(codes: NDArray[np.float64]) -> Pixels:
    return np.round(codes.clip(0, 1) * 255).astype(np.uint8)


def encoded(pixels: Pixels, kind: str, profile: bytes) -> bytes:
    if kind == "HEIF":
        buffer = io.BytesIO()
        picture = pillow_heif.from_pillow(Image.fromarray(pixels))
        picture.info.update({"icc_profile": profile} if profile else {})
        picture.save(buffer, quality=97, chroma=444)
        return buffer.getvalue()
    if kind == "TIFF":
        return tiff(pixels, photometric="rgb", iccprofile=profile)
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 97, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 97, "subsampling": "4:4:4"},
    }
    said = {"icc_profile": profile} if profile else {}
    return pictures.encoded(Image.fromarray(pixels), kind, **said, **options.get(kind, {}))


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk behind its first."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return png[:33] + chunk + png[33:]


def difference(pixels: Pixels, expected: Pixels = RGB) -> float:
    return float(np.abs(pixels.astype(int) - expected).mean())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_a_picture_with_a_profile_has_the_pixels_of_srgb(kind: str) -> None:
    picture = read(encoded(in_p3(), kind, P3))

    assert difference(in_p3()) > 4
    assert difference(picture.rgb) < 2.5
    assert picture.notes == ()


def test_pillows_decoding_of_a_jpeg_reads_the_profile_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "simplejpeg", None)

    assert difference(read(encoded(in_p3(), "JPEG", P3)).rgb) < 2.5


@pytest.mark.parametrize("profile", [b"", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()])
def test_no_profile_and_one_of_srgb_leave_every_pixel(profile: bytes) -> None:
    assert np.array_equal(read(encoded(RGB, "PNG", profile)).rgb, RGB)


def test_a_profile_of_before_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(in_p3(), "PNG", P3)
    first = read(content)
    monkeypatch.setattr(ImageCms, "buildTransform", None)

    assert np.array_equal(read(content).rgb, first.rgb)


def test_a_picture_of_greys_follows_its_profile_of_greys() -> None:
    gamma = 1.8
    head = P3[:16] + b"GRAY" + P3[20:128]
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    profile = profile_with_tags(head, {b"wtpt": profile_tags(P3)[b"wtpt"], b"kTRC": curve})
    grey = np.asarray(PHOTOGRAPH.convert("L"))
    stored = to_bytes((np.where(grey <= 10, grey / 255 / 12.92, ((grey / 255 + 0.055) / 1.055) ** 2.4)) ** (1 / gamma))

    picture = read(encoded(stored, "JPEG", profile))

    assert difference(stored, grey) > 3
    assert difference(picture.rgb, np.dstack([grey] * 3)) < 2


def test_transparent_pixels_stay_white() -> None:
    seen = np.zeros(RGB.shape[:2], np.uint8)
    seen[:, :32] = 255

    picture = read(encoded(np.dstack([in_p3(), seen]), "PNG", P3))

    assert difference(picture.rgb[:, :32], RGB[:, :32]) < 1.5
    assert picture.rgb[:, 32:].min() >= 254


@pytest.mark.parametrize(
    ("numbers", "stored"),
    [((12, 13), in_p3()), ((1, 8), to_bytes(light())), ((9, 8), to_bytes(light() @ TO_BT_2020.T))],
    ids=["P3", "linear", "BT.2020"],
)
def test_numbers_of_a_png_say_its_colours_before_its_profile_does(numbers: tuple[int, int], stored: Pixels) -> None:
    misleading = encoded(stored, "PNG", LINEAR if numbers == (12, 13) else P3)

    picture = read(with_chunk(misleading, b"cICP", bytes([*numbers, 0, 1])))

    assert difference(picture.rgb) < 2
    assert picture.notes == ()


@pytest.mark.parametrize(("primaries", "transfer"), [(9, PQ), (9, HLG), (1, PQ)])
def test_a_picture_of_high_dynamic_range_is_named_and_has_the_pixels_of_srgb(primaries: int, transfer: int) -> None:
    display = (light() @ TO_BT_2020.T if primaries == 9 else light()).clip(0, 1) * 203
    if transfer == PQ:
        power = (display / 10_000) ** (1305 / 8192)
        codes = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** (2523 / 32)
    else:
        scene = (display / 1000) ** (1 / 1.2)
        bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        codes = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    content = with_chunk(encoded(to_bytes(codes), "PNG", b""), b"cICP", bytes([primaries, transfer, 0, 1]))

    picture = read(content)

    assert [note.type for note in picture.notes] == [GUESSED_COLOURS]
    assert "HDR" in picture.notes[0].text
    assert difference(picture.rgb) < 4


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_numbers_of_a_container_name_high_dynamic_range(kind: str) -> None:
    content = encoded(RGB, kind, b"")
    at = content.index(b"nclx") + 4

    picture = read(content[:at] + struct.pack(">HH", 9, PQ) + content[at + 4 :])

    assert [note.type for note in picture.notes] == [GUESSED_COLOURS]


def test_a_gamma_of_a_png_counts_where_nothing_else_does() -> None:
    plain = encoded(to_bytes(light()), "PNG", b"")

    picture = read(with_chunk(plain, b"gAMA", struct.pack(">I", 100_000)))

    assert difference(picture.rgb) < 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"gAMA", struct.pack(">I", 0)),
        (b"gAMA", struct.pack(">I", 1 << 31)),
        (b"gAMA", struct.pack(">I", 45_455)),
        (b"cHRM", struct.pack(">8I", *[0] * 8)),
        (b"cICP", bytes([2, 2, 0, 1])),
        (b"cICP", bytes([250, 250, 0, 1])),
        (b"cICP", b"\1"),
    ],
)
def test_chunks_that_say_nothing_or_nonsense_leave_every_pixel(name: bytes, content: bytes) -> None:
    assert np.array_equal(read(with_chunk(encoded(RGB, "PNG", b""), name, content)).rgb, RGB)


def test_chromaticities_of_no_display_are_ignored_with_a_note() -> None:
    png = with_chunk(encoded(RGB, "PNG", b""), b"cHRM", struct.pack(">8I", *[0] * 8))

    picture = read(with_chunk(png, b"gAMA", struct.pack(">I", 100_000)))

    assert np.array_equal(picture.rgb, RGB)
    assert [note.type for note in picture.notes] == [GUESSED_COLOURS]


@pytest.mark.parametrize(
    "profile",
    [
        b"not a profile",
        P3[:200],
        P3[:16] + b"CMYK" + P3[20:],
        P3[:16] + b"XCLR" + P3[20:],
        P3[:132] + bytes(len(P3) - 132),
    ],
    ids=["text", "cut short", "of inks", "of ten inks", "empty tags"],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_profile_that_is_damaged_or_of_others_is_ignored_with_a_note(profile: bytes, kind: str) -> None:
    picture = read(encoded(RGB, kind, profile))

    assert difference(picture.rgb) < 2.5
    assert [note.type for note in picture.notes] == [GUESSED_COLOURS]
    assert "sRGB assumed" in picture.notes[0].text


def test_a_profile_of_many_megabytes_is_not_read() -> None:
    picture = read(encoded(RGB, "TIFF", P3 + bytes(MAX_PROFILE_BYTES)))

    assert np.array_equal(picture.rgb, RGB)
    assert f"at most {MAX_PROFILE_BYTES:,}" in picture.notes[0].text


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_profile_of_some_megabytes_is_read(kind: str) -> None:
    large = profile_with_tags(P3, profile_tags(P3) | {b"more": b"data" + bytes(2_000_000)})

    assert difference(read(encoded(in_p3(), kind, large)).rgb) < 2.5


def test_pipelines_of_floating_point_stages_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Mapping[bytes, bytes]] = []

    def noted(head: bytes, tags: Mapping[bytes, bytes]) -> bytes:
        seen.append(tags)
        return profile_with_tags(head, tags)

    monkeypatch.setattr(conversion, "profile_with_tags", noted)
    hostile = profile_with_tags(P3, profile_tags(P3) | {b"D2B1": b"mpet" + bytes(64), b"desc": b"desc\0\0\0\0none"})

    assert difference(read(encoded(in_p3(), "PNG", hostile)).rgb) < 1.5
    assert [tags.keys() & {b"D2B1", b"desc"} for tags in seen] == [set()]


def inks_profile() -> bytes:
    """A profile of CMYK: a table of two by each ink, to L*, a* and b* of 16 bits; plain subtraction of inks."""
    grid = np.stack(np.meshgrid(*[np.array([0.0, 1.0])] * 4, indexing="ij"), -1).reshape(-1, 4)
    lightness = (1 - grid[:, :3]).mean(1) * (1 - grid[:, 3])
    lab = np.stack([lightness * 0xFF00, np.full(16, 0x8000), np.full(16, 0x8000)], -1).astype(">u2")
    unit = struct.pack(">2H", 0, 0xFFFF)
    identity = struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    curves = struct.pack(">2H", 2, 2) + unit * 4
    table = b"mft2\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + curves + lab.tobytes() + unit * 3
    head = P3[:12] + b"prtrCMYKLab " + P3[24:128]
    return profile_with_tags(head, {b"wtpt": profile_tags(P3)[b"wtpt"], b"A2B0": table})


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_are_converted_by_their_profile(kind: str) -> None:
    inks = Image.new("CMYK", (32, 24), (255, 0, 0, 0))

    picture = read(pictures.encoded(inks, kind, icc_profile=inks_profile()))
    plain = read(pictures.encoded(inks, kind))

    assert plain.rgb.reshape(-1, 3).mean(0).round()[0] < 10  # cyan
    assert np.ptp(picture.rgb.reshape(-1, 3).mean(0)) < 3  # a grey, by this profile
    assert picture.notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_header_that_came_without_the_colours_is_read_again(kind: str) -> None:
    content = encoded(in_p3(), kind, P3)
    header = replace(read_header(content), colours=None)

    assert np.array_equal(read(content, header=header).rgb, read(content).rgb)
