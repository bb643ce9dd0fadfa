"""A file that changes while the process runs, as that of the API keys."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.admission import key_file
from lexiseg_service.gateway.admission.key_file import WatchedFile


@pytest.fixture(autouse=True)
def _checks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_file, "CHECK_SECONDS", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.txt"
    path.write_text("1")
    return path


def watching(path: Path) -> WatchedFile[int]:
    def parse() -> int:
        try:
            return int(path.read_text())
        except ValueError:
            raise InvalidValue("no number") from None

    return WatchedFile("numbers", path, parse, parse())


def replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def test_new_content_is_read_once(path: Path) -> None:
    watched = watching(path)
    replace(path, "2")

    with capture_logs() as lines:
        assert [watched.content, watched.content] == [2, 2]

    assert [line["event"] for line in lines] == ["numbers read again"]


def test_invalid_content_is_logged_once_and_the_previous_stays(path: Path) -> None:
    watched = watching(path)
    replace(path, "words")

    with capture_logs() as lines:
        assert [watched.content, watched.content] == [1, 1]

    assert [(line["log_level"], line["error"]) for line in lines] == [("error", "no number")]


def test_a_file_that_is_gone_keeps_its_content_and_is_read_when_it_is_back(path: Path) -> None:
    watched = watching(path)
    with capture_logs() as lines:
        path.unlink()
        assert watched.content == 1
        path.write_text("2")
        assert watched.content == 2

    assert [line["log_level"] for line in lines] == ["error", "info"]


def test_a_file_that_is_being_written_is_read_when_it_stays_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watching(path)
    monkeypatch.setattr(key_file, "_is_recent", lambda version: True)
    replace(path, "2")

    assert [watched.content, watched.content] == [1, 2]


@pytest.mark.parametrize("other", ["pipe", "endless", "folder", "large"])
def test_what_might_block_or_never_end_is_not_read(path: Path, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = watching(path)
    path.unlink()
    if other == "pipe":
        os.mkfifo(path)
    elif other == "endless":
        path.symlink_to("/dev/zero")
    elif other == "folder":
        path.mkdir()
    else:
        monkeypatch.setattr(key_file, "MAX_FILE_BYTES", 100)
        path.write_text("2" * 101)

    with capture_logs() as lines:
        assert [watched.content, watched.content] == [1, 1]

    assert [line["log_level"] for line in lines] == ["error"]
