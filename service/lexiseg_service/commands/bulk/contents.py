"""The encoded pictures of listed inputs: read ahead in threads, in order; bytes, or the reason why there are none."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Any

import httpx

from lexiseg_model.catalogue.store import open_store, protocol_of
from lexiseg_service.commands.bulk.sources import Item, Source, picture_column

TRIES = 3  # of an error that may be gone at the next try
PAUSE = 0.5  # seconds before the second try, twice that before the third
SECONDS = 30.0  # for a server to answer
ROWS_AT_ONCE = 16  # of parquet with pictures in it
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError)


class Unreadable(Exception):
    """No bytes came; the message is the reason in the row."""


class Contents:
    """Reads what `Item`s point to.

    Args:
        source: the items are of.
        max_bytes: of a picture; of a larger one no more is read.
        ahead: pictures that are read before they are needed.
    """

    def __init__(self, source: Source, max_bytes: int, ahead: int) -> None:
        self._source = source
        self._max_bytes = max_bytes
        self._ahead = ahead
        self._threads = ThreadPoolExecutor(min(ahead, 32), "read")
        self._stores: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._http = httpx.Client(follow_redirects=True, timeout=SECONDS)

    def of(self, items: Sequence[Item]) -> Iterator[bytes | Unreadable]:
        """The content of each item, in order."""
        if self._source.kind == "parquet" and any(item.at is not None for item in items):
            for (path, group), rows in groupby(items, key=lambda item: (item.path, item.length)):
                yield from self._row_group(path, group, list(rows))
            return
        pending: deque[Future[bytes | Unreadable]] = deque()
        for item in items:
            if len(pending) == self._ahead:
                yield pending.popleft().result()
            pending.append(self._threads.submit(self._one, item))
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)
        self._http.close()

    def _one(self, item: Item) -> bytes | Unreadable:
        """Any exception is a reason: one input must not end a job of millions."""
        if item.error is not None:
            return Unreadable(item.error)
        fetch = self._from_server if protocol_of(item.path) in ("http", "https") else self._from_store
        for attempt in range(1, TRIES + 1):
            try:
                return self._bounded(fetch(item))
            except Unreadable as error:
                return error
            except FINAL as error:
                return Unreadable(f"cannot be read: {error.strerror or type(error).__name__}")
            except (OSError, httpx.TransportError) as error:
                if attempt == TRIES:
                    return Unreadable(f"cannot be read, tried {TRIES} times: {type(error).__name__}: {error}")
                time.sleep(PAUSE * attempt)
            except Exception as error:
                return Unreadable(f"cannot be read: {type(error).__name__}: {error}")
        raise AssertionError("unreachable")

    def _from_store(self, item: Item) -> bytes:
        store, path = self._open(item.path)
        if item.at is None:
            with store.open(path, "rb") as file:
                return bytes(file.read(self._max_bytes + 1))
        length = min(item.length or 0, self._max_bytes + 1)
        content = bytes(store.cat_file(path, start=item.at, end=item.at + length))
        if len(content) != length:
            raise Unreadable(f"is cut off: {len(content):,} of {item.length:,} bytes")
        return content

    def _from_server(self, item: Item) -> bytes:
        content = bytearray()
        with self._http.stream("GET", item.path) as answer:
            if answer.status_code == 429 or answer.status_code >= 500:
                raise OSError(f"the server answered {answer.status_code}")
            if not answer.is_success:
                raise Unreadable(f"the server answered {answer.status_code}")
            for part in answer.iter_bytes():
                content += part
                if len(content) > self._max_bytes:
                    break
        return bytes(content)

    def _bounded(self, content: bytes) -> bytes:
        if len(content) > self._max_bytes:
            raise Unreadable(f"more than {self._max_bytes:,} bytes, which is the limit")
        return content

    def _open(self, url: str) -> tuple[Any, str]:
        protocol = protocol_of(url)
        with self._lock:
            if protocol not in self._stores:
                self._stores[protocol] = open_store(url)[0]
            store = self._stores[protocol]
        return store, store._strip_protocol(url)

    def _row_group(self, url: str, group: int | None, items: Sequence[Item]) -> Iterator[bytes | Unreadable]:
        """Some rows of one row group, in rising order; a few pictures are in memory at a time."""
        from lexiseg_service.commands.bulk.rows import open_parquet

        if group is None:
            yield from (Unreadable(item.error or "no row") for item in items)
            return
        given = 0
        reason = "the file has fewer rows than it had"
        try:
            store, path = self._open(url)
            with store.open(path, "rb") as content, open_parquet(content) as table:
                column = picture_column(path, table.schema_arrow.names, self._source)
                batches = table.iter_batches(ROWS_AT_ONCE, [group], [column], use_threads=False)
                values = (value for batch in batches for value in batch.column(0).to_pylist())
                for index, value in enumerate(values):
                    if given < len(items) and items[given].at == index:
                        given += 1
                        yield self._value(value)
        except Exception as error:  # of Arrow, the store, or a column that is gone
            reason = f"the row group cannot be read: {error}"
        yield from (Unreadable(reason) for _ in items[given:])

    def _value(self, value: Any) -> bytes | Unreadable:
        content = value.get("bytes") if isinstance(value, dict) else value  # images of the Hub are {bytes, path}
        if not isinstance(content, bytes):
            return Unreadable(f"no bytes of a picture in the row: {type(content).__name__}")
        try:
            return self._bounded(content)
        except Unreadable as error:
            return error
