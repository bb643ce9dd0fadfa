from __future__ import annotations

import torch

from lexiseg_model.methods.unpair_seg.regions import class_logits, class_maps, legible, pool, pool_legible


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


def test_what_is_too_small_to_see_becomes_the_cell_around_it() -> None:
    masks = torch.full((2, 8, 8), -9.0)
    masks[0, 7, 0] = 1  # in the left bottom cell of 2 x 2
    masks[1, :4, :4] = 1  # seen as it is

    found = legible(masks, (2, 2))

    assert torch.equal(found[1], masks[1])
    assert (found[0, 4:, :4] > 0).all()
    assert int((found[0] > 0).sum()) == 16
    features = torch.arange(4.0).view(1, 1, 2, 2)
    torch.testing.assert_close(pool(features, found[None]), torch.tensor([[[2.0], [0.0]]]))


def test_only_what_nothing_is_left_of_is_averaged_over_a_cell() -> None:
    masks = torch.full((2, 1, 8, 8), -9.0)
    masks[0, 0, 7, 0] = 1  # in the left bottom cell of 2 x 2
    masks[1, 0, :4] = 1  # seen as it is
    features = torch.arange(8.0).view(2, 1, 2, 2)

    torch.testing.assert_close(pool_legible(features, masks), torch.tensor([[[2.0]], [[4.5]]]))


def test_no_masks_are_legible_as_none() -> None:
    assert legible(torch.zeros(0, 8, 8), (2, 2)).shape == (0, 8, 8)
