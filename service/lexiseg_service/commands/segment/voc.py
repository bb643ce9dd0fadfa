"""`lexiseg segment --format voc`: PASCAL VOC's layout, as datumaro and CVAT read it.

They take labels from dataset_meta.json, which may have any names; labelmap.txt, for other readers, is separated by
colons and line breaks. Masks are read by their colours. ImageSets list what there is, in UTF-8 and one name a line.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from lexiseg_labels.formats.annotation_tools import xml_text
from lexiseg_labels.segments import UNNAMED, exportable
from lexiseg_model.command_line.outputs import numbered
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.segment.writer import Files, Image, Writer, all_utf8, class_values, names_of_values
from lexiseg_service.question.schemas import TaskQuestion as Question

MAX_VALUE = 254  # of a class or an object: 255 is void
CLASSES, OBJECTS, BOXES = "SegmentationClass", "SegmentationObject", "Annotations"


def has_unlabelled(question: Question) -> bool:
    """Whether segments may have no label."""
    return bool(question.prompts) or question.task == "everything"


class Voc(Writer):
    """PASCAL VOC's palette PNGs of classes and of objects, and its XML of boxes."""

    has_lists = True
    what = f"{CLASSES}/, {OBJECTS}/, {BOXES}/, ImageSets/, labelmap.txt and dataset_meta.json"

    def __init__(self, question: Question, classes: Sequence[ClassEntry]) -> None:
        super().__init__(question, classes)
        background, *names = names_of_values(self.names)
        unlabelled = [UNNAMED] if self.names and has_unlabelled(question) else []
        self._labels = [background, *_distinct([*names, *unlabelled], {background})]

    def stem(self, name: str) -> str:
        """Readers of lists strip blanks, and take what begins with # for a comment."""
        return name.strip().lstrip("#") or "_"

    def files(self, image: Image) -> Files:
        values = class_values(image.answer, len(self.names))
        if self.names:
            values = np.where((values == 0) & (image.answer.label_map > 0), len(self._labels) - 1, values)
        files = {f"{CLASSES}/{image.stem}.png": _palette_png(values)}
        objects = np.unique(image.answer.label_map[image.answer.label_map > 0])
        if len(objects) <= MAX_VALUE:  # more have no values of their own
            ranks = np.append(0, objects).searchsorted(image.answer.label_map)
            files[f"{OBJECTS}/{image.stem}.png"] = _palette_png(ranks)
        return {**files, f"{BOXES}/{image.stem}.xml": self._xml(image)}

    def shared(self, written: Sequence[str]) -> Files:
        masks = (name for name in written if name.startswith(CLASSES))
        listed = "".join(f"{PurePosixPath(name).stem}\n" for name in masks if all_utf8([name])).encode()
        colours = PALETTE[: len(self._labels)].tolist()
        meta = {
            "labels": self._labels,
            "label_map": {str(value): label for value, label in enumerate(self._labels)},
            "segmentation_colors": colours,
            "background_label": self._labels[0],
        }
        plain = _distinct((label.replace(":", "_").replace("#", "_") for label in self._labels), set())
        rows = [f"{label}:{','.join(map(str, colour))}::\n" for label, colour in zip(plain, colours, strict=True)]
        return {
            **{f"ImageSets/{kind}/train.txt": listed for kind in ("Main", "Segmentation")},
            "labelmap.txt": "".join(["# label:color_rgb:parts:actions\n", *rows]).encode(),
            "dataset_meta.json": json.dumps(meta, indent=1).encode(),
        }

    def _xml(self, image: Image) -> bytes:
        root = ElementTree.Element("annotation")

        def add(parent: ElementTree.Element, **texts: object) -> None:
            for name, text in texts.items():
                ElementTree.SubElement(parent, name).text = xml_text(str(text))

        height, width = image.answer.size
        path = image.source.path
        add(root, filename=image.stem if path is None else path.name, path=image.source.name)
        add(ElementTree.SubElement(root, "size"), height=height, width=width, depth=3)
        add(root, segmented=1)
        for segment in exportable(image.answer.segments):
            index = len(self._labels) - 1 if segment.class_index is None else segment.class_index + 1
            node = ElementTree.SubElement(root, "object")
            add(node, name=self._labels[index], truncated=0, difficult=0)
            left, top, right, bottom = segment.xyxy
            # VOC counts pixels from 1, and its boxes include the last ones.
            add(ElementTree.SubElement(node, "bndbox"), xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)
        ElementTree.indent(root)
        return ElementTree.tostring(root) + b"\n"


def _distinct(labels: Iterable[str], taken: set[str]) -> Iterator[str]:
    """The labels, numbered where one comes again or is taken: a reader has one of each."""
    for label in labels:
        name = next(name for name in numbered(label) if name not in taken)
        taken.add(name)
        yield name


def _voc_palette() -> NDArray[np.uint8]:
    """[256, 3], the colours of VOC's development kit: bits of the index, three by three, from the highest on."""
    index = np.arange(256)
    channels = [sum(((index >> (3 * k + c) & 1) << (7 - k)) for k in range(8)) for c in range(3)]
    return np.stack(channels, 1).astype(np.uint8)


PALETTE: NDArray[np.uint8] = _voc_palette()


def _palette_png(values: NDArray[np.integer]) -> bytes:
    picture = PillowImage.fromarray(values.astype(np.uint8))
    picture.putpalette(PALETTE.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
