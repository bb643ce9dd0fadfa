"""The check of `SET/classes.json`, `SET/<split>/images` and `SET/<split>/masks`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.data.checking.likeness import Hashes, alike, likeness, stacked
from lexiseg_model.data.checking.problems import Checked, Problem
from lexiseg_model.data.indexed import BACKGROUND, CLASSES, IGNORE, Sample, read_classes
from lexiseg_model.errors import DatasetError, SampleError

ORIENTATION = 0x0112  # of EXIF
UPRIGHT = 1
AHEAD = 64  # photographs that are given to the threads at once


class _Seen(NamedTuple):
    """One photograph with its mask, looked at."""

    problems: list[Problem]
    likeness: Hashes | None
    values: NDArray[np.bool_]  # [256]: those of the mask


def is_masked(folder: Path) -> bool:
    """Whether a folder is laid out as a set of photographs with masks."""
    splits = [path.parent for path in folder.glob("*/images")]
    if (folder / CLASSES).exists():
        return bool(splits)
    # Sets of regions name no classes; a folder with a list of its own is no split, but a set in a folder of sets.
    return any((split / "masks").is_dir() and not any(split.glob("*.json")) for split in splits)


def check_masks(
    folder: Path,
    on_photograph: Callable[[], object] = lambda: None,
    on_count: Callable[[int], object] = lambda _: None,
) -> Checked:
    """Looks at every photograph and mask of every split.

    Args:
        folder: of the set.
        on_photograph: called after each.
        on_count: called once, with how many photographs there are.
    """
    checked = Checked()
    classes = _classes(folder, checked)
    splits = {path.parent.name: path for path in sorted(folder.glob("*/images")) if path.is_dir()}
    if not splits:
        checked.add([Problem("layout", str(folder), "no SPLIT/images; expected train/images and train/masks")])
    listed = {split: sorted(path for path in images.iterdir() if path.is_file()) for split, images in splits.items()}
    on_count(sum(map(len, listed.values())))
    hashes: dict[str, dict[str, Hashes]] = {}
    for split, images in listed.items():
        checked.photographs[split] = len(images)
        if not images:
            checked.add([Problem("layout", str(splits[split]), "holds no photographs")])
        checked.add(_names(splits[split].parent, images))
        present = np.zeros(IGNORE + 1, np.bool_)
        hashes[split] = {}
        for image, seen in _looked_at(splits[split].parent, images, len(classes) if classes else IGNORE):
            checked.add(seen.problems)
            present |= seen.values
            if seen.likeness is not None:
                hashes[split][str(image)] = seen.likeness
            on_photograph()
        named = [(value, name) for value, name in enumerate(classes) if name != BACKGROUND]
        missing = [f"{value} {name}" for value, name in named if not present[value]]
        checked.add(Problem("empty class", str(folder / split), entry) for entry in missing)
    checked.add(_twins(hashes))
    return checked


def _classes(folder: Path, checked: Checked) -> tuple[str, ...]:
    """Of the set; none where it names none, which sets of regions do not."""
    listing = folder / CLASSES
    if not listing.exists():
        detail = f"there is no {CLASSES}; expected a list of class names, index = mask value"
        checked.add([Problem("no classes", str(listing), detail)])
        return ()
    try:
        classes = read_classes(listing)
    except DatasetError as error:
        checked.add([Problem("layout", str(listing), str(error))])
        return ()
    twice = sorted({name for name in classes if classes.count(name) > 1})
    checked.add(Problem("layout", str(listing), f"the class {name!r} stands there twice") for name in twice)
    return classes


def _names(folder: Path, images: list[Path]) -> Iterator[Problem]:
    """What the lists of files alone tell."""
    masks = folder / "masks"
    stems: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        stems[image.stem.lower()].append(image)
    yield from (Problem("two names", str(same[0]), f"also {same[1].name}") for same in stems.values() if len(same) > 1)
    known = {image.stem for image in images}
    if masks.is_dir():
        lone = [path for path in sorted(masks.iterdir()) if path.stem not in known]
        yield from (Problem("no photograph", str(path)) for path in lone)


def _looked_at(folder: Path, images: list[Path], n_classes: int) -> Iterator[tuple[Path, _Seen]]:
    def look(image: Path) -> _Seen:
        return _look(Sample(image, folder / "masks" / f"{image.stem}.png"), n_classes)

    with ThreadPoolExecutor() as team:
        for start in range(0, len(images), AHEAD):
            some = images[start : start + AHEAD]
            yield from zip(some, team.map(look, some), strict=True)


def _look(sample: Sample, n_classes: int) -> _Seen:
    problems: list[Problem] = []
    values = np.zeros(IGNORE + 1, np.bool_)
    image = mask = None
    try:
        image = sample.read_image()
        if _turned(sample.image):
            problems.append(Problem("turned", str(sample.image)))
    except SampleError as error:
        problems.append(Problem("unreadable", error.sample, error.reason))
    if not sample.mask.exists():
        problems.append(Problem("no mask", str(sample.image), f"expected {sample.mask}"))
    else:
        try:
            mask = sample.read_mask()
        except SampleError as error:
            kind = "unreadable" if "cannot be read" in error.reason else "mask format"
            problems.append(Problem(kind, error.sample, error.reason))
    if mask is not None:
        values = np.bincount(mask.reshape(-1), minlength=IGNORE + 1) > 0
        beyond = np.flatnonzero(values[:IGNORE])
        beyond = beyond[beyond >= n_classes]
        if len(beyond):
            listed = ", ".join(map(str, beyond[:5].tolist()))
            problems.append(Problem("value", str(sample.mask), f"holds {listed}; expected 0 to {n_classes - 1}"))
        if not values[:IGNORE].any():
            problems.append(Problem("all ignored", str(sample.mask)))
        if image is not None and mask.shape != image.shape[:2]:
            sizes = f"{mask.shape[1]} x {mask.shape[0]}, its photograph {image.shape[1]} x {image.shape[0]}"
            problems.append(Problem("size", str(sample.mask), sizes))
    return _Seen(problems, None if image is None else likeness(image), values)


def _turned(path: Path) -> bool:
    with Image.open(path) as picture:
        return bool(picture.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT)


def _twins(hashes: dict[str, dict[str, Hashes]]) -> Iterator[Problem]:
    """The same picture in two splits, or twice in one."""
    splits = list(hashes)
    for index, split in enumerate(splits):
        names, own = list(hashes[split]), stacked(list(hashes[split].values()))
        for other in splits[index:]:
            others = list(hashes[other])
            for row, column in alike(own, stacked(list(hashes[other].values()))):
                if other != split:
                    yield Problem("in train and val", others[column], f"shows what {names[row]} shows")
                elif row < column:
                    yield Problem("twice", names[column], f"shows what {names[row]} shows")
