from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexiseg_model.errors import ShapeError
from lexiseg_model.methods.unpair_seg.training.criterion import match_paired, match_points

SIZE = 64  # of images; masks are a quarter of it


def box(x0: int, y0: int, x1: int, y1: int) -> Tensor:
    mask = torch.zeros(SIZE, SIZE, dtype=torch.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def sure_of(mask: Tensor) -> Tensor:
    """Logits of an almost perfect prediction at stride 4."""
    return 12 * mask[::4, ::4].float() - 6


WHOLE, PART, ELSEWHERE = box(0, 0, 48, 48), box(16, 16, 32, 32), box(48, 48, 64, 64)
NOTHING = torch.zeros_like(WHOLE)


def test_a_point_on_two_objects_has_a_mask_for_each() -> None:
    masks = torch.stack([sure_of(each) for each in (NOTHING, PART, NOTHING, WHOLE)])[None, None]

    found = match_points(masks, [torch.stack([WHOLE, PART, ELSEWHERE])], torch.tensor([[[20, 20]]]))

    assert dict(zip(found.prediction.tolist(), found.target.tolist(), strict=True)) == {1: 1, 3: 0}
    assert found.dice.min() > 0.9


def test_an_object_teaches_every_point_on_it() -> None:
    masks = torch.stack([sure_of(WHOLE), sure_of(NOTHING)]).expand(1, 3, 2, -1, -1)

    found = match_points(masks, [WHOLE[None]], torch.tensor([[[5, 5], [60, 60], [40, 9]]]))

    assert found.prediction.tolist() == [0, 4]
    assert found.image.tolist() == [0, 0]


@pytest.mark.parametrize("compatibility", ["none", "released"])
def test_no_mask_answers_for_an_object_that_its_point_is_not_on(compatibility: str) -> None:
    masks = sure_of(ELSEWHERE).expand(1, 1, 4, -1, -1)

    found = match_points(masks, [ELSEWHERE[None]], torch.tensor([[[5, 5]]]), compatibility)  # type: ignore[arg-type]

    assert not len(found.prediction)


def test_only_as_released_a_forbidden_object_takes_the_best_mask_away() -> None:
    # The first mask fits the object under the point and half of another one, the second half of the former only.
    objects = torch.stack([PART, box(16, 24, 32, 32)])
    masks = torch.stack([sure_of(PART), sure_of(box(16, 16, 32, 24))])[None, None]
    point = torch.tensor([[[18, 18]]])

    assert match_points(masks, [objects], point).prediction.tolist() == [0]
    assert match_points(masks, [objects], point, "released").prediction.tolist() == [1]


def test_images_without_objects_match_nothing() -> None:
    masks = torch.randn(2, 3, 4, 16, 16)
    points = torch.full((2, 3, 2), 20)

    found = match_points(masks, [torch.zeros(0, SIZE, SIZE), PART[None]], points)

    assert found.image.tolist() == [1, 1, 1]


def test_points_at_the_very_edge_are_on_what_is_there() -> None:
    masks = torch.randn(1, 1, 4, 16, 16)

    found = match_points(masks, [ELSEWHERE[None]], torch.tensor([[[64.0, 63.6]]]))

    assert found.target.tolist() == [0]


def test_a_box_answers_for_the_object_it_was_drawn_around() -> None:
    masks = torch.stack([sure_of(ELSEWHERE), sure_of(PART)])[None, :, None]

    found = match_paired(masks, [torch.stack([ELSEWHERE, WHOLE])])

    assert found.prediction.tolist() == found.target.tolist() == [0, 1]
    assert found.dice[0] > 0.9
    assert found.dice[1] < 0.3


def test_more_objects_than_boxes_are_refused() -> None:
    with pytest.raises(ShapeError, match="one mask for each of 2 objects"):
        match_paired(torch.zeros(1, 1, 1, 16, 16), [torch.stack([PART, WHOLE])])
    with pytest.raises(ShapeError, match="objects of 1 images, got 2"):
        match_paired(torch.zeros(1, 1, 1, 16, 16), [PART[None], PART[None]])
