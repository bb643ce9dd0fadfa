"""Parquet, read by the thread that asks.

Arrow's own threads read a Python file as well if they may, and let go of it when they like: one that does so while the
interpreter is leaving ends a process whose work is done with SIGABRT (apache/arrow 34314, one in twenty here).
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pyarrow
import pyarrow.parquet


class Table:
    """A parquet file that is open, or its bytes."""

    def __init__(self, content: Any) -> None:
        """
        Raises:
            pyarrow.ArrowException: it is no parquet.
        """
        source = pyarrow.BufferReader(content) if isinstance(content, bytes) else content
        self._file = pyarrow.parquet.ParquetFile(source, pre_buffer=False)
        self.schema = self._file.schema_arrow
        self.groups = self._file.num_row_groups

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def rows_in(self, group: int) -> int:
        """How many."""
        return int(self._file.metadata.row_group(group).num_rows)

    def read(self, columns: list[str] | None = None) -> Any:
        """All rows."""
        return self._file.read(columns, use_threads=False)

    def group(self, group: int, columns: list[str] | None = None) -> list[dict[str, Any]]:
        """The rows of one row group."""
        return list(self._file.read_row_group(group, columns, use_threads=False).to_pylist())

    def values(self, group: int, column: str, at_once: int) -> Iterator[Any]:
        """Of a row group, so many in memory at a time."""
        for batch in self._file.iter_batches(at_once, [group], [column], use_threads=False):
            yield from batch.column(0).to_pylist()
