"""An object's own colours by the kernel and by torch: alike logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexiseg_model.methods.tiny.own_colours import Palette, by_own_colours, palette
from lexiseg_model.methods.tiny.settings import OwnColours
from tests.kernel import both_ways

SIZE = (24, 40)  # cells of a mask
N = 6
RULE = OwnColours()


@pytest.fixture
def picture() -> Palette:
    """A palette of smooth colours."""
    generator = torch.Generator().manual_seed(1)
    return palette(torch.nn.functional.interpolate(torch.randn(1, 3, 6, 10, generator=generator), (48, 80))[0], SIZE)


@pytest.fixture
def masks() -> Tensor:
    """Smooth logits [N, h, w]; the last mask holds nothing."""
    generator = torch.Generator().manual_seed(2)
    masks = torch.nn.functional.interpolate(torch.randn(1, N, 4, 5, generator=generator) * 6, SIZE, mode="bilinear")[0]
    masks[-1] = -masks[-1].abs()
    return masks


BOXES = torch.tensor(
    [
        [10.0, 9.0, 90.0, 61.0],
        [0.0, 0.0, 160.0, 96.0],
        [-30.0, -20.0, 50.0, 300.0],  # beyond the picture
        [40.0, 40.0, 40.0, 40.0],  # nothing
        [42.0, 42.0, 58.0, 50.0],  # sides through centres of cells
        [200.0, 10.0, 260.0, 40.0],  # beside the picture
    ]
)


@pytest.mark.parametrize("boxed", ["all", "none", "some"])
@pytest.mark.parametrize("ring", [0.0, 0.25, 3.0])
def test_any_masks_and_boxes(picture: Palette, masks: Tensor, boxed: str, ring: float) -> None:
    has_box = {"all": torch.ones(N), "none": torch.zeros(N), "some": torch.arange(N) % 2}[boxed].bool()
    rule = RULE.model_copy(update={"ring": ring})

    compiled, plain = both_ways(lambda: by_own_colours(masks, BOXES, has_box, picture, rule))

    torch.testing.assert_close(compiled, plain, atol=1e-4, rtol=0)
    assert (compiled[:-1] - masks[:-1]).abs().max() > 0.1


def test_what_is_smaller_than_a_vector() -> None:
    picture = palette(torch.randn(3, 10, 6, generator=torch.Generator().manual_seed(0)), (5, 3))
    masks = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1)) * 20

    compiled, plain = both_ways(lambda: by_own_colours(masks, BOXES[:2], torch.zeros(2).bool(), picture, RULE))

    torch.testing.assert_close(compiled, plain, atol=1e-4, rtol=0)


def test_masks_stay_as_they_were(picture: Palette, masks: Tensor) -> None:
    before = masks.clone()

    by_own_colours(masks, BOXES, torch.zeros(N).bool(), picture, RULE)

    assert torch.equal(masks, before)
