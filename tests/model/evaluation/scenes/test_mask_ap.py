"""Mask AP computed by hand and by pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.data.scenes import Annotation, annotation
from lexiseg_model.evaluation.scenes.mask_ap import ImageInstances, mask_ap
from lexiseg_model.masks.rle import encode_mask

SIZE = (120, 160)


def box(left: int, top: int, right: int, bottom: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def known(mask: NDArray[np.bool_], label: int = 0, crowd: bool = False) -> Annotation:
    return annotation(encode_mask(mask), label, crowd)


def answered(mask: NDArray[np.bool_], score: float, label: int = 0) -> Annotation:
    return known(mask, label) | {"score": score}


def test_a_perfect_answer_has_an_ap_of_a_hundred() -> None:
    mask = box(0, 0, 40, 40)

    found = mask_ap([ImageInstances(SIZE, [known(mask)], [answered(mask, 0.3)])], 1)

    assert [found.whole[name] for name in ("ap", "ap50", "ap_medium")] == pytest.approx([100] * 3)
    assert np.isnan(found.whole["ap_small"])


@pytest.mark.parametrize(("score", "ap"), [(0.4, 100), (0.6, 50)])
def test_a_false_alarm_costs_by_its_score(score: float, ap: float) -> None:
    mask, elsewhere = box(0, 0, 40, 40), box(80, 80, 120, 120)
    image = ImageInstances(SIZE, [known(mask)], [answered(mask, 0.5), answered(elsewhere, score)])

    assert mask_ap([image], 1).whole["ap"] == pytest.approx(ap)


def test_what_lies_on_a_group_is_neither_right_nor_wrong() -> None:
    mask, group = box(0, 0, 40, 40), box(80, 0, 160, 120)
    truth = [known(mask), known(group, crowd=True)]

    found = mask_ap([ImageInstances(SIZE, truth, [answered(mask, 0.5), answered(box(90, 10, 110, 40), 0.9)])], 1)

    assert found.whole["ap"] == pytest.approx(100)


def test_polygons_and_plain_run_lengths_of_coco_are_read() -> None:
    polygon = {"category_id": 1, "segmentation": [[0, 0, 40, 0, 40, 40, 0, 40]], "area": 1600.0, "bbox": [0, 0, 40, 40],
               "iscrowd": 0}  # fmt: skip
    group = {"category_id": 1, "segmentation": {"size": [120, 160], "counts": [9600, 9600]}, "area": 9600.0,
             "bbox": [80, 0, 80, 120], "iscrowd": 1}  # fmt: skip
    answers = [answered(box(0, 0, 40, 40), 0.5), answered(box(90, 0, 160, 100), 0.9)]

    assert mask_ap([ImageInstances(SIZE, [polygon, group], answers)], 1).whole["ap"] == pytest.approx(100)
