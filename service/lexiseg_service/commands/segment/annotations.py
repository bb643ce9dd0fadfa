"""What `lexiseg segment` leaves behind: one COCO-style annotations.json, and an overlay picture for each file.

Of the task panoptic also what panopticapi reads (`panoptic_maps`). What is there is never replaced: the same question
goes on with the files that are not done, another one gets a folder of its own (`earlier`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from lexiseg_model.types import ClassEntry, Segment
from lexiseg_service.commands.segment.earlier import ASKED, NAME, folder_for, write_json
from lexiseg_service.commands.segment.panoptic_maps import NAME as PANOPTIC
from lexiseg_service.commands.segment.panoptic_maps import PanopticMaps
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.commands.segment.sources import Source

# Category of segments without a label, as a prompt without classes gives; numbered where a class has the name.
UNLABELLED = "object"


class Warned(Protocol):
    """Of a warning, what is told on a terminal."""

    @property
    def detail(self) -> str: ...


class Answer(Protocol):
    """Of an answer, what is written; whether it was computed here or came from a server."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def segments(self) -> tuple[Segment, ...]: ...

    @property
    def overlay(self) -> bytes | None: ...

    @property
    def warnings(self) -> Sequence[Warned]: ...


class Annotations:
    """COCO-style annotations in a folder, made if need be, and the pictures beside them.

    Categories are the classes, from 1; where prompts are asked, one more after them for segments without a label.

    Args:
        out: where to write; `folder` is the one that it came to be.
        question: what each file is asked.
        classes: of the question.
        sources: that will be segmented; none of them is written over.
        model: who answers; answers of another are answers to another question.
        overlay: whether there is a picture for each image.
    """

    def __init__(
        self,
        out: Path,
        question: Question,
        classes: tuple[ClassEntry, ...],
        sources: Sequence[Source],
        model: str,
        overlay: bool = True,
    ) -> None:
        self.overlay = overlay
        self._asked = {**question.fields, "classes": [entry.name for entry in classes], "model": model}
        if question.examples:
            self._asked["examples"] = list(question.examples)
        self.folder, before, self._claim = folder_for(out, self._asked)
        folder = self.folder
        self._prompts = question.prompts
        self._panoptic = PanopticMaps(folder, classes) if question.task == "panoptic" else None
        # A picture never takes the place of a photograph that it was made from.
        self._taken = {source.path.resolve() for source in sources if source.path is not None}
        self._images: list[dict[str, Any]] = before["images"] if before else []
        self._annotations: list[dict[str, Any]] = before["annotations"] if before else []
        if before:
            self._taken |= {place for image in self._images for place in self._places(image.get("overlay", NAME))}
            if self._panoptic is not None:
                self._panoptic.go_on()
        else:  # what lies here is somebody else's
            self._taken |= {path.resolve() for path in (*folder.iterdir(), *(folder / PANOPTIC).glob("*"))}
        names = [entry.name for entry in classes]
        if self._prompts:
            names.append(_unlabelled(names))
        self._categories = [{"id": index + 1, "name": name} for index, name in enumerate(names)]

    def has(self, source: Source) -> bool:
        """Whether an earlier run has done the image as it is now."""
        return any(
            image["file_name"] == source.name and image.get("modified") == source.stamp for image in self._images
        )

    def exists(self, source: Source) -> bool:
        """Whether an image of that name was done here before, whatever it held and whatever was asked."""
        known = any(image["file_name"] == source.name for image in self._images)
        return known or (self.folder / f"{source.stem}.png").exists()

    def add(self, source: Source, content: bytes, answer: Answer) -> None:
        """One image's answer; its pictures are written at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        picture = self._free_name(source.stem)
        if answer.overlay is not None:
            (self.folder / picture).write_bytes(answer.overlay)
        height, width = answer.size
        image = {"id": len(self._images) + 1, "file_name": source.name, "height": height, "width": width}
        if self._panoptic is not None:
            self._panoptic.add(image, picture, answer.segments)
        shown = {} if answer.overlay is None else {"overlay": picture}
        self._images.append({**image, **shown, "modified": source.stamp})
        for segment in answer.segments:
            self._annotations.append(self._annotation(segment, len(self._images)))
        if len(self._images) == 1:  # from the first picture on it is known whose folder this is
            self.write()

    def write(self) -> str | None:
        """Writes annotations.json, and of the task panoptic panoptic.json; says so, or nothing of nothing."""
        if not self._images:
            return None
        content: dict[str, Any] = {
            ASKED: self._asked,
            "images": self._images,
            "categories": self._categories,
            "annotations": self._annotations,
        }
        if self._prompts:
            content["prompts"] = list(self._prompts)
        if self._panoptic is not None:
            self._panoptic.write()
        path = self.folder / NAME
        write_json(path, content)
        return f"{path} and one picture each in {self.folder}/" if self.overlay else str(path)

    def close(self) -> None:
        """Nothing more is written."""
        self._claim.release()

    def _annotation(self, segment: Segment, image_id: int) -> dict[str, Any]:
        annotation: dict[str, Any] = {
            "id": len(self._annotations) + 1,
            "image_id": image_id,
            # The category after all classes is that of segments without a label.
            "category_id": len(self._categories) if segment.class_index is None else segment.class_index + 1,
            "segmentation": {"size": list(segment.mask.size), "counts": segment.mask.counts},
            "area": segment.area,
            "bbox": list(segment.bbox),
            "iscrowd": 0,
            "score": round(segment.score, 4),
        }
        if segment.prompt_index is not None and segment.quality is not None:
            annotation |= {
                "prompt_index": segment.prompt_index,
                "mask_index": segment.mask_index,
                "quality": round(segment.quality, 4),
            }
        return annotation

    def _free_name(self, stem: str) -> str:
        """Two files of one name from two folders get two pictures."""
        name, number = f"{stem}.png", 2
        while self._places(name) & self._taken:
            name, number = f"{stem}-{number}.png", number + 1
        self._taken |= self._places(name)
        return name

    def _places(self, name: str) -> set[Path]:
        """Where pictures of that name are written."""
        places = [self.folder / name] + ([self._panoptic.path(name)] if self._panoptic is not None else [])
        return {path.resolve() for path in places}


def _unlabelled(classes: Sequence[str]) -> str:
    """A name that no class has: whoever looks categories up by name finds one of each."""
    name, number = UNLABELLED, 2
    while name in classes:
        name, number = f"{UNLABELLED}-{number}", number + 1
    return name
