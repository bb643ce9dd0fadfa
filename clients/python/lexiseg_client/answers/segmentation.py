"""The answer to a question: segments with masks, and what came with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.answers import export, painting, showing
from lexiseg_client.answers.formats import cvat, geojson, label_studio, labelme, yolo
from lexiseg_client.answers.masks import LabelMap, MapFile, Mask, Outlines, RunLengths, Shape
from lexiseg_client.answers.polygons import Ring
from lexiseg_client.errors import NoMasks
from lexiseg_client.pictures import png

if TYPE_CHECKING:
    import fiftyone
    import supervision

    from lexiseg_client.pictures.images import ImageLike


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
        """The pixels [H, W], decoded when first looked at and kept; not to be written to.

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
    """What the server did not have to compute again: texts, and the image pass (`features`)."""

    text_hits: int = 0
    text_misses: int = 0
    features: bool = False


@dataclass(frozen=True)
class AnswerWarning:
    """What to know of an answer. `type` stays the same: "unfamiliar-word"; `field` is of the request: "classes.0"."""

    type: str
    detail: str
    field: str | None = None


@dataclass(frozen=True)
class Segmentation:
    """One image's segments. `size` is height, width; `image_id` asks about the image again: `ImageId(...)`.

    A notebook shows it as a picture. `image` is what was asked about as it was given, not read and not copied; None of
    an id and of a URL.
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
        """An answer is one even if nothing was found."""
        return True

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the segments on the image, at most 1,280 pixels a side."""
        return showing.picture(self)

    def named(self, label: str) -> tuple[Segment, ...]:
        """The segments with that label."""
        return tuple(segment for segment in self.segments if segment.label == label)

    def of_prompt(self, index: int) -> tuple[Segment, ...]:
        """The masks for one of the prompts that were asked with, counted from 0; best first."""
        return tuple(segment for segment in self.segments if segment.prompt_index == index)

    @cached_property
    def label_map(self) -> LabelMap:
        """[H, W], value = segment id, 0 = nobody. Not to be written to.

        Of the masks that a prompt may mean it shows the best; where those of prompts overlap, the first prompt's.

        Raises:
            NoMasks: asked with mask="none".
            UnreadableAnswer: a mask is damaged.
        """
        if self.map_file is not None:
            return self.map_file.ids
        ids = painting.label_map(self)
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
        return painting.paint(self, np.asarray(pixels), opacity)

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
        return export.save_masks(self, Path(folder))

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """COCO annotations with `category_id` = class_index + 1, segmentation as run lengths or polygons as asked.

        A segment without a label has category 0. Those of prompts also carry `prompt_index`, `mask_index`, `quality`.

        Raises:
            NoMasks: asked with mask="png" or "none".
        """
        return export.to_coco(self, image_id)

    def to_labelme(self, image_path: str = "", *, simplify: float = 0.0) -> dict[str, Any]:
        """The JSON that Labelme keeps beside an image.

        A part of a segment is a polygon; of a segment with holes, which its polygons cannot say, there is one mask.

        Args:
            image_path: from the JSON to the image.
            simplify: how far in pixels a border may stray; 0 keeps every corner.

        Raises:
            NoMasks: asked with mask="none".
        """
        return labelme.document(self, image_path, simplify)

    def to_yolo(self, *, simplify: float = 0.0) -> str:
        """The lines of Ultralytics' label file for segmentation: a class index and a polygon for each segment.

        One polygon has neither holes nor parts: they are joined by ways there and back that have no width. A segment
        without a class gets class 0. Arguments and errors as of `to_labelme`.
        """
        return yolo.lines(self, simplify)

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
        return label_studio.task(self, image, shape, from_name, to_name, simplify)

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
        return cvat.document(self, image_name, image_id, shape, simplify)

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
        return geojson.document(self, simplify, transform)

    def to_fiftyone(self) -> fiftyone.Detections:
        """`fiftyone.Detections`, for `sample["lexiseg"] = answer.to_fiftyone()`: boxes in shares of the image, masks of
        the boxes, scores; `index` is the track.

        Raises:
            MissingLibrary: fiftyone is not installed.
        """
        return export.to_fiftyone(self)

    def to_supervision(self) -> supervision.Detections:
        """`supervision.Detections`: boxes, masks, scores, class indices, track ids, `data["class_name"]`.

        Of prompts also `data["prompt_index"]`, `data["mask_index"]` and `data["quality"]`.

        Raises:
            MissingLibrary: supervision is not installed.
        """
        return export.to_supervision(self)
