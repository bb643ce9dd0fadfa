"""The answer to a question: segments with masks, and what came with them."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lexiseg_client import checked
from lexiseg_client.checked import text
from lexiseg_client.errors import NoMasks
from lexiseg_client.formats import annotation_tools, coco, geojson, pictures, yolo
from lexiseg_client.masks import png
from lexiseg_client.segments import (
    AnswerWarning,
    CacheUse,
    LabelMap,
    MapFile,
    NotAsked,
    Segment,
    Timings,
    cache_use_of,
    plain_json,
    segment_json,
    segment_of,
    timings_of,
    warning_of,
)

if TYPE_CHECKING:
    import fiftyone
    import supervision

    from lexiseg_client.images import ImageLike

OPACITY = 0.5  # of the colours in a notebook


@dataclass(frozen=True)
class Segmentation:
    """One image's segments. `size` is height, width; `image_id` asks about the image again: `ImageId(...)`.

    A notebook shows it as a picture. `image` is the image as it was given, not read and not copied; None of an id and
    of a URL.
    """

    id: str
    image_id: str
    model: str
    model_digest: str
    task: str
    size: tuple[int, int]
    segments: tuple[Segment, ...]
    timings_ms: Timings
    cache: CacheUse
    overlay: bytes | None = field(default=None, repr=False)  # PNG, if it was asked for
    map_file: MapFile | None = None  # with mask="png"
    confidence_png: bytes | None = field(default=None, repr=False)
    absent: tuple[str, ...] = ()  # labels that were asked for and that no segment has
    warnings: tuple[AnswerWarning, ...] = ()
    image: ImageLike | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __bool__(self) -> bool:
        """True, even if nothing was found."""
        return True

    def _repr_png_(self) -> bytes | None:
        """The picture in a notebook: the server's overlay, else the segments on the image, else on white."""
        if self.overlay is not None:
            return self.overlay
        if self.segments and all(isinstance(segment.shape, NotAsked) for segment in self.segments):
            return None
        return pictures.notebook_png(self.paint(pictures.pixels_of(self.image, self.size), OPACITY))

    @property
    def request_id(self) -> str:
        """The request's id, which finds it in the server's log; the same as `id`."""
        return self.id

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `POST /segment`, for `from_dict` to read; without the image."""

        def encoded(content: bytes | None) -> str | None:
            return None if content is None else base64.b64encode(content).decode()

        mapped = self.map_file
        bits = 8 if mapped is None or mapped.ids.dtype == np.uint8 else 16
        return {
            "id": self.id,
            "image_id": self.image_id,
            "model": self.model,
            "model_digest": self.model_digest,
            "task": self.task,
            "size": list(self.size),
            "segments": [segment_json(segment) for segment in self.segments],
            "label_map": None if mapped is None else {"base64": encoded(mapped.png), "bits": bits},
            "overlay": encoded(self.overlay),
            "confidence": encoded(self.confidence_png),
            "timings_ms": plain_json(self.timings_ms),
            "cache": plain_json(self.cache),
            "absent": list(self.absent),
            "warnings": [plain_json(warning) for warning in self.warnings],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Segmentation:
        """An answer of the JSON of `POST /segment`, as `to_dict` writes it. Unknown members are left out.

        Raises:
            TypeError, ValueError, LookupError: the JSON is not one of an answer.
        """

        def decoded(content: str | None) -> bytes | None:
            return None if content is None else base64.b64decode(content, validate=True)

        size = checked.size(document["size"])
        mapped = document.get("label_map")
        map_file = None if mapped is None else MapFile(size, base64.b64decode(mapped["base64"], validate=True))
        return cls(
            id=text(document["id"]),
            image_id=text(document["image_id"]),
            model=text(document["model"]),
            model_digest=text(document["model_digest"]),
            task=text(document["task"]),
            size=size,
            segments=tuple(segment_of(entry, size, map_file) for entry in document["segments"]),
            timings_ms=timings_of(document["timings_ms"]),
            cache=cache_use_of(document["cache"]),
            overlay=decoded(document.get("overlay")),
            map_file=map_file,
            confidence_png=decoded(document.get("confidence")),
            absent=tuple(text(label) for label in document.get("absent", ())),
            warnings=tuple(warning_of(entry) for entry in document.get("warnings", ())),
        )

    def named(self, label: str) -> tuple[Segment, ...]:
        """The segments with that label."""
        return tuple(segment for segment in self.segments if segment.label == label)

    def of_prompt(self, index: int) -> tuple[Segment, ...]:
        """The masks for one of the prompts that were asked with, counted from 0; best first."""
        return tuple(segment for segment in self.segments if segment.prompt_index == index)

    @cached_property
    def label_map(self) -> LabelMap:
        """[H, W], value = segment id, 0 = nobody. Read-only.

        Of a prompt the best mask is drawn; where masks of prompts overlap, that of the first prompt is on top.

        Raises:
            NoMasks: asked with mask="none".
            UnreadableAnswer: a mask is damaged.
        """
        if self.map_file is not None:
            return self.map_file.ids
        ids = pictures.label_map(self.segments, self.size)
        ids.flags.writeable = False
        return ids

    @cached_property
    def class_map(self) -> NDArray[np.int32]:
        """[H, W], value = `class_index` of the pixel's segment, -1 = nobody. Errors as of `label_map`."""
        classes = np.full(max((segment.id for segment in self.segments), default=0) + 1, -1, np.int32)
        for segment in self.segments:
            classes[segment.id] = -1 if segment.class_index is None else segment.class_index
        return classes[self.label_map]

    @cached_property
    def confidence(self) -> NDArray[np.float32] | None:
        """[H, W] in 0 to 1, how sure each pixel is; None unless asked with confidence=True."""
        if self.confidence_png is None:
            return None
        shares: NDArray[np.float32] = np.divide(png.decode_gray(self.confidence_png), 255, dtype=np.float32)
        return shares

    def paint(self, pixels: Any, opacity: float = 0.5) -> NDArray[np.uint8]:
        """The image with its segments painted on, outlined, without text.

        Args:
            pixels: [H, W, 3] RGB or [H, W] gray of uint8, or an image of Pillow; of this answer's size.
            opacity: of the colours, 0 to 1.

        Returns:
            [H, W, 3] RGB.

        Raises:
            ValueError: another size or type.
            NoMasks: asked with mask="none".
        """
        return pictures.paint(self.segments, self.label_map, np.asarray(pixels), opacity)

    def save_overlay(self, path: str | os.PathLike[str]) -> None:
        """Writes the server's picture of the image with its segments, a PNG.

        Raises:
            NoMasks: it was not asked for.
        """
        if self.overlay is None:
            raise NoMasks("the answer carries no picture: ask with overlay=True, or paint one with `paint`")
        Path(path).write_bytes(self.overlay)

    def save_masks(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Writes each mask as a black and white PNG, `ID-LABEL.png`; the folder is made if there is none.

        Returns:
            The files, in the order of the segments.
        """
        return pictures.save_masks(self.segments, Path(folder))

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """COCO annotations with `category_id` = class_index + 1, segmentation as run lengths or polygons as asked.

        A segment without a label has category 0. Those of prompts also carry `prompt_index`, `mask_index`, `quality`.

        Raises:
            NoMasks: asked with mask="png" or "none".
        """
        return coco.coco_annotations(self.segments, image_id)

    def to_labelme(self, image_path: str = "", *, simplify: float = 0.0) -> dict[str, Any]:
        """The JSON that Labelme keeps beside an image.

        A part of a segment is a polygon; of a segment with holes, which its polygons cannot say, there is one mask.

        Args:
            image_path: from the JSON to the image.
            simplify: how far in pixels a border may stray; 0 keeps every corner.

        Raises:
            NoMasks: asked with mask="none".
        """
        return annotation_tools.labelme(self.segments, self.size, image_path, simplify)

    def to_yolo(self, *, simplify: float = 0.0) -> str:
        """The lines of Ultralytics' label file for segmentation: a class index and a polygon for each segment.

        One polygon has neither holes nor parts: they are joined by ways there and back that have no width. A segment
        without a class gets class 0. Arguments and errors as of `to_labelme`.
        """
        return yolo.lines(self.segments, self.size, simplify)

    def to_label_studio(
        self,
        image: str,
        *,
        shape: Literal["brush", "polygon"] = "brush",
        from_name: str = "label",
        to_name: str = "image",
        simplify: float = 0.0,
    ) -> dict[str, Any]:
        """A task with a prediction, for Label Studio to import.

        Args:
            image: where Label Studio finds the image, as `/data/local-files/?d=street.jpg`.
            shape: brush strokes, which are the exact masks, or polygons joined as of `to_yolo`.
            from_name: of `BrushLabels` or `PolygonLabels` in the project's configuration.
            to_name: of `Image` there.
            simplify: as of `to_labelme`.

        Raises:
            ValueError: there is no such shape.
            NoMasks: asked with mask="none".
        """
        return annotation_tools.label_studio(
            self.segments,
            self.size,
            image,
            shape,
            from_name,
            to_name,
            simplify,
            answer_id=self.id,
            model_version=f"{self.model} {self.model_digest}",
        )

    def to_cvat(
        self,
        image_name: str,
        *,
        image_id: int = 0,
        shape: Literal["mask", "polygon"] = "mask",
        simplify: float = 0.0,
    ) -> str:
        """CVAT's XML (`CVAT for images 1.1`) of this image.

        Args:
            image_name: of the file in the task.
            image_id: of the image there.
            shape: the exact masks, or polygons joined as of `to_yolo`.
            simplify: as of `to_labelme`.

        Raises:
            ValueError: there is no such shape.
            NoMasks: asked with mask="none".
        """
        return annotation_tools.cvat(self.segments, self.size, image_name, image_id, shape, simplify)

    def to_geojson(self, *, simplify: float = 0.0, transform: Sequence[float] | None = None) -> dict[str, Any]:
        """A GeoJSON feature for each segment, with holes and parts as they are.

        Args:
            simplify: as of `to_labelme`.
            transform: a, b, c, d, e, f from pixels to other coordinates, x' = a x + b y + c, y' = d x + e y + f; None
                keeps pixels.

        Raises:
            ValueError: the transform is none.
            NoMasks: asked with mask="none".
        """
        return geojson.document(self.segments, simplify, transform)

    def to_fiftyone(self) -> fiftyone.Detections:
        """`fiftyone.Detections`, for `sample["lexiseg"] = answer.to_fiftyone()`: boxes in shares of the image, masks of
        the boxes, scores; `index` is the track.

        Raises:
            MissingLibrary: fiftyone is not installed.
        """
        return coco.fiftyone_detections(self.segments, self.size)

    def to_supervision(self) -> supervision.Detections:
        """`supervision.Detections`: boxes, masks, scores, class indices, track ids, `data["class_name"]`.

        Of prompts also `data["prompt_index"]`, `data["mask_index"]` and `data["quality"]`.

        Raises:
            MissingLibrary: supervision is not installed.
        """
        return coco.supervision_detections(self.segments)
