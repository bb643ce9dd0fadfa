"""Instances as COCO's annotations, out of maps of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lexiseg_model.data.scenes import Annotation, Ids, PanopticTruth, SceneClass
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.types import Rle


class Instance(NamedTuple):
    """Where one instance lies in a map of ids, and what it is."""

    id: int
    class_index: int
    crowd: bool = False


def annotations_of(ids: Ids, instances: Sequence[Instance]) -> list[Annotation]:
    """One annotation for each instance that owns pixels, in order.

    Args:
        ids: [H, W]; values that no instance has belong to nobody.
        instances: of distinct ids.
    """
    order = np.argsort([instance.id for instance in instances], kind="stable")
    sorted_ids = np.array([instance.id for instance in instances], ids.dtype)[order]
    place = np.searchsorted(sorted_ids, ids).clip(max=max(0, len(sorted_ids) - 1))
    is_owned = sorted_ids[place] == ids if len(sorted_ids) else np.zeros(ids.shape, bool)
    indices = np.where(is_owned, order[place] if len(sorted_ids) else 0, len(sorted_ids)).astype(np.uint32)
    return [
        annotation(rle, instance.class_index, instance.crowd)
        for instance, rle in zip(instances, encode_label_map(indices, len(sorted_ids)), strict=True)
        if rle.area
    ]


def annotation(rle: Rle, class_index: int, crowd: bool = False) -> Annotation:
    """One mask as COCO writes it."""
    return {
        "category_id": class_index + 1,
        "segmentation": {"size": list(rle.size), "counts": rle.counts},
        "area": rle.area,
        "bbox": list(rle.bbox),
        "iscrowd": int(crowd),
    }


def things_of(truth: PanopticTruth, classes: Sequence[SceneClass]) -> list[Annotation]:
    """The things of a panoptic truth, groups among them."""
    return annotations_of(
        truth.ids,
        [
            Instance(segment.id, segment.class_index, segment.crowd)
            for segment in truth.segments
            if classes[segment.class_index].thing
        ],
    )
