import os
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from lexiseg_service.errors import InvalidValue, Unauthorized
from lexiseg_service.gateway.admission import key_file
from lexiseg_service.gateway.admission.access import Keys, key_of
from lexiseg_service.gateway.admission.key_file import line_of
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


class KeyFile:
    """A file of keys that is looked at each time: it begins with the key `old`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.txt"
        self.write("old")
        self.keys = Keys(Settings(api_keys_file=self.path))

    def write(self, *keys: str) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text("\n".join(line_of(key, key) for key in keys))
        fresh.replace(self.path)

    def valid(self) -> list[str]:
        valid = []
        for key in ("old", "new"):
            with suppress(Unauthorized):
                valid += [self.keys.identify(key) or ""]
        return valid


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyFile:
    monkeypatch.setattr(key_file, "CHECK_SECONDS", 0.0)
    return KeyFile(tmp_path)


def test_a_changed_file_is_read_once_as_soon_as_nobody_writes_it(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write("new")
    with capture_logs() as lines:
        assert [file.valid(), file.valid()] == [["new"]] * 2
    monkeypatch.setattr(key_file, "_is_recent", lambda version: True)
    file.write("old", "new")

    assert [line["event"] for line in lines] == ["API keys read again"]
    assert [file.valid(), file.valid()] == [["new"], ["old", "new"]]


@pytest.mark.parametrize("other", ["words", "gone", "pipe", "endless", "folder", "large"])
def test_what_is_no_file_of_keys_is_logged_once_and_the_previous_keys_stay(
    file: KeyFile, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.path.unlink()
    if other == "words":
        file.path.write_text("words")
    elif other == "pipe":
        os.mkfifo(file.path)
    elif other == "endless":
        file.path.symlink_to("/dev/zero")
    elif other == "folder":
        file.path.mkdir()
    elif other == "large":
        monkeypatch.setattr(key_file, "MAX_FILE_BYTES", 10)
        file.write("new")

    with capture_logs() as lines:
        assert [file.valid(), file.valid()] == [["old"]] * 2
    assert [line["log_level"] for line in lines] == ["error"]
    if other == "gone":
        file.write("new")
        assert file.valid() == ["new"]
