from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lexiseg_service.errors import InvalidValue, NotAllowed, Unauthorized
from lexiseg_service.gateway.admission import key_file
from lexiseg_service.gateway.admission.key_file import Keys
from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.settings import Settings


@pytest.fixture(autouse=True)
def _looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_file, "LOOK_SECONDS", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(line_of("old", "a") + "\n")
    return path


def replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def test_a_key_that_is_added_comes_in_and_one_that_is_gone_stays_out(path: Path) -> None:
    keys = Keys(Settings(api_keys_file=path))
    assert keys.identify("a") == "old"

    with capture_logs() as lines:
        replace(path, line_of("new", "b") + "\n")

        assert keys.identify("b") == "new"
        with pytest.raises(Unauthorized):
            keys.identify("a")

    assert [(line["event"], line["keys"]) for line in lines] == [("API keys read again", 1)]


@pytest.mark.parametrize("text", ["", "no key at all", "old " + "0" * 63])
def test_a_file_that_has_become_wrong_changes_nothing_and_is_told_once(path: Path, text: str) -> None:
    keys = Keys(Settings(api_keys_file=path))

    with capture_logs() as lines:
        replace(path, text + "\n" * bool(text))

        assert [keys.identify("a"), keys.identify("a")] == ["old", "old"]
        with pytest.raises(Unauthorized):
            keys.identify("b")

    assert [line["log_level"] for line in lines] == ["error"]


def test_a_file_that_is_gone_changes_nothing_and_is_read_when_it_is_back(path: Path) -> None:
    keys = Keys(Settings(api_keys_file=path))

    with capture_logs() as lines:
        path.unlink()
        assert keys.identify("a") == "old"
        path.write_text(line_of("new", "b") + "\n")

        assert keys.identify("b") == "new"

    assert [line["log_level"] for line in lines] == ["error", "info"]


def test_a_line_that_is_half_written_lets_nobody_go_further(path: Path) -> None:
    """Up to the digest it would allow everything."""
    whole = line_of("old", "a", ["segment"])
    path.write_text(whole + "\n")
    keys = Keys(Settings(api_keys_file=path))

    replace(path, "# the same once more\n" + whole.removesuffix(" segment"))

    with pytest.raises(NotAllowed):
        keys.identify("a", "vocabularies")


def test_a_file_whose_last_line_has_no_end_is_read_when_it_stays_so(path: Path) -> None:
    keys = Keys(Settings(api_keys_file=path))
    replace(path, line_of("new", "b"))

    with pytest.raises(Unauthorized):
        keys.identify("b")
    assert keys.identify("b") == "new"


@pytest.mark.parametrize("other", ["pipe", "endless", "folder", "large"])
def test_what_might_never_end_is_not_read(path: Path, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(Settings(api_keys_file=path))
    path.unlink()
    if other == "pipe":
        os.mkfifo(path)
    elif other == "endless":
        path.symlink_to("/dev/zero")
    elif other == "folder":
        path.mkdir()
    else:
        monkeypatch.setattr(key_file, "MOST_BYTES", 100)
        path.write_text(line_of("new", "b") + "\n" + "#" * 100 + "\n")

    with capture_logs() as lines:
        assert [keys.identify("a"), keys.identify("a")] == ["old", "old"]

    assert [line["log_level"] for line in lines] == ["error"]


def test_at_the_start_a_wrong_file_is_an_error(path: Path) -> None:
    path.write_text("")

    with pytest.raises(InvalidValue, match="no key"):
        Keys(Settings(api_keys_file=path))
