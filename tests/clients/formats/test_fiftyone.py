"""What fiftyone is handed. It does not install beside the pinned versions, so its two classes are written here as its
documentation has them: fields by keyword, boxes in shares of the image, masks of the boxes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lexiseg_client import MissingLibrary, Segment
from tests.clients.formats import made


@dataclass
class Detection:
    label: str
    bounding_box: list[float]
    mask: Any
    confidence: float
    index: int | None


@dataclass
class Detections:
    detections: list[Detection]


@pytest.fixture
def fiftyone(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("fiftyone")
    vars(module).update(Detection=Detection, Detections=Detections)
    monkeypatch.setitem(sys.modules, "fiftyone", module)


@pytest.mark.usefixtures("fiftyone")
def test_boxes_are_shares_of_the_image_and_masks_those_of_the_boxes() -> None:
    answer = made.answer()

    found: Any = answer.to_fiftyone()

    height, width = answer.size
    for detection, segment in zip(found.detections, answer.segments, strict=True):
        x, y, w, h = segment.bbox
        assert detection.bounding_box == pytest.approx([x / width, y / height, w / width, h / height], rel=1e-12)
        assert np.array_equal(detection.mask, segment.mask[y : y + h, x : x + w])
        assert (detection.label, detection.confidence) == (segment.label or "", segment.score)


@pytest.mark.usefixtures("fiftyone")
def test_boxes_are_the_pixels_themselves_where_fiftyone_cuts_fractions_off() -> None:
    height, width = size = (427, 333)
    segments: list[Segment] = []
    for start in range(height - 7):
        mask = np.zeros(size, bool)
        mask[start : start + 7, 12:29] = True
        segments.append(made.segment(len(segments), "a", mask))
    assert any(int(height * (start / height)) < start for start in range(height))

    found: Any = made.answer(size=size, segments=tuple(segments)).to_fiftyone()

    for start, detection in enumerate(found.detections):
        left, top, across, down = detection.bounding_box
        assert (int(height * top), int(height * (top + down))) == (start, start + 7)
        assert (int(width * left), int(width * (left + across))) == (12, 29)


def test_without_fiftyone_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone", None)

    with pytest.raises(MissingLibrary, match="pip install fiftyone"):
        made.answer().to_fiftyone()
