"""Segments as plain data: masks in the forms in which they travel, and the JSON of `POST /segment`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexiseg_client import checked
from lexiseg_client.checked import number, optional, segment_id, text, truth, whole
from lexiseg_client.errors import NoMasks, UnreadableAnswer
from lexiseg_client.masks import png, rle
from lexiseg_client.masks.polygons import Ring, fill, rings_of, simplified

Mask: TypeAlias = NDArray[np.bool_]
LabelMap: TypeAlias = NDArray[np.unsignedinteger]
UNNAMED = "object"  # label in exports of a segment that has none
WITHOUT_MASKS = 'the question said mask="none": its answer has scores, areas and boxes, but no masks'


@dataclass(frozen=True)
class RunLengths:
    """COCO's compressed run lengths; `size` is height, width."""

    size: tuple[int, int]
    counts: str = field(repr=False)

    def pixels(self) -> Mask:
        """[H, W]."""
        return rle.decode(self.counts, self.size)


@dataclass(frozen=True)
class Outlines:
    """Polygons with holes; `size` is height, width."""

    size: tuple[int, int]
    rings: tuple[Ring, ...] = field(repr=False)

    def pixels(self) -> Mask:
        """[H, W]."""
        return fill(self.rings, self.size)


@dataclass(frozen=True)
class MapFile:
    """A gray PNG whose values are segment ids, 0 = nobody; `size` is height, width."""

    size: tuple[int, int]
    png: bytes = field(repr=False)

    @cached_property
    def ids(self) -> LabelMap:
        """[H, W], decoded at the first access; read-only."""
        ids: LabelMap = png.decode_gray(self.png)
        if ids.shape != self.size:
            raise UnreadableAnswer(f"a label map of {list(ids.shape)} for an image of {list(self.size)}")
        ids.flags.writeable = False
        return ids


@dataclass(frozen=True)
class PartOfMap:
    """The pixels of a label map that hold one segment's id."""

    label_map: MapFile
    id: int

    def pixels(self) -> Mask:
        """[H, W]."""
        mask: Mask = self.label_map.ids == self.id
        return mask


@dataclass(frozen=True)
class NotAsked:
    """No mask: the question said mask="none"."""

    def pixels(self) -> Mask:
        """Raise NoMasks."""
        raise NoMasks(WITHOUT_MASKS)


Shape: TypeAlias = RunLengths | Outlines | PartOfMap | NotAsked


@dataclass(frozen=True)
class Segment:
    """One mask with its label. `score` is in 0 to 1, `area` in pixels, `bbox` is x, y, width, height in pixels."""

    id: int
    label: str | None
    class_index: int | None  # in the list of classes that was asked with
    score: float
    area: int
    bbox: tuple[int, int, int, int]
    shape: Shape
    prompt_index: int | None = None  # of the prompts that were asked with, which it answers
    mask_index: int | None = None  # of the masks for that prompt, best first
    quality: float | None = None  # 0 to 1, the model's own estimate of how well the mask fits
    is_thing: bool | None = None  # comes in countable pieces (a car) or not (sky); None where the task does not say
    track_id: int | None = None

    @cached_property
    def mask(self) -> Mask:
        """The pixels [H, W], decoded at the first access and kept; read-only.

        Raises:
            NoMasks: asked with mask="none".
            UnreadableAnswer: the mask is damaged.
        """
        pixels = self.shape.pixels()
        pixels.flags.writeable = False
        return pixels

    @property
    def xyxy(self) -> tuple[int, int, int, int]:
        """The box as left, top, right, bottom; right and bottom lie just outside."""
        x, y, width, height = self.bbox
        return x, y, x + width, y + height

    @property
    def rle(self) -> dict[str, Any] | None:
        """`{"size": [H, W], "counts": ...}` for pycocotools; None unless asked with mask="rle"."""
        if not isinstance(self.shape, RunLengths):
            return None
        return {"size": list(self.shape.size), "counts": self.shape.counts}

    @property
    def polygons(self) -> tuple[Ring, ...] | None:
        """One ring for each connected part; None unless asked with mask="polygon"."""
        return self.shape.rings if isinstance(self.shape, Outlines) else None


@dataclass(frozen=True)
class Timings:
    """Milliseconds on the server."""

    decode: float = 0.0
    queue: float = 0.0
    text: float = 0.0
    image: float = 0.0
    post: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class CacheUse:
    """What the server found in its caches: rows of texts, and the image pass (`features`)."""

    text_hits: int = 0
    text_misses: int = 0
    features: bool = False


@dataclass(frozen=True)
class AnswerWarning:
    """A warning beside an answer. `type` is stable: "unfamiliar-word"; `field` is of the request: "classes.0"."""

    type: str
    detail: str
    field: str | None = None


