"""PAMR against the authors' own outputs, and what refinement must never do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model.errors import ShapeError
from lexiseg_model.masks.pamr import PamrSettings, refine, refine_masks
from tests.golden import golden_inputs
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
    [
        ("tcl", PamrSettings()),
        ("naclip", PamrSettings(10, (8, 16))),
        ("one_step_d1", PamrSettings(1, (1,))),
    ],
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


def test_probabilities_stay_probabilities() -> None:
    probability = maps().softmax(0)

    refined = refine(probability, photograph(), PamrSettings(3, (1, 4)))

    torch.testing.assert_close(refined.sum(0), torch.ones(72, 100))
    assert refined.min() >= 0


def test_a_batch_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[1, 4, 72, 100\]"):
        refine(maps()[None], photograph())


def test_a_mask_is_refined_as_its_probability() -> None:
    logits = 4 * maps() - 2

    refined = refine_masks(logits, photograph())

    torch.testing.assert_close(refined.sigmoid(), refine(logits.sigmoid(), photograph()), atol=1e-5, rtol=0)


def test_no_masks_are_refined_to_none() -> None:
    assert refine_masks(torch.zeros(0, 18, 25), photograph()).shape == (0, 72, 100)
