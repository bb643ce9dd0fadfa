"""Output formats of `lexiseg segment --format`: files for each image, and files shared by all images."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from lexiseg_client import Segmentation
from lexiseg_client.formats import coco, yolo
from lexiseg_client.masks import png
from lexiseg_client.segments import UNNAMED, exportable
from lexiseg_model.masks.overlay import colour
from lexiseg_model.masks.png import to_png
from lexiseg_model.pictures.formats import sniff, suffix_of
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import Source
from lexiseg_service.commands.outputs import numbered
from lexiseg_service.commands.question import Question
from lexiseg_service.settings import Limits
from lexiseg_service.worker.decode import decode

Format = Literal["coco", "yolo", "voc", "labelme", "labelmap", "cutout"]
Content = dict[str, Any]  # JSON of a ledger, the file that lists the finished images
Files = dict[str, bytes]  # content by path in the folder of results
QUESTION_KEY = "asked"  # key in a ledger of the question that all its images were segmented with
LEDGER = ".lexiseg.json"
MAX_LABEL = 40  # characters of a label in a file name
MAX_LABEL_BYTES = 80


class Image(NamedTuple):
    """A segmented image, with the stem of its result files."""

    number: int
    answer: Segmentation
    stem: str
    source: Source
    content: bytes  # the encoded image
    relative_to: Path  # folder that paths to the image are relative to
    limits: Limits  # within which it was read


class Writer:
    """Base of the formats: files for each image, the ledger, and other files shared by all images."""

    ledger = LEDGER
    what = ""
    room = len(".json")  # bytes that follow the stem in the longest name of an image's files

    def __init__(self, question: Question, classes: Sequence[ClassEntry]) -> None:
        self.names = [entry.name for entry in classes]

    def resume(self, folder: Path, content: Content) -> None:
        """Read the shared files of an earlier run; `content` is its ledger."""

    def files(self, image: Image) -> Files:
        """The files of one image."""
        raise NotImplementedError

    def shared(self, written: Sequence[str]) -> Files:
        """The files shared by all images; `written` lists the per-image files."""
        return {}

    def entry(self, image: Image, files: Sequence[str]) -> Content:
        """The ledger's entry for an image."""
        return {"files": list(files)}

    def annotations(self, image: Image, before: int) -> list[Content]:
        """The image's annotations for the ledger, numbered from `before` + 1; empty in formats with other files."""
        return []

    def beside(self, content: Content) -> Files:
        """The shared files, then the ledger: an image in the ledger is in all of them, even if a write fails."""
        written = [name for image in content["images"] for name in image["files"]]
        return {**self.shared(written), self.ledger: json.dumps(content).encode()}

    def summary(self, folder: Path) -> str:
        """One line that says where the files are."""
        return f"{self.what} in {folder}/"


class Coco(Writer):
    """COCO: one annotations.json with run lengths, and an overlay picture for each image.

    Categories are the classes, from 1; with prompts, one more after them for segments without a label. With the task
    panoptic also what panopticapi reads: panoptic.json, and PNG maps in panoptic/ whose pixels hold the id of their
    segment as R + 256 G + 65536 B, 0 for nobody (cocodataset/panopticapi, `utils.py`).
    """

    ledger = "annotations.json"

    def __init__(self, question: Question, classes: Sequence[ClassEntry]) -> None:
        self._question = question
        names = [entry.name for entry in classes]
        unlabelled = next(name for name in numbered(UNNAMED) if name not in names)
        categories = [*names, unlabelled] if question.prompts else names
        self._categories = [{"id": place, "name": name} for place, name in enumerate(categories, 1)]
        self._is_panoptic = question.task == "panoptic"
        self._panoptic: list[Content] = []
        self._things = [entry.thing is not False for entry in classes]

    def resume(self, folder: Path, content: Content) -> None:
        if self._is_panoptic:
            # It is written before the ledger: a run that ended in between has an annotation more.
            annotations = json.loads((folder / "panoptic.json").read_text())["annotations"]
            self._panoptic = annotations[: len(content["images"])]

    def files(self, image: Image) -> Files:
        files = {} if image.answer.overlay is None else {f"{image.stem}.png": image.answer.overlay}
        if self._is_panoptic:
            files[f"panoptic/{image.stem}.png"] = panoptic_map(image.answer)
        return files

    def entry(self, image: Image, files: Sequence[str]) -> Content:
        if self._is_panoptic:
            self._panoptic.append(_panoptic_annotation(image))
        height, width = image.answer.size
        overlay = {} if image.answer.overlay is None else {"overlay": f"{image.stem}.png"}
        return {"id": image.number, "height": height, "width": width, **overlay}

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
        return f"{folder / self.ledger} and one picture each in {folder}/"


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

    what = "images/, labels/, train.txt, val.txt and data.yaml"

    def files(self, image: Image) -> Files:
        return {
            f"labels/{image.stem}.txt": image.answer.to_yolo().encode(),
            f"images/{image.stem}{suffix_of(sniff(image.content))}": image.content,
        }

    def shared(self, written: Sequence[str]) -> Files:
        lists = {"train.txt": "", "val.txt": ""}
        pictures = [name.removeprefix("images/") for name in written if name.startswith("images/")]
        for split, line in yolo.splits(pictures):
            lists[split] += line
        texts = {"data.yaml": yolo.data_yaml(self.names or [UNNAMED]), **lists}
        return {name: text.encode("utf-8", "surrogateescape") for name, text in texts.items()}


