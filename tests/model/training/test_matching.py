"""Assignments: the cheapest as a whole, each image by itself, absent targets left out."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from lexiseg_model.training.matching import assign


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


def test_with_more_targets_than_predictions_some_go_without() -> None:
    pairs = assign(torch.tensor([[[3.0, 1.0, 2.0]]]))

    assert (pairs.prediction.tolist(), pairs.target.tolist()) == ([0], [1])


def test_without_targets_there_are_no_pairs() -> None:
    pairs = assign(torch.zeros(2, 4, 0))

    assert [part.tolist() for part in pairs] == [[], [], []]
    assert pairs.image.dtype == torch.int64


def test_costs_that_are_no_numbers_are_the_last_that_are_taken() -> None:
    costs = torch.tensor([[[float("nan"), 1.0], [5.0, float("nan")], [float("inf"), float("nan")]]])

    pairs = assign(costs)

    assert [pairs.prediction.tolist(), pairs.target.tolist()] == [[0, 1], [1, 0]]
    assert len(assign(torch.full((1, 2, 2), float("nan"))).image) == 2
