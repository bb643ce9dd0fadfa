"""PASCAL Context and PASCAL-Part: label maps in the usual layout, next to VOC 2010's photographs.

Context, with 59 or all 459 classes, comes from `trainval_merged.json` of the PASCAL in Detail challenge, which has run
lengths and the splits of published figures (4,996 and 5,104 photographs).

The parts come from `Annotations_Part/NAME.mat`. A file has `anno.objects`: `class`, `mask` and `parts` of each, and of
a part `part_name` and `mask`. Left and right parts, and parts that are numbered, have one class. Where an object has
parts, the rest of it is unknown, as all else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat

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
UNKNOWN = LARGEST + 1  # in place of a number
LISTS = "ImageSets/SegmentationContext"
SPLITS = ("train", "val")
STORED, PART_MAPS, PART_LISTS = "Annotations_Part", "SegmentationPart", "ImageSets/SegmentationPart"
NUMBERED_PART = re.compile(r"_\d+$")
OBJECTS = {
    "aeroplane": "airplane", "motorbike": "motorcycle", "pottedplant": "potted plant", "table": "dining table",
    "diningtable": "dining table", "tvmonitor": "tv monitor",
}  # fmt: skip
PARTS = {
    "eye": "leye reye", "ear": "lear rear", "eyebrow": "lebrow rebrow", "horn": "lhorn rhorn", "wing": "lwing rwing",
    "arm": "luarm llarm ruarm rlarm", "hand": "lhand rhand", "foot": "lfoot rfoot",
    "leg": "lleg rleg luleg llleg ruleg rlleg lfleg rfleg lbleg rbleg "
           "lfuleg lflleg rfuleg rflleg lbuleg lblleg rbuleg rblleg",
    "paw": "lfpa rfpa lbpa rbpa", "hoof": "lfho rfho lbho rbho", "wheel": "fwheel bwheel", "chain wheel": "chainwheel",
    "front": "frontside hfrontside cfrontside", "back": "backside hbackside cbackside",
    "side": "leftside rightside hleftside hrightside cleftside crightside", "roof": "roofside hroofside croofside",
    "mirror": "leftmirror rightmirror", "license plate": "fliplate bliplate",
}  # fmt: skip
WORDS = {stored: word for word, names in PARTS.items() for stored in names.split()}  # others are words themselves


class Maps(NamedTuple):
    """Files of label maps: their paths by `{split}` and `{name}`, and values by number, UNKNOWN being the last."""

    path: str
    values: NDArray[np.uint8] | NDArray[np.uint16]


MERGED = Maps(
    "SegmentationClassContext/{name}.png",
    np.array([*(NUMBERS.index(n) + 1 if n in NUMBERS else 0 for n in range(UNKNOWN)), IGNORE], np.uint8),
)
FULL = Maps(  # as CAT-Seg writes them; 65,535 is ignored
    "annotations_detectron2/pc459_{split}/{name}.tif", np.array([65535, *range(LARGEST), 65535], np.uint16)
)


def write_from_json(listing: Path, devkit: Path, maps: Maps) -> None:
    """Write the maps and lists of both splits next to VOC 2010's photographs.

    The JSON has 590 MB; reading it takes a few times as much memory.
    """
    try:
        content = json.loads(listing.read_bytes())
        photographs = {each["image_id"]: each for each in content["images"] if each["phase"] in SPLITS}
        segments: dict[Any, list[tuple[dict[str, Any], int]]] = {image_id: [] for image_id in photographs}
        if not content["annos_segmentation"]:
            raise ValueError("no segment in it")
        for entry in content["annos_segmentation"]:
            if entry["image_id"] in segments:
                number = int(entry["category_id"])
                if not 0 <= number <= LARGEST:
                    raise ValueError(f"category_id {number}, at most {LARGEST}")
                segments[entry["image_id"]].append((entry["segmentation"], number))
        names: dict[str, list[str]] = {split: [] for split in SPLITS}
        faults: list[str] = []
        for image_id, photograph in photographs.items():
            name = Path(photograph["file_name"]).stem
            size = checked_size(photograph["height"], photograph["width"])
            numbers, unread = _numbers(segments[image_id], size)
            faults += [f"{name}: {fault}" for fault in unread]
            path = devkit / maps.path.format(split=photograph["phase"], name=name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(maps.values[numbers]).save(path, compression="tiff_deflate")  # a PNG has its own
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


def _numbers(
    segments: Sequence[tuple[dict[str, Any], int]], size: tuple[int, int]
) -> tuple[NDArray[np.uint16], list[str]]:
    """Numbers [H, W] of a photograph's segments, 0 where there is none, and why some of them cannot be drawn.

    Where one cannot be drawn, pixels of no other segment are UNKNOWN.
    """
    numbers, unlabelled, faults = np.zeros(size, np.uint16), np.ones(size, np.bool_), list[str]()
    for segmentation, number in segments:
        try:
            shape = decode(draw(segmentation, size))
        except UnreadableLabels as error:
            faults.append(str(error))
            continue
        numbers[shape], unlabelled[shape] = number, False
    if faults:
        numbers[unlabelled] = UNKNOWN
    return numbers, faults


def write_part_maps(devkit: Path, classes: Sequence[str]) -> None:
    """Write the maps and lists of both splits; a value is an index of `classes`.

    Args:
        devkit: VOCdevkit/VOC2010, with the lists of ImageSets/Main.
        classes: `person's head`, or an object that has no parts, as `boat`.
    """
    stored = {path.stem: path for path in sorted((devkit / STORED).glob("*.mat"))}
    if not stored:
        raise DatasetError(f"{devkit} has no {STORED}/NAME.mat of PASCAL-Part")
    for folder in (PART_MAPS, PART_LISTS):
        (devkit / folder).mkdir(parents=True, exist_ok=True)
    values = {name: value for value, name in enumerate(classes)}
    faults = {}
    for name, path in stored.items():
        try:
            Image.fromarray(_part_map(path, values)).save(devkit / PART_MAPS / f"{name}.png")
        except DatasetError as error:
            faults[name] = str(error)
    if len(faults) == len(stored):
        raise DatasetError(next(iter(faults.values())))
    if faults:
        print(f"warning: {len(faults)} files are left out: {next(iter(faults.values()))}", flush=True)
    usable = stored.keys() - faults.keys()
    for split in SPLITS:
        listing = devkit / "ImageSets" / "Main" / f"{split}.txt"
        listed = listing.read_text(encoding="utf-8", errors="replace").split() if listing.is_file() else []
        (devkit / PART_LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in listed if name in usable))


def _part_map(path: Path, values: dict[str, int]) -> NDArray[np.uint8]:
    """Labels [H, W] of a file; IGNORE where no class is known. A later part covers earlier ones, as eyes a head."""
    try:
        objects = loadmat(path, variable_names=["anno"])["anno"]["objects"][0, 0].ravel()
        labels = np.full(checked_size(*objects[0]["mask"].shape), IGNORE, np.uint8)
        for name, mask in _masks(objects):
            labels[np.asarray(mask, np.bool_)] = values.get(name, IGNORE)
    except Exception as error:  # loadmat raises what it meets
        reason = f"{type(error).__name__}: {error}"
        raise DatasetError(f"{path} is not an annotation of PASCAL-Part: {reason:.200}") from None
    return labels


def _masks(objects: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for entry in objects:
        kind = str(entry["class"].item())
        word = OBJECTS.get(kind, kind)
        yield word, entry["mask"]
        for part in entry["parts"].ravel():
            stored = NUMBERED_PART.sub("", str(part["part_name"].item()))
            yield f"{word}'s {WORDS.get(stored, stored)}", part["mask"]
