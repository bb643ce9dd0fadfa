"""Cells of photographs with masks: what directions are learned from, sampled once for each set and network.

Of a photograph some cells are drawn as they fall, and some of each class that it shows, so that small things count. The
mask of a part is its box within its whole's mask, an ellipse in the box for what is round.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.teaching import cell_labels, with_middle
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.heads import UNKNOWN
from lexiseg_train.data.alike import HeldOut
from lexiseg_train.data.indexed import (
    CLASSES,
    IGNORE,
    IndexedDataset,
    Sample,
    evenly_spread,
    photographs_in,
    read_classes,
    read_dataset,
)
from lexiseg_train.methods.tiny.sources import of_everyday_check

SET = "voc-parts"
ROUND = frozenset(
    (
        *("head", "eye", "wheel", "headlight", "ear", "nose", "mouth", "muzzle", "mirror", "hand", "foot", "hoof"),
        *("engine", "saddle", "beak", "bottle cap"),
    )
)
# What lies on a part of the rank before; all others are of the first rank.
RANKS = (
    frozenset(["muzzle", "ear", "horn", "beak", "hand", "foot", "hoof", "headlight", "mirror", "license plate"]),
    frozenset(["eye", "nose", "mouth"]),
)
CORE, RIM = 0.9, 1.25  # squared radius of an ellipse inside which a cell is the part's, and up to which it is unsure
NOTHING = 0
AS_THEY_FALL, OF_A_CLASS, OF_A_PART = 256, 40, 24  # cells of a photograph, at most
NO_PARTS = IGNORE - 1  # value of a cell of a photograph without marked parts
Arrays = dict[str, NDArray[Any]]


class Part(NamedTuple):
    name: str
    xyxy: tuple[float, float, float, float]
    of: str


class Parts:
    """The parts of photographs that other sets hold in a split, by set and name; `names`: of all parts, from mask value
    1 on."""

    def __init__(self, root: Path, split: str = "train") -> None:
        """Read `parts.json` of the set below a folder of data sets; without it no photograph has parts."""
        path = root / SET / "parts.json"
        listing = json.loads(path.read_text()) if path.exists() else {}
        self.of = {
            (entry["set"].removesuffix(f"/{split}"), stem): [
                Part(part["name"], tuple(part["xyxy"]), part["of"]) for part in entry["parts"]
            ]
            for stem, entry in listing.items()
            if entry["set"].endswith(f"/{split}")
        }
        everything = [part for parts in self.of.values() for part in parts]
        self.names = sorted({part.name for part in everything})
        self.pairs = sorted({(part.name, part.of) for part in everything})

    def mask(self, parts: list[Part], mask: NDArray[np.uint8], classes: tuple[str, ...]) -> NDArray[np.uint8]:
        """Values [H, W] of parts in a photograph with a mask [H, W] of `classes`: NOTHING, 1 + index, or IGNORE."""
        values = np.full(mask.shape, NOTHING, np.uint8)
        for rank in range(1 + len(RANKS)):
            above = self._of_rank([part for part in parts if rank_of(part.name) == rank], mask, classes)
            values = np.where(above == NOTHING, values, above)
        return values

    def _of_rank(self, parts: list[Part], mask: NDArray[np.uint8], classes: tuple[str, ...]) -> NDArray[np.uint8]:
        values, unsure = np.full(mask.shape, NOTHING, np.uint8), np.zeros(mask.shape, bool)
        y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
        for part in parts:
            x0, y0, x1, y1 = part.xyxy
            inside = (x + 0.5 >= x0) & (x + 0.5 < x1) & (y + 0.5 >= y0) & (y + 0.5 < y1)
            inside = inside & (mask == classes.index(part.of))
            value = 1 + self.names.index(part.name)
            if part.name in ROUND:
                across, down = max(x1 - x0, 1) / 2, max(y1 - y0, 1) / 2
                radius = ((x + 0.5 - (x0 + x1) / 2) / across) ** 2 + ((y + 0.5 - (y0 + y1) / 2) / down) ** 2
                unsure |= inside & (radius > CORE) & (radius <= RIM)
                inside = inside & (radius <= CORE)
            unsure |= inside & (values != NOTHING) & (values != value)
            values[inside] = value
        values[unsure] = IGNORE
        return values


def rank_of(name: str) -> int:
    """0 for a part of the whole, 1 for one that lies on such a part, 2 for what lies on that."""
    return next((rank for rank, names in enumerate(RANKS, 1) if name in names), 0)


@dataclass(frozen=True)
class Cells:
    """N cells of the P photographs of a set.

    Attributes:
        name: of the set.
        classes: by mask value.
        numbers: float16 [N, D + 120], the embedding and the trunk's map.
        image, coarse: float16 [P, D] and [M, D], of the whole photographs and of their cells at stride 32, of which
            each has `n_coarse` [P]; presence is read from these.
        photograph: int32 [N], the index of each cell's.
        value, part: uint8 [N], of the mask and of `Parts.mask`; IGNORE: not known, NO_PARTS: nobody marked parts.
        as_it_falls: bool [N], not drawn for its class.
    """

    name: str
    classes: tuple[str, ...]
    numbers: NDArray[np.float16]
    image: NDArray[np.float16]
    coarse: NDArray[np.float16]
    n_coarse: NDArray[np.int64]
    photograph: NDArray[np.int32]
    value: NDArray[np.uint8]
    part: NDArray[np.uint8]
    as_it_falls: NDArray[np.bool_]

    @property
    def has_background(self) -> bool:
        """Whether value 0 is none of the classes."""
        return self.classes[0] == BACKGROUND


def cells_of_set(segmenter: TinySegmenter, root: Path, packs: Path, name: str, most: int) -> Cells:
    """The cells of at most so many photographs of a set, without validation's and unseen ones; kept in `packs`."""
    data = photographs_of(root, name)
    path = packs / f"{name}-{segmenter.digest}-{most}.npz"
    if not path.exists():
        packs.mkdir(parents=True, exist_ok=True)
        of_each = [*_sampled(segmenter, root, data, evenly_spread(data.samples, most))]
        together = {key: np.concatenate([arrays[key] for arrays in of_each]) for key in of_each[0]}
        together["photograph"] = np.repeat(np.arange(len(of_each), dtype=np.int32), together.pop("n_cells"))
        np.savez(path, allow_pickle=False, **together)
    with np.load(path) as arrays:
        return Cells(name, data.classes, **arrays)


