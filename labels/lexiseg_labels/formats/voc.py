"""PASCAL VOC's layout, as datumaro and CVAT read it: palette PNGs of classes and of objects, XML of boxes, and lists.

They take labels from dataset_meta.json, which may have any names; labelmap.txt, for other readers, is separated by
colons and line breaks. Masks are read by their colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.data_set import DataSet, File, Format, Picture, category_of, unnamed
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.cvat import add_texts
from lexiseg_labels.formats.label_maps import BACKGROUND, class_values
from lexiseg_labels.json_text import json_text
from lexiseg_labels.masks import png
from lexiseg_labels.masks.outlines import whole_number
from lexiseg_labels.names import numbered
from lexiseg_labels.segments import drawing_order, exportable

MAX_VALUE = 254  # of a class or an object: 255 is void
META, LABEL_MAP = "dataset_meta.json", "labelmap.txt"
IMAGES, CLASSES, OBJECTS, BOXES = "JPEGImages", "SegmentationClass", "SegmentationObject", "Annotations"
Colour: TypeAlias = "tuple[int, int, int]"
# [256, 3], the colours of VOC's development kit: bits of the index, three by three, from the highest on.
BITS = np.arange(256)[:, None] >> np.arange(24) & 1  # [256, 24]
PALETTE: NDArray[np.uint8] = np.packbits(BITS.reshape(256, 8, 3).astype(np.uint8), axis=1)[:, 0]


def _of_picture(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    yield f"{CLASSES}/{picture.name}.png", _palette_png(class_values(picture, classes))
    objects = np.zeros(picture.size, np.uint16)
    numbers = {segment.id: number for number, segment in enumerate(exportable(picture.segments), 1)}
    if len(numbers) <= MAX_VALUE:  # more have no values of their own
        for segment in drawing_order(picture.segments):
            objects[segment.shape.pixels()] = numbers[segment.id]
        yield f"{OBJECTS}/{picture.name}.png", _palette_png(objects)
    yield f"{BOXES}/{picture.name}.xml", _boxes(picture, classes)


def _boxes(picture: Picture, classes: Sequence[str]) -> bytes:
    root = ElementTree.Element("annotation")
    labels = labels_of([*classes, unnamed(classes)])
    height, width = picture.size
    add_texts(root, filename=picture.file_name)
    add_texts(ElementTree.SubElement(root, "size"), width=width, height=height, depth=3)
    add_texts(root, segmented=1)
    for segment in exportable(picture.segments):
        node = ElementTree.SubElement(root, "object")
        add_texts(node, name=labels[1 + category_of(segment, classes)], truncated=0, difficult=0)
        left, top, right, bottom = segment.xyxy
        # VOC counts pixels from 1, and its boxes include the last ones.
        add_texts(ElementTree.SubElement(node, "bndbox"), xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)
    ElementTree.indent(root)
    return ElementTree.tostring(root) + b"\n"


def labels_of(categories: Iterable[str]) -> list[str]:
    """The background and the categories, numbered where a name comes again: a reader has one of each."""
    return list(_distinct([BACKGROUND, *categories]))


def _distinct(names: Iterable[str]) -> Iterator[str]:
    distinct: set[str] = set()
    for name in names:
        free = next(each for each in numbered(name) if each not in distinct)
        distinct.add(free)
        yield free


def _shared(data: DataSet) -> Iterator[File]:
    for kind in ("Main", "Segmentation"):
        yield f"ImageSets/{kind}/train.txt", (f"{picture.name}\n".encode() for picture in data.pictures())
    labels = labels_of(data.categories)
    colours = PALETTE[: len(labels)].tolist()
    plain = _distinct(label.replace(":", "_").replace("#", "_") for label in labels)
    rows = [f"{label}:{','.join(map(str, colour))}::\n" for label, colour in zip(plain, colours, strict=True)]
    yield LABEL_MAP, "".join(["# label:color_rgb:parts:actions\n", *rows]).encode()
    meta = {
        "labels": labels,
        "label_map": {str(value): label for value, label in enumerate(labels)},
        "segmentation_colors": colours,
        "background_label": BACKGROUND,
    }
    yield META, json_text(meta).encode()


def _palette_png(values: NDArray[np.integer]) -> bytes:
    return png.encode(values.astype(np.uint8), PALETTE)


def colours_of_meta(content: Mapping[str, Any]) -> list[tuple[object, Colour]]:
    """The labels of a `voc.META` with their colours. Raises UnreadableLabels: it has no label or colour of one."""
    try:
        labels, colours = content["label_map"], content["segmentation_colors"]
        pairs = [(labels[str(index)], tuple(map(whole_number, colour))) for index, colour in enumerate(colours)]
        return [(label, (red, green, blue)) for label, (red, green, blue) in pairs]
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableLabels(f"expected datumaro's label_map and segmentation_colors: {error!r:.100}") from None


def colours_of_label_map(lines: Iterable[str]) -> list[tuple[str, Colour]]:
    """The labels of a `voc.LABEL_MAP` with their colours: NAME:R,G,B:PARTS:ACTIONS; other lines are passed over."""
    entries = []
    for line in lines:
        name, _, rest = line.strip().partition(":")
        numbers = [int(each) for each in rest.split(":")[0].split(",") if each.strip().isdecimal()]
        if name and not name.startswith("#") and len(numbers) == 3:
            red, green, blue = numbers
            entries.append((name, (red, green, blue)))
    return entries


FORMAT = Format(
    "voc",
    f"{IMAGES}/, {CLASSES}/, {OBJECTS}/ (up to {MAX_VALUE} objects), {BOXES}/ (boxes), ImageSets/, labels",
    _of_picture,
    _shared,
    images=IMAGES,
    max_classes=MAX_VALUE - 1,  # one is left for segments without a class
)
