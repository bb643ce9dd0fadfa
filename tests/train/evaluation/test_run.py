"""Evaluation of a model with known answers on a drawn data set."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import ShapeError
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.segmenter import TextBank
from lexiseg_train.data.indexed import IndexedDataset, read_dataset
from lexiseg_train.evaluation.comparison import BeforeAfter
from lexiseg_train.evaluation.counts import count, scores
from lexiseg_train.evaluation.run import Report, Views, evaluate
from tests.model.stand_in import ColourSegmenter, picture
from tests.train.data.own.made import save


def write_set(root: Path, classes: Sequence[str], *samples: tuple[list[str], list[list[int]]]) -> IndexedDataset:
    """A data set of (picture in letters, mask) pairs; PNG, so that colours stay what they are."""
    for index, (rows, mask) in enumerate(samples):
        save(root / "flags" / "val", f"{index}", picture(rows), np.array(mask, np.uint8), "png")
    (root / "flags" / "classes.json").write_text(json.dumps(classes))
    return read_dataset(root, "flags", "val")


def per_class(report: Report) -> dict[str, float]:
    return dict(zip(report.classes, report.scores.per_class.tolist(), strict=True))


def test_where_there_is_a_background_nobody_answers_for_it(tmp_path: Path) -> None:
    data = write_set(tmp_path, ["background", "red", "green"], (["r.gb"], [[1, 0, 2, 0]]))

    assert evaluate(ColourSegmenter(), data).scores.miou == 100


def test_a_renamed_class_is_asked_for_by_its_other_word(tmp_path: Path) -> None:
    data = write_set(tmp_path, ["ruby", "green"], (["rg"], [[0, 1]]))

    assert per_class(evaluate(ColourSegmenter(), data, {"ruby": "red"})) == {"ruby": 100, "green": 100}


class Sided(ColourSegmenter):
    """Sees red on the left half of any image, whatever is there; counts the sizes of its canvas."""

    sides: ClassVar[list[int]] = []

    def encode(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Features:
        self.sides.append(self.card.input.short_side)
        return super().encode(rgb, options)

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        scores = torch.zeros(bank.n_classes, 1, 4)
        scores[0, :, :2] = 2.0
        scores[1, :, 2:] = 1.0
        return scores


def test_views_are_averaged_at_every_scale_and_mirrored_back(tmp_path: Path) -> None:
    data = write_set(tmp_path, ["red", "green"], (["rrrr"], [[0, 0, 0, 0]]))
    segmenter = Sided()
    side = segmenter.card.input.short_side

    once, mirrored = evaluate(segmenter, data), evaluate(segmenter, data, views=Views((1.0, 2.0), flip=True))

    assert per_class(once)["red"] == 50
    assert per_class(mirrored)["red"] == 100  # surer of red than of green, once on either side
    assert segmenter.sides == [side, side, side, 2 * side, 2 * side]
    assert segmenter.card.input.short_side == side


CLASSES = ("background", "cat", "dog")


def test_classes_that_are_there_stand_side_by_side_with_the_change() -> None:
    # Pixels shared, true and answered: the dog is in no photograph; one answer holds some of it.
    before = np.array([[[60, 10, 0], [80, 20, 0], [70, 25, 5]]] * 4)
    after = np.array([[[75, 18, 0], [80, 20, 0], [77, 23, 0]]] * 4)

    lines = BeforeAfter(CLASSES, before, after).table().splitlines()

    assert [line.split() for line in lines] == [
        ["before", "after", "change", "95", "%"],
        ["IoU", "background", "66.7", "91.5", "+24.8", "+24.8", "to", "+24.8"],
        ["IoU", "cat", "28.6", "72.0", "+43.4", "+43.4", "to", "+43.4"],
        ["mIoU", "47.6", "81.7", "+34.1", "+34.1", "to", "+34.1"],
        ["pixel", "accuracy", "70.0", "93.0", "+23.0", "+23.0", "to", "+23.0"],
    ]


Maps = tuple[NDArray[np.uint16], NDArray[np.uint16]]
IGNORED = 65535


def random_maps(n_classes: int, seed: int, ignored: float = 0.1) -> Maps:
    """True and predicted labels [40, 50] that agree on about half of the pixels."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, n_classes, (40, 50))
    predicted = np.where(random.random(truth.shape) < 0.5, truth, random.integers(0, n_classes, truth.shape))
    truth = np.where(random.random(truth.shape) < ignored, IGNORED, truth)
    return truth.astype(np.uint16), predicted.astype(np.uint16)


@pytest.mark.parametrize(("n_classes", "seed"), [(1, 0), (2, 1), (5, 2), (21, 3), (150, 4), (847, 5)])
def test_every_iou_is_that_of_scikit_learn(n_classes: int, seed: int) -> None:
    from sklearn.metrics import jaccard_score  # here, because every process of the tests would wait for its import

    truth, predicted = random_maps(n_classes, seed)
    counted = truth != IGNORED

    per_class = scores(count(truth, predicted, n_classes)).per_class

    labels = np.union1d(truth[counted], predicted[counted])
    expected = np.full(n_classes, np.nan)
    expected[labels] = 100 * jaccard_score(truth[counted], predicted[counted], labels=labels, average=None)
    np.testing.assert_allclose(per_class, expected)


@pytest.mark.parametrize(
    ("convention", "absent", "only_predicted"),
    # Class 0 is half right, class 1 is absent from the truth: left out, or counted as 0.
    [("mmseg", 100.0, 25.0), ("detectron2", 100.0, 50.0), ("imagenet-s", 50.0, 25.0)],
)
def test_conventions_differ_in_classes_that_are_absent(convention: str, absent: float, only_predicted: float) -> None:
    nobody_said = count(np.array([0, 0]), np.array([0, 0]), 2)
    somebody_said = count(np.array([0, 0]), np.array([0, 1]), 2)

    assert scores(nobody_said, convention).miou == pytest.approx(absent)  # type: ignore[arg-type]
    assert scores(somebody_said, convention).miou == pytest.approx(only_predicted)  # type: ignore[arg-type]


def test_without_a_counted_pixel_there_is_no_miou() -> None:
    result = scores(count(np.array([255, 255]), np.array([0, 1]), 2))

    assert math.isnan(result.miou)
    assert result.pixel_accuracy == 0


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"labels \(2, 3\) for a truth of \(3, 2\)"):
        count(np.zeros((3, 2), int), np.zeros((2, 3), int), 2)
