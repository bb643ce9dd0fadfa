"""Tables of pictures: CSV with addresses, parquet with pictures or their addresses, in any fsspec store."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pyarrow
import pyarrow.parquet

from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import COLUMNS_OF_FILES, as_text
from lexiseg_service.batch.rows import open_parquet
from lexiseg_service.batch.sources.source import Listed

COLUMNS_OF_ADDRESSES = ("url", *COLUMNS_OF_FILES)
COLUMNS_OF_PICTURES = ("image", "jpg", "png", "bytes", "content")


def in_csv(store: Any, path: str, id_column: str | None, image_column: str | None) -> Iterator[Listed]:
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
                    yield Listed(as_text(f"{path}#{number}"), path, problem=problem)
                elif "://" in place or place.startswith("/"):
                    yield Listed(key, place)
                else:
                    yield Listed(key, store.unstrip_protocol(f"{folder}/{place}"))
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


def in_parquet(store: Any, path: str, id_column: str | None, image_column: str | None) -> Iterator[Listed]:
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
                        yield Listed(key, row[picture] or "")
                    else:
                        yield Listed(key, store.unstrip_protocol(path), index, group)
    except pyarrow.ArrowException as error:
        yield Listed(as_text(f"{name}#damaged"), path, problem=f"no parquet can be read: {error}")
