"""The source that a command line names: a folder, tables or shards at an address of any fsspec store.

Tables are CSV with addresses, or parquet with pictures or their addresses.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

import pyarrow

from lexiseg_model.catalogue.store import connect_store, numbered, open_store
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import COLUMNS_OF_FILES, as_text
from lexiseg_service.batch.rows import open_parquet
from lexiseg_service.batch.sources.source import Picture, in_folder, in_shard

Kind = Literal["files", "csv", "parquet", "webdataset"]
COLUMNS_OF_ADDRESSES = ("url", *COLUMNS_OF_FILES)
COLUMNS_OF_PICTURES = ("image", "jpg", "png", "bytes", "content")
SUFFIXES: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tar": "webdataset",
}


class Source(NamedTuple):
    """URL and kind of a job's input; for tables, the columns with the ids and the pictures, None: by their names."""

    url: str
    kind: Kind
    id_column: str | None = None
    image_column: str | None = None


def source_of(url: str, kind: Kind | None, id_column: str | None, image_column: str | None) -> Source:
    """The source at a URL; a `kind` of None is recognised by suffix or by the files in the folder."""
    first = next(_matching(url), None)
    if first is None:
        raise DatasetError(f"{url}: nothing is there")
    store, path = connect_store(first)
    if kind is None:
        kind = SUFFIXES.get(_suffix(path))
        if kind is None and store.isdir(path):
            inside = (SUFFIXES.get(_suffix(name)) for name in sorted(store.ls(path, detail=False)))
            kind = next((each for each in inside if each in ("parquet", "webdataset")), None)
    if not store.exists(path):
        raise DatasetError(f"{url}: nothing is there")
    return Source(url, kind or "files", id_column, image_column)


def pictures_of(source: Source) -> Iterator[Picture]:
    """List every input of a source. Raises DatasetError: a table cannot be read, or has no column of the kind."""
    for number, listed in enumerate(_listed(source)):
        yield listed._replace(number=number)


def _listed(source: Source) -> Iterator[Picture]:
    def in_table(store: Any, path: str) -> Iterator[Picture]:
        listed = in_csv if source.kind == "csv" else in_parquet
        return listed(store, path, source.id_column, source.image_column)

    list_at = {"files": _files, "webdataset": in_shard}.get(source.kind, in_table)
    suffixes = {suffix for suffix, kind in SUFFIXES.items() if kind == source.kind}
    for url in _matching(source.url):
        store, path = open_store(url)
        if source.kind != "files" and store.isdir(path):
            for inside in sorted(store.find(path)):
                if _suffix(inside) in suffixes:
                    yield from list_at(store, inside)
        else:
            yield from list_at(store, path)


def _matching(source_url: str) -> Iterator[str]:
    """Yield the URLs that {000..127} and * in a URL stand for."""
    for url in numbered(source_url):
        if "*" in url:
            store, path = connect_store(url)
            yield from (store.unstrip_protocol(match) for match in sorted(store.glob(path)))
        else:
            yield url


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _files(store: Any, root: str) -> Iterator[Picture]:
    """One file, or the pictures of a folder at their whole addresses."""
    if not store.isdir(root):
        yield Picture(as_text(root.rpartition("/")[2]), store.unstrip_protocol(root))
    else:
        for listed in in_folder(store, root):
            yield listed._replace(place=store.unstrip_protocol(f"{root}/{listed.place}"))


def in_csv(store: Any, path: str, id_column: str | None, image_column: str | None) -> Iterator[Picture]:
    """A CSV, or with tabs a TSV; its first row names the columns; a relative path starts at its folder."""
    folder = path.rpartition("/")[0]
    try:
        with store.open(path, "rb") as raw, io.TextIOWrapper(raw, "utf-8-sig", "surrogateescape", "") as content:
            head = content.readline()
            delimiter = "\t" if "\t" in head else ","
            names = next(csv.reader([head], delimiter=delimiter), [])
            address = _column(path, names, image_column, COLUMNS_OF_ADDRESSES)
            identity = _column(path, names, id_column, ("id",), required=False) or address
            for number, row in enumerate(csv.DictReader(content, names, delimiter=delimiter), 2):
                place, key = row[address] or "", as_text(row[identity] or "")
                if not place or not key:
                    problem = f"row {number} has no {address if key else identity}"
                    yield Picture(as_text(f"{path}#{number}"), path, problem=problem)
                elif "://" in place or place.startswith("/"):
                    yield Picture(key, place)
                else:
                    yield Picture(key, store.unstrip_protocol(f"{folder}/{place}"))
    except csv.Error as error:
        raise DatasetError(f"{path} is not a table: {error}") from None


def _column(
    path: str, names: list[str], requested: str | None, usual: tuple[str, ...], *, required: bool = True
) -> str:
    """The name of a column in the spelling of the file; "" if it is missing and not needed."""
    by_name = {name.strip().lower(): name for name in names}
    candidates = usual if requested is None else (requested.lower(),)
    column = next((by_name[name] for name in candidates if name in by_name), "")
    if not column and (required or requested is not None):
        raise DatasetError(f"{path} has the columns {', '.join(names)}; expected one of {', '.join(candidates)}")
    return column


def picture_column(path: str, names: list[str], image_column: str | None) -> str:
    """The column of a parquet file with pictures or their addresses. Raises DatasetError: there is none."""
    return _column(path, names, image_column, (*COLUMNS_OF_PICTURES, *COLUMNS_OF_ADDRESSES))


def in_parquet(store: Any, path: str, id_column: str | None, image_column: str | None) -> Iterator[Picture]:
    """Rows with a picture's bytes, or with its address; without an id column the id is FILE#ROW."""
    name = path.rpartition("/")[2]
    try:
        with store.open(path, "rb") as content, open_parquet(content) as table:
            names = table.schema_arrow.names
            picture = picture_column(path, names, image_column)
            identity = _column(path, names, id_column, ("id", "key", "__key__"), required=False)
            kind = table.schema_arrow.field(picture).type
            by_address = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
            columns = [*([identity] if identity else []), *([picture] if by_address else [])]
            number = 0
            for group in range(table.num_row_groups):
                rows = table.read_row_group(group, columns, use_threads=False).to_pylist()
                for index, row in enumerate(rows):
                    key = str(row[identity]) if identity else as_text(f"{name}#{number}")
                    number += 1
                    if by_address:
                        yield Picture(key, row[picture] or "")
                    else:
                        yield Picture(key, store.unstrip_protocol(path), index, group)
    except pyarrow.ArrowException as error:
        yield Picture(as_text(f"{name}#damaged"), path, problem=f"no parquet can be read: {error}")
