"""What stands for an image: a path, an answer, an id, pixels; and for several: a folder."""

import io
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lexiseg_client import Client, ImageId, Segmentation, UnusableImage
from lexiseg_client.images import ImageLike, Upload, load, pictures_in
from lexiseg_labels.picture_names import PICTURE_SUFFIXES
from lexiseg_service.gateway.rest.openapi import SEGMENT
from tests import pictures
from tests.integration.server import Server

ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("image", [ID, Segmentation.from_dict({**SEGMENT, "image_id": ID})])
def test_an_id_or_an_answer_stands_for_its_image(image: ImageLike) -> None:
    assert load(image) == ImageId(ID)


def test_a_file_that_is_called_like_an_id_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(ID).write_bytes(b"any bytes")

    assert load(ID) != ImageId(ID)


def test_a_folder_stands_for_the_pictures_in_it_and_below_it(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.png", "notes.txt", ".hidden.jpg", ".hidden/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert pictures_in(tmp_path) == [tmp_path / "a/c.png", tmp_path / "b.JPG"]


def test_a_folder_without_pictures_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(UnusableImage, match="no pictures in it; expected"):
        client.map(str(tmp_path), ["sky"])


def test_folders_know_every_suffix_that_servers_take(tmp_path: Path) -> None:
    files = [tmp_path / f"a{suffix}" for suffix in sorted(PICTURE_SUFFIXES)]
    for file in files:
        file.touch()

    assert pictures_in(tmp_path) == files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("folder")
    (folder / "empty.jpg").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("image", "said"),
    [
        *((np.zeros(shape, np.uint8), r"expected \[H, W\]") for shape in ((4,), (4, 4, 5), (0, 4), (1, 4, 4, 3))),
        *(
            (image, "of uint8 or uint16")
            for image in (np.zeros((3, 3)), Image.new("I", (3, 3)), Image.new("F", (3, 3)))
        ),
        *((image, "expected a path, bytes, a file") for image in (None, 7, ["cat.jpg"])),
        (b"", "got none"),
        ("empty.jpg", "got none"),
        ("a\0.jpg", "is no path"),
        ("iVBORw0KGgo" * 500, "base64.b64decode"),
        ("data:image/png;base64,iVBORw0KGgo=", "an https address"),
        ("file:///tmp/cat.jpg", "an https address"),
        (".", r"is a folder; .*client\.map\('\.', "),
        (io.StringIO("text"), "in binary mode"),
    ],
)
def test_what_is_no_image_is_refused_before_anything_is_sent(image: Any, said: str) -> None:
    with pytest.raises(UnusableImage, match=said):
        load(image)


def test_a_file_that_is_closed_or_missing_is_refused(folder: Path) -> None:
    closed = (folder / "empty.jpg").open("rb")
    closed.close()

    with pytest.raises(UnusableImage, match="open for reading"):
        load(closed)
    with pytest.raises(FileNotFoundError):
        load(folder / "none.jpg")


def test_an_answer_about_a_file_or_an_earlier_answer_is_painted_on_its_picture(server: Server, tmp_path: Path) -> None:
    picture = pictures.small("china", 96)
    path = tmp_path / "china.png"
    path.write_bytes(pictures.encoded(picture))
    with Client(server.url) as client:
        with path.open("rb") as file:
            answers = [client.segment(image, ["sky"]) for image in (path, memoryview(path.read_bytes()), file)]
        answers.append(client.segment(answers[-1], ["sky"]))

    painted = [pickle.loads(pickle.dumps(answer)).painted() for answer in answers]
    assert all(np.array_equal(each, painted[0]) for each in painted)
    assert not np.array_equal(painted[0], replace(answers[0], image=None).painted())


def sent(image: ImageLike) -> Image.Image:
    source = load(image)
    assert isinstance(source, Upload)
    return Image.open(io.BytesIO(source.content))


def test_pixels_arrive_without_loss() -> None:
    pixels = np.asarray(pictures.small("flower"))

    for image in (pixels, pixels[::2, ::3], pixels[..., 0], np.asfortranarray(pixels)):
        assert np.array_equal(np.asarray(sent(image)), image)


@pytest.mark.parametrize("mode", ["P", "CMYK", "L", "RGBA", "1", "YCbCr"])
def test_an_image_of_pillow_arrives_in_its_colours(mode: str) -> None:
    picture = pictures.small("flower").convert(mode)

    assert np.array_equal(np.asarray(sent(picture).convert("RGB")), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("kind", ["16 bits", "16 bits, big-endian", "palette", "RGB", "L"])
def test_an_image_of_pillow_is_sent_with_the_depth_and_the_transparency_of_its_file(kind: str) -> None:
    picture = pictures.small("flower")
    file = io.BytesIO()
    if "16" in kind:
        deep = np.asarray(picture.convert("L")).astype(">u2" if "big" in kind else "<u2") * 257
        Image.frombytes("I;16B" if "big" in kind else "I;16", picture.size, deep.tobytes()).save(file, "TIFF")
    else:
        picture = picture.convert("P" if kind == "palette" else kind)
        picture.save(file, "PNG", transparency=picture.getpixel((0, 0)))

    arrived = sent(opened := Image.open(file))

    expected = np.asarray(opened if "16" in kind else opened.convert("RGBA"))
    assert np.array_equal(np.asarray(arrived), expected)
    assert ("A" in arrived.mode) == ("16" not in kind)
