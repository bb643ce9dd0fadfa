from __future__ import annotations

import io
import threading
from pathlib import Path

import pyarrow
import pyarrow.parquet

from lexiseg_service.commands import bulk
from lexiseg_service.commands.bulk.tables import Table

COLUMNS = [f"column {number}" for number in range(8)]


def parquet(groups: int) -> bytes:
    """Row groups of two rows."""
    content = io.BytesIO()
    table = pyarrow.table({name: list(range(2 * groups)) for name in COLUMNS})
    pyarrow.parquet.write_table(table, content, row_group_size=2)
    return content.getvalue()


class Watched(io.BytesIO):
    """A Python file that knows the threads it was read by."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.readers: set[int] = set()

    def read(self, size: int | None = -1, /) -> bytes:
        self.readers.add(threading.get_ident())
        return super().read(size)


def test_a_file_is_read_by_no_thread_of_arrow() -> None:
    content = Watched(parquet(4))

    with Table(content) as table:
        assert table.groups == 4
        assert table.schema.names == COLUMNS
        assert table.rows_in(1) == 2
        assert table.read(COLUMNS[:2]).num_rows == 8
        assert [row["column 7"] for row in table.group(1)] == [2, 3]
        assert list(table.values(3, "column 1", 1)) == [6, 7]

    assert content.readers == {threading.get_ident()}


def test_bytes_are_a_table_too() -> None:
    with Table(parquet(1)) as table:
        assert table.read().num_rows == 2


def test_nothing_of_bulk_reads_parquet_another_way() -> None:
    folder = Path(bulk.__file__).parent

    readers = [path.name for path in sorted(folder.rglob("*.py")) if "ParquetFile(" in path.read_text()]

    assert readers == ["tables.py"]
