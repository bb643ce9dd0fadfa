import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from lexiseg_service.errors import InvalidValue, Unauthorized
from lexiseg_service.gateway.admission import key_file
from lexiseg_service.gateway.admission.access import Keys, key_of
from lexiseg_service.gateway.admission.key_file import WatchedFile, line_of
from lexiseg_service.gateway.admission.limits import Rule
from lexiseg_service.settings import Settings


def ring(*lines: str) -> Keys:
    return Keys(Settings(api_keys=SecretStr("\n".join(lines))))


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "found"),
    [
        ("Bearer k", None, "k"), ("bearer  k ", None, "k"), (None, " k ", "k"), ("Bearer k", "other", "k"),
        ("Basic dXNlcg==", "k", "k"), ("Bearer", None, None), ("", "", None), (None, None, None),
    ],
)  # fmt: skip
def test_a_key_is_taken_from_either_header(authorization: str | None, x_api_key: str | None, found: str | None) -> None:
    assert key_of(authorization, x_api_key) == found


def test_the_file_and_the_environment_add_up(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(line_of("one", "a"))
    both = Settings(api_keys_file=path, api_keys=SecretStr(f"{line_of('two', 'b')},{line_of('three', 'c')}"))

    keys = Keys(both)

    assert [keys.identify(key) for key in "abc"] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "one",
        "one two",
        "one:" + "0" * 64,
        "a b " + "0" * 64,
        "-a " + "0" * 64,
        "a " + "0" * 64 + " root",
        "a " + "0" * 64 + " segment segment",
    ],
)
def test_an_invalid_key_line_stops_the_start_and_is_not_quoted(text: str) -> None:
    with pytest.raises(InvalidValue, match="LEXISEG_API_KEYS: expected") as caught:
        Keys(Settings(api_keys=SecretStr(text)))

    assert not text or text not in caught.value.detail


def test_one_key_for_two_ids_is_refused() -> None:
    with pytest.raises(InvalidValue, match="one SHA256 twice"):
        ring(line_of("one", "k"), line_of("two", "k"))


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"LEXISEG_API_KEYS_FILE: expected a readable file \(No such file"):
        Keys(Settings(api_keys_file=tmp_path / "gone.txt"))


def test_secrets_are_not_printed() -> None:
    line = line_of("one", "k")

    assert line.split()[1] not in repr(Settings(api_keys=SecretStr(line)))


def test_a_key_has_limits_of_its_own_before_those_of_all() -> None:
    line = line_of("camera", "key", ["segment"], ["rate=2.5", "daily=100"])
    keys = ring(line, line_of("other", "another"))
    common = Rule(rate=50, burst=100, concurrent=4)

    assert keys.rule("camera", common) == Rule(rate=2.5, burst=3, concurrent=4, daily=100)
    assert keys.rule("other", common) == keys.rule("unknown", common) == common
    assert keys.identify("key", "segment") == "camera"


@pytest.mark.parametrize(
    "words",
    ["rate=0", "rate=-1", "rate=nan", "rate=fast", "rate=", "speed=3", "daily=2.5", "daily=1 daily=2", "segment admin"],
)
def test_a_limit_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(InvalidValue, match="line 1"):
        ring(f"{line_of('camera', 'key')} {words}")


def test_two_lines_of_one_id_have_the_same_limits() -> None:
    lines = [line_of("camera", "old", limits=["rate=1"]), line_of("camera", "new", limits=["rate=2"])]

    with pytest.raises(InvalidValue, match="different limits"):
        ring(*lines)


def test_a_key_that_is_added_is_valid_and_one_that_is_removed_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_file, "CHECK_SECONDS", 0.0)
    path = tmp_path / "keys.txt"
    path.write_text(line_of("old", "a") + "\n")
    keys = Keys(Settings(api_keys_file=path))

    path.write_text(line_of("new", "other") + "\n")

    assert keys.identify("other") == "new"
    with pytest.raises(Unauthorized):
        keys.identify("a")


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
