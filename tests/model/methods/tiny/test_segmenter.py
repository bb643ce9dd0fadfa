"""`tiny` as a Segmenter, with the bundled weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.methods.tiny.network import EMBEDDING, STRIDE
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.types import ClassEntry

LOGITS = torch.zeros(1, 1, 1)
Photographs = dict[str, NDArray[np.uint8]]
SIZES = [(300, 451), (427, 640), (512, 512), (16, 16), (17, 1000), (1000, 17), (33, 64), (2160, 3840), (20, 20_000)]


def blank(height: int, width: int) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def features_of(tiny: TinySegmenter, rgb: NDArray[np.uint8]) -> Features:
    plan = tiny.plan(rgb)
    return tiny.assemble(plan, tiny.encode_tiles(plan.tiles))


def entries(*names: str) -> tuple[ClassEntry, ...]:
    return tuple(ClassEntry(name) for name in names)


# plan


@pytest.mark.parametrize("size", SIZES)
def test_a_plan_is_one_tile_whose_sides_are_multiples(tiny: TinySegmenter, size: tuple[int, int]) -> None:
    plan = tiny.plan(blank(*size))

    assert plan.size == size
    assert plan.tiles.dtype == np.uint8
    assert plan.tiles.shape[:2] == (1, 3)
    assert all(side % tiny.card.input.multiple == 0 for side in plan.bucket)


@pytest.mark.parametrize("size", SIZES)
def test_a_plan_stays_within_the_cards_longest_side(tiny: TinySegmenter, size: tuple[int, int]) -> None:
    assert max(tiny.plan(blank(*size)).bucket) <= tiny.card.input.long_side


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


def test_features_have_one_cell_for_each_stride(tiny: TinySegmenter, photographs: Photographs) -> None:
    plan = tiny.plan(photographs["chelsea"])

    features = tiny.assemble(plan, tiny.encode_tiles(plan.tiles))

    height, width = plan.bucket
    assert features.size == (300, 451)
    assert features.tensors["pixels"].shape == (EMBEDDING, height // STRIDE, width // STRIDE)


def test_features_know_their_bytes(tiny: TinySegmenter, photographs: Photographs) -> None:
    features = features_of(tiny, photographs["chelsea"])

    halves = features.tensors["pixels"].numel() + EMBEDDING + features.tensors["cells"].numel()
    assert features.nbytes == 2 * halves + features.tensors["guide"].numel() + photographs["chelsea"].size


def test_pixel_features_are_of_unit_length(tiny: TinySegmenter, photographs: Photographs) -> None:
    lengths = features_of(tiny, photographs["chelsea"]).tensors["pixels"].float().norm(dim=0)

    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=2e-3, rtol=0)


def test_a_tiles_features_do_not_depend_on_its_neighbours(tiny: TinySegmenter, photographs: Photographs) -> None:
    option = InferenceOptions(max_side=256)
    tiles = [tiny.plan(photographs[name], option).tiles for name in ("china", "flower", "rocket")]
    together = tiny.encode_tiles(np.concatenate(tiles))

    for place, tile in enumerate(tiles):
        for kept, alone in zip(together, tiny.encode_tiles(tile), strict=True):
            assert torch.equal(kept[place], alone[0])


# texts


def test_a_bank_has_one_unit_vector_for_each_text(tiny: TinySegmenter) -> None:
    classes = (ClassEntry("sofa", ("couch", "settee")), ClassEntry("cat"))

    bank = tiny.text_bank(classes, tiny.encode_texts(tiny.texts(classes)))

    assert (bank.n_classes, bank.owner.tolist(), bank.vectors.shape) == (2, [0, 0, 0, 1], (4, EMBEDDING))
    torch.testing.assert_close(bank.vectors.norm(dim=1).cpu(), torch.ones(4), atol=1e-5, rtol=0)


# scores


def test_a_class_with_synonyms_scores_as_its_best_text(tiny: TinySegmenter, photographs: Photographs) -> None:
    features = features_of(tiny, photographs["chelsea"])
    alone, joint = entries("cat", "tiger", "sky"), (ClassEntry("cat", ("tiger",)), ClassEntry("sky"))

    apart = tiny.class_scores(features, tiny.text_bank(alone, tiny.encode_texts(tiny.texts(alone))))
    together = tiny.class_scores(features, tiny.text_bank(joint, tiny.encode_texts(tiny.texts(joint))))

    torch.testing.assert_close(together[0], apart[:2].amax(0), atol=2e-2, rtol=0)


def test_a_class_scores_the_same_in_any_company(tiny: TinySegmenter, photographs: Photographs) -> None:
    features = features_of(tiny, photographs["chelsea"])
    rows = tiny.encode_texts(tiny.texts(entries("cat", "sky", "grass")))

    alone = tiny.class_scores(features, tiny.text_bank(entries("sky"), rows[1:2]))
    together = tiny.class_scores(features, tiny.text_bank(entries("cat", "sky", "grass"), rows))

    torch.testing.assert_close(together[1], alone[0], atol=1e-4, rtol=0)


def test_a_class_is_less_present_beside_one_that_owns_its_pixels(tiny: TinySegmenter, photographs: Photographs) -> None:
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


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_ends_of_the_threshold_give_finite_scores(tiny: TinySegmenter, threshold: float) -> None:
    assert math.isfinite(tiny.nobody_score(LOGITS, threshold, "none"))


# identity


def test_the_digest_comes_from_the_weights(tiny: TinySegmenter) -> None:
    assert (tiny.card.weights_sha256 or "").startswith(tiny.digest)
