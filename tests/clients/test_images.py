"""What stands for an image: a path, an answer, an id; a folder is refused with what to write."""

from pathlib import Path

import pytest

from lexiseg_client import Client, ImageId, Segmentation, UnusableImage
from lexiseg_client.images import load
from lexiseg_service.gateway.rest.openapi import SEGMENT

ID = "0123456789abcdef0123456789abcdef"


def test_an_answer_stands_for_its_image() -> None:
    answer = Segmentation.from_dict({**SEGMENT, "image_id": ID})

    assert load(answer) == ImageId(ID)


def test_an_id_in_place_of_a_path_is_answered_with_what_to_write() -> None:
    with pytest.raises(UnusableImage, match=rf"for an image sent before write ImageId\('{ID}'\)"):
        load(ID)


def test_a_file_that_is_called_like_an_id_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(ID).write_bytes(b"any bytes")

    assert load(ID) != ImageId(ID)


def test_another_missing_file_stays_one() -> None:
    with pytest.raises(FileNotFoundError):
        load("missing.jpg")


def test_a_folder_is_answered_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UnusableImage, match=rf"is a folder; .*client\.map\(sorted\(Path\('{tmp_path}'\)\.iterdir"):
        load(tmp_path)


@pytest.mark.parametrize("image", ["cat.jpg", b"bytes", Path("cat.jpg"), Segmentation.from_dict(SEGMENT)])
def test_one_image_in_place_of_several_is_refused(image: object) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(TypeError, match=r"write \[image\]"):
        client.map(image, ["sky"])  # type: ignore[call-overload]


def test_a_folder_in_place_of_several_images_is_answered_with_what_to_write(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(TypeError, match=r"write sorted\(Path\("):
        client.map(str(tmp_path), ["sky"])
