"""What is kept of clients (pictures, answers, webhooks' secrets, words) is readable by the service's own user alone."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.batch.http.asking import PNG, create, finished, gateway, zipped
from tests.service.records.stored import ids_in

OTHERS = 0o077


def open_to_others(state: Path) -> list[str]:
    return [f"{path} {path.stat().st_mode:o}" for path in (state, *state.rglob("*")) if path.stat().st_mode & OTHERS]


def kept(state: Path) -> Iterator[str]:
    """Kinds of what the gateway keeps, while it runs."""
    with gateway(state) as client:
        finished(client, create(client, zipped({"a.png": PNG})))
        client.put("/v1/vocabularies/mine", json={"classes": ["sky"]}).raise_for_status()
        assert open_to_others(state) == []
        yield from (path.name for path in state.rglob("*"))


@pytest.mark.parametrize("there", ["nothing", "folders and files that others may read"])
def test_only_the_services_user_may_read_what_is_kept(tmp_path: Path, there: str) -> None:
    state = tmp_path / "state"
    if there != "nothing":
        (state / "jobs").mkdir(parents=True)
        (state / "vocabularies").mkdir()
        # A connection that stays open, as after a kill, leaves the files beside the database.
        before = sqlite3.connect(state / "records.sqlite")
        before.executescript("PRAGMA journal_mode=WAL; CREATE TABLE before (id)")
        assert len(open_to_others(state)) == 6

    names = set(kept(state))

    assert {"records.sqlite", "records.sqlite-wal", "archive"} <= names
    assert any(name.endswith(".jsonl") for name in names)
    assert ids_in(state, "vocabulary") == ["mine"]
