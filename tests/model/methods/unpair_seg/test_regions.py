from __future__ import annotations

import torch

from model.methods.unpair_seg.regions import class_logits, class_maps, pool


def test_a_region_is_the_mean_of_what_its_mask_covers() -> None:
    features = torch.arange(8.0).view(1, 2, 2, 2)
    masks = torch.full((1, 2, 4, 4), -1.0)
    masks[0, 0, :2] = 1
    masks[0, 1] = 1

    torch.testing.assert_close(pool(features, masks), torch.tensor([[[0.5, 4.5], [1.5, 5.5]]]))


def test_a_mask_too_small_for_the_features_gives_zeros() -> None:
    masks = torch.full((1, 1, 8, 8), -9.0)
    masks[..., 0, 0] = 1

    assert not pool(torch.ones(1, 3, 2, 2), masks).any()


def test_a_class_is_as_likely_as_its_best_text() -> None:
    texts = torch.eye(4)
    regions = torch.tensor([[3.0, 4.0, 0.0, 0.0]])

    found = class_logits(regions, texts, torch.tensor([0, 0, 1, 1]), 2, 10.0)

    torch.testing.assert_close(found, torch.tensor([[8.0, 0.0]]))


def test_the_scale_goes_no_further_than_clip_s() -> None:
    found = class_logits(torch.eye(2), torch.eye(2), torch.tensor([0, 1]), 2, torch.tensor(500.0))

    torch.testing.assert_close(found, 100 * torch.eye(2))


def test_pixels_are_what_the_regions_over_them_are() -> None:
    masks = torch.tensor([[[50.0, 50.0, -50.0]], [[-50.0, 50.0, -50.0]]])

    found = class_maps(torch.tensor([[0.75, 0.25], [0.0, 1.0]]), masks)

    torch.testing.assert_close(found[:, 0], torch.tensor([[0.75, 0.75, 0.0], [0.25, 1.25, 0.0]]))
