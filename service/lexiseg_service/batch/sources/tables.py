"""Sources of a job's pictures: folders, CSV tables of URLs, parquet and webdataset, in any fsspec store.

`items` lists the inputs of a source once, for the plan. `Contents` reads their bytes later, in threads; `Unreadable`
carries the reason when a picture cannot be read.
"""

from __future__ import annotations

import csv
import io
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

import httpx
import pyarrow
import pyarrow.parquet

from lexiseg_model.catalogue.store import connect_store, numbered, open_store, protocol_of
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.archives import files_in
from lexiseg_model.files.names import as_text, is_hidden
from lexiseg_model.pictures.formats import is_picture_name
from lexiseg_model.pictures.listing import COLUMNS_OF_FILES
from lexiseg_service.batch.sources.fetching import Unreadable, fetch

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
RETRY_SECONDS = (0.5, 1.0)  # before each further attempt, after an error that may be temporary
TIMEOUT_SECONDS = 30.0  # for a server to answer
ROWS_PER_BATCH = 16  # parquet rows with pictures that are in memory at a time
PERMANENT_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError)
Read = Callable[[], bytes]  # raises Unreadable


class Item(NamedTuple):
    """One input.

    `at` and `length` locate it in the file `path`: offset and size in bytes of a tar, row and row group of parquet;
    None: the whole file. `error` is set if listing already failed, as for a damaged tar.
    """

    id: str
    path: str
    at: int | None = None
    length: int | None = None
    error: str | None = None


class Source(NamedTuple):
    """URL and kind of a job's input; for tables, the columns with the ids and the pictures, None: by their names."""

    url: str
    kind: Kind
    id_column: str | None = None
    image_column: str | None = None


def source_of(url: str, kind: Kind | None, id_column: str | None, image_column: str | None) -> Source:
    """The source at a URL; a `kind` of None is recognised by suffix or by the files in the folder.

    Raises:
        DatasetError: nothing exists at the URL.
        OptionError: the store cannot be reached, or has no credentials.
    """
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


def items(source: Source) -> Iterator[Item]:
    """List every input of a source. Raises DatasetError: a table cannot be read, or has no column of the kind."""
    readers: dict[Kind, Callable[[Any, str, Source], Iterator[Item]]] = {
        "files": _files,
        "csv": _table,
        "parquet": _parquet,
        "webdataset": _shard,
    }
    suffixes = {suffix for suffix, kind in SUFFIXES.items() if kind == source.kind}
    for url in _matching(source.url):
        store, path = open_store(url)
        if source.kind != "files" and store.isdir(path):
            for inside in sorted(store.find(path)):
                if _suffix(inside) in suffixes:
                    yield from readers[source.kind](store, inside, source)
        else:
            yield from readers[source.kind](store, path, source)


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


def _files(store: Any, root: str, source: Source) -> Iterator[Item]:
    """Pictures in a folder and below it, without hidden ones; the id is the path from the folder."""
    if not store.isdir(root):
        yield Item(as_text(root.rpartition("/")[2]), store.unstrip_protocol(root))
        return
    for folder, _, names in store.walk(root):
        for name in sorted(names):
            place = f"{folder}/{name}"[len(root) :].lstrip("/")
            if is_picture_name(name) and not any(map(is_hidden, place.split("/"))):
                yield Item(as_text(place), store.unstrip_protocol(f"{folder}/{name}"))


def _table(store: Any, path: str, source: Source) -> Iterator[Item]:
    """A CSV, or with tabs a TSV, whose first row names the columns; a relative path starts at its folder."""
    folder = path.rpartition("/")[0]
    try:
        with store.open(path, "rb") as raw, io.TextIOWrapper(raw, "utf-8-sig", "surrogateescape", "") as content:
            head = content.readline()
            delimiter = "\t" if "\t" in head else ","
            names = next(csv.reader([head], delimiter=delimiter), [])
            address = _column(path, names, source.image_column, COLUMNS_OF_ADDRESSES)
            identity = _column(path, names, source.id_column, ("id",), needed=False) or address
            for number, row in enumerate(csv.DictReader(content, names, delimiter=delimiter), 2):
                place, key = row[address] or "", as_text(row[identity] or "")
                if not place or not key:
                    yield Item(
                        as_text(f"{path}#{number}"), path, error=f"row {number} has no {address if key else identity}"
                    )
                elif "://" in place or place.startswith("/"):
                    yield Item(key, place)
                else:
                    yield Item(key, store.unstrip_protocol(f"{folder}/{place}"))
    except csv.Error as error:
        raise DatasetError(f"{path} is not a table: {error}") from None


def _column(path: str, names: list[str], requested: str | None, known: tuple[str, ...], *, needed: bool = True) -> str:
    """The name of a column in the spelling of the file; "" if it is missing and not needed."""
    by_name = {name.strip().lower(): name for name in names}
    candidates = known if requested is None else (requested.lower(),)
    column = next((by_name[name] for name in candidates if name in by_name), "")
    if not column and (needed or requested is not None):
        raise DatasetError(f"{path} has the columns {', '.join(names)}; expected one of {', '.join(candidates)}")
    return column


def picture_column(path: str, names: list[str], source: Source) -> str:
    """The column of a parquet file with pictures or their addresses. Raises DatasetError: there is none."""
    return _column(path, names, source.image_column, (*COLUMNS_OF_PICTURES, *COLUMNS_OF_ADDRESSES))


