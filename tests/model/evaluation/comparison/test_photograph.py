"""The figures of one photograph, for a model with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.data.indexed import IndexedDataset
from lexiseg_model.evaluation.comparison.photograph import COLUMNS, OTHERS, Examined, Examiner
from lexiseg_model.evaluation.counts import Counts, scores
from tests.model.evaluation.test_run import write_set
from tests.model.stand_in import SCALE, ColourSegmenter

# A flag of red and green; the truth says that one red stripe is amber, and that one green corner is nobody's.
ROWS = ["rrrrgggg"] * 4
TRUTH = [[1, 1, 3, 3, 2, 2, 2, 2]] * 3 + [[1, 1, 3, 3, 2, 2, 0, 0]]


@pytest.fixture
def data(tmp_path: Path) -> IndexedDataset:
    return write_set(tmp_path, ["background", "red", "green", "amber", "blue"], (ROWS, TRUTH))


@pytest.fixture
def examined(data: IndexedDataset) -> Examined:
    return Examiner(ColourSegmenter(), data)(data.samples[0])


def per_class(examined: Examined, column: str) -> list[float]:
    return [round(float(iou), 1) for iou in scores(Counts(*examined.counts[COLUMNS.index(column)])).per_class]


def test_the_first_column_is_what_an_evaluation_counts(data: IndexedDataset, examined: Examined) -> None:
    assert per_class(examined, "mIoU")[:4] == [0, 50, 87.5, 0]
    assert np.array_equal(Examiner(ColourSegmenter(), data).whole_list(data.samples[0]), examined.counts[0])


def test_true_segments_get_the_names_that_they_look_like(examined: Examined) -> None:
    # The truth's cut is kept: of green not the corner that is nobody's; amber is taken for red.
    assert per_class(examined, "oracle segments")[:4] == [100, 50, 100, 0]


def test_presence_is_said_of_every_class_but_the_background(examined: Examined) -> None:
    assert np.isnan(examined.presence[0])
    assert examined.presence[1:3] == pytest.approx([SCALE, SCALE], rel=0.01)
    assert examined.presence[4] == pytest.approx(0, abs=0.01)
    assert examined.there.tolist() == [True, True, True, True, False]


def test_recall_falls_as_others_join(examined: Examined) -> None:
    # Red and green are found whole however they are asked; amber alone where it beats nobody, not beside red.
    alone, _, _, whole_list = examined.recall
    assert examined.asked == 3
    assert (alone, whole_list) == (3, 2)
    assert len(examined.recall) == len(OTHERS)
    assert (np.diff(examined.recall) <= 0).all()


def test_what_is_not_there_is_asked_alone(tmp_path: Path) -> None:
    # Amber alone is likest to the red half and wins it, blue wins nothing.
    data = write_set(tmp_path, ["background", "red", "amber", "blue"], (["rrkk"], [[1, 1, 0, 0]]))

    assert Examiner(ColourSegmenter(), data)(data.samples[0]).painted == 0.25
