"""PASCAL Context: label maps of the 59 classes in the usual layout.

They come from `trainval_merged.json` of the PASCAL in Detail challenge, which has run lengths and the splits of
published figures (4,996 and 5,104 photographs).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.outlines import checked_size
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import decode
from lexiseg_train.data.annotations.drawing import draw
from lexiseg_train.data.indexed import IGNORE

# The 59 classes' numbers among the 459, in the order of the classes (mmsegmentation, CAT-Seg); others become 0.
NUMBERS = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip
LARGEST = 459
MAPS, LISTS = "SegmentationClassContext", "ImageSets/SegmentationContext"
SPLITS = ("train", "val")


def write_from_json(listing: Path, devkit: Path) -> None:
    """Write the maps and lists of both splits next to VOC 2010's photographs.

    The JSON has 590 MB; reading it takes a few times as much memory.

    Raises:
        DatasetError: the file is not the challenge's.
    """
    class_of_number = np.zeros(LARGEST + 1, np.uint8)
    class_of_number[list(NUMBERS)] = np.arange(1, len(NUMBERS) + 1)
    try:
        content = json.loads(listing.read_bytes())
        photographs = {each["image_id"]: each for each in content["images"] if each["phase"] in SPLITS}
        segments: dict[Any, list[tuple[dict[str, Any], int]]] = {image_id: [] for image_id in photographs}
        if not content["annos_segmentation"]:
            raise ValueError("no segment in it")
        for entry in content["annos_segmentation"]:
            if entry["image_id"] in segments:
                value = int(class_of_number[int(entry["category_id"])])
                segments[entry["image_id"]].append((entry["segmentation"], value))
        names: dict[str, list[str]] = {split: [] for split in SPLITS}
        faults: list[str] = []
        (devkit / MAPS).mkdir(parents=True, exist_ok=True)
        for image_id, photograph in photographs.items():
            name = Path(photograph["file_name"]).stem
            size = checked_size(photograph["height"], photograph["width"])
            labels, unread = _label_map(segments[image_id], size)
            faults += [f"{name}: {fault}" for fault in unread]
            Image.fromarray(labels).save(devkit / MAPS / f"{name}.png")
            names[photograph["phase"]].append(name)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, UnreadableLabels) as error:
        raise DatasetError(
            f"{listing} is not the JSON of PASCAL in Detail, with images and annos_segmentation: {error!r}"
        ) from None
    if faults:
        print(f"warning: {listing}: {len(faults)} segments are left out, such as one of {faults[0]}", flush=True)
    (devkit / LISTS).mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        (devkit / LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in sorted(names[split])))


def _label_map(
    segments: Sequence[tuple[dict[str, Any], int]], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], list[str]]:
    """Labels [H, W] of a photograph's segments and their values, and why some of them cannot be drawn.

    Where one cannot be drawn, pixels of no other segment are IGNORE.
    """
    labels, unlabelled, faults = np.zeros(size, np.uint8), np.ones(size, np.bool_), list[str]()
    for segmentation, value in segments:
        try:
            shape = decode(draw(segmentation, size))
        except UnreadableLabels as error:
            faults.append(str(error))
            continue
        labels[shape], unlabelled[shape] = value, False
    if faults:
        labels[unlabelled] = IGNORE
    return labels, faults