def _parquet(store: Any, path: str, source: Source) -> Iterator[Item]:
    """Rows with a picture's bytes, or with its address; without an id column the id is FILE#ROW."""
    name = path.rpartition("/")[2]
    try:
        with store.open(path, "rb") as content, open_parquet(content) as table:
            names = table.schema_arrow.names
            picture = picture_column(path, names, source)
            identity = _column(path, names, source.id_column, ("id", "key", "__key__"), needed=False)
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
                        yield Item(key, row[picture] or "")
                    else:
                        yield Item(key, store.unstrip_protocol(path), index, group)
    except pyarrow.ArrowException as error:
        yield Item(as_text(f"{name}#damaged"), path, error=f"no parquet can be read: {error}")


def open_parquet(content: Any) -> Any:
    """Open parquet from bytes or an open file. Read from it with `use_threads=False` only.

    An Arrow thread that reads a Python file while the interpreter exits aborts the process (apache/arrow 34314).

    Raises:
        pyarrow.ArrowException: it is not parquet.
    """
    source = pyarrow.BufferReader(content) if isinstance(content, bytes) else content
    return pyarrow.parquet.ParquetFile(source, pre_buffer=False)


def _shard(store: Any, path: str, source: Source) -> Iterator[Item]:
    """Pictures of an uncompressed tar; the id is SHARD/NAME. Damage becomes one more item with an error."""
    shard, count = path.rpartition("/")[2], 0
    with store.open(path, "rb") as content:
        try:
            for member in files_in(content):
                if is_picture_name(member.name) and not is_hidden(member.name.rpartition("/")[2]):
                    count += 1
                    place = store.unstrip_protocol(path)
                    yield Item(as_text(f"{shard}/{member.name}"), place, member.offset_data, member.size)
        except tarfile.TarError as error:
            damage = f"the tar is damaged, cut off or compressed after {count:,}: {error}"
            yield Item(as_text(f"{shard}#damaged"), path, error=damage)


class Contents:
    """Reads the pictures of `Item`s. Thread-safe.

    Args:
        source: where the items come from.
        max_bytes: limit of a picture; reading stops there.
    """

    def __init__(self, source: Source, max_bytes: int) -> None:
        self._source = source
        self._max_bytes = max_bytes
        self._stores: dict[str, Any] = {}  # by protocol
        self._http = httpx.Client(follow_redirects=True, timeout=TIMEOUT_SECONDS)

    def of(self, items: Sequence[Item]) -> Iterator[Read]:
        """For each item, in order, a function that reads it in any thread; parquet is read during the iteration."""
        in_rows = self._source.kind == "parquet" and any(item.at is not None for item in items)
        if not in_rows:
            yield from (partial(self._one, item) for item in items)
            return
        for (path, group), rows in groupby(items, key=lambda item: (item.path, item.length)):
            yield from self._row_group(path, group, list(rows))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _one(self, item: Item) -> bytes:
        """Read one picture; every exception becomes Unreadable, as one input must not end a job of millions."""
        for pause in (*RETRY_SECONDS, None):
            try:
                return self._bounded(self._read(item))
            except Unreadable:
                raise
            except Exception as error:  # each store's library raises its own errors
                if pause is None or not _is_temporary(error):
                    raise Unreadable(_reason(error)) from None
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _read(self, item: Item) -> bytes:
        if item.error is not None:
            raise Unreadable(item.error)
        if protocol_of(item.path) in ("http", "https"):
            return fetch(self._http, item.path, self._max_bytes)
        store, path = self._open(item.path)
        if item.at is None:
            with store.open(path, "rb") as file:
                return bytes(file.read(self._max_bytes + 1))
        length = min(item.length or 0, self._max_bytes + 1)
        content = bytes(store.cat_file(path, start=item.at, end=item.at + length))
        if len(content) != length:
            raise Unreadable(f"is cut off: {len(content):,} of {item.length:,} bytes")
        return content

    def _bounded(self, content: bytes) -> bytes:
        if len(content) > self._max_bytes:
            raise Unreadable(f"expected at most {self._max_bytes:,} bytes, the picture has more")
        return content

    def _open(self, url: str) -> tuple[Any, str]:
        protocol = protocol_of(url)
        if protocol not in self._stores:
            self._stores[protocol] = open_store(url)[0]
        store = self._stores[protocol]
        return store, store._strip_protocol(url)

    def _row_group(self, url: str, group: int | None, items: Sequence[Item]) -> Iterator[Read]:
        """Readers of some rows of one row group, in rising order; ROWS_PER_BATCH pictures are in memory at a time."""
        if group is None:
            yield from (partial(self._one, item) for item in items)
            return
        n_done = 0
        reason = "the file has fewer rows than when it was listed"
        try:
            store, path = self._open(url)
            with store.open(path, "rb") as content, open_parquet(content) as table:
                column = picture_column(path, table.schema_arrow.names, self._source)
                batches = table.iter_batches(ROWS_PER_BATCH, [group], [column], use_threads=False)
                values = (value for batch in batches for value in batch.column(0).to_pylist())
                for index, value in enumerate(values):
                    if n_done < len(items) and items[n_done].at == index:
                        n_done += 1
                        yield partial(self._of_row, value)
        except Exception as error:  # of Arrow or the store, or a missing column
            reason = f"the row group cannot be read: {error}"
        yield from (partial(self._one, item._replace(error=reason)) for item in items[n_done:])

    def _of_row(self, value: Any) -> bytes:
        content = value.get("bytes") if isinstance(value, dict) else value  # images of the Hub are {bytes, path}
        if not isinstance(content, bytes):
            raise Unreadable(f"expected bytes of a picture in the row, got {type(content).__name__}")
        return self._bounded(content)


def _is_temporary(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, (OSError, httpx.TransportError)) and not isinstance(error, PERMANENT_ERRORS)


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answered {error.response.status_code}"
    return f"cannot be read: {getattr(error, 'strerror', None) or f'{type(error).__name__}: {error}'}"
