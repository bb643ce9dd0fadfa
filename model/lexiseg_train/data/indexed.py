"""Photographs with index masks: `<set>/<split>/images/NAME.jpg`, `masks/NAME.png` and `<set>/classes.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_labels.exports import write_whole
from lexiseg_labels.formats import label_maps
from lexiseg_labels.picture_names import LISTED_SUFFIXES
from lexiseg_model.errors import DatasetError, PictureError, SampleError
from lexiseg_model.files.names import pictures_in
from lexiseg_model.pictures.header import read_header
from lexiseg_model.pictures.reader import Picture, read
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.annotations.listed import class_name
from lexiseg_train.data.files.documents import read_json
from lexiseg_train.data.files.inside import picture_bytes

JPEG_QUALITY = 95
MAX_PIXELS = 180_000_000  # of a photograph; more is a damaged header
IGNORE = 255  # mask value that is ignored
INDEX_MODES = ("L", "P")  # Pillow's modes of one 8-bit channel
CLASSES = label_maps.LISTING
Item = TypeVar("Item")


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; errors of Pillow in the block become SampleError."""
    with _reading(str(path)), Image.open(path) as picture:
        yield picture


def read_picture(path: Path) -> Picture:
    """A photograph as the service sees it: upright, over white; masks are of the upright photograph."""
    with _reading(str(path)):
        content = picture_bytes(path)
    return read_content(content, str(path), MAX_PIXELS)


def read_content(content: bytes, name: str, max_pixels: int) -> Picture:
    """`read_picture` of the content of a file. Raises SampleError: it is no picture, or has more pixels."""
    with _reading(name):
        header = read_header(content)
        height, width = header.size
        if height * width > max_pixels:
            raise SampleError(name, f"{width} x {height} pixels; expected at most {max_pixels:,}")
        return read(content, header=header)


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of `read_picture`."""
    return read_picture(path).rgb


def photograph_size(path: Path) -> tuple[int, int]:
    """(height, width) of `read_picture`, by the header. Raises SampleError: the file is not a picture."""
    with _reading(str(path)):
        return read_header(picture_bytes(path)).size


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, PictureError) as error:
        raise SampleError(name, f"cannot be read as an image: {error}") from None


def photographs_in(folder: Path) -> list[Path]:
    for place in (folder, folder / "images"):
        if images := pictures_in(place):
            stems = {path.stem: path for path in reversed(images)}
            for path in images:
                if stems[path.stem] != path:
                    raise DatasetError(f"{stems[path.stem]} and {path.name} would have one mask; rename one of them")
            return images
    raise DatasetError(f"{folder} holds no photographs; expected {LISTED_SUFFIXES}")


def evenly_spread(items: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` items in order, evenly spread from the first on."""
    count = min(limit, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def to_jpeg(image: NDArray[np.uint8]) -> bytes:
    content = BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=JPEG_QUALITY)
    return content.getvalue()


def write_sample(split: Path, name: str, photograph: bytes, mask: NDArray[np.uint8]) -> None:
    """Write `images/NAME.jpg`, then `masks/NAME.png` [H, W], which marks the photograph as done."""
    from lexiseg_model.masks.encodings import labels_to_png  # imports torch, which recipes are read without

    for kind, file, content in (("images", f"{name}.jpg", photograph), ("masks", f"{name}.png", labels_to_png(mask))):
        (split / kind).mkdir(parents=True, exist_ok=True)
        write_whole(split / kind / file, content)


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
        return read_photograph(self.image)

    def read_mask(self) -> NDArray[np.uint8]:
        """Mask [H, W] of class indices, 255 = ignore."""
        with opened(self.mask) as picture:
            mode, values = picture.mode, np.asarray(picture)
        if mode not in INDEX_MODES:
            raise SampleError(str(self.mask), f"is of mode {mode}; expected one channel of 8 bits (L or P)")
        return values

    def read(self, n_classes: int = IGNORE) -> Reading:
        """Photograph and mask, checked: their sizes are equal, and mask values are below `n_classes` or 255."""
        image = self.read_image()
        return Reading(image, fitting(self.mask, self.read_mask(), image.shape[:2], n_classes))

    def read_fitting_mask(self, n_classes: int = IGNORE) -> NDArray[np.uint8]:
        """Mask with the checks of `read`; of the photograph only the size is read."""
        return fitting(self.mask, self.read_mask(), photograph_size(self.image), n_classes)


