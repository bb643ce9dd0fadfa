"""TCL's masks for a vocabulary: refinement, blend and padding against the authors' outputs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.clip.images import Padding
from lexiseg_model.masks.pamr import PamrSettings
from lexiseg_model.methods.tcl.blend import ImageMaps, MaskSettings, finished_masks, guide, similarity, to_pixels
from lexiseg_model.methods.tcl.grounder import Sim2Mask
from tests.model.methods.tcl import golden
from tests.model.methods.tcl.golden import MASK_TOLERANCE, assert_close


@torch.no_grad()
def masks_of(images: Tensor, maps: ImageMaps, settings: MaskSettings, padding: Padding) -> Tensor:
    """[B, 5, H, W] at the size of the image before padding."""
    guides = guide(images, (maps.grounder.shape[2], maps.grounder.shape[3]))
    masks = finished_masks(maps, golden.texts(), golden.restored().network.sim2mask, guides, settings)
    return to_pixels(masks, (images.shape[2], images.shape[3]), padding)


def settings(kp: bool, refined: bool) -> MaskSettings:
    return MaskSettings(0.3 if kp else 0.0, PamrSettings() if refined else None)


@pytest.mark.parametrize("refined", [False, True])
@pytest.mark.parametrize("kp", [False, True])
@pytest.mark.parametrize("tag", ["224", "288x352"])
def test_masks_are_the_references(tag: str, kp: bool, refined: bool) -> None:
    masks = masks_of(golden.network_input(tag), golden.maps(tag), settings(kp, refined), golden.padding(tag))

    assert_close(masks[0, :, 2::5, 2::5], f"mask_{tag}_kp{3 * kp}_pamr{int(refined)}", MASK_TOLERANCE[refined])


@pytest.mark.parametrize("refined", [False, True])
def test_masks_of_an_image_that_needs_padding_are_the_references(refined: bool) -> None:
    images, maps = golden.network_input("100x130"), golden.maps("100x130")
    assert images.shape[2:] == (112, 144)

    masks = masks_of(images, maps, settings(True, refined), golden.padding("100x130"))

    assert masks.shape[2:] == (100, 130)
    assert_close(masks[0, :, 2::3, 2::3], f"mask_100x130_kp3_pamr{int(refined)}", MASK_TOLERANCE[refined])


def test_the_background_is_worth_what_the_evaluation_gives_it() -> None:
    assert (MaskSettings().background, MaskSettings(pamr=None).background) == (0.4, 0.5)


def test_similarity_looks_at_directions_alone() -> None:
    embedding = torch.randn(1, 8, 3, 4, generator=torch.Generator().manual_seed(0))
    texts = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))

    expected = F.cosine_similarity(embedding[:, None], texts[None, :, :, None, None], dim=2)

    torch.testing.assert_close(similarity(7 * embedding, 0.1 * texts), expected)


def test_a_text_or_pixel_without_direction_is_like_nothing() -> None:
    assert similarity(torch.zeros(1, 8, 1, 1), torch.ones(1, 8)).tolist() == [[[[0]]]]


def test_masks_of_one_class_do_not_depend_on_the_others() -> None:
    random = torch.Generator().manual_seed(0)
    maps = ImageMaps(torch.randn(1, 8, 16, 16, generator=random), torch.randn(1, 8, 4, 4, generator=random))
    texts = torch.randn(3, 8, generator=random)
    guides = torch.randn(1, 3, 16, 16, generator=random)

    together = finished_masks(maps, texts, Sim2Mask(), guides)

    for index in range(3):
        alone = finished_masks(maps, texts[index : index + 1], Sim2Mask(), guides)
        torch.testing.assert_close(alone[:, 0], together[:, index])