class Labelme(Writer):
    """Labelme's JSON, with the path from it to the image."""

    what = "one JSON each"

    def files(self, image: Image) -> Files:
        path = image.source.path
        place = "" if path is None else os.path.relpath(path.resolve(), image.relative_to.resolve())
        return {f"{image.stem}.json": json.dumps(image.answer.to_labelme(place), indent=1).encode()}


class LabelMap(Writer):
    """A gray PNG: 1 + the class's place in the list, 0 for nobody."""

    what = "one label map each and labels.json"

    def files(self, image: Image) -> Files:
        return {f"{image.stem}.png": to_png(class_values(image.answer, len(self.names)))}

    def shared(self, written: Sequence[str]) -> Files:
        return {"labels.json": json.dumps(dict(enumerate(_names_of_values(self.names))), indent=1).encode()}


class Voc(Writer):
    """PASCAL VOC's palette PNGs of classes and of objects, and its XML of boxes."""

    what = "SegmentationClass/, SegmentationObject/, Annotations/ and labelmap.txt"

    def files(self, image: Image) -> Files:
        return {
            f"SegmentationClass/{image.stem}.png": _palette_png(class_values(image.answer, len(self.names))),
            f"SegmentationObject/{image.stem}.png": _palette_png(_within_palette(image.answer.label_map)),
            f"Annotations/{image.stem}.xml": _voc_xml(image),
        }

    def shared(self, written: Sequence[str]) -> Files:
        rows = [
            f"{name}:{','.join(map(str, PALETTE[n % 256]))}::" for n, name in enumerate(_names_of_values(self.names))
        ]
        return {"labelmap.txt": "\n".join(["# label:color_rgb:parts:actions", *rows, ""]).encode()}


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


def class_values(answer: Segmentation, n_classes: int) -> NDArray[np.unsignedinteger]:
    """[H, W] of 1 + class index, 0 without a class; without classes, 1 for every segment.

    8 bits up to 254 classes, else 16: in an 8-bit mask 255 means that a pixel does not count.
    """
    values = answer.class_map + 1 if n_classes else answer.label_map > 0
    return values.astype(np.uint8 if n_classes < 255 else np.uint16)


def _names_of_values(names: Sequence[str]) -> list[str]:
    return ["background", *(names or [UNNAMED])]


def _voc_palette() -> NDArray[np.uint8]:
    """[256, 3], the colours of VOC's development kit: bits of the index, three by three, from the highest on."""
    index = np.arange(256)
    channels = [sum(((index >> (3 * k + c) & 1) << (7 - k)) for k in range(8)) for c in range(3)]
    return np.stack(channels, 1).astype(np.uint8)


PALETTE: NDArray[np.uint8] = _voc_palette()


def _within_palette(ids: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """Segment ids [H, W] as 1 to 255, which repeat from the 256th segment on; 0 for no segment."""
    return np.where(ids > 0, (ids - 1) % 255 + 1, 0)


def _palette_png(values: NDArray[np.unsignedinteger]) -> bytes:
    picture = PillowImage.fromarray(values.astype(np.uint8))
    picture.putpalette(PALETTE.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _voc_xml(image: Image) -> bytes:
    root = ElementTree.Element("annotation")

    def add(parent: ElementTree.Element, **texts: object) -> None:
        for name, text in texts.items():
            ElementTree.SubElement(parent, name).text = str(text)

    height, width = image.answer.size
    add(root, filename=image.source.name)
    add(ElementTree.SubElement(root, "size"), height=height, width=width, depth=3)
    add(root, segmented=1)
    for segment in exportable(image.answer.segments):
        node = ElementTree.SubElement(root, "object")
        add(node, name=segment.label or UNNAMED, truncated=0, difficult=0)
        left, top, right, bottom = segment.xyxy
        # VOC counts pixels from 1, and its boxes include the last ones.
        add(ElementTree.SubElement(node, "bndbox"), xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)
    ElementTree.indent(root)
    return ElementTree.tostring(root) + b"\n"
