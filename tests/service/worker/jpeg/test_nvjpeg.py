"""All but nvJPEG itself, which runs on a GPU alone: what is given to it, and what becomes of its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import simplejpeg
import structlog
import torch
from numpy.typing import NDArray
from PIL import Image

from lexiseg_service.errors import UndecodableImage
from lexiseg_service.settings import Limits
from lexiseg_service.worker.decode import Decoded, decode
from lexiseg_service.worker.jpeg import nvjpeg as module
from lexiseg_service.worker.jpeg.nvjpeg import DeviceJpeg, NoNvJpeg, factor, nvjpeg, shrunk
from tests import pictures
from tests.service.worker.jpeg.stand_in import CPU, Planes, decoder

LIMITS = Limits()


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    return pictures.encoded(picture, "JPEG", quality=90, **options)


def on_device(image: bytes, shortest: int | None = None) -> Decoded:
    return decode(image, LIMITS, shortest, decoder())


def mean_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_photograph_is_decoded_there_and_is_the_same_but_for_its_chroma(subsampling: str) -> None:
    image = jpeg(pictures.small("astronaut", 97), subsampling=subsampling)

    decoded = on_device(image)

    assert decoded.by == "nvjpeg"
    assert decoded.rgb.flags.c_contiguous
    assert mean_difference(decoded.rgb, decode(image, LIMITS, None).rgb) < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_undone(orientation: int) -> None:
    image = pictures.turned(pictures.small("astronaut").resize((41, 30)), orientation, "JPEG")

    decoded = on_device(image)

    assert decoded.by == "nvjpeg"
    assert mean_difference(decoded.rgb, decode(image, LIMITS, None).rgb) < 4


@pytest.mark.parametrize("side", [481, 241, 121, 61])
def test_a_large_photograph_shrinks_there_as_on_the_cpu_and_keeps_its_size(side: int) -> None:
    image = jpeg(pictures.photograph("china").resize((641, 481)))

    decoded, expected = on_device(image, side), decode(image, LIMITS, side)

    assert (decoded.by, decoded.size) == ("nvjpeg", (481, 641))
    assert decoded.rgb.shape[0] == side
    assert mean_difference(decoded.rgb, expected.rgb) < 2


@pytest.mark.parametrize(("side", "expected"), [(480, 481), (242, 481), (200, 241), (16, 61)])
def test_no_fewer_pixels_are_left_than_asked_for(side: int, expected: int) -> None:
    image = jpeg(pictures.photograph("china").resize((641, 481)))

    assert on_device(image, side).rgb.shape[0] == expected


def test_squares_at_the_edge_are_means_of_what_there_is() -> None:
    plane = torch.arange(15, dtype=torch.uint8).view(1, 3, 5)

    assert shrunk(plane, 2).tolist() == [[[3, 5, 6], [10, 12, 14]]]
    assert shrunk(plane, 1) is plane


def test_the_largest_factor_leaves_what_is_asked_for() -> None:
    assert [factor((80, 160), (least, 1)) for least in (80, 41, 40, 21, 20, 10, 1)] == [1, 1, 2, 2, 4, 8, 8]


def not_taken() -> dict[str, bytes]:
    picture = pictures.small("astronaut")
    whole = jpeg(picture)
    return {
        "progressive": jpeg(picture, progressive=True),
        "gray": jpeg(picture.convert("L")),
        "CMYK": jpeg(picture.convert("CMYK")),
        "RGB": simplejpeg.encode_jpeg(np.asarray(picture), colorspace="RGB", colorsubsampling="411"),
        "more behind the end": whole + b"\0",
    }


@pytest.mark.parametrize("kind", not_taken())
def test_what_decoders_read_differently_is_left_to_the_cpu(kind: str) -> None:
    image, planes = not_taken()[kind], Planes()

    decoded = decode(image, LIMITS, None, DeviceJpeg(CPU, planes))

    assert (decoded.by, planes.files) == ("cpu", 0)
    assert np.array_equal(decoded.rgb, decode(image, LIMITS, None).rgb)


def test_a_picture_that_has_no_room_there_is_left_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PIXELS", 96 * 96 - 1)

    assert on_device(jpeg(pictures.small("astronaut"))).by == "cpu"


def test_a_file_cut_short_has_the_error_of_the_cpu() -> None:
    whole, planes = jpeg(pictures.photograph("chelsea")), Planes()
    image = whole[: len(whole) * 2 // 3]

    with pytest.raises(UndecodableImage) as expected:
        decode(image, LIMITS, None)
    with pytest.raises(UndecodableImage) as refused:
        decode(image, LIMITS, None, DeviceJpeg(CPU, planes))

    assert str(refused.value) == str(expected.value)
    assert planes.files == 0


def test_a_damaged_file_that_has_an_end_has_the_pixels_of_the_cpu() -> None:
    whole = jpeg(pictures.photograph("chelsea"))
    image = whole[: len(whole) * 2 // 3] + b"\xff\xd9"

    decoded = on_device(image)

    assert decoded.by == "cpu"
    assert np.array_equal(decoded.rgb, decode(image, LIMITS, None).rgb)


@pytest.mark.parametrize(
    "made", [torch.OutOfMemoryError("the device is full"), RuntimeError("nvjpeg"), torch.zeros(3, 8, 8).byte()]
)
def test_where_it_fails_the_cpu_decodes_and_the_log_says_so_once(made: Exception | torch.Tensor) -> None:
    def fails(content: torch.Tensor) -> torch.Tensor:
        if isinstance(made, Exception):
            raise made
        return made

    image, failing = jpeg(pictures.small("astronaut")), DeviceJpeg(CPU, fails)
    with structlog.testing.capture_logs() as lines:
        decoded = [decode(image, LIMITS, None, failing) for _ in range(3)]

    assert {each.by for each in decoded} == {"cpu"}
    assert np.array_equal(decoded[0].rgb, decode(image, LIMITS, None).rgb)
    assert [line["log_level"] for line in lines] == ["warning", "debug", "debug"]


def test_other_types_never_come_there() -> None:
    planes = Planes()
    for kind in ("PNG", "WEBP", "BMP"):
        decode(pictures.encoded(pictures.small("astronaut"), kind), LIMITS, None, DeviceJpeg(CPU, planes))

    assert planes.files == 0


def test_a_cpu_has_no_nvjpeg() -> None:
    with pytest.raises(NoNvJpeg, match="no CUDA device"):
        nvjpeg(CPU)


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is built for CUDA")
def test_a_torchvision_that_does_not_fit_has_none() -> None:
    with pytest.raises(NoNvJpeg, match="torchvision"):
        nvjpeg(torch.device("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_a_device() -> None:
    device = torch.device("cuda", 0)
    image = jpeg(pictures.photograph("china").resize((640, 480)))
    there = DeviceJpeg(device, nvjpeg(device))
    for shortest in (None, 240):
        decoded, expected = (decode(image, LIMITS, shortest, each) for each in (there, None))
        assert decoded.by == "nvjpeg"
        assert decoded.size == expected.size
        assert mean_difference(decoded.rgb, expected.rgb) < 3
