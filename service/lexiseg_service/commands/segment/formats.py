"""Output formats of `lexiseg segment --format`: files for each image, and files shared by all images."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from lexiseg_client import Segmentation
from lexiseg_labels.formats import coco, yolo
from lexiseg_labels.masks import png
from lexiseg_labels.palette import colour
from lexiseg_labels.segments import UNNAMED, exportable
from lexiseg_model.command_line.outputs import numbered
from lexiseg_model.files.names import as_text
from lexiseg_model.masks.png import to_png
from lexiseg_model.pictures.formats import suffix_of
from lexiseg_model.pictures.header import sniff
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.segment.voc import Voc
from lexiseg_service.commands.segment.writer import (
    Content,
    Files,
    Image,
    Writer,
    all_utf8,
    class_values,
    names_of_values,
)
from lexiseg_service.image.reader import decode
from lexiseg_service.question.schemas import TaskQuestion as Question

Format = Literal["coco", "yolo", "voc", "labelme", "labelmap", "cutout"]
NOT_UTF8 = re.compile("[\udc80-\udcff]")  # bytes of a name, as Python has them
MAX_LABEL = 40  # characters of a label in a file name
MAX_LABEL_BYTES = 80


class Coco(Writer):
    """COCO's data set: annotations/ with run lengths, and images/; and an overlay picture for each image.

    Categories are the classes, from 1; with prompts, one more after them for segments without a label. With the task
    panoptic also what panopticapi reads: panoptic.json, and PNG maps in panoptic/ whose pixels hold the id of their
    segment as R + 256 G + 65536 B, 0 for the background (cocodataset/panopticapi, `utils.py`).
    """

    ledger = coco.ANNOTATIONS
    room = len(".webp")

    def __init__(self, question: Question, classes: Sequence[ClassEntry]) -> None:
        self._question = question
        names = [entry.name for entry in classes]
        unlabelled = next(name for name in numbered(UNNAMED) if name not in names)
        categories = [*names, unlabelled] if question.prompts else names
        self._categories = [{"id": place, "name": name} for place, name in enumerate(categories, 1)]
        self._is_panoptic = question.task == "panoptic"
        self._panoptic: list[Content] = []
        self._things = [entry.thing is not False for entry in classes]

    def stem(self, name: str) -> str:
        """Readers of JSON refuse names that are not UTF-8, and take a backslash for a folder."""
        return NOT_UTF8.sub("_", name).replace("\\", "_")

    def resume(self, folder: Path, content: Content) -> None:
        if self._is_panoptic:
            # It is written before the ledger: a run that ended in between has an annotation more.
            annotations = json.loads((folder / "panoptic.json").read_text())["annotations"]
            self._panoptic = annotations[: len(content["images"])]

    def files(self, image: Image) -> Files:
        files = {} if image.answer.overlay is None else {f"{image.stem}.png": image.answer.overlay}
        if not image.is_printed:
            files[f"{coco.IMAGES}/{_file_name(image)}"] = image.content
        if self._is_panoptic:
            files[f"panoptic/{image.stem}.png"] = panoptic_map(image.answer)
        return files

    def entry(self, image: Image, files: Sequence[str]) -> Content:
        if self._is_panoptic:
            self._panoptic.append(_panoptic_annotation(image))
        height, width = image.answer.size
        overlay = {} if image.answer.overlay is None else {"overlay": f"{image.stem}.png"}
        written = {"file_name": _file_name(image), "source": as_text(image.source.name)}
        name = {} if image.is_printed else written
        return {"id": image.number, "height": height, "width": width, **name, **overlay}

    def annotations(self, image: Image, before: int) -> list[Content]:
        annotations = coco.coco_annotations(image.answer.segments, image.number, before + 1)
        for annotation in annotations:
            del annotation["category_name"]
            # The category after all classes is that of segments without a label.
            annotation["category_id"] = annotation["category_id"] or len(self._categories)
            for name in ("score", "quality"):
                if annotation.get(name) is not None:
                    annotation[name] = round(annotation[name], 4)
        return annotations

    def beside(self, content: Content) -> Files:
        prompts = {name: value for name, value in self._question.fields.items() if name == "prompts"}
        files: dict[str, Content] = {}
        if self._is_panoptic:
            categories = [
                {**category, "supercategory": category["name"], "isthing": int(thing), "color": list(colour(place))}
                for place, (category, thing) in enumerate(zip(self._categories, self._things, strict=True))
            ]
            images = [
                {name: image[name] for name in ("id", "file_name", "height", "width")} for image in content["images"]
            ]
            files["panoptic.json"] = {"images": images, "annotations": self._panoptic, "categories": categories}
        files[self.ledger] = {**content, "categories": self._categories, **prompts}
        return {name: json.dumps(document).encode() for name, document in files.items()}

    def summary(self, folder: Path) -> str:
        return f"{folder / self.ledger}, {folder / coco.IMAGES}/ and one painted picture each in {folder}/"


def _file_name(image: Image) -> str:
    return f"{image.stem}{suffix_of(sniff(image.content))}"


def panoptic_map(answer: Segmentation) -> bytes:
    """An RGB PNG of segment ids."""
    ids = answer.label_map.astype(np.uint16)
    return to_png(np.stack([ids % 256, ids // 256, np.zeros_like(ids)], 2).astype(np.uint8))


def _panoptic_annotation(image: Image) -> Content:
    segments = [
        {
            "id": segment.id,
            "category_id": 1 + segment.class_index,
            "area": segment.area,
            "bbox": list(segment.bbox),
            "iscrowd": 0,
            "score": round(segment.score, 4),
        }
        for segment in image.answer
        if segment.class_index is not None and segment.area  # panopticapi refuses a segment without pixels
    ]
    return {"image_id": image.number, "file_name": f"{image.stem}.png", "segments_info": segments}


class Yolo(Writer):
    """Ultralytics' data set: the picture, its lines of polygons, data.yaml and the splits."""

    room = len(".webp")
    has_lists = True
    what = "images/, labels/, train.txt, val.txt and data.yaml"

    def files(self, image: Image) -> Files:
        return {
            f"labels/{image.stem}.txt": image.answer.to_yolo().encode(),
            f"images/{_file_name(image)}": image.content,
        }

    def shared(self, written: Sequence[str]) -> Files:
        lists = {"train.txt": "", "val.txt": ""}
        pictures = [name.removeprefix("images/") for name in written if name.startswith("images/") and all_utf8([name])]
        for split, line in yolo.splits(pictures):
            lists[split] += line
        texts = {"data.yaml": yolo.data_yaml(self.names or [UNNAMED]), **lists}
        return {name: text.encode() for name, text in texts.items()}


