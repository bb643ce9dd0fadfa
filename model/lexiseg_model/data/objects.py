"""The things of a panoptic truth as objects that a point or a box can mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lexiseg_model.data.scenes import VOID, Objects, PanopticTruth, SceneClass


def objects_in(truth: PanopticTruth, classes: Sequence[SceneClass]) -> Objects:
    """Each thing that owns pixels; void and groups count nowhere."""
    ids = np.zeros(truth.ids.shape, np.int32)
    ignored = truth.ids == VOID
    labels: list[int] = []
    for segment in truth.segments:
        inside = truth.ids == segment.id
        if segment.crowd:
            ignored |= inside
        elif classes[segment.class_index].thing and inside.any():
            labels.append(segment.class_index)
            ids[inside] = len(labels)
    return Objects(ids, tuple(labels), ignored)
