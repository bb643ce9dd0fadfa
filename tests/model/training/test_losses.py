"""InfoNCE, dice and focal loss, and the assignment of predictions to targets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import Tensor

from lexiseg_model.training.losses import (
    Contrast,
    assign,
    dice_costs,
    dice_losses,
    focal_costs,
    focal_losses,
    matched_mask_losses,
    matching_costs,
)
from lexiseg_model.training.recipe import MaskLossSettings


def embeddings(count: int) -> Tensor:
    return torch.eye(8)[:count]


def test_the_temperature_does_not_fall_without_end() -> None:
    contrast = Contrast()
    with torch.no_grad():
        contrast.log_scale.fill_(50.0)
    mixed = torch.tensor([[0.0, 1.0], [1.0, 0.0]])

    assert contrast(mixed, mixed).item() == pytest.approx(100.0)


ALPHA, GAMMA = 0.25, 2.0


def random_masks(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and 0/1 targets of that shape."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator), torch.randint(2, shape, generator=generator).float()


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    return focal_losses(logits, targets, ALPHA, GAMMA)


@pytest.mark.parametrize("loss", [dice_losses, focal])
def test_a_right_mask_costs_nothing_and_a_wrong_one_much(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    _, targets = random_masks(3, 400)
    sure = 30 * (2 * targets - 1)

    assert (loss(sure, targets) < 1e-4).all()
    assert (loss(-sure, targets) > 0.9).all()


def test_dice_of_two_equal_halves_is_known() -> None:
    logits, target = torch.zeros(1, 8), torch.tensor([[1.0] * 4 + [0.0] * 4])

    assert dice_losses(logits, target).item() == pytest.approx(1 - (2 * 2 + 1) / (4 + 4 + 1))


def test_costs_are_the_losses_of_all_pairs() -> None:
    logits, _ = random_masks(2, 5, 60)
    _, targets = random_masks(2, 3, 60, seed=1)

    for image in range(2):
        for row in range(5):
            for column in range(3):
                pair = logits[image, row][None], targets[image, column][None]
                torch.testing.assert_close(dice_costs(logits, targets)[image, row, column], dice_losses(*pair)[0])
                torch.testing.assert_close(
                    focal_costs(logits, targets, ALPHA, GAMMA)[image, row, column], focal(*pair)[0]
                )


def test_extreme_logits_give_finite_losses_and_gradients() -> None:
    logits = torch.tensor([[1e4, -1e4, 1e4, -1e4]], requires_grad=True)
    targets = torch.tensor([[0.0, 1.0, 1.0, 0.0]])

    total = focal(logits, targets).sum() + dice_losses(logits, targets).sum()
    total.backward()  # type: ignore[no-untyped-call]

    assert torch.isfinite(total)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_predictions_without_a_target_are_left_alone() -> None:
    logits, _ = random_masks(1, 6, 8, 8)
    logits = logits.requires_grad_()
    _, targets = random_masks(1, 2, 8, 8, seed=1)

    matched_mask_losses(logits, targets).weighted(MaskLossSettings()).backward()  # type: ignore[no-untyped-call]

    assert logits.grad is not None
    assert int(logits.grad.flatten(2).any(2).sum()) == 2


def test_absent_targets_change_nothing() -> None:
    logits, _ = random_masks(2, 6, 8, 8)
    _, targets = random_masks(2, 3, 8, 8, seed=1)
    rubbish = torch.cat([targets, torch.zeros(2, 1, 8, 8)], 1)
    present = torch.tensor([[True] * 3 + [False]] * 2)

    torch.testing.assert_close(
        matched_mask_losses(logits, rubbish, present=present), matched_mask_losses(logits, targets)
    )


def test_targets_of_another_size_are_met_at_theirs() -> None:
    right = torch.zeros(1, 1, 4, 4)
    right[..., :2] = 1
    logits = 30 * (2 * right - 1)
    wrong_side = right.flip(3)
    fine = torch.cat([wrong_side, right], 1).repeat_interleave(4, 2).repeat_interleave(4, 3)

    costs = matching_costs(logits, fine, MaskLossSettings())
    losses = matched_mask_losses(logits, fine[:, 1:])

    assert costs.shape == (1, 1, 2)
    assert costs[0, 0, 1] < 0.01 < 1 < costs[0, 0, 0]
    assert losses.dice.item() < 0.1  # bilinear edges


def test_half_precision_around_it_does_not_change_the_numbers() -> None:
    logits, _ = random_masks(1, 6, 16, 16)
    _, targets = random_masks(1, 3, 16, 16, seed=1)
    exact = matched_mask_losses(logits, targets)

    with torch.autocast("cpu", torch.bfloat16):
        around = matched_mask_losses(logits, targets)

    assert around.focal.dtype == torch.float32
    torch.testing.assert_close(around, exact)


def test_the_sum_of_all_costs_decides_not_the_cheapest_pair() -> None:
    pairs = assign(torch.tensor([[[1.0, 2.0], [2.0, 9.0]]]))  # 1 + 9 against 2 + 2

    assert pairs.prediction.tolist() == [0, 1]
    assert pairs.target.tolist() == [1, 0]


def test_it_is_as_cheap_as_the_best_of_all_assignments() -> None:
    costs = torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(0))

    pairs = assign(costs)

    for image in range(3):
        mine = pairs.image == image
        cost = costs[image, pairs.prediction[mine], pairs.target[mine]].sum().item()
        best = min(
            sum(costs[image, row, column].item() for column, row in enumerate(rows))
            for rows in permutations(range(6), 4)
        )
        assert cost == pytest.approx(best)
        assert sorted(pairs.target[mine].tolist()) == [0, 1, 2, 3]


def test_an_absent_target_gets_no_prediction() -> None:
    costs = torch.tensor([[[0.0, 5.0, 1.0], [0.0, 1.0, 5.0]]]).expand(2, 2, 3)
    present = torch.tensor([[True, True, True], [False, True, True]])

    pairs = assign(costs, present)

    assert pairs.image.tolist() == [0, 0, 1, 1]
    assert pairs.target[2:].tolist() == [2, 1]
    assert pairs.prediction[2:].tolist() == [0, 1]


def test_costs_that_are_no_numbers_are_the_last_that_are_taken() -> None:
    costs = torch.tensor([[[float("nan"), 1.0], [5.0, float("nan")], [float("inf"), float("nan")]]])

    pairs = assign(costs)

    assert [pairs.prediction.tolist(), pairs.target.tolist()] == [[0, 1], [1, 0]]
    assert len(assign(torch.full((1, 2, 2), float("nan"))).image) == 2
