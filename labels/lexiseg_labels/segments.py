"""`Segment` and its mask encodings as plain data, and their JSON in `POST /segment`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import cached_property
from operator import index
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.answers import read_fields
from lexiseg_labels.errors import NoMasks, UnreadableAnswer
from lexiseg_labels.masks import png, rle
from lexiseg_labels.masks.polygons import Ring, fill, rings_of, simplified

Mask: TypeAlias = NDArray[np.bool_]  # [H, W]
LabelMap: TypeAlias = NDArray[np.unsignedinteger]
MAX_ID = 2**16 - 1  # a label map has 16 bits at most
MAX_SIDE = 2**16 - 1  # pixels, the limit of the image formats that the service takes
UNNAMED = "object"  # exported label of a segment without a label
WITHOUT_MASKS = 'requested with mask="none": the answer has scores, areas and boxes, but no masks'


@dataclass(frozen=True)
class RunLengths:
    """A mask as COCO's compressed RLE; `size` is height, width."""

    size: tuple[int, int]
    counts: str = field(repr=False)

    def pixels(self) -> Mask:
        return rle.decode(self.counts, self.size)


@dataclass(frozen=True)
class Polygons:
    """A mask as polygons with holes; `size` is height, width."""

    size: tuple[int, int]
    rings: tuple[Ring, ...] = field(repr=False)

    def pixels(self) -> Mask:
        return fill(self.rings, self.size)


@dataclass(frozen=True)
class LabelMapPng:
    """A label map as a gray PNG: value = segment id, 0 = no segment; `size` is height, width."""

    size: tuple[int, int]
    png: bytes = field(repr=False)

    @cached_property
    def ids(self) -> LabelMap:
        """Segment ids [H, W], decoded at the first access and cached; read-only."""
        ids: LabelMap = png.decode_gray(self.png)
        if ids.shape != self.size:
            raise UnreadableAnswer(f"a label map of {list(ids.shape)} for an image of {list(self.size)}")
        ids.flags.writeable = False
        return ids


@dataclass(frozen=True)
class LabelMapMask:
    """A mask as the pixels of a label map with a segment's id."""

    label_map: LabelMapPng
    id: int

    def pixels(self) -> Mask:
        mask: Mask = self.label_map.ids == self.id
        return mask


@dataclass(frozen=True)
class MaskOmitted:
    """No mask: requested with mask="none"."""

    def pixels(self) -> Mask:
        raise NoMasks(WITHOUT_MASKS)


Shape: TypeAlias = RunLengths | Polygons | LabelMapMask | MaskOmitted


@dataclass(frozen=True)
class SegmentFields:
    """What an answer says of a segment, whatever form its mask has: in `POST /segment`, a model and a client.

    A field that is added here and to the message `Segment` (with a default: older answers lack it) is in all of them.
    """

    id: int = field(metadata={"description": "segment number, from 1; the value of its pixels in the label map"})
    label: str | None = field(metadata={"description": "name of the class; null for a prompt without classes"})
    class_index: int | None = field(
        metadata={"description": "index of the class in the request or the vocabulary, from 0; null without a class"}
    )
    score: float = field(
        metadata={"description": "probability of the label, 0 to 1; without a label, the quality of the mask"}
    )
    _: KW_ONLY
    prompt_index: int | None = field(
        default=None, metadata={"description": "index of the prompt in the request, from 0"}
    )
    mask_index: int | None = field(
        default=None, metadata={"description": "rank among the alternative masks of the prompt, from 0, best first"}
    )
    quality: float | None = field(
        default=None,
        metadata={"description": "the model's estimate of the mask's IoU with the intended object, 0 to 1"},
    )
    is_thing: bool | None = field(
        default=None, metadata={"description": "whether the class is countable (car) or not (sky); null: unknown"}
    )
    track_id: int | None = field(
        default=None,
        metadata={"description": "object number, constant across the frames of a video; null for a still image"},
    )
    doubtful: bool = field(
        default=False,
        metadata={
            "description": "whether its score is under the threshold; such segments come only if `doubtful` asks"
        },
    )


@dataclass(frozen=True)
class Segment(SegmentFields):
    """One mask with its label. `area`: pixels; `bbox`: x, y, width, height in pixels."""

    area: int
    bbox: tuple[int, int, int, int]
    shape: Shape

    @cached_property
    def mask(self) -> Mask:
        """The mask [H, W] as bool, decoded at the first access and cached; read-only.

        Raises:
            NoMasks: requested with mask="none".
            UnreadableAnswer: the mask is damaged.
        """
        pixels = self.shape.pixels()
        pixels.flags.writeable = False
        return pixels

    @property
    def xyxy(self) -> tuple[int, int, int, int]:
        """The box as left, top, right, bottom in pixels; right and bottom are exclusive."""
        x, y, width, height = self.bbox
        return x, y, x + width, y + height

    @property
    def rle(self) -> dict[str, Any] | None:
        """`{"size": [H, W], "counts": ...}` for pycocotools; None unless requested with mask="rle"."""
        if not isinstance(self.shape, RunLengths):
            return None
        return {"size": list(self.shape.size), "counts": self.shape.counts}

    @property
    def polygons(self) -> tuple[Ring, ...] | None:
        """One ring per connected part; None unless requested with mask="polygon"."""
        return self.shape.rings if isinstance(self.shape, Polygons) else None