def fitting(file: Path, mask: NDArray[np.uint8], size: tuple[int, int], n_classes: int = IGNORE) -> NDArray[np.uint8]:
    """A mask [H, W] of a file, checked against the (height, width) of its photograph and the number of classes."""
    if mask.shape != size:
        sizes = (f"{width} x {height}" for height, width in (mask.shape, size))
        raise SampleError(str(file), "is {}, its photograph {} upright; expected one size".format(*sizes))
    values = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=IGNORE)[:IGNORE])
    if beyond := [value for value in values.tolist() if value >= n_classes]:
        listed = f"0 to {n_classes - 1} and {IGNORE}"
        raise SampleError(str(file), f"holds {', '.join(map(str, beyond[:5]))}; expected {listed}")
    return mask


def one_value_warning(name: str, values: Iterable[int], n_classes: int) -> tuple[str, ...]:
    """A sentence about a set whose masks show only 0 and IGNORE, as cut-out tools write them; empty for others."""
    if n_classes < 2 or not {*values} <= {0, IGNORE}:
        return ()
    indices = "1" if n_classes == 2 else f"1 to {n_classes - 1}"
    return (
        f"the masks of {name} hold only 0 and perhaps {IGNORE}, which is ignored, not an object: write the index of "
        f"the class in its place, {indices}",
    )


@dataclass(frozen=True)
class IndexedDataset:
    """One split of one data set; `classes[v]` is the class of mask value v."""

    name: str
    split: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]

    @property
    def has_background(self) -> bool:
        return self.classes[0] == BACKGROUND

    @property
    def named(self) -> dict[int, str]:
        """Classes without the background by mask value."""
        return {value: name for value, name in enumerate(self.classes) if name != BACKGROUND}

    @property
    def vocabulary(self) -> Vocabulary:
        background = Background() if self.has_background else None
        return Vocabulary(tuple(map(ClassEntry, self.named.values())), background, self.name)


def one_value_warning_of(data: IndexedDataset) -> tuple[str, ...]:
    """`one_value_warning` of a set; reads masks up to the first that shows a class, and passes over unreadable ones."""
    warning: tuple[str, ...] = ()
    for sample in data.samples:
        try:
            values = np.unique(sample.read_mask()).tolist()
        except SampleError:
            continue
        warning = one_value_warning(f"{data.name}/{data.split}", values, len(data.classes))
        if not warning:
            break
    return warning


def read_dataset(root: Path, name: str, split: str) -> IndexedDataset:
    """List one split. Raises DatasetError: a folder, the class list or a mask is missing; states what was expected."""
    listing = root / name / CLASSES
    samples = list_samples(root, name, split)
    if not listing.exists():
        raise DatasetError(_missing(listing, root, name, split))
    return IndexedDataset(name, split, read_classes(listing), samples)


def measurable(root: Path, names: Iterable[str]) -> list[str]:
    """The sets with a validation split; a training lists them before its first step and measures them at its end."""
    there = [name for name in names if (root / name / "val").is_dir()]
    for name in there:
        list_samples(root, name, "val")
        if (listing := root / name / CLASSES).exists():
            read_classes(listing)
    return there


def list_samples(root: Path, name: str, split: str) -> tuple[Sample, ...]:
    """The photographs of one split with their masks; the set needs no class list."""
    folder = root / name / split
    for expected in (root, root / name, folder / "images", folder / "masks"):
        if not expected.exists():
            raise DatasetError(_missing(expected, root, name, split))
    samples = []
    for image in pictures_in(folder / "images"):
        mask = folder / "masks" / f"{image.stem}.png"
        if not mask.exists():
            raise DatasetError(f"data set {name!r}: {image} has no mask; expected {mask}")
        samples.append(Sample(image, mask))
    if not samples:
        raise DatasetError(f"data set {name!r}: {folder / 'images'} holds no images")
    return tuple(samples)


def _missing(expected: Path, root: Path, name: str, split: str) -> str:
    return (
        f"data set {name!r}, split {split!r}: {expected} does not exist; expected "
        f"{root}/{name}/{split}/images/NAME.jpg, masks/NAME.png and {root}/{name}/{CLASSES}"
    )


def write_classes(folder: Path, classes: Sequence[str]) -> None:
    write_whole(folder / CLASSES, json.dumps(list(classes), ensure_ascii=False, indent=1).encode())


def read_classes(listing: Path) -> tuple[str, ...]:
    """Class names of a set; index = mask value. The file has a list, or names by mask value, as of label maps."""
    names = label_maps.names_of(read_json(listing))
    if names is None:
        raise DatasetError(f"{listing}: expected a list of class names, index = mask value")
    classes = [class_name(name) for name in names]
    if None in classes:
        raise DatasetError(
            f"{listing}: {names[classes.index(None)]!r} is no class; pixels that do not count are {IGNORE}"
        )
    if BACKGROUND in classes[1:]:
        raise DatasetError(f"{listing}: {BACKGROUND!r} is mask value {classes.index(BACKGROUND, 1)}; it can only be 0")
    return tuple(name for name in classes if name is not None)
