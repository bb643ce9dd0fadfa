"""Which photographs allow a company to use what was trained on them, and whom to credit.

`licences.csv` next to the sets has a row for each such photograph; its `file` is the path from there.
`licences-coco.csv` names photographs of sets from COCO by the columns `set` and `file`. `write_licences` fills the
first by COCO's and Open Images' own lists, which name licences by address.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import pictures_in
from lexiseg_train.data.indexed import IndexedDataset

FREE_TERMS, OF_COCO = "licences.csv", "licences-coco.csv"
ATTRIBUTION = "ATTRIBUTION.csv"  # next to weights trained on such photographs
Stems = Mapping[str, frozenset[str]]  # of each set: names of photographs without suffix


class Licensed(NamedTuple):
    """A photograph that may be used: its set, its name without suffix, and its row as it is listed."""

    set: str
    stem: str
    row: dict[str, str]


def licensed(root: Path) -> list[Licensed]:
    listed = [(Path(row["file"]), row) for row in read_rows(root / FREE_TERMS)]
    listed += [(Path(row["set"], row["file"]), row) for row in read_rows(root / OF_COCO)]
    if not listed:
        raise DatasetError(
            f"{root} has neither {FREE_TERMS} nor {OF_COCO}, the photographs whose licence allows commercial use; "
            "`lexiseg data licences` writes it"
        )
    return [Licensed(place.parts[0], place.stem, row) for place, row in listed]


def usable_photographs(root: Path, sets: Iterable[str]) -> Stems:
    """The photographs of some sets that the lists name; sets without any are left out."""
    stems: dict[str, set[str]] = {}
    for photograph in licensed(root):
        stems.setdefault(photograph.set, set()).add(photograph.stem)
    usable = {name: frozenset(stems[name]) for name in sets if name in stems}
    if not usable:
        raise DatasetError(f"the lists in {root} name photographs of {', '.join(stems)}, not of {', '.join(sets)}")
    return usable


def only_usable(data: IndexedDataset, usable: Stems) -> IndexedDataset:
    return replace(data, samples=tuple(sample for sample in data.samples if sample.name in usable[data.name]))


def write_attribution(folder: Path, root: Path, sets: Iterable[str]) -> None:
    """Write whom to credit for the photographs of some sets, next to the weights that were trained on them."""
    sets = {*sets}
    write_rows(folder / ATTRIBUTION, [photograph.row for photograph in licensed(root) if photograph.set in sets])


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *([row.get(column, "") for column in columns] for row in rows)])


# Parts of addresses. Terms without derivatives ("nd") do not allow training, non-commercial ones no sale.
ALLOWING = ("/licenses/by/", "/licenses/by-sa/", "/publicdomain/", "/commons/usage", "usa.gov/copyright")
ID, LICENCE = "ImageID", "License"  # columns of Open Images


class Terms(NamedTuple):
    """What a public list says of a photograph: the licence's address, the author, where it is; "" if not told."""

    licence: str
    author: str
    address: str

    @property
    def is_free(self) -> bool:
        """Whether a company may sell what was trained on it."""
        return any(part in self.licence for part in ALLOWING)


class Counts(NamedTuple):
    """Photographs that may be used, by licence; how many may not, and how many no list names."""

    free: Counter[str]
    refused: int
    unknown: int


def write_licences(root: Path, listings: list[Path]) -> Counts:
    """Write `licences.csv` of sets by JSON of COCO and CSV of Open Images; rows of other photographs stay."""
    folders = sorted(path for pattern in ("*/images", "*/*/images") for path in root.glob(pattern) if path.is_dir())
    photographs = [path for folder in folders for path in pictures_in(folder)]
    if not photographs:
        raise DatasetError(f"{root} has no photographs; expected SET/images or SET/SPLIT/images")
    stems = {path.stem for path in photographs}
    terms = {stem: each for listing in listings for stem, each in _read_terms(listing, stems)}
    rows = {row["file"]: row for row in read_rows(root / FREE_TERMS)}
    listed = [(path, terms[path.stem]) for path in photographs if path.stem in terms]
    free = [(path, each) for path, each in listed if each.is_free]
    for path, each in free:
        file = path.relative_to(root).as_posix()
        rows[file] = {"file": file, **each._asdict()}
    if rows:
        write_rows(root / FREE_TERMS, list(rows.values()))
    return Counts(Counter(each.licence for _, each in free), len(listed) - len(free), len(photographs) - len(listed))


def _read_terms(listing: Path, stems: Collection[str]) -> Iterator[tuple[str, Terms]]:
    try:
        with listing.open(newline="", encoding="utf-8") as file:
            if listing.suffix != ".csv":
                yield from _of_coco(listing, json.load(file), stems)
                return
            rows = csv.DictReader(file)
            if not {ID, LICENCE} <= {*(rows.fieldnames or ())}:
                expected = f"expected {ID} and {LICENCE} of Open Images"
                raise DatasetError(f"{listing} has the columns {rows.fieldnames}; {expected}")
            for row in rows:
                if row[ID] in stems:
                    owner = (row.get("Author") or "", row.get("OriginalLandingURL") or "")
                    yield row[ID], Terms(row[LICENCE] or "", *owner)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{listing} cannot be read: {error}") from None


def _of_coco(listing: Path, content: Any, stems: Collection[str]) -> Iterator[tuple[str, Terms]]:
    try:
        addresses = {each["id"]: str(each["url"]) for each in content["licenses"]}
        for image in content["images"]:
            stem = Path(image["file_name"]).stem
            if stem in stems:
                yield stem, Terms(addresses.get(image.get("license"), ""), "", str(image.get("flickr_url", "")))
    except (KeyError, TypeError) as error:
        raise DatasetError(
            f"{listing} is not COCO's JSON with licences: {error!r}; expected licenses[].id, licenses[].url and "
            "images[].file_name, images[].license"
        ) from None
