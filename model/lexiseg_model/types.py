"""Shared types: classes, vocabularies, prompts, segments. Does not import torch.

A *class* is an entry of a user's list, a *text* its name or a synonym, a *label* the string on a segment. Coordinates
are pixels of the image as sent, after EXIF rotation; x runs right, y down. `size` is always (height, width), a box
(x0, y0, x1, y1), a `bbox` (x, y, width, height).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.segments import SegmentFields

DEFAULT_SMOOTHING = 0.8  # share of the past in the average over the frames of a video

Task = Literal["semantic", "instance", "panoptic", "prompt", "everything"]
Refinement = Literal["none", "pamr", "lposs", "regions"]
Precision = Literal["exact", "fast"]
DinoName = Literal[
    "dino", "dino_vitb16", "dino_vitb8", "dino_vits8", "dinov2_vitl14_reg", "dinov2_vitb14_reg", "dinov2_vits14_reg"
]
LabelMap = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Shown:
    """Encoded examples of a class: one fp16 row for each positive and negative region.

    `digest` identifies the weights that encoded them; "": the requested model's.
    """

    positive: tuple[bytes, ...]
    negative: tuple[bytes, ...] = ()
    digest: str = ""


@dataclass(frozen=True)
class Learned:
    """A class learned from reviewed pictures: what a head gives it for its question.

    The product of its direction with the teaching features is added to the class's logit. Without one the class has the
    score of its words, and no taught class takes the pixels that these give to it. With a place this is so in pictures
    outside of it.
    """

    direction: bytes  # float32 [F], little-endian, or empty
    text: float  # factor in 0..1 of the logit by its words
    digest: str  # of the model that it was learned for
    place: bytes = b""  # float32 [S + 1]: mean teaching features, and the squared radius around them; empty: everywhere


@dataclass(frozen=True)
class ClassEntry:
    """One class of a request.

    Attributes:
        name: the label of its segments.
        synonyms: other texts for the same class.
        threshold: the score in 0..1 that its segments must reach; None: that of the request.
        thing: whether it is countable (a car) or not (sky); None: unknown.
        shown: its examples, if it has any.
        learned: what a head has learned of it, if it is one of a head's classes; `is_taught`: that is more than words.
        named: whether its texts are used; False: only its examples.
        read_as: English texts in place of a name and synonyms of another language.
        also: what an English name means in other languages: pairs of a language's code and the English of the meaning.
        tried: names of the languages of which its texts, which are not English, could not be read.
        senses: glosses of its meanings; each is asked as a further text, behind the name.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    threshold: float | None = None
    thing: bool | None = None
    shown: Shown | None = None
    learned: Learned | None = field(default=None, kw_only=True)
    named: bool = True
    read_as: tuple[str, ...] = ()
    also: tuple[tuple[str, str], ...] = field(default=(), kw_only=True)
    tried: tuple[str, ...] = field(default=(), kw_only=True)
    senses: tuple[str, ...] = ()

    @property
    def is_taught(self) -> bool:
        """Whether pictures taught it."""
        return self.learned is not None and bool(self.learned.direction)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name and the synonyms, or their English; empty for a class with examples only."""
        return self.read_as or (self.name, *self.synonyms) if self.named else ()

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The names, then the first of them with each gloss; empty for a class with examples only."""
        return (*self.names, *(f"{self.names[0]}: {gloss}" for gloss in self.senses if self.names))


@dataclass(frozen=True)
class Background:
    """The background rule of a request: pixels that no class wins are background.

    `words` compete with the classes, `threshold` (0..1) is the probability that a class needs; None: the card's.
    """

    words: tuple[str, ...] | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Vocabulary:
    """A class list and its background rule; without a rule (None) every pixel gets one of the classes."""

    classes: tuple[ClassEntry, ...]
    background: Background | None = field(default_factory=Background)
    name: str | None = None


@dataclass(frozen=True)
class Point:
    """A click at (x, y): on the object when `positive`, else outside it."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True)
class Rle:
    """A mask as COCO compressed RLE: column-major, as `pycocotools.mask.decode` reads it."""

    size: tuple[int, int]
    counts: str
    area: int  # pixels
    bbox: tuple[int, int, int, int]  # x, y, width, height; zeros for an empty mask


@dataclass(frozen=True)
class Prompt:
    """Points, a box (x0, y0, x1, y1), or both, for one object; or a correction of a mask or a segment.

    The object may extend beyond a `rough` box. With `single_pass`, small objects are not encoded again enlarged.
    `mask` has the image's size; `segment` is the id of a segment in the semantic answer for the same classes.
    """

    points: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None
    rough: bool = False
    single_pass: bool = False
    mask: Rle | None = None
    segment: int | None = None

    @property
    def corrects(self) -> bool:
        """Whether points and box correct an existing mask."""
        return self.mask is not None or self.segment is not None

    @property
    def positives(self) -> tuple[Point, ...]:
        """The points on the object."""
        return tuple(point for point in self.points if point.positive)

    @property
    def negatives(self) -> tuple[Point, ...]:
        """The points off the object."""
        return tuple(point for point in self.points if not point.positive)

    @property
    def is_lone_click(self) -> bool:
        """Whether it is a single positive point, which may mean a part, an object, or a group."""
        return self.box is None and not self.corrects and len(self.points) == 1 and self.points[0].positive


@dataclass(frozen=True)
class Region:
    """An example region of one image: either a prompt, or a mask of the image's size."""

    prompt: Prompt | None = None
    mask: Rle | None = None


@dataclass(frozen=True)
class Ring:
    """One 4-connected part of a mask as a polygon: exterior and holes, flat lists x, y, x, y, ... of pixel corners.

    Exteriors run clockwise on the screen, holes counter-clockwise. A pixel is inside when its centre is inside the
    exterior and outside every hole.
    """

    exterior: list[int]
    holes: list[list[int]]


@dataclass(frozen=True)
class Segment(SegmentFields):
    """One mask of the image's size with its label, and as polygons, where these are asked for."""

    mask: Rle
    rings: tuple[Ring, ...] = field(default=(), kw_only=True)

    @property
    def area(self) -> int:
        return self.mask.area

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        return self.mask.bbox


@dataclass(frozen=True)
class Segmentation:
    """The answer for one image.

    Attributes:
        size: (H, W) of the image.
        task: the requested task.
        segments: in the order of their ids.
        label_map: [H, W] of segment ids, 0 = background; [0, 0] if not requested. Of overlapping segments it shows the
            best mask of each prompt, the earlier prompt on top.
        probability: [H, W] in 0..1 of each pixel's winner, the background included, if requested.
        overlapping: whether segments share pixels; only possible in the tasks prompt and everything.
    """

    size: tuple[int, int]
    task: Task
    segments: tuple[Segment, ...]
    label_map: LabelMap
    probability: NDArray[np.float32] | None = None
    overlapping: bool = False
