"""Read pictures that a source has listed: files, stretches of tars, rows of parquet, addresses on the web."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import httpx

from lexiseg_model.catalogue.store import open_store, protocol_of
from lexiseg_model.files.names import from_text
from lexiseg_service.batch.sources.source import Picture, Reader, SourceKind, Unreadable, ZipReader, check_size
from lexiseg_service.errors import SwitchedOff

TIMEOUT_SECONDS = 30.0  # for a server to answer
ROWS_PER_BATCH = 16  # of parquet, decoded at a time
MAX_KEPT = 256  # rows that are decoded and not read: more than are in flight
LASTING_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError)


def reader_of(kind: SourceKind, root: str, max_bytes: int) -> Reader:
    """The reader of a folder, zip or tar that a client sent or named; the pictures of other kinds are fetched."""
    if kind == "zip":
        return ZipReader(*open_store(root), max_bytes)
    if kind in ("folder", "tar"):
        return FileReader(max_bytes, kind, root=root)
    raise SwitchedOff(f"the adapter {kind} is switched off here")


class FileReader:
    """Reads pictures at addresses of any store; as `Reader`. `root`: the folder or the tar that places are in."""

    def __init__(
        self, max_bytes: int, kind: SourceKind = "files", image_column: str | None = None, root: str = ""
    ) -> None:
        self._max_bytes = max_bytes
        self._kind = kind
        self._image_column = image_column
        self._root = root
        self._stores: dict[str, Any] = {}  # by protocol
        self._http: httpx.Client | None = None
        self._rows: _RowGroup | None = None
        self._lock = threading.Lock()

    def read(self, picture: Picture) -> bytes:
        if picture.problem is not None:
            raise Unreadable(picture.problem)
        if self._kind == "tar":
            at, _, length = picture.place.partition("+")
            picture = picture._replace(place=self._root, at=int(at), length=int(length))
        elif self._root:
            picture = picture._replace(place=f"{self._root}/{from_text(picture.place)}")
        try:
            content = self._read(picture)
        except LASTING_ERRORS as error:
            raise Unreadable(f"cannot be read: {error.strerror or type(error).__name__}") from None
        check_size(len(content), self._max_bytes)
        return content

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        if self._rows is not None:
            self._rows.close()

    def _read(self, picture: Picture) -> bytes:
        if protocol_of(picture.place) in ("http", "https"):
            return self._fetched(picture.place)
        store, path = self._open(picture.place)
        if picture.at is None:
            with store.open(path, "rb") as file:
                return bytes(file.read(self._max_bytes + 1))
        if self._kind == "parquet":
            return self._of_row(store, path, picture.length or 0, picture.at)
        check_size(picture.length or 0, self._max_bytes)
        content = bytes(store.cat_file(path, start=picture.at, end=picture.at + (picture.length or 0)))
        if len(content) != picture.length:
            raise Unreadable(f"is cut off: {len(content):,} of {picture.length:,} bytes")
        return content

    def _open(self, url: str) -> tuple[Any, str]:
        protocol = protocol_of(url)
        with self._lock:
            if protocol not in self._stores:
                self._stores[protocol] = open_store(url)[0]
            store = self._stores[protocol]
        return store, store._strip_protocol(url)

    def _fetched(self, url: str) -> bytes:
        with self._lock:
            if self._http is None:
                self._http = httpx.Client(follow_redirects=True, timeout=TIMEOUT_SECONDS)
        content = bytearray()
        try:
            with self._http.stream("GET", url) as answer:
                answer.raise_for_status()
                for piece in answer.iter_bytes():
                    content += piece
                    if len(content) > self._max_bytes:
                        break
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            reason = f"the server answered {status}"
            raise (ConnectionError if status == 429 or status >= 500 else Unreadable)(reason) from None
        except httpx.TransportError as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreadable(str(error) or type(error).__name__) from None
        return bytes(content)

    def _of_row(self, store: Any, path: str, group: int, row: int) -> bytes:
        """A picture of a row group; rows are decoded in order, and kept until they are read."""
        with self._lock:
            if self._rows is None or not self._rows.has(path, group, row):
                if self._rows is not None:
                    self._rows.close()
                self._rows = _RowGroup(store, path, group, self._image_column)
            value = self._rows.take(row)
        content = value.get("bytes") if isinstance(value, dict) else value  # images of the Hub are {bytes, path}
        if not isinstance(content, bytes):
            raise Unreadable(f"expected bytes of a picture in the row, got {type(content).__name__}")
        return content


class _RowGroup:
    """Pictures of one row group of parquet, in rising order. Not thread-safe."""

    def __init__(self, store: Any, path: str, group: int, image_column: str | None) -> None:
        self._place = path, group
        self._values = _values(store, path, group, image_column)
        self._next = 0
        self._unread: dict[int, Any] = {}  # decoded, and not read yet

    def has(self, path: str, group: int, row: int) -> bool:
        return (path, group) == self._place and (row in self._unread or row >= self._next)

    def take(self, row: int) -> Any:
        """The value of a row, which is let go of. Raises Unreadable: there is none, or it cannot be decoded."""
        try:
            while row >= self._next:
                self._unread[self._next] = next(self._values)
                self._next += 1
                self._unread.pop(self._next - MAX_KEPT, None)
        except StopIteration:
            raise Unreadable("the file has fewer rows than when it was listed") from None
        return self._unread.pop(row)  # it is there: `has` said so

    def close(self) -> None:
        self._values.close()


def _values(store: Any, path: str, group: int, image_column: str | None) -> Generator[Any, None, None]:
    from lexiseg_service.batch.rows import open_parquet  # these import pyarrow
    from lexiseg_service.batch.sources.listing import picture_column

    with store.open(path, "rb") as content, open_parquet(content) as table:
        column = picture_column(path, table.schema_arrow.names, image_column)
        batches = table.iter_batches(ROWS_PER_BATCH, [group], [column], use_threads=False)
        yield from (value for batch in batches for value in batch.column(0).to_pylist())
