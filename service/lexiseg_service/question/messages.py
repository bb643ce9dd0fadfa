"""Requests of a gateway to a worker about an image, and their answers; answers as JSON.

Free of torch, so that both processes share it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from lexiseg_labels.answers import FIELDS, AnswerFields
from lexiseg_model.pictures.header import PictureHeader
from lexiseg_model.types import Prompt, Refinement, Region, Segment, Task, Vocabulary

BYTES_PER_COORDINATE = 5  # of a polygon, in JSON
UNKNOWN = -1  # in place of a class: the pixels of a region teach nothing
MaskFormat = Literal["rle", "polygon", "png", "none"]


@dataclass(frozen=True)
class ImageSource:
    """An encoded image, the id of one sent before, or a URL; empty in an example: the image of the request."""

    content: bytes | None = field(default=None, repr=False)
    id: str | None = None
    url: str | None = None

    @property
    def is_empty(self) -> bool:
        return self.content is None and self.id is None and self.url is None


@dataclass(frozen=True)
class ExampleRegion:
    """A part of an image, and the field of the request that names it."""

    region: Region
    field: str


@dataclass(frozen=True)
class WorkerRequest:
    """One image and one question about it."""

    image: bytes | None  # encoded, as sent; None: the cached image of `image_id`
    vocabulary: Vocabulary  # without classes where prompts ask for no labels
    model: str
    task: Task = "semantic"
    prompts: tuple[Prompt, ...] = ()  # of the task prompt
    regions: tuple[ExampleRegion, ...] = ()  # of examples, for `Backend.exemplify`, or labelled, for `Backend.teach`
    keep_picture: bool = False  # of examples: also return a small picture to store
    # Of labelled regions, later ones above earlier ones: their classes by index, or UNKNOWN; None: examples.
    region_classes: tuple[int, ...] | None = None
    mask: MaskFormat = "rle"
    overlay: bool = False
    painted: tuple[Segment, ...] = ()  # onto the overlay, with run lengths, in place of the answer's
    confidence: bool = False
    refine: Refinement | None = None  # None: the card's default
    threshold: float | None = None  # None: that of the card
    doubtful: bool = False  # also segments under it, marked, of words of which nothing else was found
    max_side: int | None = None
    language: str | None = None  # of the vocabulary's texts: a code of ISO 639; None: guessed
    simplify: float = 0.0  # pixels that polygons may deviate
    deadline: float = float("inf")  # time.monotonic()
    image_id: str | None = None  # also of `image`, if it has been computed
    owner: str = ""  # id of the API key; cached images belong to it
    source: str = ""  # key or address, for the fair queue; "": the owner
    flow: str = ""  # a stream of the source, for the fair queue
    background: bool = False  # served when no other request waits
    header: PictureHeader | None = (
        None  # of the image, if it has been read; then the prompts of a still image lie inside
    )
    remember: bool = True  # use the feature cache
    request_id: str = ""  # for the log
    traceparent: str | None = None  # W3C trace context of the request

    @property
    def size(self) -> tuple[int, int] | None:
        return None if self.header is None else self.header.size


@dataclass(frozen=True)
class RenderedMap:
    png: bytes = field(repr=False)
    bits: Literal[8, 16]


@dataclass(frozen=True)
class WorkerAnswer(AnswerFields):
    """A complete answer: masks are encoded in the requested format."""

    task: Task
    segments: tuple[Segment, ...]
    mask: MaskFormat = "rle"  # the requested format; the fields of other formats are empty
    label_map: RenderedMap | None = None
    overlay: bytes | None = field(default=None, repr=False)  # PNG
    confidence: bytes | None = field(default=None, repr=False)  # 8-bit PNG, 255 = certain

    @property
    def nbytes(self) -> int:
        """Size of the masks and pictures in JSON, approximately."""
        label_map = b"" if self.label_map is None else self.label_map.png
        pictures = len(label_map) + len(self.overlay or b"") + len(self.confidence or b"")
        if self.mask == "rle":
            return pictures + sum([len(segment.mask.counts) for segment in self.segments])
        rings = [ring for segment in self.segments for ring in segment.rings]
        corners = sum([len(ring.exterior) + sum(map(len, ring.holes)) for ring in rings])
        return pictures + BYTES_PER_COORDINATE * corners


def render_json(answer: WorkerAnswer, request_id: str) -> bytes:
    return orjson.dumps(answer_content(answer, request_id))


def answer_content(answer: WorkerAnswer, request_id: str) -> dict[str, Any]:
    """The values of `schemas.SegmentAnswer`."""
    label_map = answer.label_map
    return {
        "id": request_id,
        **{name: getattr(answer, name) for name in FIELDS},  # orjson writes dataclasses
        "segments": [_segment(segment, answer.mask) for segment in answer.segments],
        "label_map": None if label_map is None else {"base64": _base64(label_map.png), "bits": label_map.bits},
        "overlay": None if answer.overlay is None else _base64(answer.overlay),
        "timings_ms": {stage: round(value, 2) for stage, value in vars(answer.timings_ms).items()},
        **({} if answer.confidence is None else {"confidence": _base64(answer.confidence)}),
    }


def _mask(segment: Segment, form: MaskFormat) -> dict[str, Any] | None:
    if form == "rle":
        return {"format": "coco_rle", "size": segment.mask.size, "counts": segment.mask.counts}
    if form == "polygon":
        return {"format": "polygon", "rings": segment.rings}  # orjson writes dataclasses
    return None


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _segment(segment: Segment, form: MaskFormat) -> dict[str, Any]:
    content = {
        **vars(segment),
        "score": round(segment.score, 4),
        "quality": None if segment.quality is None else round(segment.quality, 4),
        "area": segment.area,
        "bbox": segment.bbox,
        "mask": _mask(segment, form),
    }
    del content["rings"]
    return content
