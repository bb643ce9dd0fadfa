"""`lexiseg segment --format voc`: PASCAL VOC's layout, as datumaro and CVAT read it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from lexiseg_client.segments import UNNAMED, exportable
from lexiseg_service.commands.segment.writer import Files, Image, Writer, class_values, names_of_values


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
            f"{name}:{','.join(map(str, PALETTE[n % 256]))}::" for n, name in enumerate(names_of_values(self.names))
        ]
        return {"labelmap.txt": "\n".join(["# label:color_rgb:parts:actions", *rows, ""]).encode()}


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
