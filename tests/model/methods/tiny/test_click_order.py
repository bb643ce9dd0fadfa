"""The order of the masks of a click."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.kernel import library
from lexiseg_model.methods.tiny.click_order import Contrast, best_first, contrast, evidence
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import ClickOrder
from lexiseg_model.types import Point, Prompt
from tests.kernel import require_kernel

SIZE = (24, 32)  # cells of a mask
NOTHING = ClickOrder(stability=0, area=0, edges=0)


@pytest.fixture
def halves() -> Contrast:
    """A picture whose left half has another colour than its right half."""
    guide = torch.zeros(3, 2 * SIZE[0], 2 * SIZE[1])
    guide[:, :, SIZE[1] :] = 2.0
    return contrast(guide, SIZE)


def left(columns: int, inside: float = 5.0, outside: float = -5.0) -> Tensor:
    """Logits of a mask of the leftmost columns."""
    return torch.where(torch.arange(SIZE[1]) < columns, inside, outside).expand(SIZE).clone()


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        (NOTHING.model_copy(update={"stability": 1.0}), 0),
        (NOTHING.model_copy(update={"area": -0.5}), 2),
        (NOTHING.model_copy(update={"edges": 1.0}), 1),
    ],
    ids=["stability", "area", "edges"],
)
def test_each_weight_of_the_rule_can_decide_the_order(halves: Contrast, rule: ClickOrder, first: int) -> None:
    soft_on_the_edge = torch.linspace(3, -3, SIZE[1]).expand(SIZE)
    masks = torch.stack([left(24), soft_on_the_edge, left(4, inside=0.5, outside=-0.5)])[None]

    assert best_first(masks, torch.full((1, 3), 0.5), halves, rule)[0, 0] == first


def test_the_kernel_and_torch_give_the_same_order(halves: Contrast, monkeypatch: pytest.MonkeyPatch) -> None:
    require_kernel()
    random = torch.Generator().manual_seed(0)
    masks = 4 * torch.randn(8, 4, *SIZE, generator=random) + torch.randn(8, 4, 1, 1, generator=random)
    quality = torch.rand(8, 4, generator=random)
    compiled = best_first(masks, quality, halves, ClickOrder()), evidence(masks, halves)

    monkeypatch.setattr(library, "ready", lambda: False)

    assert torch.equal(compiled[0], best_first(masks, quality, halves, ClickOrder()))
    torch.testing.assert_close(compiled[1], evidence(masks, halves))


def test_masks_of_a_click_are_ordered_by_the_rule_of_the_card(
    tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]
) -> None:
    plan = tiny.plan(photographs["coffee"])
    features = tiny.assemble(plan, tiny.encode_tiles(plan.tiles))
    places = contrast(tiny.guide(features), (features.tensors["pixels"].shape[1], features.tensors["pixels"].shape[2]))
    prompts = [Prompt((Point(x, y),)) for x in (100.0, 250.0, 400.0) for y in (80.0, 200.0, 320.0)]

    answers = tiny.seen(features, prompts)

    for answer, served in zip(answers, tiny.prompt(features, prompts), strict=True):
        assert torch.equal(answer.quality, served.quality)
    by_quality_alone = 0
    for answer in answers:
        order = best_first(answer.masks[None], answer.quality[None], places, ClickOrder())
        assert order.tolist() == [[0, 1, 2, 3]]
        by_quality_alone += bool((answer.quality.diff() <= 0).all())
    assert by_quality_alone < len(answers)  # or nothing was changed
