"""What `lexiseg segment` leaves behind: one COCO-style annotations.json, and an overlay picture for each file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from model.types import Segment


class Answer(Protocol):
    """Of an answer, what is written; whether it was computed here or came from a server."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def segments(self) -> tuple[Segment, ...]: ...

    @property
    def overlay(self) -> bytes | None: ...


class Annotations:
    """COCO-style annotations in a folder, made if need be, and the pictures beside them."""

    def __init__(self, folder: Path, classes: tuple[str, ...], images: list[Path]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # A picture never takes the place of a photograph that it was made from.
        self._names = {path.name for path in images if path.parent.resolve() == folder.resolve()}
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories = [{"id": index + 1, "name": name} for index, name in enumerate(classes)]

    def add(self, path: Path, answer: Answer) -> None:
        """One file's answer; its picture is written at once."""
        picture = self._free_name(path.stem)
        assert answer.overlay is not None
        (self.folder / picture).write_bytes(answer.overlay)
        image_id = len(self._images) + 1
        height, width = answer.size
        self._images.append(
            {"id": image_id, "file_name": str(path), "height": height, "width": width, "overlay": picture}
        )
        for segment in answer.segments:
            assert segment.class_index is not None
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image_id,
                    "category_id": segment.class_index + 1,
                    "segmentation": {"size": list(segment.mask.size), "counts": segment.mask.counts},
                    "area": segment.area,
                    "bbox": list(segment.bbox),
                    "iscrowd": 0,
                    "score": round(segment.score, 4),
                }
            )

    def write(self) -> Path:
        """Writes annotations.json."""
        path = self.folder / "annotations.json"
        content = {"images": self._images, "categories": self._categories, "annotations": self._annotations}
        path.write_text(json.dumps(content))
        return path

    def _free_name(self, stem: str) -> str:
        """Two files of one name from two folders get two pictures."""
        name, number = f"{stem}.png", 2
        while name in self._names:
            name, number = f"{stem}-{number}.png", number + 1
        self._names.add(name)
        return name
