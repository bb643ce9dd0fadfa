"""Photographs with things and stuff in them: what the tasks beyond semantic are measured on, whatever it is stored as.

The truth of a scene is of one of three kinds: `PanopticTruth` for panoptic quality, `Objects` for what points and
boxes show, a list of COCO annotations for mask AP. The second and third can be made of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.types import ClassEntry

VOID = 0  # id of a pixel that counts nowhere
NOTHING = -1  # id of a pixel that counts, but belongs to no segment: the background of a set that has one
Ids = NDArray[np.int32]
Annotation = dict[str, Any]  # one instance in COCO's format; `category_id` is the index of its class, plus 1
Truth = TypeVar("Truth")
TruthOut = TypeVar("TruthOut", covariant=True)
# Whose instances they are: annotators', or connected components of label maps.
Source = Literal["annotated", "components"]


@dataclass(frozen=True)
class SceneClass:
    """One class: the data set's name for it, the words to ask with, and whether it comes in countable pieces."""

    name: str
    words: tuple[str, ...]
    thing: bool

    @property
    def entry(self) -> ClassEntry:
        """The class as a request would name it."""
        return ClassEntry(self.words[0], self.words[1:], thing=self.thing)


@dataclass(frozen=True)
class TruthSegment:
    """A thing, or all of one kind of stuff. `area` in pixels as the data set says; `crowd`: a group, not told apart."""

    id: int
    class_index: int
    area: int
    crowd: bool = False


@dataclass(frozen=True)
class PanopticTruth:
    """`ids` [H, W] int32: id of the segment, VOID or NOTHING. A segment may own no pixel, where others cover it."""

    ids: Ids
    segments: tuple[TruthSegment, ...]


@dataclass(frozen=True)
class Objects:
    """`ids` [H, W] int32: i + 1 for object i, whose class is `labels[i]`, 0 for none; every object owns pixels.

    Where `ignored` [H, W] bool is set, nothing counts.
    """

    ids: Ids
    labels: tuple[int, ...]
    ignored: NDArray[np.bool_]


class Scene(Protocol[TruthOut]):
    """One photograph and its truth; nothing is read before it is asked for."""

    @property
    def name(self) -> str:
        """Unique within the split."""
        ...

    def read_image(self) -> NDArray[np.uint8]:
        """[H, W, 3] RGB."""
        ...

    def read_truth(self) -> TruthOut:
        """The truth at the photograph's size."""
        ...


@dataclass(frozen=True)
class SceneSet(Generic[TruthOut]):
    """One split, in a fixed order.

    Attributes:
        name: of the data set.
        split: its common name.
        classes: `class_index` counts in them.
        background: pixels may belong to none of the classes, and a model is to say so.
        source: whose instances they are.
        official: how many images the split has; None where nobody says.
        scenes: the images.
    """

    name: str
    split: str
    classes: tuple[SceneClass, ...]
    background: bool
    source: Source
    official: int | None
    scenes: tuple[Scene[TruthOut], ...]


@dataclass(frozen=True)
class WithTruth(Generic[Truth, TruthOut]):
    """A scene whose truth is looked at in another way."""

    scene: Scene[Truth]
    look: Callable[[Truth], TruthOut]

    @property
    def name(self) -> str:
        return self.scene.name

    def read_image(self) -> NDArray[np.uint8]:
        return self.scene.read_image()

    def read_truth(self) -> TruthOut:
        return self.look(self.scene.read_truth())


def with_truth(scene_set: SceneSet[Truth], look: Callable[[Truth], TruthOut]) -> SceneSet[TruthOut]:
    """The same photographs with their truth looked at in another way."""
    scenes = tuple(WithTruth(scene, look) for scene in scene_set.scenes)
    return SceneSet(
        scene_set.name,
        scene_set.split,
        scene_set.classes,
        scene_set.background,
        scene_set.source,
        scene_set.official,
        scenes,
    )
