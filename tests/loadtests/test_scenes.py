"""Photographs for a load."""

from __future__ import annotations

import io
import random

from PIL import Image

from loadtests.scenes import Sent, Supply
from tests import pictures


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
