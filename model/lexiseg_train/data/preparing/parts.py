"""PASCAL-Part: label maps of parts from `Annotations_Part/NAME.mat`, next to VOC 2010's photographs.

A file has `anno.objects`: `class`, `mask` and `parts` of each, and of a part `part_name` and `mask`. Left and right
parts, and parts that are numbered, have one class. Where an object has parts, the rest of it is unknown, as all else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat

from lexiseg_labels.masks.outlines import checked_size
from lexiseg_model.errors import DatasetError
from lexiseg_train.data.indexed import IGNORE

STORED, MAPS, LISTS = "Annotations_Part", "SegmentationPart", "ImageSets/SegmentationPart"
SPLITS = ("train", "val")
NUMBER = re.compile(r"_\d+$")
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


def write_part_maps(devkit: Path, classes: Sequence[str]) -> None:
    """Write the maps and lists of both splits; a value is an index of `classes`.

    Args:
        devkit: VOCdevkit/VOC2010, with the lists of ImageSets/Main.
        classes: `person's head`, or an object that has no parts, as `boat`.

    Raises:
        DatasetError: there is no annotation, or one is not PASCAL-Part's.
    """
    stored = {path.stem: path for path in sorted((devkit / STORED).glob("*.mat"))}
    if not stored:
        raise DatasetError(f"{devkit} has no {STORED}/NAME.mat of PASCAL-Part")
    for folder in (MAPS, LISTS):
        (devkit / folder).mkdir(parents=True, exist_ok=True)
    values = {name: value for value, name in enumerate(classes)}
    faults = {}
    for name, path in stored.items():
        try:
            Image.fromarray(_label_map(path, values)).save(devkit / MAPS / f"{name}.png")
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
        (devkit / LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in listed if name in usable))


def _label_map(path: Path, values: dict[str, int]) -> NDArray[np.uint8]:
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
    """Class and mask [H, W] of each object, then of each of its parts."""
    for entry in objects:
        kind = str(entry["class"].item())
        word = OBJECTS.get(kind, kind)
        yield word, entry["mask"]
        for part in entry["parts"].ravel():
            stored = NUMBER.sub("", str(part["part_name"].item()))
            yield f"{word}'s {WORDS.get(stored, stored)}", part["mask"]
