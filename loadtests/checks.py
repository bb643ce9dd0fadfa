"""Whether an answer can be right, whatever the picture shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lexiseg_client import Segmentation


def fault_of(answer: Segmentation, classes: Sequence[str], *, covers: bool) -> str | None:
    """What is wrong with the answer to a semantic question; None if nothing is.

    Args:
        classes: what was asked for.
        covers: every pixel must have a class (asked with background=False).
    """
    owners = np.zeros(answer.size, np.int64)
    for segment in answer:
        if segment.class_index is None or not 0 <= segment.class_index < len(classes):
            return f"class_index {segment.class_index} of {len(classes)} classes"
        if segment.label != classes[segment.class_index]:
            return f"label {segment.label!r} at the place of {classes[segment.class_index]!r}"
        if not 0 <= segment.score <= 1:
            return f"score {segment.score}"
        if segment.mask.shape != answer.size:
            return f"a mask of {segment.mask.shape} for an image of {answer.size}"
        if np.count_nonzero(segment.mask) != segment.area:
            return f"area {segment.area}, the mask has {np.count_nonzero(segment.mask)} pixels"
        left, top, right, bottom = segment.xyxy
        if np.count_nonzero(segment.mask[top:bottom, left:right]) != segment.area:
            return f"the box {segment.bbox} does not hold the mask"
        owners += segment.mask
    if owners.max(initial=0) > 1:
        return f"{np.count_nonzero(owners > 1)} pixels have two classes"
    if covers and owners.min(initial=1) < 1:
        return f"{np.count_nonzero(owners == 0)} pixels have no class"
    return None
