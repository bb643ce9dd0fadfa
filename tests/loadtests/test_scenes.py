"""Photographs for a load."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from PIL import Image

from loadtests import scenes
from loadtests.scenes import Sent, Supply
from tests import pictures


def test_generated_photographs_are_jpegs_that_differ_and_come_again() -> None:
    first, second = scenes.generated(1), scenes.generated(2)

    assert Image.open(io.BytesIO(first)).size == scenes.SIZE
    assert first != second
    assert first == scenes.generated(1)


def test_a_folder_is_read_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "c.txt"):
        (tmp_path / name).write_bytes(name.encode())

    assert scenes.photographs(tmp_path) == [b"a.PNG", b"b.jpg"]


def test_a_folder_without_photographs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"\.jpg"):
        scenes.photographs(tmp_path)


def test_the_shorter_side_is_that_of_the_file() -> None:
    assert scenes.shorter_side(scenes.generated(1) + b"some bytes behind") == 480


def test_frames_move_a_little_from_one_to_the_next() -> None:
    frames = scenes.frames(0, 5)

    assert len(set(frames[:3])) == 3
    assert {Image.open(io.BytesIO(frame)).size for frame in frames} == {scenes.SIZE}


def test_a_new_photograph_is_new_to_every_cache_and_still_a_photograph() -> None:
    original = pictures.encoded(pictures.small("china", 64), "JPEG")
    supply = Supply([original], 0.0, random.Random(0))

    asked = [supply.next() for _ in range(20)]

    assert len(set(asked)) == 20
    for content in asked:
        assert isinstance(content, bytes)
        assert Image.open(io.BytesIO(content)).tobytes() == Image.open(io.BytesIO(original)).tobytes()


def test_the_set_share_of_questions_is_about_known_photographs() -> None:
    supply = Supply([b"x"], 0.3, random.Random(0))
    supply.answered(b"x", "1")

    named = sum(isinstance(supply.next(), Sent) for _ in range(2000))

    assert 0.25 < named / 2000 < 0.35


def test_a_forgotten_photograph_is_not_named_again() -> None:
    supply = Supply([b"x"], 1.0, random.Random(0))
    supply.answered(b"x", "1")
    known = supply.next()
    assert isinstance(known, Sent)

    supply.forgotten(known)

    assert isinstance(supply.next(), bytes)


def test_a_user_remembers_a_bounded_number() -> None:
    supply = Supply([b"x"], 1.0, random.Random(0))
    for index in range(3 * scenes.REMEMBERED):
        supply.answered(b"x", str(index))

    named = {found.image_id for found in (supply.next() for _ in range(2000)) if isinstance(found, Sent)}

    assert named == {str(index) for index in range(2 * scenes.REMEMBERED, 3 * scenes.REMEMBERED)}
