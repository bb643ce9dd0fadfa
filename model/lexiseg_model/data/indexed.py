"""Photographs with index masks: `<set>/<split>/images/NAME.jpg`, `masks/NAME.png` and `<set>/classes.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.errors import DatasetError, SampleError

IGNORE = 255  # mask value that is ignored
INDEX_MODES = ("L", "P")  # Pillow's modes of one 8-bit channel
BACKGROUND = "background"
CLASSES = "classes.json"


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file; in the block, what Pillow raises becomes a SampleError."""
    try:
        with Image.open(path) as picture:
            yield picture
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleError(str(path), f"cannot be read as an image: {error}") from None


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """[H, W, 3] RGB as stored: annotations follow the stored pixels, not an EXIF rotation.

    Raises:
        SampleError: the file is not an image.
    """
    with opened(path) as picture:
        return np.asarray(picture.convert("RGB"))


class Reading(NamedTuple):
    """A photograph [H, W, 3] and its mask [H, W], of one size."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """Paths of a photograph and its mask; reading raises SampleError with the file's name."""

    image: Path
    mask: Path

    @property
    def name(self) -> str:
        return self.image.stem

    def read_image(self) -> NDArray[np.uint8]:
        """[H, W, 3] RGB."""
        return read_photograph(self.image)

    def read_mask(self) -> NDArray[np.uint8]:
        """[H, W] class indices, 255 = ignore."""
        with opened(self.mask) as picture:
            mode, values = picture.mode, np.asarray(picture)
        if mode not in INDEX_MODES:
            raise SampleError(str(self.mask), f"is of mode {mode}; expected one channel of 8 bits (L or P)")
        return values

    def read(self, n_classes: int = IGNORE) -> Reading:
        """Both; their sizes agree, and mask values are below `n_classes` or 255."""
        image = self.read_image()
        return Reading(image, self._fitting((image.shape[1], image.shape[0]), n_classes))

    def read_fitting_mask(self, n_classes: int = IGNORE) -> NDArray[np.uint8]:
        """The mask alone with the same checks; only the size of the photograph is read."""
        with opened(self.image) as picture:
            return self._fitting(picture.size, n_classes)

    def _fitting(self, size: tuple[int, int], n_classes: int) -> NDArray[np.uint8]:
        """The mask of a photograph with this width and height."""
        mask = self.read_mask()
        if mask.shape != size[::-1]:
            sizes = (f"{width} x {height}" for width, height in (mask.shape[::-1], size))
            raise SampleError(str(self.mask), "is {}, its photograph {}; expected one size".format(*sizes))
        values = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=IGNORE)[:IGNORE])
        if beyond := [value for value in values.tolist() if value >= n_classes]:
            listed = f"0 to {n_classes - 1} and {IGNORE}"
            raise SampleError(str(self.mask), f"holds {', '.join(map(str, beyond[:5]))}; expected {listed}")
        return mask


@dataclass(frozen=True)
class IndexedDataset:
    """One split of one data set; `classes[v]` is the class of mask value v."""

    name: str
    split: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]

    @property
    def has_background(self) -> bool:
        """Whether mask value 0 means "none of the classes"."""
        return self.classes[0] == BACKGROUND

    def some(self, most: int) -> tuple[Sample, ...]:
        """At most so many photographs at equal distances."""
        return self.samples[:: max(1, len(self.samples) // most)][:most]


def read_dataset(root: Path, name: str, split: str) -> IndexedDataset:
    """List one split.

    Raises:
        DatasetError: a folder, the class list or a mask is missing; states what was expected.
    """
    listing = root / name / CLASSES
    samples = list_samples(root, name, split)
    if not listing.exists():
        raise DatasetError(_missing(listing, root, name, split))
    return IndexedDataset(name, split, read_classes(listing), samples)


def list_samples(root: Path, name: str, split: str) -> tuple[Sample, ...]:
    """The photographs of one split with their masks; the set needs no class list.

    Raises:
        DatasetError: a folder or a mask is missing; states what was expected.
    """
    folder = root / name / split
    for wanted in (root, root / name, folder / "images", folder / "masks"):
        if not wanted.exists():
            raise DatasetError(_missing(wanted, root, name, split))
    samples = []
    for image in sorted((folder / "images").iterdir()):
        mask = folder / "masks" / f"{image.stem}.png"
        if not mask.exists():
            raise DatasetError(f"data set {name!r}: {image} has no mask; expected {mask}")
        samples.append(Sample(image, mask))
    if not samples:
        raise DatasetError(f"data set {name!r}: {folder / 'images'} holds no images")
    return tuple(samples)


def _missing(wanted: Path, root: Path, name: str, split: str) -> str:
    return (
        f"data set {name!r}, split {split!r}: {wanted} does not exist; expected "
        f"{root}/{name}/{split}/images/NAME.jpg, masks/NAME.png and {root}/{name}/{CLASSES}"
    )


def read_classes(listing: Path) -> tuple[str, ...]:
    """Class names of a set; index = mask value.

    Raises:
        DatasetError: it is not such a list.
    """
    try:
        classes = json.loads(listing.read_text())
    except ValueError as error:
        raise DatasetError(f"{listing} is not JSON: {error}") from None
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise DatasetError(f"{listing}: expected a list of class names, index = mask value")
    if BACKGROUND in classes[1:]:
        raise DatasetError(f"{listing}: {BACKGROUND!r} is mask value {classes.index(BACKGROUND, 1)}; it can only be 0")
    return tuple(classes)
