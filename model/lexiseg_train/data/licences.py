"""Which photographs allow a company to use what was trained on them, and whom to credit.

`licences.csv` next to the sets has a row for each such photograph; its `file` is the path from there.
`licences-coco.csv` names photographs of sets from COCO by the columns `set` and `file`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.indexed import IndexedDataset

FREE_TERMS = "licences.csv"
LISTS = (FREE_TERMS, "licences-coco.csv")
ATTRIBUTION = "ATTRIBUTION.csv"  # next to weights trained on such photographs
Stems = Mapping[str, frozenset[str]]  # of each set: names of photographs without suffix


class Licensed(NamedTuple):
    """A photograph that may be used: its set, its name without suffix, and its row as it is listed."""

    set: str
    stem: str
    row: dict[str, str]


def licensed(root: Path) -> list[Licensed]:
    """The photographs that the lists below a folder of data sets name.

    Raises:
        DatasetError: there is no list.
    """
    licences = [*_listed(root / LISTS[0], lambda row: row["file"]), *_listed(root / LISTS[1], _place_in_coco)]
    if not licences:
        raise DatasetError(
            f"{root} has neither {' nor '.join(LISTS)}, the photographs whose licence allows commercial use; "
            "`lexiseg data licences` writes it"
        )
    return licences


def usable_photographs(root: Path, sets: Iterable[str]) -> Stems:
    """The photographs of some sets that the lists name; sets without any are left out.

    Raises:
        DatasetError: no set has one.
    """
    stems: dict[str, set[str]] = {}
    for photograph in licensed(root):
        stems.setdefault(photograph.set, set()).add(photograph.stem)
    usable = {name: frozenset(stems[name]) for name in sets if name in stems}
    if not usable:
        raise DatasetError(f"the lists in {root} name photographs of {', '.join(stems)}, not of {', '.join(sets)}")
    return usable


def only_usable(data: IndexedDataset, usable: Stems) -> IndexedDataset:
    """A split without the photographs that are not listed."""
    return replace(data, samples=tuple(sample for sample in data.samples if sample.name in usable[data.name]))


def write_attribution(folder: Path, root: Path, sets: Iterable[str]) -> None:
    """Write whom to credit for the photographs of some sets, next to the weights that were trained on them."""
    sets = {*sets}
    write_rows(folder / ATTRIBUTION, [photograph.row for photograph in licensed(root) if photograph.set in sets])


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a list; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows under all columns that any of them has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _place_in_coco(row: dict[str, str]) -> str:
    return f"{row['set']}/{row['file']}"


def _listed(path: Path, place_of: Callable[[dict[str, str]], str]) -> Iterator[Licensed]:
    for row in read_rows(path):
        place = Path(place_of(row))
        yield Licensed(place.parts[0], place.stem, row)
