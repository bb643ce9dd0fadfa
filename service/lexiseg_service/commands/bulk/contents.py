"""The encoded pictures of listed inputs: read ahead in threads, in order; bytes, or the reason why not."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx

from lexiseg_model.catalogue.store import open_store, protocol_of
from lexiseg_model.errors import ModelError
from lexiseg_service.commands.bulk.sources import Item, Source, picture_column

TRIES = 3  # of what may go well the next time
PAUSE = 0.5  # seconds before the second try, twice that before the third
SECONDS = 30.0  # for a server to answer
ROWS_AT_ONCE = 16  # of parquet with pictures in it
NEVER = (FileNotFoundError, PermissionError, IsADirectoryError)


class Unreadable(Exception):
    """No bytes came; the message is the reason that stands in the row."""


class Contents:
    """Reads what `Item`s point to; safe from any thread. Threads that wait for a disk or a network cost no core.

    Args:
        source: the items are of.
        most_bytes: of a picture; of a larger one no more is read.
        ahead: pictures that are read before they are asked for.
    """

    def __init__(self, source: Source, most_bytes: int, ahead: int) -> None:
        self._source = source
        self._most = most_bytes
        self._ahead = ahead
        self._threads = ThreadPoolExecutor(min(ahead, 32), "read")
        self._stores: dict[str, Any] = {}
        self._guard = threading.Lock()
        self._http = httpx.Client(follow_redirects=True, timeout=SECONDS)

    def of(self, items: Sequence[Item]) -> Iterator[bytes | Unreadable]:
        """Of each item, in order."""
        if self._source.kind == "parquet" and any(item.at is not None for item in items):
            yield from self._rows(items)
            return
        pending: deque[Future[bytes | Unreadable]] = deque()
        for item in items:
            if len(pending) == self._ahead:
                yield pending.popleft().result()
            pending.append(self._threads.submit(self._one, item))
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(cancel_futures=True)
        self._http.close()

    def _one(self, item: Item) -> bytes | Unreadable:
        if item.error is not None:
            return Unreadable(item.error)
        fetch = self._from_server if protocol_of(item.path) in ("http", "https") else self._from_store
        return self._tried(partial(fetch, item))

    def _tried(self, read: Callable[[], bytes]) -> bytes | Unreadable:
        """Whatever is raised is a reason: one input must not end a job of millions."""
        for turn in range(1, TRIES + 1):
            try:
                return read()
            except Unreadable as error:
                return error
            except NEVER as error:
                return Unreadable(f"cannot be read: {error.strerror or type(error).__name__}")
            except (OSError, httpx.TransportError) as error:
                if turn == TRIES:
                    return Unreadable(f"cannot be read, tried {TRIES} times: {type(error).__name__}: {error}")
                time.sleep(PAUSE * turn)
            except Exception as error:
                return Unreadable(f"cannot be read: {type(error).__name__}: {error}")
        raise AssertionError("unreachable")

    def _from_store(self, item: Item) -> bytes:
        store, path = self._open(item.path)
        if item.at is not None:
            assert item.length is not None
            if item.length > self._most:
                raise Unreadable(f"{item.length:,} bytes; expected at most {self._most:,}")
            content = bytes(store.cat_file(path, start=item.at, end=item.at + item.length))
            if len(content) != item.length:
                raise Unreadable(f"is cut off: {len(content):,} of {item.length:,} bytes")
            return content
        with store.open(path, "rb") as file:
            content = bytes(file.read(self._most + 1))
        return self._bounded(content)

    def _from_server(self, item: Item) -> bytes:
        with self._http.stream("GET", item.path) as answer:
            if answer.status_code == 429 or answer.status_code >= 500:
                raise OSError(f"the server answered {answer.status_code}")
            if not answer.is_success:
                raise Unreadable(f"the server answered {answer.status_code}")
            parts, length = [], 0
            for part in answer.iter_bytes():
                parts.append(part)
                length += len(part)
                if length > self._most:
                    break
        return self._bounded(b"".join(parts))

    def _bounded(self, content: bytes) -> bytes:
        if len(content) > self._most:
            raise Unreadable(f"more than {self._most:,} bytes, which is the limit")
        return content

    def _open(self, url: str) -> tuple[Any, str]:
        protocol = protocol_of(url)
        with self._guard:
            if protocol not in self._stores:
                self._stores[protocol] = open_store(url)[0]
            store = self._stores[protocol]
        return store, store._strip_protocol(url)

    def _rows(self, items: Sequence[Item]) -> Iterator[bytes | Unreadable]:
        """Of parquet's rows, a few at a time: of a row group the pictures alone are read, in order."""
        place = None
        rows: Iterator[tuple[int, bytes | Unreadable]] = iter(())
        at: int = -1
        content: bytes | Unreadable = b""
        for item in items:
            if item.error is not None:
                yield Unreadable(item.error)
                continue
            if (item.path, item.length) != place or (item.at or 0) < at:
                place, at = (item.path, item.length), -1
                rows = self._row_group(item)
            while at != item.at:
                at, content = next(rows, (item.at or 0, Unreadable("the file has fewer rows than it had")))
            yield content

    def _row_group(self, item: Item) -> Iterator[tuple[int, bytes | Unreadable]]:
        import pyarrow

        from lexiseg_service.commands.bulk.tables import Table

        index = -1
        try:
            store, path = self._open(item.path)
            with store.open(path, "rb") as content, Table(content) as table:
                column = picture_column(path, table.schema.names, self._source)
                for value in table.values(item.length or 0, column, ROWS_AT_ONCE):
                    index += 1
                    yield index, self._value(value)
        except (OSError, pyarrow.ArrowException, ModelError) as error:
            reason = Unreadable(f"the row group cannot be read: {error}")
            while True:  # all that follow in it
                index += 1
                yield index, reason

    def _value(self, value: Any) -> bytes | Unreadable:
        content = value.get("bytes") if isinstance(value, dict) else value  # the Hub's images are {bytes, path}
        if not isinstance(content, bytes):
            return Unreadable(f"no bytes of a picture in the row: {type(content).__name__}")
        try:
            return self._bounded(content)
        except Unreadable as error:
            return error
