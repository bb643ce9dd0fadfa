"""The source that a command line names: a folder, tables or shards at an address of any fsspec store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from lexiseg_model.catalogue.store import connect_store, numbered, open_store
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_service.batch.sources.archive import in_shard
from lexiseg_service.batch.sources.source import Listed, Picture, in_folder

Kind = Literal["files", "csv", "parquet", "webdataset"]
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
        yield Picture(number, *listed)


def _listed(source: Source) -> Iterator[Listed]:
    from lexiseg_service.batch.sources.tables import in_csv, in_parquet  # imports pyarrow

    def in_table(store: Any, path: str) -> Iterator[Listed]:
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


def _files(store: Any, root: str) -> Iterator[Listed]:
    """One file, or the pictures of a folder at their whole addresses."""
    if not store.isdir(root):
        yield Listed(as_text(root.rpartition("/")[2]), store.unstrip_protocol(root))
    else:
        for listed in in_folder(store, root):
            yield listed._replace(place=store.unstrip_protocol(f"{root}/{listed.place}"))