def photographs_of(root: Path, name: str) -> IndexedDataset:
    """The training split of a set, or the photographs of one without splits. Raises DatasetError: it has neither."""
    folder = root / name
    if (folder / "train").is_dir():
        return read_dataset(root, name, "train")
    if not (folder / CLASSES).is_file():
        raise DatasetError(f"{folder / CLASSES} does not exist; expected a list of class names, index = mask value")
    samples = (Sample(path, folder / "masks" / f"{path.stem}.png") for path in photographs_in(folder))
    return IndexedDataset(name, "", read_classes(folder / CLASSES), tuple(s for s in samples if s.mask.is_file()))


def _sampled(segmenter: TinySegmenter, root: Path, data: IndexedDataset, samples: list[Sample]) -> Iterator[Arrays]:
    held_out, parts = HeldOut(root, data.name, of_everyday_check(root, data.name)), Parts(root)
    for number, sample in enumerate(samples):
        image, mask = sample.read(len(data.classes))
        if held_out.withholds(image):
            continue
        tensors = segmenter.encode(image).tensors
        maps = with_middle(tensors["pixels"].float(), tensors["middle"].float())[:-1]
        numbers = maps.flatten(1).T.half().numpy()
        grid = (tensors["pixels"].shape[1], tensors["pixels"].shape[2])
        value = _of_cells(mask, grid)
        marked = parts.of.get((data.name, sample.name))
        part = np.full_like(value, NO_PARTS)
        if marked is not None:
            part = _of_cells(parts.mask(marked, mask, data.classes), grid)
        rows, n_fallen = draw(value, part, np.random.default_rng(number))
        if len(rows):
            yield {
                "numbers": numbers[rows],
                "image": tensors["image"][None].numpy(),
                "coarse": tensors["cells"].flatten(1).T.numpy(),
                "n_coarse": np.array([tensors["cells"][0].numel()]),
                "n_cells": np.array([len(rows)]),
                "value": value[rows],
                "part": part[rows],
                "as_it_falls": np.arange(len(rows)) < n_fallen,
            }


def _of_cells(mask: NDArray[np.uint8], grid: tuple[int, int]) -> NDArray[np.uint8]:
    """The value [h * w] of each cell of a mask, IGNORE where no value has most of it."""
    values = cell_labels(np.where(mask == IGNORE, UNKNOWN, mask.astype(np.int16)), grid).ravel()
    return np.where(values == UNKNOWN, IGNORE, values).astype(np.uint8)


def draw(
    value: NDArray[np.uint8], part: NDArray[np.uint8], random: np.random.Generator
) -> tuple[NDArray[np.int64], int]:
    """Rows of cells with values and parts [n]: first so many as they fall, then some of each class and part."""
    labelled = np.flatnonzero(value != IGNORE)
    fallen = random.permutation(labelled)[:AS_THEY_FALL]
    rows = [fallen]
    for values, most, others in ((value, OF_A_CLASS, ()), (part, OF_A_PART, (NOTHING, NO_PARTS))):
        for each in np.setdiff1d(np.unique(values), [IGNORE, *others]):
            rows.append(random.permutation(np.flatnonzero(values == each))[:most])
    return np.concatenate(rows), len(fallen)
