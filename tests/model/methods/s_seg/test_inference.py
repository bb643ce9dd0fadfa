"""Scores from masks and what they show, and the rule for pixels that no class explains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lexiseg_model.methods.s_seg.inference import (
    background_level,
    class_cosines,
    class_shares,
    only_likely,
    outlines,
    overlaps,
    pixel_scores,
    sureness,
)

from lexiseg_model.clip.text import tokenize
from lexiseg_model.segmenter import TextBank
from tests.model.methods.s_seg.small import small_network

LOGITS = torch.tensor([[[20.0, -20.0, 20.0, -20.0]], [[-20.0, 20.0, 20.0, -20.0]]])  # two masks over 1 x 4 pixels
SHARES = torch.tensor([[0.9, 0.1], [0.2, 0.8]])


def test_a_class_is_as_like_a_mask_as_the_best_of_its_texts() -> None:
    bank = TextBank(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), np.array([0, 0, 1]), 2)

    cosines = class_cosines(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.6, 0.8]]), bank)

    torch.testing.assert_close(cosines, torch.tensor([[1.0, 0.6], [1.0, 0.8], [0.8, 0.28]]))


def test_shares_follow_the_cosines_and_sum_to_one() -> None:
    shares = class_shares(torch.eye(3)[:2], scale=2.0)

    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    torch.testing.assert_close(shares[0], torch.tensor([2.0, 0.0, 0.0]).softmax(0))


def test_a_pixels_score_is_the_sum_of_what_its_masks_show() -> None:
    scores = pixel_scores(LOGITS, SHARES, "sum")

    torch.testing.assert_close(scores[:, 0], torch.tensor([[0.9, 0.2, 1.1, 0.0], [0.1, 0.8, 0.9, 0.0]]))


def test_the_mean_is_a_probability_where_masks_overlap() -> None:
    scores = pixel_scores(LOGITS, SHARES, "mean")

    torch.testing.assert_close(scores[:, 0, :3], torch.tensor([[0.9, 0.2, 0.55], [0.1, 0.8, 0.45]]))
    assert scores.max() <= 1


def test_sum_and_mean_agree_on_the_best_class() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, shares = torch.randn(6, 9, 7, generator=generator), torch.rand(6, 5, generator=generator)

    assert torch.equal(pixel_scores(logits, shares, "sum").argmax(0), pixel_scores(logits, shares, "mean").argmax(0))


def test_a_pixel_that_no_mask_covers_has_no_score_in_the_mean_either() -> None:
    assert torch.isfinite(pixel_scores(torch.full((2, 1, 1), -200.0), SHARES, "mean")).all()


def test_only_the_classes_nearest_to_the_image_compete() -> None:
    image = torch.tensor([0.1, 0.9, 0.5])
    shares = torch.full((2, 3), 1 / 3)

    assert only_likely(shares, image, 2)[0].tolist() == pytest.approx([0, 1 / 3, 1 / 3])
    assert torch.equal(only_likely(shares, image, None), shares)
    assert torch.equal(only_likely(shares, image, 3), shares)


def test_a_sure_image_is_held_to_the_threshold() -> None:
    scores = torch.tensor([[[0.97, 0.5]], [[0.01, 0.3]]])

    owned = scores.amax(0) >= background_level(scores, 0.95)

    assert owned.tolist() == [[True, False]]


def test_an_unsure_image_keeps_its_best_pixels() -> None:
    scores = torch.tensor([[[0.4, 0.3]], [[0.1, 0.2]]])

    owned = scores.amax(0) >= background_level(scores, 0.95)

    assert owned.tolist() == [[True, False]]


def test_without_classes_the_level_is_the_threshold() -> None:
    assert background_level(torch.zeros(0, 2, 2), 0.3).item() == pytest.approx(0.3)


@torch.no_grad()
def test_an_image_is_asked_for_words_from_end_to_end() -> None:
    network = small_network()
    words = ["a photo of a dog.", "a photo of a cat.", "a photo of the sky."]
    texts = network.embed_texts(tokenize(words))
    (logits,), (queries,) = network.last_masks(torch.randn(1, 3, 64, 96))

    bank, reverse = (TextBank(vectors, np.arange(3), 3) for vectors in (texts, texts.flip(0)))
    shares = class_shares(class_cosines(network.embed_masks(queries[0]), bank), network.contrast.scale.item())
    scores = pixel_scores(logits[0], shares, "sum")

    assert scores.shape == (3, 16, 24)
    torch.testing.assert_close(scores.sum(0), logits[0].sigmoid().sum(0))
    turned = class_shares(class_cosines(network.embed_masks(queries[0]), reverse), network.contrast.scale.item())
    torch.testing.assert_close(pixel_scores(logits[0], turned, "sum").flip(0), scores)


def test_a_mask_is_as_sure_as_its_pixels_are_on_average() -> None:
    logits = torch.tensor([[[4.0, 0.5, -9.0]], [[-1.0, -2.0, -3.0]]])

    assert outlines(logits).tolist() == [[[1, 1, 0]], [[0, 0, 0]]]
    torch.testing.assert_close(
        sureness(logits), torch.stack([torch.tensor([4.0, 0.5]).sigmoid().mean(), torch.tensor(0.0)])
    )


def test_masks_overlap_by_their_intersection_over_union() -> None:
    masks = torch.tensor([[[1.0, 1, 0, 0]], [[0.0, 0, 0, 0]]])
    others = torch.tensor([[[1.0, 0, 0, 0]], [[0.0, 1, 1, 1]], [[0.0, 0, 0, 0]]])

    torch.testing.assert_close(overlaps(masks, others), torch.tensor([[0.5, 0.25, 0.0], [0.0, 0.0, 0.0]]))
