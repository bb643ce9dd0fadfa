import numpy as np
import pytest
import simplejpeg

from lexiseg_service.errors import TooLarge, UndecodableImage
from lexiseg_service.image.reader import decode, read_header
from lexiseg_service.settings import Limits
from tests import pictures

LIMITS = Limits()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_a_header_that_has_been_read_is_not_read_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pictures.turned(pictures.small().resize((64, 32)), 6, kind)
    whole, header = decode(image, LIMITS, None), read_header(image, LIMITS)
    monkeypatch.setattr("lexiseg_service.image.reader.read_header", lambda *_: pytest.fail("read again"))

    again = decode(image, LIMITS, None, header)

    assert again.size == whole.size == (64, 32)
    assert np.array_equal(again.rgb, whole.rgb)


def test_a_header_that_has_been_read_is_compared_with_the_worker_s_own_limits() -> None:
    image = pictures.encoded(pictures.small())

    with pytest.raises(TooLarge):
        decode(image, Limits(max_pixels=99), None, read_header(image, LIMITS))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_damaged_jpeg_that_can_be_seen_is_decoded_smaller_too(orientation: int) -> None:
    whole = pictures.turned(pictures.photograph("china").resize((1280, 640)), orientation, "JPEG")
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(8) + whole[middle + 8 :]
    with pytest.raises(ValueError, match="orrupt"):
        simplejpeg.decode_jpeg(damaged)

    found, sound = (decode(image, LIMITS, 160) for image in (damaged, whole))

    assert found.size == sound.size
    assert found.rgb.shape == sound.rgb.shape
    alike = np.abs(found.rgb.astype(int) - sound.rgb.astype(int)).max(2) < 8
    assert alike.mean() > 0.4  # up to where it is damaged
    assert decode(damaged, LIMITS, None).rgb.shape[:2] == found.size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "HEIF"])
def test_a_file_cut_short_is_undecodable(kind: str) -> None:
    picture = pictures.photograph("chelsea").resize((160, 120))
    whole = pictures.heic(picture) if kind == "HEIF" else pictures.encoded(picture, kind)

    with pytest.raises(UndecodableImage, match=r"^image: "):
        decode(whole[: len(whole) * 2 // 3], LIMITS, None)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_data_of_another_size_than_the_file_says_is_never_taken_as_it(kind: str) -> None:
    picture = pictures.small("china").resize((160, 120))
    whole = pictures.heic(picture) if kind == "HEIF" else pictures.encoded(picture, kind)

    try:
        pixels = decode(pictures.with_size(whole, 64, 64), LIMITS, None).rgb
    except UndecodableImage:
        return
    assert pixels.shape == (64, 64, 3)
