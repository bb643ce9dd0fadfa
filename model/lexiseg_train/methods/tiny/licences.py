"""Which photographs allow a company to use what was trained on them, and whom to credit.

`licences.csv` beside the data sets has a row for each such photograph: `SET/.../NAME.jpg`, source, licence, author,
address. `licences-coco.csv` names those of sets from COCO: set, file, licence, photograph, address, labels.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from lexiseg_model.errors import DatasetError

LISTS = ("licences.csv", "licences-coco.csv")
ATTRIBUTION = "ATTRIBUTION.csv"  # beside weights trained on such photographs


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
    found = [*_listed(root / LISTS[0], lambda row: row["file"]), *_listed(root / LISTS[1], _place_in_coco)]
    if not found:
        raise DatasetError(f"data.licence=fair needs {' or '.join(LISTS)} in {root}: the photographs that may be used")
    return found


def stems_by_set(found: list[Licensed]) -> dict[str, frozenset[str]]:
    """Names without suffix of each set's photographs."""
    stems: dict[str, set[str]] = {}
    for photograph in found:
        stems.setdefault(photograph.set, set()).add(photograph.stem)
    return {name: frozenset(each) for name, each in stems.items()}


def write_attribution(folder: Path, root: Path, sets: list[str]) -> None:
    """Write who is to be credited for photographs of some sets, beside the weights that were trained on them."""
    rows = [photograph.row for photograph in licensed(root) if photograph.set in sets]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (folder / ATTRIBUTION).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _place_in_coco(row: dict[str, str]) -> str:
    return f"{row['set']}/{row['file']}"


def _listed(path: Path, place_of: Callable[[dict[str, str]], str]) -> Iterator[Licensed]:
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            place = Path(place_of(row))
            yield Licensed(place.parts[0], place.stem, row)
