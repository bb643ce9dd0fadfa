"""The photographs on which two models differ most, small: what a report shows of them."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.evaluation.comparison.agreement import Agreement
from lexiseg_model.types import LabelMap

WIDEST = 420  # pixels of a picture


@dataclass(frozen=True)
class Preview:
    """Of one photograph; labels of A and B and where they differ, all [h, w]."""

    agreement: Agreement
    a: LabelMap
    b: LabelMap
    differs: NDArray[np.bool_]


class Previews:
    """Keeps those of the most different photographs, so many of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.most_different: list[Preview] = []

    def add(self, agreement: Agreement, a: LabelMap, b: LabelMap) -> None:
        """One photograph with its maps [H, W]; later ones stand behind earlier ones of the same agreement."""
        place = bisect.bisect_right(self.most_different, agreement.share, key=lambda each: each.agreement.share)
        if place < self._most:
            self.most_different.insert(place, _preview(agreement, a, b))
            del self.most_different[self._most :]


def size_of(height: int, width: int) -> tuple[int, int]:
    """Width and height in the report."""
    return (width, height) if width <= WIDEST else (WIDEST, max(1, round(height * WIDEST / width)))


def _preview(agreement: Agreement, a: LabelMap, b: LabelMap) -> Preview:
    size = size_of(*a.shape)
    small = [cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST).astype(np.uint16) for labels in (a, b)]
    # A difference of one pixel must not vanish in the small picture.
    differs = cv2.resize((a != b).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    return Preview(agreement, small[0], small[1], differs)
