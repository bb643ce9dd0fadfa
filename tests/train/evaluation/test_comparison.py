"""Two models on the same photographs."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lexiseg_train.data.indexed import IndexedDataset
from lexiseg_train.evaluation.comparison import (
    COLUMNS,
    MEASURES,
    OTHERS,
    Difference,
    Examined,
    Examiner,
    compare,
    comparison,
    examine,
    measure,
    read_pair,
)
from lexiseg_train.evaluation.counts import scores
from lexiseg_train.evaluation.run import count_photographs
from tests.model.stand_in import SCALE, ColourSegmenter
from tests.train.evaluation.test_run import write_set

SAMPLE = (["rrgg"], [[0, 0, 1, 1]])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four flags to be examined, and the same four as the training split."""
    write_set(tmp_path, ["red", "green"], SAMPLE, SAMPLE, SAMPLE, SAMPLE)
    shutil.copytree(tmp_path / "flags" / "val", tmp_path / "flags" / "train")
    return tmp_path


def test_photographs_of_the_training_split_stand_beside(root: Path) -> None:
    pair = read_pair(root, "flags", "val")
    announced: list[None] = []

    examination = examine(ColourSegmenter(), pair, lambda: announced.append(None))

    assert (len(examination.records), len(examination.train)) == (4, 4)
    assert len(announced) == pair.photographs == 8
    rows = comparison(pair, examination, examination).differences
    assert [row.measure for row in rows][:3] == ["mIoU", "mIoU, train-4", "only present"]
    assert rows[1].a == 100


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
    assert {(row.difference, row.low, row.high) for row in rows} == {(0, 0, 0)}


def test_the_interval_of_a_model_better_on_every_photograph_is_above_zero() -> None:
    worse = records(12, 0.4)
    more = np.array([[10], [0], [0]])
    better = [record._replace(counts=record.counts + more * record.present) for record in worse]

    row = by_name(compare(worse, better))["mIoU"]

    assert 0 < row.low <= row.difference <= row.high
    assert by_name(compare(better, worse))["mIoU"].high < 0


def test_resamples_are_those_of_photographs_repeated() -> None:
    three = records(3, 0.3)[:2] + records(1, 0.9)
    drawn = np.array([[1.0, 1, 1], [2, 0, 1]])
    repeated = [three[0], three[0], three[2]]

    found = measure(three, drawn)
    again = measure(repeated, np.ones((1, 3)))

    for name in MEASURES:
        assert found[name][1] == pytest.approx(again[name][0]), name


# A flag of red and green; the truth says that one red stripe is amber, and that one green corner is background.
ROWS = ["rrrrgggg"] * 4
TRUTH = [[1, 1, 3, 3, 2, 2, 2, 2]] * 3 + [[1, 1, 3, 3, 2, 2, 0, 0]]


@pytest.fixture
def data(tmp_path: Path) -> IndexedDataset:
    return write_set(tmp_path, ["background", "red", "green", "amber", "blue"], (ROWS, TRUTH))


@pytest.fixture
def examined(data: IndexedDataset) -> Examined:
    return Examiner(ColourSegmenter(), data)(data.samples[0])


def per_class(examined: Examined, column: str) -> list[float]:
    return [round(float(iou), 1) for iou in scores(examined.counts[COLUMNS.index(column)]).per_class]


def test_the_first_column_is_what_an_evaluation_counts(data: IndexedDataset, examined: Examined) -> None:
    assert per_class(examined, "mIoU")[:4] == [0, 50, 87.5, 0]
    (counts,) = count_photographs(ColourSegmenter(), data)
    assert np.array_equal(counts, examined.counts[0])


def test_true_segments_get_the_names_that_they_look_like(examined: Examined) -> None:
    # The truth's cut is kept: of green not the corner that is background; amber is taken for red.
    assert per_class(examined, "oracle segments")[:4] == [100, 50, 100, 0]


def test_presence_is_said_of_every_class_but_the_background(examined: Examined) -> None:
    assert np.isnan(examined.presence[0])
    assert examined.presence[1:3] == pytest.approx([SCALE, SCALE], rel=0.01)
    assert examined.presence[4] == pytest.approx(0, abs=0.01)
    assert examined.present.tolist() == [True, True, True, True, False]


def test_recall_falls_as_others_join(examined: Examined) -> None:
    # Red and green are found whole however they are asked; amber alone where it beats the background, not beside red.
    alone, _, _, whole_list = examined.recall
    assert examined.n_visible == 3
    assert (alone, whole_list) == (3, 2)
    assert len(examined.recall) == len(OTHERS)
    assert (np.diff(examined.recall) <= 0).all()


def test_what_is_not_there_is_asked_alone(tmp_path: Path) -> None:
    # Amber alone is likest to the red half and wins it, blue wins nothing.
    data = write_set(tmp_path, ["background", "red", "amber", "blue"], (["rrkk"], [[1, 1, 0, 0]]))

    assert Examiner(ColourSegmenter(), data)(data.samples[0]).painted == 0.25
