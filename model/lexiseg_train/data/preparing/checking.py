"""`lexiseg data check`: problems of a data set before hours are spent on it.

Checks sets of photographs with masks (`SET/classes.json`, `SET/SPLIT/images`, `SET/SPLIT/masks`) and pairs. Every file
is read, in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.files.names import pictures_in
from lexiseg_model.pictures.colours import GUESSED_DEPTH
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.alike import Hash, are_copies, detail, perceptual_hash, show_the_same
from lexiseg_train.data.files.runs import read_ahead
from lexiseg_train.data.indexed import CLASSES, IGNORE, Sample, one_value_warning, read_classes, read_picture
from lexiseg_train.data.pairs.source import PairSource, decode

# Meaning of each kind of problem for training; errors make a set unfit, warnings should be looked at.
ERRORS = {
    "layout": "a folder, a list or a file is not where it is expected",
    "unreadable": "cannot be read; training skips it",
    "no mask": "a photograph without a mask; training refuses the set",
    "mask format": "a mask with several channels or 16 bits; training skips it",
    "size": "a mask of another size than its photograph; training skips it",
    "value": "a mask value beyond the class list; training skips it",
    "in train and val": "the same picture in two splits; the validation measures what was trained on",
}
WARNINGS = {
    "empty class": "a class that no mask of the split shows",
    "one value": "masks of 0 and 255 alone; 255 is ignored, so nothing is learned or measured",
    "no classes": "no list of class names; enough for regions and prompts, other training refuses the set",
    "twice": "the same picture twice in one split",
    "alike": "two pictures that look alike, as of a fixed camera, or one that was stored again",
    "depth": "no 8 bits, and no word on which values are black and white; stretched by its own range",
    "no caption": "a pair without a caption; training skips it",
}
AHEAD = 64  # photographs submitted to the threads at once
COMPARISONS = 1 << 22  # at a time

OnStep = Callable[[], object]
OnCount = Callable[[int], object]


class Problem(NamedTuple):
    kind: str
    file: str
    detail: str = ""


@dataclass
class Checked:
    photographs: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.kind in ERRORS]

    def by_kind(self) -> dict[str, list[Problem]]:
        """The problems of each kind that was met, errors first."""
        groups = {kind: [each for each in self.problems if each.kind == kind] for kind in (*ERRORS, *WARNINGS)}
        return {kind: problems for kind, problems in groups.items() if problems}


def is_masked(folder: Path) -> bool:
    """Whether a folder is laid out as a set of photographs with masks."""
    splits = [path.parent for path in folder.glob("*/images")]
    if (folder / CLASSES).exists():
        return bool(splits)
    # Sets of regions have no class list; a subfolder with a list is a set, not a split.
    return any((split / "masks").is_dir() and not any(split.glob("*.json")) for split in splits)


def check_pairs(source: PairSource, on_step: OnStep = lambda: None, on_count: OnCount = lambda _: None) -> Checked:
    """Read and decode every pair; `on_step` is called after each, `on_count` once with their number."""
    total = sum(source.sizes)
    on_count(total)
    problems = [Problem("unreadable", skipped.name, skipped.reason) for skipped in source.damaged]

    def check(index: int) -> list[Problem]:
        try:
            decode(source.read(index))
        except SampleError as error:
            kind = "no caption" if error.reason.startswith("has no caption") else "unreadable"
            return [Problem(kind, error.sample, error.reason)]
        return []

    for _, of_pair in read_ahead(range(total), check, AHEAD):
        problems += of_pair
        on_step()
    return Checked({"pairs": total}, problems)


def check_masks(folder: Path, on_step: OnStep = lambda: None, on_count: OnCount = lambda _: None) -> Checked:
    """Read every photograph and mask of every split of a set; arguments as in `check_pairs`."""
    classes, problems = _check_classes(folder)
    places = [path for path in sorted(folder.glob("*/images")) if path.is_dir()]
    if not places:
        problems.append(Problem("layout", str(folder), "no SPLIT/images; expected train/images and train/masks"))
    listed = {images.parent: pictures_in(images) for images in places}
    on_count(sum(map(len, listed.values())))
    hashes: dict[Path, Hash] = {}
    check = partial(_check_photograph, n_classes=len(classes) or IGNORE)
    for split, images in listed.items():
        if not images:
            problems.append(Problem("layout", str(split / "images"), "holds no photographs"))
        present = np.zeros(IGNORE + 1, np.bool_)
        for image, (of_image, hashed, values) in read_ahead(images, check, AHEAD):
            problems += of_image
            present |= values
            if hashed is not None:
                hashes[image] = hashed
            on_step()
        missing = [f"{value} {name}" for value, name in enumerate(classes) if name != BACKGROUND and not present[value]]
        problems += [Problem("empty class", str(split), entry) for entry in missing]
        if present.any():
            sentences = one_value_warning(split.name, np.flatnonzero(present).tolist(), len(classes) or IGNORE)
            problems += [Problem("one value", str(split), sentence) for sentence in sentences]
    problems += _duplicates(hashes)
    return Checked({split.name: len(images) for split, images in listed.items()}, problems)


def _check_classes(folder: Path) -> tuple[tuple[str, ...], list[Problem]]:
    """Class names of a set, empty for sets of regions; and what is wrong with the list."""
    listing = folder / CLASSES
    if not listing.exists():
        detail = f"there is no {CLASSES}; expected a list of class names, index = mask value"
        return (), [Problem("no classes", str(listing), detail)]
    try:
        classes = read_classes(listing)
    except DatasetError as error:
        return (), [Problem("layout", str(listing), str(error))]
    twice = sorted({name for name in classes if classes.count(name) > 1})
    return classes, [Problem("layout", str(listing), f"the class {name!r} occurs twice") for name in twice]


def _check_photograph(image: Path, n_classes: int) -> tuple[list[Problem], Hash | None, NDArray[np.bool_]]:
    """Problems and perceptual hash of one photograph, and which values [256] its mask holds."""
    sample = Sample(image, image.parents[1] / "masks" / f"{image.stem}.png")
    problems: list[Problem] = []
    pixels = mask = None
    try:
        picture = read_picture(image)
        pixels = picture.rgb
        problems += [
            Problem("depth" if note.type == GUESSED_DEPTH else "colours", str(image), note.text)
            for note in picture.notes
        ]
    except SampleError as error:
        problems.append(Problem("unreadable", error.sample, error.reason))
    if not sample.mask.exists():
        problems.append(Problem("no mask", str(image), f"expected {sample.mask}"))
    else:
        try:
            mask = sample.read_mask()
        except SampleError as error:
            kind = "unreadable" if "cannot be read" in error.reason else "mask format"
            problems.append(Problem(kind, error.sample, error.reason))
    hashed = None if pixels is None else perceptual_hash(pixels)
    if mask is None:
        return problems, hashed, np.zeros(IGNORE + 1, np.bool_)
    values = np.bincount(mask.reshape(-1), minlength=IGNORE + 1) > 0
    if beyond := [value for value in np.flatnonzero(values[:IGNORE]).tolist() if value >= n_classes]:
        listed = ", ".join(map(str, beyond[:5]))
        problems.append(Problem("value", str(sample.mask), f"holds {listed}; expected 0 to {n_classes - 1}"))
    if pixels is not None and mask.shape != pixels.shape[:2]:
        sizes = f"{mask.shape[1]} x {mask.shape[0]}, its photograph {pixels.shape[1]} x {pixels.shape[0]} upright"
        problems.append(Problem("size", str(sample.mask), sizes))
    return problems, hashed, values


def _duplicates(hashes: Mapping[Path, Hash]) -> Iterator[Problem]:
    """The same picture in two splits, or twice in one; of others that look alike each once."""
    detail_at = cache(lambda path: detail(read_picture(path).rgb))
    alike: set[Path] = set()
    files, stacked = list(hashes), np.array(list(hashes.values()), np.uint64)
    rows = max(1, COMPARISONS // max(1, len(files)))
    for start in range(0, len(files), rows):
        for row, column in np.argwhere(are_copies(stacked[start : start + rows, None], stacked)).tolist():
            one, other = files[start + row], files[column]
            if start + row >= column:
                continue
            if show_the_same(detail_at(one), detail_at(other)):
                kind = "twice" if one.parent == other.parent else "in train and val"
                yield Problem(kind, str(other), f"shows the same as {one}")
            elif other not in alike:
                alike.add(other)
                yield Problem("alike", str(other), f"looks like {one}")
