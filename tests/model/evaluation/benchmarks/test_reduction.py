"""Labels from the scores of queries, against the plain formulation: upsample all, softmax, compare."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.evaluation.benchmarks.reduction import Nobody, Reduction, reduce_to_labels

SIZE = (37, 53)


def less_probable_than(threshold: float) -> Nobody:
    return lambda logits, _: logits.logsumexp(0) + math.log(threshold)


def random_scores(n_queries: int, seed: int, size: tuple[int, int] = (9, 13)) -> Tensor:
    """Smooth cosines [T, h, w] between -0.1 and 0.4."""
    coarse = torch.rand(1, n_queries, 4, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size, mode="bicubic")[0].clamp(0, 1) * 0.5 - 0.1


def plain(scores: Tensor, owner: list[int], scale: float, threshold: float, share: float | None) -> NDArray[np.int64]:
    """As the released code of SCLIP does it: probabilities of queries, one-hot owners, arg-max, then the threshold."""
    upsampled = F.interpolate(scores[None], SIZE, mode="bilinear", align_corners=False)[0]
    probability = (scale * upsampled).softmax(0)
    n_classes = max(owner) + 1
    mine = F.one_hot(torch.tensor(owner)).T.view(n_classes, len(owner), 1, 1)
    of_class = (probability[None] * mine).amax(1)
    if share is not None:
        area = F.one_hot(of_class.argmax(0), n_classes)[..., 1:].sum((0, 1)).float()
        of_class[1:] *= (area > share * area.sum()).float()[:, None, None]
    labels = of_class.argmax(0)
    labels[of_class.amax(0) < threshold] = 0
    return labels.numpy()


@pytest.mark.parametrize("owner", [[0, 1, 2, 3, 4], [0, 0, 0, 1, 1, 2, 3, 3, 4]], ids=["one text", "many texts"])
@pytest.mark.parametrize(("scale", "threshold"), [(40, 0.3), (40, 0.6), (10, 0.25)])
def test_a_class_below_the_threshold_is_background(owner: list[int], scale: float, threshold: float) -> None:
    scores = random_scores(len(owner), seed=len(owner))

    labels = reduce_to_labels(scores, SIZE, Reduction(np.array(owner), scale, less_probable_than(threshold)))

    expected = plain(scores, owner, scale, threshold, None)
    assert (labels == expected).mean() > 0.999  # rounding on a border
    assert 0.05 < (expected != 0).mean() < 0.95


def test_small_classes_lose_their_pixels_to_the_next_best() -> None:
    owner = [0, 1, 1, 2, 3, 4, 5]
    scores = random_scores(len(owner), seed=3)

    labels = reduce_to_labels(
        scores, SIZE, Reduction(np.array(owner), 65, less_probable_than(0.1), smallest_share=0.15)
    )

    expected = plain(scores, owner, 65, 0.1, 0.15)
    kept, all_of_them = set(np.unique(expected)), set(np.unique(plain(scores, owner, 65, 0.1, None)))
    assert kept < all_of_them
    assert (labels == expected).mean() > 0.999


def test_the_share_is_of_the_foreground_and_the_background_keeps_its_pixels() -> None:
    # One row of twenty pixels: background 1, class one 3, class two 16; then background 16, class one 1, class two 3.
    little_background = torch.eye(3)[[0] + [1] * 3 + [2] * 16].T.reshape(3, 1, 20)
    much_background = torch.eye(3)[[0] * 16 + [1] + [2] * 3].T.reshape(3, 1, 20)
    rules = Reduction(np.array([0, 1, 2]), smallest_share=0.1)

    assert np.bincount(reduce_to_labels(little_background, (1, 20), rules)[0]).tolist() == [1, 3, 16]
    assert np.bincount(reduce_to_labels(much_background, (1, 20), rules)[0]).tolist() == [16, 1, 3]


@pytest.mark.parametrize("constant", [0.1, 0.2, 0.35])
def test_a_constant_channel_competes_as_background(constant: float) -> None:
    masks = random_scores(5, seed=8)

    labels = reduce_to_labels(
        masks, SIZE, Reduction(np.arange(1, 6), 1.0, lambda logits, _: logits.new_tensor(constant))
    )

    with_background = torch.cat([torch.full_like(masks[:1], constant), masks])
    expected = F.interpolate(with_background[None], SIZE, mode="bilinear", align_corners=False)[0].argmax(0)
    assert (labels == expected.numpy()).mean() > 0.999
