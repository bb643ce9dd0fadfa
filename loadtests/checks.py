"""Check what must hold of every answer, whatever the image shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lexiseg_client import Segment, Segmentation


def fault_of(answer: Segmentation, classes: Sequence[str], *, covers: bool) -> str | None:
    """The first fault of a semantic answer; None if there is none.

    Args:
        answer: with a mask in each segment.
        classes: those of the request.
        covers: every pixel must have a class (requested with background=False).
    """
    owners = np.zeros(answer.size, np.int64)
    for segment in answer:
        if segment.class_index is None or not 0 <= segment.class_index < len(classes):
            return f"class_index {segment.class_index} of {len(classes)} classes"
        if segment.label != classes[segment.class_index]:
            return f"label {segment.label!r} at the place of {classes[segment.class_index]!r}"
        if (fault := _fault_of_mask(segment, answer.size)) is not None:
            return fault
        owners += segment.mask
    if owners.max(initial=0) > 1:
        return f"{np.count_nonzero(owners > 1)} pixels have two classes"
    if covers and owners.min(initial=1) < 1:
        return f"{np.count_nonzero(owners == 0)} pixels have no class"
    return None


def fault_of_prompts(answer: Segmentation, n_prompts: int) -> str | None:
    """The first fault of an answer to prompts without classes; None if there is none."""
    places = [(segment.prompt_index, segment.mask_index) for segment in answer]
    expected = [(index, rank) for index in range(n_prompts) for rank in range(len(answer.of_prompt(index)))]
    if places != expected or {index for index, _ in places} != set(range(n_prompts)):
        return f"masks {places} for {n_prompts} prompts"
    for segment in answer:
        if segment.label is not None or segment.class_index is not None:
            return f"label {segment.label!r} although no class was asked for"
        if segment.quality is None or not 0 <= segment.quality <= 1:
            return f"quality {segment.quality}"
        if (fault := _fault_of_mask(segment, answer.size)) is not None:
            return fault
    for index in range(n_prompts):
        qualities = [segment.quality or 0.0 for segment in answer.of_prompt(index)]
        if qualities != sorted(qualities, reverse=True):
            return f"qualities {qualities}, not best first"
    return None


def _fault_of_mask(segment: Segment, size: tuple[int, int]) -> str | None:
    if not 0 <= segment.score <= 1:
        return f"score {segment.score}"
    if segment.mask.shape != size:
        return f"a mask of {segment.mask.shape} for an image of {size}"
    if np.count_nonzero(segment.mask) != segment.area:
        return f"area {segment.area}, the mask has {np.count_nonzero(segment.mask)} pixels"
    left, top, right, bottom = segment.xyxy
    if np.count_nonzero(segment.mask[top:bottom, left:right]) != segment.area:
        return f"the box {segment.bbox} does not hold the mask"
    return None
