"""TCL's masks for a vocabulary: refinement, blend, padding and sliding windows against the authors' outputs."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.masks.pamr import PamrSettings
from model.masks.windows import cut, merge, place_windows
from model.methods.tcl.blend import ImageMaps, MaskSettings, Padding, finished_masks, guide, similarity, to_pixels
from model.methods.tcl.sim2mask import Sim2Mask
from model.segmenter import Layout
from tests.golden import golden_inputs
from tests.model.methods.tcl import golden
from tests.model.methods.tcl.golden import MASK_TOLERANCE, assert_close

WINDOW, STRIDE = 448, 224  # of TCL's evaluation


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


@cache
@torch.no_grad()
def window_passes() -> tuple[Layout, list[tuple[Tensor, ImageMaps]]]:
    height, width, digest = golden.ABOUT["resized_500x700"]
    pixels = golden.image("tcl/image500x700", 500, 700)
    resized = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    assert golden_inputs.digest(resized) == digest
    np.testing.assert_array_equal(resized[5::16, 5::16], golden.reference()["slide_resized"])
    layout = place_windows((height, width), WINDOW, STRIDE)
    windows = cut(resized.transpose(2, 0, 1), layout)
    images = [golden.normalised(window.transpose(1, 2, 0)) for window in windows]
    return layout, [(image, golden.restored().network(image)) for image in images]


@pytest.mark.parametrize("refined", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_sliding_windows_give_the_references_scores_and_labels(background: bool, refined: bool) -> None:
    layout, passes = window_passes()
    finish = settings(True, refined)

    scores = merge((masks_of(*window, finish, Padding(0, 0, 0, 0))[0] for window in passes), layout)
    if background:
        scores = torch.cat([torch.full_like(scores[:1], finish.background), scores])
    scores = F.interpolate(scores[None], size=(500, 700), mode="bilinear")[0]

    tag = f"bg{int(background)}_pamr{int(refined)}"
    assert_close(scores[:, 7::15, 7::15], f"slide_logit_{tag}", MASK_TOLERANCE[refined])
    differs = scores.argmax(0).numpy() != golden.reference()[f"slide_label_{tag}"]
    assert differs.mean() <= 1e-4


def test_the_background_is_worth_what_the_evaluation_gives_it() -> None:
    assert (MaskSettings().background, MaskSettings(pamr=None).background) == (0.4, 0.5)


@pytest.mark.parametrize(
    ("size", "padding"),
    [((112, 144), (0, 0, 0, 0)), ((100, 130), (6, 7, 6, 7)), ((111, 145), (0, 7, 1, 8)), ((1, 17), (7, 7, 8, 8))],
)
def test_padding_is_symmetric_and_comes_off_again(size: tuple[int, int], padding: tuple[int, ...]) -> None:
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    around = Padding.to_multiple(size, 16)

    assert around == padding
    assert torch.equal(around.crop(around.add(images)), images)
    assert [side % 16 for side in around.add(images).shape[2:]] == [0, 0]


def test_padded_pixels_are_zero() -> None:
    padded = Padding(1, 0, 0, 2).add(torch.ones(1, 1, 2, 2))

    assert padded.tolist() == [[[[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]]]


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
