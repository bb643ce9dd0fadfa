"""`Segmentation`: the answer to a request, with its maps and exporters."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels import libraries, pictures
from lexiseg_labels.answers import AnswerFields, fields_json, read_fields
from lexiseg_labels.errors import NoMasks
from lexiseg_labels.formats import coco, cvat, geojson, label_studio, labelme, yolo
from lexiseg_labels.masks import png
from lexiseg_labels.segments import LabelMap, LabelMapPng, MaskOmitted, Segment, read_size, segment_json, segment_of

OPACITY = 0.5  # of colours on the image


class _Exporters:
    """Methods that are functions; `Final` gives type checkers their types, and would be a field of a dataclass."""

    to_labelme: Final = labelme.to_labelme
    to_label_studio: Final = label_studio.to_label_studio
    to_cvat: Final = cvat.to_cvat
    to_geojson: Final = geojson.to_geojson
    to_fiftyone: Final = libraries.to_fiftyone
    to_supervision: Final = libraries.to_supervision
    to_pandas: Final = libraries.to_pandas


@dataclass(frozen=True)
class Segmentation(AnswerFields, _Exporters):
    """The segments of one image, and what else the answer says.

    `answer["dog"]` is the segment of a label. A notebook displays an answer as a picture. `image` is the argument of
    `segment`, of an open file its bytes, of an earlier answer its image; None for an id or a URL.
    """

    id: str
    segments: tuple[Segment, ...]
    overlay: bytes | None = field(default=None, repr=False)  # PNG, with overlay=True
    map_file: LabelMapPng | None = None  # with mask="png"
    confidence_png: bytes | None = field(default=None, repr=False)
    image: Any = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __contains__(self, segment: object) -> bool:
        """Whether a segment is of this answer, or whether any has this label."""
        if isinstance(segment, str):
            return bool(self.named(segment))
        return segment in self.segments

    def __getitem__(self, label: str | int) -> Segment:
        """The segment with this label, the one of the highest score of several (`named` has all); or by position.

        Raises:
            KeyError: no segment has this label.
            IndexError: there are fewer segments.
        """
        if not isinstance(label, str):
            return self.segments[label]
        segments = self.named(label)
        if not segments:
            raise KeyError(f"no segment {label!r}; there is: {', '.join(self.labels) or 'none'}")
        return max(segments, key=lambda segment: segment.score)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the segments, each once, in order."""
        return tuple(dict.fromkeys(segment.label for segment in self.segments if segment.label is not None))

    def __bool__(self) -> bool:
        """True, even without segments."""
        return True

    def _repr_png_(self) -> bytes | None:
        """The notebook's picture: the server's overlay, else the segments on the image or on white."""
        if self.overlay is not None:
            return self.overlay
        if self.segments and all(isinstance(segment.shape, MaskOmitted) for segment in self.segments):
            return None
        return pictures.notebook_png(self.painted())

    def painted(self, opacity: float = OPACITY) -> NDArray[np.uint8]:
        """[H, W, 3] RGB: the segments on their image, or on white if it cannot be read. Errors as for `paint`."""
        return self.paint(pictures.pixels_of(self.image, self.size), opacity)

    def show(self) -> None:
        """Show the picture of a notebook: there in its output, else in the system's viewer.

        Raises:
            NoMasks: requested with mask="none".
            MissingLibrary: neither in a notebook nor is Pillow installed.
            NoViewer: the system has no viewer, or no display.
        """
        pictures.show(self.overlay or pictures.notebook_png(self.painted()))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the answer in the form that the suffix says, and return the path.

        `.png`, `.jpg`, `.webp`: the segments painted on the image; `.json`: what `from_dict` reads; `.csv`: the rows of
        `to_pandas`; `.geojson`, `.txt` (YOLO), `.xml` (CVAT): as the exporters of these names.

        Raises:
            ValueError: another suffix.
            NoMasks: requested with mask="none".
            MissingLibrary: a library for this form is not installed.
        """
        path = Path(path)
        content = self._encoded(path.suffix.lower())
        if content is None:
            expected = ", ".join([*pictures.PIL_FORMATS, ".csv", ".geojson", ".json", ".txt", ".xml"])
            raise ValueError(f"{path}: expected a suffix of {expected}, got {path.suffix or 'none'!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def _encoded(self, suffix: str) -> bytes | None:
        """The answer in the form of a suffix; None: there is none."""
        if suffix in pictures.PIL_FORMATS:
            return pictures.encoded(self.painted(), suffix)
        name = Path(self.image).name if isinstance(self.image, (str, os.PathLike)) else "image"
        texts: dict[str, Callable[[], str]] = {
            ".csv": lambda: self.to_pandas().to_csv(index=False),
            ".geojson": lambda: json.dumps(self.to_geojson()),
            ".json": lambda: json.dumps(self.to_dict()),
            ".txt": self.to_yolo,
            ".xml": lambda: self.to_cvat(name),
        }
        return texts[suffix]().encode() if suffix in texts else None

    @property
    def request_id(self) -> str:
        """The request id, as in the server's log; same as `id`."""
        return self.id

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `POST /segment`, without the image; `from_dict` reads it."""

        def encoded(content: bytes | None) -> str | None:
            return None if content is None else base64.b64encode(content).decode()

        label_map = self.map_file
        bits = 8 if label_map is None or label_map.ids.dtype == np.uint8 else 16
        return {"id": self.id, **fields_json(self)} | {
            "segments": [segment_json(segment) for segment in self.segments],
            "label_map": None if label_map is None else {"base64": encoded(label_map.png), "bits": bits},
            "overlay": encoded(self.overlay),
            "confidence": encoded(self.confidence_png),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Segmentation:
        """Read the JSON of `POST /segment` or `to_dict`; unknown members are ignored.

        Raises:
            TypeError, ValueError, LookupError: a member is missing or invalid.
        """

        label_map = (document.get("label_map") or {}).get("base64")
        encoded = (label_map, document.get("overlay"), document.get("confidence"))
        pictures = (None if text is None else base64.b64decode(text, validate=True) for text in encoded)
        return cls.with_pictures(document, *pictures)

    @classmethod
    def with_pictures(
        cls, document: Mapping[str, Any], label_map: bytes | None, overlay: bytes | None, confidence: bytes | None
    ) -> Segmentation:
        """As `from_dict`, with the files of the pictures."""
        size = read_size(document["size"])
        map_file = None if label_map is None else LabelMapPng(size, label_map)
        segments = tuple(segment_of(entry, size, map_file) for entry in document["segments"])
        fields = read_fields({**document, "size": size})
        return cls(
            **fields,
            id=document["id"],
            segments=segments,
            overlay=overlay,
            map_file=map_file,
            confidence_png=confidence,
        )

    def named(self, label: str) -> tuple[Segment, ...]:
        """The segments with this label."""
        return tuple(segment for segment in self.segments if segment.label == label)

    def of_prompt(self, index: int) -> tuple[Segment, ...]:
        """The masks of the request's prompt `index` (from 0), best first."""
        return tuple(segment for segment in self.segments if segment.prompt_index == index)

    @cached_property
    def label_map(self) -> LabelMap:
        """Segment ids [H, W], 0 = no segment; read-only. Holds each prompt's best mask; the first prompt is on top.

        Raises:
            NoMasks: requested with mask="none".
            UnreadableAnswer: a mask is damaged.
        """
        if self.map_file is not None:
            return self.map_file.ids
        ids = pictures.label_map(self.segments, self.size)
        ids.flags.writeable = False
        return ids

    @cached_property
    def class_map(self) -> NDArray[np.int32]:
        """Class indices [H, W], -1 = no class. Errors as for `label_map`."""
        classes = np.full(max((segment.id for segment in self.segments), default=0) + 1, -1, np.int32)
        for segment in self.segments:
            classes[segment.id] = -1 if segment.class_index is None else segment.class_index
        return classes[self.label_map]

    @cached_property
    def confidence(self) -> NDArray[np.float32] | None:
        """Per-pixel confidence [H, W], 0 to 1; None unless requested with confidence=True."""
        if self.confidence_png is None:
            return None
        confidence: NDArray[np.float32] = np.divide(png.decode_gray(self.confidence_png), 255, dtype=np.float32)
        return confidence

    def paint(self, pixels: Any, opacity: float = OPACITY) -> NDArray[np.uint8]:
        """Paint the segments with outlines onto an image.

        Args:
            pixels: uint8 RGB [H, W, 3] or gray [H, W], or a Pillow image, of this answer's size.
            opacity: of the colours, 0 to 1.

        Returns:
            [H, W, 3] RGB.

        Raises:
            ValueError: another size or type.
            NoMasks: requested with mask="none".
        """
        return pictures.paint(self.segments, self.label_map, np.asarray(pixels), opacity)

    def save_overlay(self, path: str | os.PathLike[str]) -> None:
        """Write the server's overlay as a PNG file. Raises NoMasks: requested without overlay=True."""
        if self.overlay is None:
            raise NoMasks("the answer has no overlay: request it with overlay=True, or use `paint`")
        Path(path).write_bytes(self.overlay)

    def save_masks(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write each mask as a black and white PNG `ID-LABEL.png`; creates the folder.

        Returns:
            The paths, in the order of the segments.
        """
        return pictures.save_masks(self.segments, Path(folder))

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """COCO annotations: `category_id` = class_index + 1 (0 without a label), RLE or polygons as requested.

        Polygons with holes become RLE. Prompted segments also have `prompt_index`, `mask_index` and `quality`.

        Raises:
            NoMasks: requested with mask="none".
        """
        return coco.annotations_of(self.segments, image_id)

    def to_yolo(self, *, simplify: float = 0.0) -> str:
        """The text of an Ultralytics YOLO segmentation label file: class index and polygon of each segment.

        Holes and parts are joined into one polygon by bridges of zero width. A segment without a class gets class 0.
        Errors as for `to_labelme`; `simplify` is the maximum deviation of contours in pixels.
        """
        return yolo.lines(self.segments, self.size, simplify)
