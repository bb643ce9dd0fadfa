from __future__ import annotations

import numpy as np

from lexiseg_model.data.scenes import VOID, PanopticTruth, TruthSegment
from lexiseg_model.evaluation.scenes.things_fit import EXCUSED, Things, fit, reached
from lexiseg_model.masks.regions import split
from lexiseg_model.tasks.pixels import Seen


def seen(labels: list[list[int]]) -> Seen:
    regions = split(np.array(labels, np.uint8), [0, 1], 1)
    return Seen(regions, np.ones(len(regions.owner) + 1), np.zeros(2))


def things(n: int, weights: list[float], seed: int) -> Things:
    """Regions that are right where the weighed evidence is above 0, of one class with as many things."""
    evidence = np.random.default_rng(seed).normal(size=(n, 3))
    right = evidence @ np.array(weights) > 0
    return Things(evidence, np.where(right, 0.8, 0.1), np.zeros(n, np.int64), np.array([right.sum()]))


def test_void_leaves_the_union_and_excuses_what_is_mostly_there() -> None:
    truth = PanopticTruth(np.array([[1, 1, VOID, VOID, VOID, VOID]], np.int32), (TruthSegment(1, 0, 2),))

    assert reached(seen([[0, 0, 0, 9, 1, 1]]), truth).tolist() == [1, EXCUSED]


def test_what_tells_right_regions_is_found_and_false_alarms_go() -> None:
    sets = [things(400, [0, 2, 1], 0), things(300, [0, 2, 1], 1)]

    rule = fit(sets)

    assert rule.area > 1.5 * rule.presence > 10 * abs(rule.probability)
    for each in sets:
        assert each.quality(rule) > 70
        assert each.quality(rule.model_copy(update={"least": 0})) < 60
