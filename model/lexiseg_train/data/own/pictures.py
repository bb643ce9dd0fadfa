"""A user's pictures with masks, read from folders.

A folder has `classes.json`, `images/NAME.jpg` and `masks/NAME.png`; the last two perhaps in `train/` and `val/`. Also
read are Roboflow's `NAME_mask.png`, PASCAL VOC's folders, and other names of folders and masks (`mask_files`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError
from lexiseg_model.pictures.header import read_header, upright
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.files.documents import read_text
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.indexed import CLASSES, IGNORE, Reading, fitting, read_photograph
from lexiseg_train.data.own.class_lists import EXAMPLE_LIST, class_table
from lexiseg_train.data.own.mask_files import pairs_below, read_mask_file

TRAINING = "training"  # ADE20K's name of it
TRAIN, HELD_OUT = "train", ("val", "valid", "validation")

MaskReader = Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Picture:
    """One photograph; `read_mask` gives [H, W] class indices, 255 = ignore, of the upright photograph."""

    image: Path
    read_mask: MaskReader

    def read(self, n_classes: int = IGNORE) -> Reading:
        """The upright photograph and its mask, checked as `Sample.read`."""
        image, mask = read_photograph(self.image), self.read_mask()
        if mask.shape != image.shape[:2] and mask.shape == image.shape[1::-1]:  # of the photograph as stored
            mask = upright(mask, read_header(self.image.read_bytes()).orientation)
        return Reading(image, fitting(self.image, mask, image.shape[:2], n_classes))


@dataclass(frozen=True)
class OwnPictures:
    """The pictures of a folder."""

    folder: Path
    classes: tuple[str, ...]  # `classes[v]` is the class of mask value v
    train: tuple[Picture, ...]
    held_out: tuple[Picture, ...]  # kept by the user for validation
    warnings: tuple[str, ...] = ()  # sentences about what was left out
    left_out: tuple[str, ...] = ()  # photographs that cannot be used, each with the reason
    layout: str = "masks"  # what the set was read as

    def warned(self, warnings: tuple[str, ...]) -> OwnPictures:
        """The same with more sentences about what was left out."""
        return replace(self, warnings=self.warnings + warnings)

    @property
    def named(self) -> dict[int, str]:
        """Classes without the background by mask value."""
        return {value: name for value, name in enumerate(self.classes) if name != BACKGROUND}


def read_folders(files: SetFiles) -> OwnPictures | None:
    """List the photographs of a set with masks; None: it has none. Photographs without a mask are left out.

    Raises:
        DatasetError: there is no class list, or it is damaged.
    """
    by_split = {name: pairs_below(files, name) for name in (TRAIN, TRAINING, *HELD_OUT)}
    train = by_split.pop(TRAIN) or by_split.pop(TRAINING) or pairs_below(files)
    by_split.pop(TRAINING, None)
    if not train:
        return None
    table = class_table(files, TRAIN)
    if table is None:
        raise DatasetError(f"there is no {files.folder / CLASSES}: names, index = mask value, such as {EXAMPLE_LIST}")
    kept = [pair for pairs in by_split.values() for pair in pairs]
    apart = _names_of_split(files, "val")
    kept += [pair for pair in train if pair[0].stem in apart]
    train = [pair for pair in train if pair[0].stem not in apart]
    pictures = {
        split: [
            Picture(image, partial(read_mask_file, mask, table.colours)) for image, mask in pairs if mask is not None
        ]
        for split, pairs in ((TRAIN, train), ("val", kept))
    }
    without = [image.name for image, mask in (*train, *kept) if mask is None]
    sentence = f"{len(without)} of {len(train) + len(kept)} photographs have no mask and are left out, such as"
    warnings = (f"{sentence} {without[0]}",) if without else ()
    left_out = tuple(f"{name}: no mask" for name in without)
    return OwnPictures(files.folder, table.names, tuple(pictures[TRAIN]), tuple(pictures["val"]), warnings, left_out)


def _names_of_split(files: SetFiles, split: str) -> frozenset[str]:
    """Names of the photographs of a split in PASCAL VOC's layout."""
    path = files.file(f"ImageSets/Segmentation/{split}.txt")
    return frozenset() if path is None else frozenset(read_text(path).split())
