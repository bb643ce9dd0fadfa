"""Photographs with things and stuff: the truth of the tasks beyond semantic, however it is stored.

A truth is a `PanopticTruth` for panoptic quality, `Objects` for points and boxes, or a list of COCO annotations for
mask AP; the second and third can be derived from the first. Connected components of label maps stand in for instances.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.types import ClassEntry, Rle

VOID = 0  # id of a pixel that never counts
NOTHING = -1  # id of a pixel that counts but belongs to no segment: the background
Ids = NDArray[np.int32]
Annotation = dict[str, Any]  # one instance in COCO's format; `category_id` is the index of its class, plus 1
Truth = TypeVar("Truth")
TruthOut = TypeVar("TruthOut", covariant=True)
# Origin of instances: annotators, or connected components of label maps.
Source = Literal["annotated", "components"]
MIN_SHARE = 0.001  # of the picture: smaller components are specks of the annotation
MIN_AREA = 100  # pixels, likewise


@dataclass(frozen=True)
class SceneClass:
    """One class: the data set's name, the words of a prompt, and whether it is countable."""

    name: str
    words: tuple[str, ...]
    thing: bool

    @property
    def entry(self) -> ClassEntry:
        return ClassEntry(self.words[0], self.words[1:], thing=self.thing)


@dataclass(frozen=True)
class TruthSegment:
    """A thing, or all of one kind of stuff; `area` in pixels as stated by the data set; `crowd`: an unsplit group."""

    id: int
    class_index: int
    area: int
    crowd: bool = False


@dataclass(frozen=True)
class PanopticTruth:
    """`ids` [H, W] int32: segment id, VOID or NOTHING. A segment that others cover may own no pixel."""

    ids: Ids
    segments: tuple[TruthSegment, ...]


@dataclass(frozen=True)
class Objects:
    ids: Ids  # [H, W], i + 1 for object i, 0 for none
    labels: tuple[int, ...]  # class of each object
    ignored: NDArray[np.bool_]  # [H, W], pixels that never count


@dataclass(frozen=True)
class Scene(Generic[TruthOut]):
    """A photograph, RGB [H, W, 3], and its truth of the same size, read on demand; `name` is unique in the split."""

    name: str
    read_image: Callable[[], NDArray[np.uint8]]
    read_truth: Callable[[], TruthOut]


@dataclass(frozen=True)
class SceneSet(Generic[TruthOut]):
    name: str
    split: str  # its common name
    classes: tuple[SceneClass, ...]  # `class_index` counts in them
    background: bool  # pixels may belong to none of the classes
    source: Source  # origin of the instances
    official: int | None  # number of images of the split; None if unknown
    scenes: tuple[Scene[TruthOut], ...]
    warnings: tuple[str, ...] = ()  # sentences about annotations that are left out


def with_truth(scene_set: SceneSet[Truth], look: Callable[[Truth], TruthOut]) -> SceneSet[TruthOut]:
    def derived(scene: Scene[Truth]) -> Scene[TruthOut]:
        return Scene(scene.name, scene.read_image, lambda: look(scene.read_truth()))

    return SceneSet(**{**vars(scene_set), "scenes": tuple(map(derived, scene_set.scenes))})


class Components(NamedTuple):
    """`ids` [H, W] int32: i + 1 for component i, 0 for none; class and area in pixels of each."""

    ids: Ids
    labels: tuple[int, ...]
    areas: tuple[int, ...]


def components(labels: NDArray[np.unsignedinteger], of: Collection[int], smallest: float | None = None) -> Components:
    """Components of classes in [H, W], by sides or corners, by class, in reading order; none below `smallest`."""
    if smallest is None:
        smallest = max(MIN_AREA, MIN_SHARE * labels.size)
    ids = np.zeros(labels.shape, np.int32)
    owner: list[int] = []
    areas: list[int] = []
    for class_index in np.unique(labels).tolist():
        if class_index not in of:
            continue
        _, parts, stats, _ = cv2.connectedComponentsWithStats((labels == class_index).astype(np.uint8), connectivity=8)
        area = stats[:, cv2.CC_STAT_AREA]
        large = np.flatnonzero(area[1:] >= smallest) + 1
        number = np.zeros(len(area), np.int32)
        number[large] = len(owner) + 1 + np.arange(len(large))
        ids += number[parts]
        owner += [class_index] * len(large)
        areas += area[large].tolist()
    return Components(ids, tuple(owner), tuple(areas))


def objects_of(labels: NDArray[np.unsignedinteger], of: Collection[int], ignored: int) -> Objects:
    """Every component of the classes `of` in a label map [H, W] as an object; the value `ignored` never counts."""
    regions = components(labels, of)
    return Objects(regions.ids, regions.labels, labels == ignored)


def panoptic_of(
    labels: NDArray[np.unsignedinteger], things: Collection[int], stuff: Collection[int], ignored: int
) -> PanopticTruth:
    """Each component of a thing and each stuff class as a segment, other classes NOTHING; specks of things are void."""
    regions = components(labels, things)
    ids = np.where(np.isin(labels, list(things)) | (labels == ignored), VOID, NOTHING).astype(np.int32)
    inside = regions.ids > 0
    ids[inside] = regions.ids[inside]
    owned = zip(regions.labels, regions.areas, strict=True)
    segments = [TruthSegment(number, class_index, area) for number, (class_index, area) in enumerate(owned, 1)]
    for class_index in np.unique(labels).tolist():
        if class_index in stuff:
            covered = labels == class_index
            segments.append(TruthSegment(len(segments) + 1, class_index, int(covered.sum())))
            ids[covered] = segments[-1].id
    return PanopticTruth(ids, tuple(segments))


def objects_in(truth: PanopticTruth, classes: Sequence[SceneClass]) -> Objects:
    """The things of a panoptic truth as objects; void and groups are ignored."""
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


def annotation(rle: Rle, class_index: int, crowd: bool = False) -> Annotation:
    return {
        "category_id": class_index + 1,
        "segmentation": {"size": list(rle.size), "counts": rle.counts},
        "area": rle.area,
        "bbox": list(rle.bbox),
        "iscrowd": int(crowd),
    }


def things_of(truth: PanopticTruth, classes: Sequence[SceneClass]) -> list[Annotation]:
    """The things of a panoptic truth that own pixels as annotations, including groups."""
    instances = [segment for segment in truth.segments if classes[segment.class_index].thing]
    places = {instance.id: place for place, instance in enumerate(instances)}
    values, value_of = np.unique(truth.ids, return_inverse=True)
    indices = np.array([places.get(value, len(places)) for value in values.tolist()], np.uint32)[value_of]
    rles = encode_label_map(indices.reshape(truth.ids.shape), len(places))
    pairs = zip(instances, rles, strict=True)
    return [annotation(rle, instance.class_index, instance.crowd) for instance, rle in pairs if rle.area]
