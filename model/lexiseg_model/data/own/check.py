"""What is wrong with pictures before hours are spent on them: everything at once, each with its file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lexiseg_model.data.indexed import IGNORE
from lexiseg_model.data.own.digests import digest_of
from lexiseg_model.data.own.pictures import OwnPictures, Picture
from lexiseg_model.errors import DatasetError

TOLD = 8  # faults of a kind that a message lists
FEW = 8  # photographs below which nobody should expect much


@dataclass(frozen=True)
class Looked:
    """A picture that was looked at: what it shows, for telling duplicates, and which mask values it has."""

    picture: Picture
    digest: str
    values: frozenset[int]


@dataclass(frozen=True)
class Checked:
    """Pictures without faults, and what their user should know."""

    train: tuple[Looked, ...]
    held_out: tuple[Looked, ...]
    warnings: tuple[str, ...]


def check(pictures: OwnPictures) -> Checked:
    """Reads every photograph and mask once.

    Photographs that are in both parts, or twice in one, are taken once, for training; a warning says how many.

    Raises:
        DatasetError: photographs or masks cannot be read, differ in size, or hold values that no class has; all of
            them are counted and some are named.
    """
    if not pictures.train:
        raise DatasetError(f"{pictures.folder}: there are no photographs to learn from")
    faults: list[str] = []
    seen: set[str] = set()
    twice: list[str] = []
    parts: list[tuple[Looked, ...]] = []
    for part in (pictures.train, pictures.held_out):
        looked = []
        for picture in part:
            try:
                entry = _look(picture, len(pictures.classes))
            except DatasetError as error:
                faults.append(str(error))
                continue
            if entry.digest in seen:
                twice.append(picture.image.name)
            else:
                seen.add(entry.digest)
                looked.append(entry)
        parts.append(tuple(looked))
    if faults:
        are = "is" if len(faults) == 1 else "are"
        raise DatasetError(f"{len(faults)} of the pictures {are} faulty:\n  " + "\n  ".join(faults[:TOLD]))
    warnings = list(pictures.warnings)
    if twice:
        warnings.append(f"{len(twice)} photographs are there twice, as {twice[0]}: each is taken once")
    shown = frozenset().union(*(entry.values for part in parts for entry in part))
    lacking = [name for value, name in pictures.named.items() if value not in shown]
    if lacking:
        warnings.append(f"no photograph shows {', '.join(lacking)}: nothing is learned of it")
    if len(parts[0]) < FEW:
        warnings.append(f"{len(parts[0])} photographs are few; twenty are a beginning")
    return Checked(parts[0], parts[1], tuple(warnings))


def _look(picture: Picture, n_classes: int) -> Looked:
    image, mask = picture.read_image(), picture.read_mask()
    if mask.shape != image.shape[:2]:
        height, width = image.shape[:2]
        raise DatasetError(f"{picture.image}: its mask is {mask.shape[1]} x {mask.shape[0]}, itself {width} x {height}")
    values = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=256))
    beyond = [int(value) for value in values if n_classes <= value != IGNORE]
    if beyond:
        allowed = f"the list has 0 to {n_classes - 1}, {IGNORE} is ignored"
        raise DatasetError(f"{picture.image}: its mask holds {beyond[:TOLD]}; {allowed}")
    return Looked(picture, digest_of(image), frozenset(values.tolist()) - {IGNORE})
