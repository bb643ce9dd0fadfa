"""`tiny` as a Segmenter, with the bundled weights."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.types import ClassEntry

Photographs = dict[str, NDArray[np.uint8]]


def blank(height: int, width: int) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def features_of(tiny: TinySegmenter, rgb: NDArray[np.uint8]) -> Features:
    plan = tiny.plan(rgb)
    return tiny.assemble(plan, tiny.encode_tiles(plan.tiles))


def entries(*names: str) -> tuple[ClassEntry, ...]:
    return tuple(ClassEntry(name) for name in names)


# plan


@pytest.mark.parametrize("size", [(300, 451), (451, 300), (512, 512), (2160, 3840)])
@pytest.mark.parametrize("max_side", [64, 100, 112, 250, 256, 500])
def test_max_side_caps_the_longer_side(tiny: TinySegmenter, size: tuple[int, int], max_side: int) -> None:
    assert max(tiny.plan(blank(*size), InferenceOptions(max_side)).bucket) <= max_side


def test_a_tile_shows_the_whole_image(tiny: TinySegmenter) -> None:
    rgb = blank(600, 900)
    rgb[:300] = 200

    tile = tiny.plan(rgb).tiles[0]

    half = tile.shape[1] // 2
    assert (tile[:, : half - 2] == 200).all()
    assert (tile[:, half + 2 :] == 0).all()


@pytest.mark.parametrize("ratio", [1 + step / 100 for step in range(0, 123)])
def test_every_ordinary_photograph_has_a_bucket_that_is_warmed_up(tiny: TinySegmenter, ratio: float) -> None:
    short, long = 300, round(300 * ratio)

    assert {tiny.plan(blank(short, long)).bucket, tiny.plan(blank(long, short)).bucket} <= set(tiny.buckets)


# encode_tiles, assemble


# texts


# scores


def test_presence_of_a_class_falls_beside_one_that_wins_its_pixels(
    tiny: TinySegmenter, photographs: Photographs
) -> None:
    features = features_of(tiny, photographs["coffee"])

    def presence(*names: str) -> list[float]:
        classes = entries(*names)
        bank = tiny.text_bank(classes, tiny.encode_texts(tiny.texts(classes)))
        found: list[float] = tiny.presence(features, bank).tolist()
        return found

    [alone] = presence("cup")
    beside, twin = presence("cup", "coffee cup")
    assert beside < alone
    assert presence("coffee cup", "cup") == pytest.approx([twin, beside], abs=1e-4)


# identity
