"""What lies in the SQLite file of a state directory."""

import sqlite3
from contextlib import closing
from pathlib import Path


def ids_in(state: Path, kind: str) -> list[str]:
    """The ids of a kind of records."""
    if not (state / "records.sqlite").exists():
        return []
    with closing(sqlite3.connect(state / "records.sqlite")) as file:
        return sorted(identity for (identity,) in file.execute("SELECT id FROM records WHERE kind = ?", (kind,)))
