"""What stands for an image: a path, an answer, an id; and for several: a folder."""

from pathlib import Path

import pytest

from lexiseg_client import Client, ImageId, Segmentation, UnusableImage
from lexiseg_client.images import load, pictures_in
from lexiseg_labels.picture_names import PICTURE_SUFFIXES
from lexiseg_service.gateway.rest.openapi import SEGMENT

ID = "0123456789abcdef0123456789abcdef"


def test_an_answer_stands_for_its_image() -> None:
    answer = Segmentation.from_dict({**SEGMENT, "image_id": ID})

    assert load(answer) == ImageId(ID)


def test_the_id_of_an_image_stands_for_it() -> None:
    assert load(ID) == ImageId(ID)


def test_a_file_that_is_called_like_an_id_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(ID).write_bytes(b"any bytes")

    assert load(ID) != ImageId(ID)


def test_another_missing_file_stays_one() -> None:
    with pytest.raises(FileNotFoundError):
        load("missing.jpg")


def test_a_folder_is_answered_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UnusableImage, match=rf"is a folder; .*client\.map\('{tmp_path}', "):
        load(tmp_path)


@pytest.mark.parametrize("image", ["cat.jpg", b"bytes", Path("cat.jpg"), Segmentation.from_dict(SEGMENT)])
def test_one_image_in_place_of_several_is_refused(image: object) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(TypeError, match=r"write \[image\]"):
        client.map(image, ["sky"])  # type: ignore[call-overload]


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
