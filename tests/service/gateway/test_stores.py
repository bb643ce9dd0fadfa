import asyncio
import os
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lexiseg_service.errors import NotReady
from lexiseg_service.gateway.stores import DirectoryStore
from tests.waiting import SOON


def fill_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


async def test_a_write_on_something_else_changes_nothing(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    await store.replace("room", None, b"1")

    assert not await store.replace("room", None, b"2")
    assert not await store.replace("room", b"0", b"2")
    assert await store.read("room") == (tmp_path / "room.json").read_bytes() == b"1"
    assert [file.name for file in tmp_path.iterdir()] == ["room.json"]  # half a list would take the last of the disk


async def test_foreign_files_are_skipped_and_named_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "Not A Name.json").write_text("{}")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / ".room.draft").write_text("half")
    (tmp_path / "room.json").write_text("{}")

    with capture_logs() as lines:
        store = DirectoryStore(tmp_path)

    assert set(await store.read_all()) == {"room"}
    assert {line["file"] for line in lines} == {"Not A Name.json", "folder.json"}


async def test_the_draft_of_a_killed_process_is_removed_at_the_next_start(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    await store.replace("room", None, b"1")
    (tmp_path / "room.json.new").write_text("half")

    await store.start()

    assert [file.name for file in tmp_path.iterdir()] == ["room.json"]


async def test_a_disk_that_is_full_keeps_the_old_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(tmp_path)
    await store.replace("room", None, b"1")

    fill_up(monkeypatch)
    with pytest.raises(NotReady, match="No space left"), capture_logs():
        await store.replace("room", b"1", b"2")

    assert await store.read("room") == (tmp_path / "room.json").read_bytes() == b"1"


async def test_a_writer_that_is_cancelled_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(tmp_path)
    begun, may_end = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        begun.set()
        may_end.wait(SOON)

    monkeypatch.setattr(os, "fsync", slow)
    first = asyncio.create_task(store.replace("room", None, b"1"))
    await asyncio.to_thread(begun.wait, 10)
    first.cancel()
    second = asyncio.create_task(store.replace("room", None, b"2"))
    await asyncio.sleep(0.01)
    may_end.set()

    assert not await second
    assert await store.read("room") == (tmp_path / "room.json").read_bytes() == b"1"
