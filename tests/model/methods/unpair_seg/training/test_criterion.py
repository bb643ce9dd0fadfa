from __future__ import annotations

import torch

from lexiseg_model.methods.unpair_seg.layers.mask_decoder import Prediction
from lexiseg_model.methods.unpair_seg.training.criterion import drawn_on, match_points, prompt_losses
from lexiseg_model.methods.unpair_seg.training.recipe import PointSettings
from tests.model.methods.unpair_seg.training.test_prompt_matching import NOTHING, PART, WHOLE, sure_of

FEW = PointSettings(points=500)
DRAW = drawn_on(torch.device("cpu"), torch.Generator().manual_seed(0))


def test_better_masks_that_know_it_lose_less() -> None:
    targets, points = [WHOLE[None]], torch.tensor([[[20, 20]]])
    good, bad = (
        Prediction(torch.stack([sure_of(shape)] * 4)[None, None], torch.full((1, 1, 4), says))
        for shape, says in ((WHOLE, 5.0), (PART, 5.0))
    )

    near, far = (
        prompt_losses([each], targets, match_points(each.masks, targets, points), DRAW, FEW)[0] for each in (good, bad)
    )

    assert near.mask < far.mask
    assert near.dice < far.dice
    assert near.quality < 0.01 < far.quality


def test_masks_that_answer_for_nobody_are_not_punished() -> None:
    masks = torch.stack([sure_of(WHOLE), sure_of(NOTHING)])[None, None].requires_grad_()
    quality = torch.zeros(1, 1, 2, requires_grad=True)
    targets = [WHOLE[None]]
    matches = match_points(masks, targets, torch.tensor([[[20, 20]]]))

    prompt_losses([Prediction(masks, quality)], targets, matches, DRAW, FEW)[0].weighted.backward()  # type: ignore[no-untyped-call]

    assert masks.grad is not None
    assert quality.grad is not None
    assert masks.grad[0, 0, 0].any()
    assert not masks.grad[0, 0, 1].any()
    assert quality.grad[0, 0].ne(0).tolist() == [True, False]


def test_a_batch_without_objects_loses_nothing_and_still_has_gradients() -> None:
    masks, quality = torch.randn(1, 2, 4, 16, 16, requires_grad=True), torch.zeros(1, 2, 4, requires_grad=True)
    targets = [torch.zeros(0, 64, 64)]
    matches = match_points(masks, targets, torch.full((1, 2, 2), 9))

    loss = prompt_losses([Prediction(masks, quality)], targets, matches, DRAW, FEW)[0].weighted
    loss.backward()  # type: ignore[no-untyped-call]

    assert float(loss.detach()) == 0
    assert masks.grad is not None
    assert not masks.grad.any()
