"""What stands for an image: a path, an answer, an id; and for several: a folder."""

from pathlib import Path

import pytest

from lexiseg_client import Client, ImageId, Segmentation, UnusableImage
from lexiseg_client.images import ImageLike, load, pictures_in
from lexiseg_labels.picture_names import PICTURE_SUFFIXES
from lexiseg_service.gateway.rest.openapi import SEGMENT

ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("image", [ID, Segmentation.from_dict({**SEGMENT, "image_id": ID})])
def test_an_id_or_an_answer_stands_for_its_image(image: ImageLike) -> None:
    assert load(image) == ImageId(ID)


def test_a_file_that_is_called_like_an_id_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(ID).write_bytes(b"any bytes")

    assert load(ID) != ImageId(ID)


def test_a_folder_is_answered_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UnusableImage, match=rf"is a folder; .*client\.map\('{tmp_path}', "):
        load(tmp_path)


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
