"""`lexiseg data check`: problems of a data set before hours are spent on it.

Checks sets of photographs with masks (`SET/classes.json`, `SET/SPLIT/images`, `SET/SPLIT/masks`) and pairs. Every file
is read, in threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.data.indexed import BACKGROUND, CLASSES, IGNORE, Sample, opened, read_classes
from lexiseg_model.data.pairs.source import PairSource, decode
from lexiseg_model.data.read_ahead import read_ahead
from lexiseg_model.errors import DatasetError, SampleError

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
    "no classes": "no list of class names; enough for regions and prompts, other training refuses the set",
    "twice": "the same picture twice in one split",
    "turned": "an EXIF rotation; masks follow the stored pixels",
    "no caption": "a pair without a caption; training skips it",
}
ORIENTATION, UPRIGHT = 0x0112, 1  # EXIF
AHEAD = 64  # photographs submitted to the threads at once
SIDE = 16  # of the grid of a perceptual hash
HASH_WORDS = SIDE * SIDE // 64
MAX_DIFFERENCE = 10  # of 256 bits; re-encoded and resized photographs differ in 0 to 6
COMPARISONS = 1 << 22  # at a time

Hashes = NDArray[np.uint64]  # [N, HASH_WORDS]
OnStep = Callable[[], object]
OnCount = Callable[[int], object]


class Problem(NamedTuple):
    """A kind of ERRORS or WARNINGS, the file, and details."""

    kind: str
    file: str
    detail: str = ""


@dataclass
class Checked:
    """Number of photographs per split, and problems."""

    photographs: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.kind in ERRORS]

    def counts(self) -> list[tuple[str, int]]:
        """Kinds of problems with their numbers, errors first."""
        met = Counter(problem.kind for problem in self.problems)
        return [(kind, met[kind]) for kind in (*ERRORS, *WARNINGS) if met[kind]]

    def examples(self, kind: str, limit: int) -> Sequence[Problem]:
        return [problem for problem in self.problems if problem.kind == kind][:limit]

    def add(self, problems: Iterable[Problem]) -> None:
        self.problems.extend(problems)


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
    checked = Checked({"pairs": total})
    on_count(total)
    checked.add(Problem("unreadable", skipped.name, skipped.reason) for skipped in source.damaged)

    def look(index: int) -> list[Problem]:
        try:
            decode(source.read(index))
        except SampleError as error:
            kind = "no caption" if "caption" in error.reason else "unreadable"
            return [Problem(kind, error.sample, error.reason)]
        return []

    for _, problems in read_ahead(range(total), look, AHEAD):
        checked.add(problems)
        on_step()
    return checked


def check_masks(folder: Path, on_step: OnStep = lambda: None, on_count: OnCount = lambda _: None) -> Checked:
    """Read every photograph and mask of every split of a set; arguments as in `check_pairs`."""
    checked = Checked()
    classes = _classes(folder, checked)
    splits = {path.parent.name: path for path in sorted(folder.glob("*/images")) if path.is_dir()}
    if not splits:
        checked.add([Problem("layout", str(folder), "no SPLIT/images; expected train/images and train/masks")])
    listed = {split: sorted(path for path in images.iterdir() if path.is_file()) for split, images in splits.items()}
    on_count(sum(map(len, listed.values())))
    hashes: dict[str, dict[str, Hashes]] = {}
    n_classes = len(classes) if classes else IGNORE
    for split, images in listed.items():
        split_folder = splits[split].parent
        checked.photographs[split] = len(images)
        if not images:
            checked.add([Problem("layout", str(splits[split]), "holds no photographs")])
        present = np.zeros(IGNORE + 1, np.bool_)
        hashes[split] = {}

        def look(image: Path, masks: Path = split_folder / "masks") -> _MaskProblems:
            return _look(Sample(image, masks / f"{image.stem}.png"), n_classes)

        for image, seen in read_ahead(images, look, AHEAD):
            checked.add(seen.problems)
            present |= seen.values
            if seen.hash is not None:
                hashes[split][str(image)] = seen.hash
            on_step()
        missing = [f"{value} {name}" for value, name in enumerate(classes) if name != BACKGROUND and not present[value]]
        checked.add(Problem("empty class", str(folder / split), entry) for entry in missing)
    checked.add(_duplicates(hashes))
    return checked


def perceptual_hash(image: NDArray[np.uint8]) -> Hashes:
    """[HASH_WORDS]: where brightness rises from left to right on a 16 x 16 grid of an RGB image [H, W, 3]."""
    small = Image.fromarray(image).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    cells = np.asarray(small, np.int16)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).view(np.uint64)


def alike(first: Hashes, second: Hashes) -> list[tuple[int, int]]:
    """Pairs of rows of [N, HASH_WORDS] and [M, HASH_WORDS] that belong to the same picture."""
    if not len(first) or not len(second):
        return []
    rows = max(1, COMPARISONS // len(second))
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(first), rows):
        differing = np.bitwise_count(first[start : start + rows, None] ^ second[None]).sum(2, dtype=np.int64)
        pairs += [(start + int(row), int(column)) for row, column in np.argwhere(differing <= MAX_DIFFERENCE)]
    return pairs


def _classes(folder: Path, checked: Checked) -> tuple[str, ...]:
    """Class names of a set; empty for sets of regions."""
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
    checked.add(Problem("layout", str(listing), f"the class {name!r} occurs twice") for name in twice)
    return classes


class _MaskProblems(NamedTuple):
    """Results of one photograph; `values` [256] are the values of its mask."""

    problems: list[Problem]
    hash: Hashes | None
    values: NDArray[np.bool_]


def _look(sample: Sample, n_classes: int) -> _MaskProblems:
    problems: list[Problem] = []
    values = np.zeros(IGNORE + 1, np.bool_)
    image = mask = None
    try:
        image = sample.read_image()
        with opened(sample.image) as picture:
            if picture.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT:
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
        beyond = [value for value in np.flatnonzero(values[:IGNORE]).tolist() if value >= n_classes]
        if beyond:
            listed = ", ".join(map(str, beyond[:5]))
            problems.append(Problem("value", str(sample.mask), f"holds {listed}; expected 0 to {n_classes - 1}"))
        if image is not None and mask.shape != image.shape[:2]:
            sizes = f"{mask.shape[1]} x {mask.shape[0]}, its photograph {image.shape[1]} x {image.shape[0]}"
            problems.append(Problem("size", str(sample.mask), sizes))
    return _MaskProblems(problems, None if image is None else perceptual_hash(image), values)


def _duplicates(hashes: dict[str, dict[str, Hashes]]) -> Iterator[Problem]:
    """The same picture in two splits, or twice in one."""
    splits = list(hashes)
    stacked = {
        split: np.array(list(each.values()), np.uint64).reshape(-1, HASH_WORDS) for split, each in hashes.items()
    }
    for index, split in enumerate(splits):
        names = list(hashes[split])
        for other in splits[index:]:
            others = list(hashes[other])
            for row, column in alike(stacked[split], stacked[other]):
                if other != split:
                    yield Problem("in train and val", others[column], f"shows the same as {names[row]}")
                elif row < column:
                    yield Problem("twice", names[column], f"shows the same as {names[row]}")