def drawn(segments: Sequence[Segment]) -> list[Segment]:
    """All segments; of the masks that one prompt may mean, the best."""
    best = {segment.prompt_index: segment.id for segment in reversed(segments)}
    return [segment for segment in segments if segment.prompt_index is None or best[segment.prompt_index] == segment.id]


def exported(segments: Sequence[Segment]) -> list[Segment]:
    """The segments that go into another tool's format: those with pixels, the best one of each prompt.

    Raises:
        NoMasks: asked with mask="none".
    """
    if any(isinstance(segment.shape, NotAsked) for segment in segments):
        raise NoMasks(WITHOUT_MASKS)
    return [segment for segment in drawn(segments) if segment.area]


def borders(segment: Segment, tolerance: float) -> tuple[Ring, ...]:
    """A segment's rings, in pixels of the whole image.

    Args:
        tolerance: how far in pixels a border may stray; 0 keeps every corner.
    """
    if isinstance(segment.shape, Outlines):
        return simplified(segment.shape.rings, tolerance)
    x, y, width, height = segment.bbox
    corner = np.array((x, y))
    rings = rings_of(segment.shape.pixels()[y : y + height, x : x + width])
    return tuple(
        Ring(ring.exterior + corner, tuple(hole + corner for hole in ring.holes))
        for ring in simplified(rings, tolerance)
    )


def segment_of(entry: Mapping[str, Any], size: tuple[int, int], label_map: MapFile | None) -> Segment:
    """A segment of its JSON.

    Raises:
        TypeError, ValueError, LookupError: the JSON is not one of a segment.
    """
    x, y, width, height = (whole(side) for side in entry["bbox"])
    return Segment(
        id=segment_id(entry["id"]),
        label=optional(entry["label"], text),
        class_index=optional(entry["class_index"], whole),
        score=number(entry["score"]),
        area=whole(entry["area"]),
        bbox=(x, y, width, height),
        shape=_shape_of(entry, size, label_map),
        prompt_index=optional(entry.get("prompt_index"), whole),
        mask_index=optional(entry.get("mask_index"), whole),
        quality=optional(entry.get("quality"), number),
        is_thing=optional(entry.get("is_thing"), truth),
        track_id=optional(entry.get("track_id"), whole),
    )


def segment_json(segment: Segment) -> dict[str, Any]:
    """What `segment_of` reads."""
    content = {each.name: getattr(segment, each.name) for each in fields(segment) if each.name != "shape"}
    mask: dict[str, Any] | None = None
    if isinstance(segment.shape, RunLengths):
        mask = {"format": "coco_rle", "size": list(segment.shape.size), "counts": segment.shape.counts}
    elif isinstance(segment.shape, Outlines):
        rings = [
            {"exterior": ring.exterior.ravel().tolist(), "holes": [hole.ravel().tolist() for hole in ring.holes]}
            for ring in segment.shape.rings
        ]
        mask = {"format": "polygon", "rings": rings}
    return {**content, "bbox": list(segment.bbox), "mask": mask}


def _shape_of(entry: Mapping[str, Any], size: tuple[int, int], label_map: MapFile | None) -> Shape:
    mask = entry["mask"]
    if mask is None:
        return NotAsked() if label_map is None else PartOfMap(label_map, segment_id(entry["id"]))
    if mask["format"] == "coco_rle":
        if checked.size(mask["size"]) != size:
            raise ValueError(f"a mask of {mask['size']} for an image of {list(size)}")
        return RunLengths(size, text(mask["counts"]))
    if mask["format"] == "polygon":
        return Outlines(size, tuple(_ring_of(ring) for ring in mask["rings"]))
    raise ValueError(f"expected a mask in the format coco_rle or polygon, got {mask['format']!r}")


def _ring_of(entry: Mapping[str, Any]) -> Ring:
    exterior, *holes = (
        np.array(corners, np.int64).reshape(-1, 2) for corners in (entry["exterior"], *entry.get("holes", []))
    )
    return Ring(exterior, tuple(holes))


def timings_of(entry: Mapping[str, Any]) -> Timings:
    """Timings of their JSON; stages of a later version are left out."""
    return Timings(**{name: number(value) for name, value in entry.items() if name in Timings.__annotations__})


def cache_use_of(entry: Mapping[str, Any]) -> CacheUse:
    """Use of caches of its JSON."""
    return CacheUse(whole(entry["text_hits"]), whole(entry["text_misses"]), truth(entry["features"]))


def warning_of(entry: Mapping[str, Any]) -> AnswerWarning:
    """A warning of its JSON."""
    return AnswerWarning(text(entry["type"]), text(entry["detail"]), optional(entry.get("field"), text))


def plain_json(value: Timings | CacheUse | AnswerWarning) -> dict[str, Any]:
    """What `timings_of`, `cache_use_of` and `warning_of` read."""
    return asdict(value)
