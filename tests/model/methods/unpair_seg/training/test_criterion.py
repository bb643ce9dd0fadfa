from __future__ import annotations

import torch

from lexiseg_model.methods.unpair_seg.layers.mask_decoder import Prediction
from lexiseg_model.methods.unpair_seg.training.criterion import drawn_on, match_points, prompt_losses
from lexiseg_model.methods.unpair_seg.training.recipe import PointSettings

FEW = PointSettings(points=500)
DRAW = drawn_on(torch.device("cpu"), torch.Generator().manual_seed(0))


def test_a_batch_without_objects_loses_nothing_and_still_has_gradients() -> None:
    masks, quality = torch.randn(1, 2, 4, 16, 16, requires_grad=True), torch.zeros(1, 2, 4, requires_grad=True)
    targets = [torch.zeros(0, 64, 64)]
    matches = match_points(masks, targets, torch.full((1, 2, 2), 9))

    loss = prompt_losses([Prediction(masks, quality)], targets, matches, DRAW, FEW)[0].weighted
    loss.backward()  # type: ignore[no-untyped-call]

    assert float(loss.detach()) == 0
    assert masks.grad is not None
    assert not masks.grad.any()