class Answer(Protocol):
    """What exporters read of a `Segmentation`: its methods."""

    @property
    def id(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def model_digest(self) -> str: ...

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def segments(self) -> tuple[Segment, ...]: ...


def best_masks(segments: Sequence[Segment]) -> list[Segment]:
    """The segments, with only the best mask of each prompt."""
    best = {segment.prompt_index: segment.id for segment in reversed(segments)}
    return [segment for segment in segments if segment.prompt_index is None or best[segment.prompt_index] == segment.id]


def without_doubtful(segments: Sequence[Segment]) -> list[Segment]:
    """The segments that reach their threshold: exports have no others, unless `doubtful` is taken off a segment."""
    return [segment for segment in segments if not segment.doubtful]


def exportable(segments: Sequence[Segment]) -> list[Segment]:
    """The segments to export: the ones with pixels that are not doubtful, the best one of each prompt."""
    if any(isinstance(segment.shape, MaskOmitted) for segment in segments):
        raise NoMasks(WITHOUT_MASKS)
    return [segment for segment in without_doubtful(best_masks(segments)) if segment.area]


def segment_rings(segment: Segment, tolerance: float) -> tuple[Ring, ...]:
    """A segment's rings in image coordinates, simplified by up to `tolerance` pixels (0 keeps every corner)."""
    if isinstance(segment.shape, Polygons):
        return simplified(segment.shape.rings, tolerance)
    x, y, width, height = segment.bbox
    origin = np.array((x, y))
    rings = rings_of(segment.shape.pixels()[y : y + height, x : x + width])
    return tuple(
        Ring(ring.exterior + origin, tuple(hole + origin for hole in ring.holes))
        for ring in simplified(rings, tolerance)
    )


def run_lengths(segment: Segment) -> dict[str, Any]:
    """`{"size": [H, W], "counts": ...}` of a mask in any form. Raises NoMasks: requested with mask="none"."""
    if (lengths := segment.rle) is not None:
        return lengths
    pixels = segment.shape.pixels()
    return {"size": list(pixels.shape), "counts": rle.encode(pixels)}


def drawing_order(segments: Sequence[Segment]) -> list[Segment]:
    """The segments to draw onto one map, one after the other: larger ones first, so that none is hidden by another."""
    return sorted(exportable(segments), key=lambda segment: (-segment.area, -segment.id))


def read_size(value: Any) -> tuple[int, int]:
    """An image's height and width, each 1 to `MAX_SIDE`."""
    height, width = map(index, value)
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"expected sides from 1 to {MAX_SIDE} pixels, got {height} x {width}")
    return height, width


def read_id(value: Any) -> int:
    """A segment id, 1 to `MAX_ID`; errors as for `read_size`."""
    if not 1 <= index(value) <= MAX_ID:
        raise ValueError(f"expected a segment id from 1 to {MAX_ID}, got {value}")
    return index(value)


def segment_of(entry: Mapping[str, Any], size: tuple[int, int], label_map: LabelMapPng | None) -> Segment:
    """A segment from its JSON. Raises TypeError, ValueError, LookupError: a member is missing or invalid."""
    x, y, width, height = map(index, entry["bbox"])
    plain = read_fields(entry, SegmentFields) | {"id": read_id(entry["id"]), "area": index(entry["area"])}
    return Segment(**plain, bbox=(x, y, width, height), shape=_shape_of(entry, size, label_map))


def segment_json(segment: Segment) -> dict[str, Any]:
    """The JSON of a segment, as `segment_of` reads it."""
    content = {item.name: getattr(segment, item.name) for item in fields(segment) if item.name != "shape"}
    mask: dict[str, Any] | None = None
    if isinstance(segment.shape, RunLengths):
        mask = {"format": "coco_rle", "size": list(segment.shape.size), "counts": segment.shape.counts}
    elif isinstance(segment.shape, Polygons):
        rings = [
            {"exterior": ring.exterior.ravel().tolist(), "holes": [hole.ravel().tolist() for hole in ring.holes]}
            for ring in segment.shape.rings
        ]
        mask = {"format": "polygon", "rings": rings}
    return {**content, "bbox": list(segment.bbox), "mask": mask}


def _shape_of(entry: Mapping[str, Any], size: tuple[int, int], label_map: LabelMapPng | None) -> Shape:
    mask = entry["mask"]
    if mask is None:
        return MaskOmitted() if label_map is None else LabelMapMask(label_map, read_id(entry["id"]))
    if mask["format"] == "coco_rle":
        if read_size(mask["size"]) != size:
            raise ValueError(f"a mask of {mask['size']} for an image of {list(size)}")
        return RunLengths(size, str(mask["counts"]))
    if mask["format"] == "polygon":
        return Polygons(size, tuple(ring_of(ring["exterior"], ring.get("holes", [])) for ring in mask["rings"]))
    raise ValueError(f"expected a mask in the format coco_rle or polygon, got {mask['format']!r}")


def ring_of(exterior: Sequence[int], holes: Sequence[Sequence[int]]) -> Ring:
    """A ring from flat lists x, y, x, y, ... of corners."""
    outer, *inner = (np.array(corners, np.int64).reshape(-1, 2) for corners in (exterior, *holes))
    return Ring(outer, tuple(inner))
