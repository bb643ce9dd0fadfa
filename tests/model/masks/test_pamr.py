"""PAMR against the authors' own outputs, and what refinement must never do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lexiseg_model.errors import ShapeError
from lexiseg_model.kernel import calls as kernel
from lexiseg_model.masks import pamr
from lexiseg_model.masks.pamr import PamrSettings, affinity, refine, refine_masks
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


@pytest.mark.parametrize(("n_maps", "size"), [(1, (1, 1)), (4, (5, 15)), (9, (40, 61)), (26, (33, 16))])
def test_compiled_it_is_the_same(n_maps: int, size: tuple[int, int]) -> None:
    require_kernel()
    random = torch.Generator().manual_seed(0)
    noise, image = torch.rand(n_maps, *size, generator=random), torch.randn(3, *size, generator=random)
    image[:, : size[0] // 2] = 0.5  # where all are alike

    compiled, plain = both_ways(lambda: refine(noise, image))

    torch.testing.assert_close(compiled, plain, atol=2e-6, rtol=0)
    assert (compiled.argmax(0) == plain.argmax(0)).all()


@pytest.mark.parametrize("n_maps", [2, 3, 6, 22])  # 1 and 1 beside each other, 4, 8, 16 and 8
def test_compiled_it_is_the_same_across_panels_and_an_odd_number_of_times(n_maps: int) -> None:
    require_kernel()
    random = torch.Generator().manual_seed(0)
    size = 30, 421 if n_maps > 8 else 1061  # panels of few maps are wider
    maps, image = torch.rand(n_maps, *size, generator=random), torch.randn(3, *size, generator=random)
    farther_than_a_block = PamrSettings(3, (1, 40))

    compiled, plain = both_ways(lambda: refine(maps, image, farther_than_a_block))

    torch.testing.assert_close(compiled, plain, atol=2e-6, rtol=0)


@pytest.mark.parametrize(("n_maps", "iterations"), [(16, 2), (21, 1)])
def test_compiled_it_is_the_same_where_maps_go_past_the_caches(n_maps: int, iterations: int) -> None:
    require_kernel()
    random = torch.Generator().manual_seed(0)
    maps, image = torch.rand(n_maps, 280, 331, generator=random), torch.randn(3, 280, 331, generator=random)
    every_dilation = PamrSettings(iterations, (1, 2, 3, 4, 8, 12, 16, 24))

    compiled, plain = both_ways(lambda: refine(maps, image, every_dilation))

    torch.testing.assert_close(compiled, plain, atol=2e-6, rtol=0)


@pytest.mark.parametrize("n_maps", [1, 4, 8, 16])
def test_compiled_it_is_the_same_at_dilations_that_fours_of_pixels_do_not_divide(n_maps: int) -> None:
    require_kernel()
    random = torch.Generator().manual_seed(0)
    maps, image = torch.rand(n_maps, 30, 83, generator=random), torch.randn(3, 30, 83, generator=random)
    odd = PamrSettings(2, (3, 5, 6, 7, 25))

    compiled, plain = both_ways(lambda: refine(maps, image, odd))

    torch.testing.assert_close(compiled, plain, atol=2e-6, rtol=0)


@pytest.mark.parametrize("n_maps", [5, 40])  # 4 and 1 in step; 16, 16 and 8 one after the other
def test_maps_may_be_refined_where_they_lie(n_maps: int) -> None:
    require_kernel()
    random = torch.Generator().manual_seed(0)
    maps, image = (torch.rand(n, 40, 61, generator=random).numpy() for n in (n_maps, 3))
    expected = kernel.refine_maps(maps, image, (1, 12), 3)

    refined = kernel.refine_maps(maps, image, (1, 12), 3, refined=maps)

    assert refined is maps
    np.testing.assert_array_equal(refined, expected)


def test_small_maps_are_not_changed() -> None:
    require_kernel()
    small = torch.rand(3, 18, 25, generator=torch.Generator().manual_seed(0))
    before = small.clone()

    fast, plain = both_ways(lambda: refine(small, photograph()))

    assert torch.equal(small, before)
    torch.testing.assert_close(fast, plain, atol=2e-6, rtol=0)


def test_no_iteration_leaves_maps_as_they_are() -> None:
    require_kernel()

    compiled, plain = both_ways(lambda: refine(maps(), photograph(), PamrSettings(0)))

    assert torch.equal(compiled, maps())
    assert torch.equal(plain, maps())


def test_a_small_map_is_resized_as_in_the_reference() -> None:
    small = torch.from_numpy(golden_inputs.uniform(SEED, "pamr/mask_small", (1, 3, 18, 25)))[0]
    expected = np.load(GOLDEN / "pamr.npz")["small_mask"]

    np.testing.assert_allclose(refine(small, photograph()).numpy(), expected, atol=TOLERANCE, rtol=0)


def test_affinities_of_a_pixel_sum_to_one() -> None:
    weights = affinity(photograph(), (1, 2))

    torch.testing.assert_close(weights.sum(0), torch.ones(72, 100))


def test_probabilities_stay_probabilities() -> None:
    probability = maps().softmax(0)

    refined = refine(probability, photograph(), PamrSettings(3, (1, 4)))

    torch.testing.assert_close(refined.sum(0), torch.ones(72, 100))
    assert refined.min() >= 0


def test_the_size_of_the_bands_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = refine(maps(), photograph())

    monkeypatch.setattr(pamr, "BAND_BYTES", 1)

    assert torch.equal(refine(maps(), photograph()), whole)


def test_many_maps_are_refined_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pamr, "MAPS_AT_ONCE", 3)
    settings = PamrSettings(2, (1, 4))

    together = refine(maps(), photograph(), settings)

    assert torch.equal(together, torch.cat([refine(each[None], photograph(), settings) for each in maps()]))


def test_a_batch_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[1, 4, 72, 100\]"):
        refine(maps()[None], photograph())


def test_a_mask_is_refined_as_its_probability() -> None:
    logits = 4 * maps() - 2

    refined = refine_masks(logits, photograph())

    torch.testing.assert_close(refined.sigmoid(), refine(logits.sigmoid(), photograph()), atol=1e-5, rtol=0)


def test_a_mask_is_refined_alike_whatever_comes_with_it() -> None:
    logits = 4 * maps() - 2

    torch.testing.assert_close(refine_masks(logits, photograph())[2:3], refine_masks(logits[2:3], photograph()))


def test_no_masks_are_refined_to_none() -> None:
    assert refine_masks(torch.zeros(0, 18, 25), photograph()).shape == (0, 72, 100)


class _Places(TorchDispatchMode):  # type: ignore[no-untyped-call]  # as torch has it
    """Where tensors of so many numbers lie that operations of torch give."""

    def __init__(self, numbers: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.numbers = numbers
        self.seen: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = function(*args, **(kwargs or {}))
        if isinstance(given, Tensor) and given.numel() == self.numbers:
            self.seen.add(given.untyped_storage().data_ptr())
        return given


@pytest.mark.parametrize("size", [(18, 25), (72, 100)])
def test_masks_are_refined_and_made_logits_where_they_lie(size: tuple[int, int]) -> None:
    require_kernel()
    logits, guide = torch.randn(5, *size), photograph()

    with _Places(5 * guide[0].numel()) as places:
        refined = refine_masks(logits, guide)

    assert places.seen == {refined.untyped_storage().data_ptr()}
