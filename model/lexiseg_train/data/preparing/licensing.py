"""List the photographs of data sets with a licence for commercial use, by COCO's and Open Images' own lists.

COCO's JSON files, whether of masks or captions, have `licenses` and `images[].license`; Open Images' files of image ids
have the columns `ImageID` and `License`. Both name licences by address.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import pictures_in
from lexiseg_train.data.licences import FREE_TERMS, read_rows, write_rows

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
    """Write `licences.csv` of a folder of data sets: photographs are known by their names without suffix.

    Rows of other photographs that are there already stay.

    Args:
        root: folder of data sets, each with `images`, or with `train/images` and others.
        listings: JSON files of COCO, CSV files of Open Images.

    Raises:
        DatasetError: there is no photograph, or a list is of neither kind.
    """
    photographs = [path for folder in _image_folders(root) for path in pictures_in(folder)]
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


def _image_folders(root: Path) -> list[Path]:
    return sorted(path for pattern in ("*/images", "*/*/images") for path in root.glob(pattern) if path.is_dir())


def _read_terms(listing: Path, stems: Collection[str]) -> Iterator[tuple[str, Terms]]:
    """Names without suffix and terms of the requested photographs of a list."""
    try:
        with listing.open(newline="", encoding="utf-8") as file:
            if listing.suffix == ".csv":
                yield from _of_open_images(listing, csv.DictReader(file), stems)
            else:
                yield from _of_coco(listing, json.load(file), stems)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{listing} cannot be read: {error}") from None


def _of_open_images(listing: Path, rows: csv.DictReader[str], stems: Collection[str]) -> Iterator[tuple[str, Terms]]:
    if not {ID, LICENCE} <= {*(rows.fieldnames or ())}:
        raise DatasetError(f"{listing} has the columns {rows.fieldnames}; expected {ID} and {LICENCE} of Open Images")
    for row in rows:
        if row[ID] in stems:
            yield row[ID], Terms(row[LICENCE] or "", row.get("Author") or "", row.get("OriginalLandingURL") or "")


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
