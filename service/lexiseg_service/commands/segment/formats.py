"""The files of one image in each format of `--format` but COCO's, which is one file for all (`annotations`)."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_client import Segmentation
from lexiseg_client.masks import png
from lexiseg_client.segments import UNNAMED, exported
from lexiseg_model.masks.png import to_png
from lexiseg_service.commands.segment.sources import Source
from lexiseg_service.commands.yolo import Splits, data_yaml
from lexiseg_service.image.header import SUFFIXES, sniff
from lexiseg_service.settings import Limits
from lexiseg_service.worker.decode import decode

Format = Literal["coco", "yolo", "voc", "labelme", "labelmap", "cutout"]
IMAGES = "images/"
LONGEST_NAME = 40  # characters of a label in a file's name


class Job(NamedTuple):
    """One image's answer, and what it is to be called."""

    answer: Segmentation
    stem: str
    source: Source
    content: bytes  # of the image file
    folder: Path  # that ways to the image begin in
    names: Sequence[str]  # of all classes


Files = dict[str, bytes]  # by their names in the folder


def yolo(job: Job) -> Files:
    """The picture, and Ultralytics' lines of polygons."""
    suffix = SUFFIXES[sniff(job.content)]
    return {
        f"labels/{job.stem}.txt": job.answer.to_yolo().encode(),
        f"{IMAGES}{job.stem}.{suffix}": job.content,
    }


def labelme(job: Job) -> Files:
    """Labelme's JSON, which leads to the image from where it lies."""
    place = "" if job.source.path is None else os.path.relpath(job.source.path.resolve(), job.folder.resolve())
    return {f"{job.stem}.json": json.dumps(job.answer.to_labelme(place), indent=1).encode()}


def labelmap(job: Job) -> Files:
    """A gray PNG: 1 + the class's place in the list, 0 for nobody."""
    return {f"{job.stem}.png": to_png(_classes(job))}


def voc(job: Job) -> Files:
    """PASCAL VOC's palette PNGs of classes and of objects, and its XML of boxes."""
    return {
        f"SegmentationClass/{job.stem}.png": _palette_png(_classes(job)),
        f"SegmentationObject/{job.stem}.png": _palette_png(job.answer.label_map),
        f"Annotations/{job.stem}.xml": _voc_xml(job),
    }


def cutout(job: Job) -> Files:
    """Each segment by itself on nothing, cut to its box."""
    rgb = decode(job.content, Limits(), None).rgb
    files: Files = {}
    for segment in exported(job.answer.segments):
        x, y, width, height = segment.bbox
        box = np.s_[y : y + height, x : x + width]
        alpha = segment.shape.pixels()[box].astype(np.uint8)[..., None] * np.uint8(255)
        label = "".join(letter if letter.isalnum() else "-" for letter in segment.label or UNNAMED)[:LONGEST_NAME]
        files[f"{job.stem}-{segment.id}-{label}.png"] = png.encode(np.concatenate([rgb[box], alpha], 2))
    return files


WRITERS: dict[str, Callable[[Job], Files]] = {
    "yolo": yolo,
    "voc": voc,
    "labelme": labelme,
    "labelmap": labelmap,
    "cutout": cutout,
}


def beside(kind: str, names: Sequence[str], written: Iterable[str]) -> Files:
    """What a format keeps once for all images: the names of the classes, and splits of the files that were written."""
    if kind == "yolo":
        train, val = io.StringIO(), io.StringIO()
        with Splits(train, val) as splits:
            for name in written:
                if name.startswith(IMAGES):
                    splits.add(name.removeprefix(IMAGES))
        lists = {"train.txt": train.getvalue().encode(), "val.txt": val.getvalue().encode()}
        return {"data.yaml": data_yaml(names or [UNNAMED]), **lists}
    if kind == "voc":
        lines = [f"{name}:{','.join(map(str, PALETTE[index % 256]))}::" for index, name in enumerate(_named(names))]
        return {"labelmap.txt": "\n".join(["# label:color_rgb:parts:actions", *lines, ""]).encode()}
    if kind == "labelmap":
        return {"labels.json": json.dumps(dict(enumerate(_named(names))), indent=1).encode()}
    return {}


def _named(names: Sequence[str]) -> list[str]:
    return ["background", *(names or [UNNAMED])]


def _classes(job: Job) -> NDArray[np.unsignedinteger]:
    """[H, W] of 1 + class index; where there are no classes 1 is what was shown."""
    of_segment = np.zeros(max((segment.id for segment in job.answer), default=0) + 1, np.uint16)
    for segment in job.answer:
        of_segment[segment.id] = 1 if segment.class_index is None else segment.class_index + 1
    return of_segment[job.answer.label_map].astype(np.uint8 if len(job.names) < 256 else np.uint16)


def _voc_palette() -> NDArray[np.uint8]:
    """[256, 3], the colours of VOC's development kit: bits of the index, three by three, from the highest on."""
    index = np.arange(256)
    channels = [sum(((index >> (3 * k + c) & 1) << (7 - k)) for k in range(8)) for c in range(3)]
    return np.stack(channels, 1).astype(np.uint8)


PALETTE: NDArray[np.uint8] = _voc_palette()


def _palette_png(values: NDArray[np.unsignedinteger]) -> bytes:
    if values.max(initial=0) > 255:
        raise ValueError("a palette has 256 colours")
    picture = Image.fromarray(values.astype(np.uint8))
    picture.putpalette(PALETTE.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _voc_xml(job: Job) -> bytes:
    root = ElementTree.Element("annotation")

    def add(parent: ElementTree.Element, name: str, text: object) -> None:
        ElementTree.SubElement(parent, name).text = str(text)

    add(root, "filename", job.source.name)
    size = ElementTree.SubElement(root, "size")
    for name, value in zip(("height", "width", "depth"), (*job.answer.size, 3), strict=True):
        add(size, name, value)
    add(root, "segmented", 1)
    for segment in exported(job.answer.segments):
        found = ElementTree.SubElement(root, "object")
        add(found, "name", segment.label or UNNAMED)
        for name in ("truncated", "difficult"):
            add(found, name, 0)
        box = ElementTree.SubElement(found, "bndbox")
        left, top, right, bottom = segment.xyxy
        # VOC counts pixels from 1, and its boxes include the last ones.
        for name, value in zip(("xmin", "ymin", "xmax", "ymax"), (left + 1, top + 1, right, bottom), strict=True):
            add(box, name, value)
    ElementTree.indent(root)
    return ElementTree.tostring(root) + b"\n"
