from __future__ import annotations

import numpy as np
import pytest

from lexiseg_model.evaluation.comparison.bootstrap import (
    MEASURES,
    Difference,
    compare,
    measure,
)
from lexiseg_model.evaluation.comparison.photograph import COLUMNS, Examined

RANDOM = np.random.default_rng(5)
CLASSES = 6


def records(n: int, share_right: float = 0.5) -> list[Examined]:
    """Photographs of 100 pixels of each of some classes, a share of which is found in all columns alike."""
    made = []
    for _ in range(n):
        truth = 100 * RANDOM.integers(0, 2, CLASSES)
        truth[1] = 100
        counts = np.stack([(truth * share_right).astype(np.int64), truth, truth])
        presence = np.round(RANDOM.normal(truth / 100, 1), 1)
        presence[0] = np.nan
        recall = np.array([0.8, 0.4, 0.2, 0.1]) * 3
        made.append(Examined(np.stack([counts] * len(COLUMNS)), presence, truth > 0, recall, 4, 0.02))
    return made


def by_name(rows: list[Difference]) -> dict[str, Difference]:
    return {row.measure: row for row in rows}


def test_a_model_differs_from_itself_in_nothing() -> None:
    same = records(12)

    rows = compare(same, same)

    assert [row.measure for row in rows] == list(MEASURES)
    assert {(row.difference, row.low, row.high, row.in_favour) for row in rows} == {(0, 0, 0, 50)}


def test_who_is_better_on_every_photograph_wins_every_resample() -> None:
    worse = records(12, 0.4)
    more = np.array([[10], [0], [0]])
    better = [record._replace(counts=record.counts + more * record.there) for record in worse]

    row = by_name(compare(worse, better))["mIoU"]

    assert 0 < row.low <= row.difference <= row.high
    assert row.in_favour == 100
    assert by_name(compare(better, worse))["mIoU"].in_favour == 0


def test_resamples_are_those_of_photographs_repeated() -> None:
    three = records(3, 0.3)[:2] + records(1, 0.9)
    drawn = np.array([[1.0, 1, 1], [2, 0, 1]])
    repeated = [three[0], three[0], three[2]]

    found = measure(three, drawn)
    again = measure(repeated, np.ones((1, 3)))

    for name in MEASURES:
        assert found[name][1] == pytest.approx(again[name][0]), name
