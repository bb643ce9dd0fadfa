"""InfoNCE, dice and focal loss, and the assignment of predictions to targets."""

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import Tensor

from lexiseg_model.clip.scale import LearnedScale
from lexiseg_train.training.losses import (
    assign,
    contrast_loss,
    dice_costs,
    dice_losses,
    focal_costs,
    focal_losses,
    matched_mask_losses,
)
from lexiseg_train.training.recipe import MaskLossSettings


def test_the_temperature_has_a_lower_bound() -> None:
    learned = LearnedScale()
    with torch.no_grad():
        learned.log_scale.fill_(50.0)
    mixed = torch.tensor([[0.0, 1.0], [1.0, 0.0]])

    assert contrast_loss(learned.scale, mixed, mixed).item() == pytest.approx(100.0)


ALPHA, GAMMA = 0.25, 2.0


def random_masks(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and 0/1 targets of that shape."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator), torch.randint(2, shape, generator=generator).float()


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    return focal_losses(logits, targets, ALPHA, GAMMA)


@pytest.mark.parametrize("loss", [dice_losses, focal])
def test_a_correct_mask_has_no_loss_and_a_wrong_one_has_a_large_one(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    _, targets = random_masks(3, 400)
    sure = 30 * (2 * targets - 1)

    assert (loss(sure, targets) < 1e-4).all()
    assert (loss(-sure, targets) > 0.9).all()


def test_costs_equal_the_losses_of_all_pairs() -> None:
    logits, _ = random_masks(2, 5, 60)
    _, targets = random_masks(2, 3, 60, seed=1)

    pairs = logits[:, :, None].expand(2, 5, 3, 60), targets[:, None].expand(2, 5, 3, 60)

    torch.testing.assert_close(dice_costs(logits, targets), dice_losses(*pairs))
    torch.testing.assert_close(focal_costs(logits, targets, ALPHA, GAMMA), focal(*pairs))


def test_predictions_without_a_target_get_no_gradient() -> None:
    logits, _ = random_masks(1, 6, 8, 8)
    logits = logits.requires_grad_()
    _, targets = random_masks(1, 2, 8, 8, seed=1)

    matched_mask_losses(logits[None], targets).weighted(MaskLossSettings()).sum().backward()  # type: ignore[no-untyped-call]

    assert logits.grad is not None
    assert int(logits.grad.flatten(2).any(2).sum()) == 2


def test_absent_targets_do_not_change_the_loss() -> None:
    logits, _ = random_masks(2, 6, 8, 8)
    _, targets = random_masks(2, 3, 8, 8, seed=1)
    rubbish = torch.cat([targets, torch.zeros(2, 1, 8, 8)], 1)
    present = torch.tensor([[True] * 3 + [False]] * 2)

    torch.testing.assert_close(
        matched_mask_losses(logits[None], rubbish, present=present), matched_mask_losses(logits[None], targets)
    )


def test_layers_are_matched_each_by_itself() -> None:
    layers, _ = random_masks(3, 2, 6, 8, 8)
    _, targets = random_masks(2, 3, 8, 8, seed=1)
    present = torch.tensor([[True, False, True], [True] * 3])

    together = matched_mask_losses(layers, targets, present=present)

    apart = [matched_mask_losses(layer[None], targets, present=present) for layer in layers]
    torch.testing.assert_close(together.focal, torch.cat([each.focal for each in apart]))
    torch.testing.assert_close(together.dice, torch.cat([each.dice for each in apart]))


def test_the_assignment_has_the_minimal_total_cost() -> None:
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
