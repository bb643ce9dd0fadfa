"""PASCAL Context: label maps of the 59 classes from what is published, in the layout that everyone measures on.

Two files are around. `trainval_merged.json` of the PASCAL in Detail challenge has run lengths and the splits of all
published figures (4,996 and 5,104 photographs); `trainval.tar.gz` of the authors has a MATLAB file for each photograph,
459 classes in it, and the splits are VOC 2010's (4,998 and 5,105).
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat

from lexiseg_model.data.preparing.archives import unpack
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


def write_from_json(listing: Path, devkit: Path) -> None:
    """Writes the maps and the lists of both splits beside VOC 2010's photographs.

    Raises:
        DatasetError: the file is not what the challenge published.
    """
    try:
        content = json.loads(listing.read_bytes())
        parts = defaultdict(list)
        for part in content["annos_segmentation"]:
            parts[part["image_id"]].append((int(part["category_id"]), part["segmentation"]))
        names: dict[str, list[str]] = {split: [] for split in SPLITS}
        for image in content["images"]:
            if image["phase"] not in names:
                continue
            name = Path(image["file_name"]).stem
            numbers = np.zeros((image["height"], image["width"]), np.int64)
            for number, rle in parts[image["image_id"]]:
                numbers[_decoded(rle, numbers.shape)] = number
            _write(numbers, devkit, name)
            names[image["phase"]].append(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{listing} is not the JSON of PASCAL in Detail, with images and annos_segmentation: {error!r}"
        ) from None
    for split, of_split in names.items():
        _list(sorted(of_split), devkit, split)


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
    table = np.zeros(LARGEST + 1, np.uint8)
    table[list(NUMBERS)] = np.arange(1, len(NUMBERS) + 1)
    path = devkit / MAPS / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(table[numbers]).save(path)


def _list(names: list[str], devkit: Path, split: str) -> None:
    path = devkit / LISTS / f"{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))
