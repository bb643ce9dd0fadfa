"""PASCAL Context: label maps of the 59 classes from what is published, in the layout that everyone measures on.

Two files are around. `trainval_merged.json` of the PASCAL in Detail challenge has run lengths and the splits of all
published figures (4,996 and 5,104 photographs); `trainval.tar.gz` of the authors has a MATLAB file for each photograph,
459 classes in it, and the splits are VOC 2010's (4,998 and 5,105).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat

from lexiseg_model.data.preparing.archives import unpack
from lexiseg_model.data.preparing.json_stream import entries
from lexiseg_model.errors import DatasetError, ShapeError
from lexiseg_model.masks.rle import decode
from lexiseg_model.types import Rle

# Of the 459 numbers those of the 59 classes, in the order of their classes (mmsegmentation, CAT-Seg); others are 0.
NUMBERS = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip
LARGEST = 459
MAPS, LISTS = "SegmentationClassContext", "ImageSets/SegmentationContext"
SPLITS = ("train", "val")
HELD = 200  # maps in memory, 200 kB each


def write_from_json(listing: Path, devkit: Path) -> None:
    """Writes the maps and the lists of both splits beside VOC 2010's photographs.

    The file is read twice, once for the photographs, once for their segments; one segment of it is in memory at a time,
    and HELD maps.

    Raises:
        DatasetError: the file is not what the challenge published.
    """
    try:
        photographs = {
            image["image_id"]: Photograph(
                Path(image["file_name"]).stem, image["phase"], image["height"], image["width"]
            )
            for _, image in entries(listing, ["images"])
            if image["phase"] in SPLITS
        }
        maps = _Maps(devkit / MAPS, photographs)
        numbers = _class_of_number()
        n_parts = 0
        for _, part in entries(listing, ["annos_segmentation"]):
            n_parts += 1
            if (photograph := photographs.get(part["image_id"])) is not None:
                inside = _decoded(part["segmentation"], (photograph.height, photograph.width))
                maps.of(part["image_id"])[inside] = numbers[int(part["category_id"])]
        if not n_parts:
            raise ValueError("no segment in it")
        maps.close()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{listing} is not the JSON of PASCAL in Detail, with images and annos_segmentation: {error!r}"
        ) from None
    for split in SPLITS:
        _list(sorted(each.name for each in photographs.values() if each.phase == split), devkit, split)


class Photograph(NamedTuple):
    """What the challenge's file says of one."""

    name: str
    phase: str
    height: int
    width: int


class _Maps:
    """Label maps that grow by segments, in any order; those that were not touched for long lie in their files."""

    def __init__(self, folder: Path, photographs: Mapping[Any, Photograph]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._photographs = folder, photographs
        self._held: OrderedDict[Any, NDArray[np.uint8]] = OrderedDict()
        self._begun: set[Any] = set()

    def of(self, image_id: Any) -> NDArray[np.uint8]:
        """[H, W] of classes, 0 = none, to be written to before the next is asked for."""
        if image_id not in self._held:
            while len(self._held) >= HELD:
                self._write(*self._held.popitem(last=False))
            self._held[image_id] = self._read(image_id)
        self._held.move_to_end(image_id)
        return self._held[image_id]

    def close(self) -> None:
        """Writes what is left, and empty maps of photographs without a segment."""
        for image_id in self._photographs.keys() - self._begun:
            self._write(image_id, self._read(image_id))
        for image_id, labels in self._held.items():
            self._write(image_id, labels)

    def _read(self, image_id: Any) -> NDArray[np.uint8]:
        photograph = self._photographs[image_id]
        if image_id in self._begun:
            with Image.open(self._file(image_id)) as stored:
                return np.array(stored)
        self._begun.add(image_id)
        return np.zeros((photograph.height, photograph.width), np.uint8)

    def _write(self, image_id: Any, labels: NDArray[np.uint8]) -> None:
        Image.fromarray(labels).save(self._file(image_id))

    def _file(self, image_id: Any) -> Path:
        return self._folder / f"{self._photographs[image_id].name}.png"


def write_from_matlab(archive: Path, devkit: Path) -> None:
    """The same from the MATLAB files of the authors, split as VOC 2010 is; what the JSON gave stays.

    Raises:
        DatasetError: a file has no map of labels, or VOC 2010's lists are not there.
    """
    if all((devkit / LISTS / f"{split}.txt").exists() for split in SPLITS):
        return
    unpack(archive, devkit)
    lists = {split: devkit / "ImageSets" / "Main" / f"{split}.txt" for split in SPLITS}
    if lacking := [path for path in lists.values() if not path.exists()]:
        raise DatasetError(f"{archive.name} has no splits of its own; VOC 2010's are not there: {lacking[0]}")
    for split, path in lists.items():
        present = [name for name in path.read_text().split() if (devkit / "trainval" / f"{name}.mat").exists()]
        for name in present:
            _write(_label_map(devkit / "trainval" / f"{name}.mat"), devkit, name)
        _list(present, devkit, split)


def _label_map(path: Path) -> NDArray[np.integer]:
    try:
        labels = loadmat(path).get("LabelMap")
    except (ValueError, NotImplementedError, OSError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from None
    if labels is None or labels.ndim != 2 or labels.dtype.kind not in "ui" or labels.max(initial=0) > LARGEST:
        raise DatasetError(f"{path} has no LabelMap of whole numbers up to {LARGEST}")
    return np.asarray(labels)


def _decoded(rle: dict[str, object], size: tuple[int, ...]) -> NDArray[np.bool_]:
    height, width = size
    if rle["size"] != [height, width]:
        raise ShapeError(f"run lengths of {rle['size']} in a photograph of {[height, width]}")
    return decode(Rle((height, width), str(rle["counts"]), 0, (0, 0, 0, 0)))


def _write(numbers: NDArray[np.integer], devkit: Path, name: str) -> None:
    path = devkit / MAPS / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_class_of_number()[numbers]).save(path)


def _class_of_number() -> NDArray[np.uint8]:
    """[460]: 1 to 59 for the numbers of the classes, 0 for all others."""
    table = np.zeros(LARGEST + 1, np.uint8)
    table[list(NUMBERS)] = np.arange(1, len(NUMBERS) + 1)
    return table


def _list(names: list[str], devkit: Path, split: str) -> None:
    path = devkit / LISTS / f"{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))