class Labelme(Writer):
    """Labelme's JSON, with the path from it to the image; an image that is no file is inside of it, upright."""

    what = "one JSON each"
    room = len(".json")

    def files(self, image: Image) -> Files:
        path = image.source.path
        if path is None:
            pixels = png.encode(decode(image.content, image.limits, None).rgb)
            inside = {"imageData": base64.b64encode(pixels).decode()}
            document = image.answer.to_labelme(f"{image.stem}.png") | inside
        else:
            document = image.answer.to_labelme(os.path.relpath(path.resolve(), image.relative_to.resolve()))
        return {f"{image.stem}.json": json.dumps(document, indent=1).encode()}


class LabelMap(Writer):
    """A gray PNG: 1 + the class's place in the list, 0 for the background."""

    what = "one label map each and labels.json"

    def files(self, image: Image) -> Files:
        return {f"{image.stem}.png": to_png(class_values(image.answer, len(self.names)))}

    def shared(self, written: Sequence[str]) -> Files:
        return {"labels.json": json.dumps(dict(enumerate(names_of_values(self.names))), indent=1).encode()}


class Cutout(Writer):
    """Each segment by itself, transparent around it, cut to its box."""

    what = "one picture for each segment"
    room = MAX_LABEL_BYTES + len("-12345-.png")

    def files(self, image: Image) -> Files:
        rgb = decode(image.content, image.limits, None).rgb
        files: Files = {}
        for segment in exportable(image.answer.segments):
            x, y, width, height = segment.bbox
            box = np.s_[y : y + height, x : x + width]
            alpha = segment.shape.pixels()[box].astype(np.uint8)[..., None] * np.uint8(255)
            label = _in_file_name(segment.label or UNNAMED)
            files[f"{image.stem}-{segment.id}-{label}.png"] = png.encode(np.concatenate([rgb[box], alpha], 2))
        return files


def _in_file_name(label: str) -> str:
    plain = "".join(letter if letter.isalnum() else "-" for letter in label)[:MAX_LABEL]
    return plain.encode()[:MAX_LABEL_BYTES].decode(errors="ignore")


FORMATS: dict[Format, type[Writer]] = {
    "coco": Coco,
    "yolo": Yolo,
    "voc": Voc,
    "labelme": Labelme,
    "labelmap": LabelMap,
    "cutout": Cutout,
}
