"""Refinement of masks by PAMR and LPOSS."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks import lposs
from lexiseg_model.masks.pamr import PamrSettings, refine, refine_masks
from tests.golden import golden_inputs
from tests.golden import lposs as golden
from tests.kernel import both_ways, require_kernel

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
SEED = json.loads((GOLDEN / "meta.json").read_text())["seed"]
TOLERANCE = 3e-5  # of the fixtures' README


def photograph() -> Tensor:
    pixels = golden_inputs.image(SEED, "pamr/image", 72, 100)
    normalised = golden_inputs.normalise(pixels, golden_inputs.IMAGENET_MEAN, golden_inputs.IMAGENET_STD, 255.0)
    return torch.from_numpy(normalised)[0]


def maps() -> Tensor:
    noise = golden_inputs.uniform(SEED, "pamr/mask_noise", (1, 4, 72, 100))
    blobs = golden_inputs.blob_masks(SEED, "pamr/mask", 4, 72, 100).astype(np.float32)
    return torch.from_numpy(0.3 * noise + 0.7 * blobs)[0].float()


@pytest.mark.parametrize(
    ("name", "settings"),
    [("tcl", PamrSettings()), ("naclip", PamrSettings(10, (8, 16))), ("one_step_d1", PamrSettings(1, (1,)))],
)
def test_the_reference_is_reproduced(name: str, settings: PamrSettings) -> None:
    expected = np.load(GOLDEN / "pamr.npz")[name]

    refined = refine(maps(), photograph(), settings)

    np.testing.assert_allclose(refined.numpy(), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("n_maps", [2, 3, 6, 22])  # 1 and 1 beside each other, 4, 8, 16 and 8
def test_compiled_it_is_the_same_across_panels_and_an_odd_number_of_times(n_maps: int) -> None:
    require_kernel()
    random = torch.Generator().manual_seed(0)
    size = 30, 421 if n_maps > 8 else 1061  # panels of few maps are wider
    maps, image = torch.rand(n_maps, *size, generator=random), torch.randn(3, *size, generator=random)
    farther_than_a_block = PamrSettings(3, (1, 40))

    compiled, plain = both_ways(lambda: refine(maps, image, farther_than_a_block))

    torch.testing.assert_close(compiled, plain, atol=2e-6, rtol=0)


def test_a_small_map_is_resized_as_in_the_reference() -> None:
    small = torch.from_numpy(golden_inputs.uniform(SEED, "pamr/mask_small", (1, 3, 18, 25)))[0]
    expected = np.load(GOLDEN / "pamr.npz")["small_mask"]

    np.testing.assert_allclose(refine(small, photograph()).numpy(), expected, atol=TOLERANCE, rtol=0)


def test_a_mask_is_refined_as_its_probability() -> None:
    logits = 4 * maps() - 2

    refined = refine_masks(logits, photograph())

    torch.testing.assert_close(refined.sigmoid(), refine(logits.sigmoid(), photograph()), atol=1e-5, rtol=0)


def test_no_masks_are_refined_to_none() -> None:
    assert refine_masks(torch.zeros(0, 18, 25), photograph()).shape == (0, 72, 100)


GRID = (6, 9)
CLOSE = 2e-4  # of labels in 0..1: conjugate gradients stop at 1e-6 of the residual, or after 50 steps


def units(seed: int, width: int = 5) -> NDArray[np.float64]:
    drawn = np.random.default_rng(seed).normal(0.3, 1, (GRID[0] * GRID[1], width))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def labels(seed: int, n: int) -> NDArray[np.float64]:
    drawn = np.random.default_rng(seed).random((n, 3))
    return np.asarray(drawn / drawn.sum(1, keepdims=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("neighbours", [5, 400])
def test_patches_are_joined_by_likeness_and_distance(seed: int, neighbours: int) -> None:
    ours = lposs.patch_weights(units(seed), GRID, 16.0, neighbours)

    expected = golden.patch_weights(units(seed), GRID, 16.0, neighbours)
    np.testing.assert_allclose(ours.toarray(), expected, atol=1e-12)


@pytest.mark.parametrize("reach", [2, 6])
def test_pixels_are_joined_by_colours(reach: int) -> None:
    lab = np.random.default_rng(reach).random((5, 7, 3)).astype(np.float32) * 0.05

    ours = lposs.pixel_weights(lab, reach)

    np.testing.assert_allclose(ours.toarray(), golden.pixel_weights(lab, reach), atol=1e-6)


def test_both_steps_follow_each_other() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
    given = labels(3, GRID[0] * GRID[1])
    maps = torch.from_numpy(given.T.reshape(3, *GRID)).float()
    patches = torch.from_numpy(units(4).T.reshape(-1, *GRID)).float()

    ours = lposs.refine(maps, patches, torch.from_numpy(rgb).permute(2, 0, 1))

    weights = golden.patch_weights(patches.flatten(1).T.double().numpy(), GRID, 448 / GRID[0])
    spread = golden.solve(weights, given) / golden.solve(weights, np.ones((len(weights), 1)))
    fine = torch.nn.functional.interpolate(torch.from_numpy(spread.T.reshape(1, 3, *GRID)), (12, 18), mode="bilinear")
    colours = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab = (colours / np.array([100, 128, 128])).astype(np.float32)
    joined = golden.pixel_weights(lab, 1)
    flat = fine[0].flatten(1).T.numpy()
    expected = golden.solve(joined, flat) / golden.solve(joined, np.ones((len(joined), 1)))
    np.testing.assert_allclose(ours.flatten(1).T.numpy(), expected, atol=CLOSE)


def test_an_edge_of_colours_stops_labels() -> None:
    rgb = torch.zeros(3, 40, 40, dtype=torch.uint8)
    rgb[:, :, 23:] = 200  # the labels change at 20
    maps = torch.full((2, 40, 40), 0.3)
    maps[0, :, :20] = maps[1, :, 20:] = 0.7

    refined = lposs.refine(maps, None, rgb)

    assert (refined.argmax(0)[:, 23:] == 1).all()
    assert refined[0, :, 21].mean() > maps[0, :, 21].mean()
