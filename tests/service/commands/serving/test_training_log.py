"""What clients see of a training's output."""

from pathlib import Path

import pytest

from lexiseg_service.commands.serving.trainer import WITHHELD, ClientLog
from lexiseg_service.gateway.uploaded_archive import without_paths

PLACE = Path("/srv/state of clients/trainings/3f2504")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"{PLACE}/archive.zip is damaged", "the archive is damaged"),
        (f"{PLACE}/imported/images/a b.png: no mask", "images/a b.png: no mask"),
        (f"{PLACE}/imported/train/masks/1.png", "train/masks/1.png"),
        (f"{PLACE}/run/mine/weights.pt", "run/mine/weights.pt"),
        ("No such file: '/srv/secret folder/other.json'", "No such file: '…/other.json'"),
        ('File "/usr/lib/python3.11/json/decoder.py", line 3', 'File "…/decoder.py", line 3'),
        ("PATH=/usr/bin:/usr/local/bin", "PATH=…/bin:…/bin"),
        ("file:///srv/other/a.png", "…/a.png"),
        ("see http://localhost:8000/docs/a and 3/4 of them", "see http://localhost:8000/docs/a and 3/4 of them"),
        ("a\x1b[31mred", "a\ufffd[31mred"),
    ],
)
def test_paths_of_the_machine_are_cut_short(line: str, shown: str) -> None:
    assert without_paths(line, PLACE) == shown


@pytest.fixture
def log(tmp_path: Path) -> ClientLog:
    (tmp_path / "output.txt").touch()
    return ClientLog(tmp_path / "output.txt", tmp_path / "log.txt", tmp_path)


def test_whole_lines_are_shown_as_they_come(log: ClientLog, tmp_path: Path) -> None:
    with (tmp_path / "output.txt").open("a") as output:
        for text, shown in (("one\ntw", "one\n"), ("o\n", "one\ntwo\n")):
            output.write(text)
            output.flush()
            log.follow()
            assert (tmp_path / "log.txt").read_text() == shown


def test_a_traceback_is_withheld_with_what_follows_until_the_next_command(log: ClientLog, tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    output.write_text("before\nTraceback (most recent call last):\n  File x\nKeyError: 'password'\nroot:x:0\n")
    log.begin()
    with output.open("a") as file:
        file.write("after")
    log.follow(ended=True)

    assert (tmp_path / "log.txt").read_text() == f"before\n{WITHHELD}\nafter\n"


def test_a_line_without_end_is_cut_and_no_part_of_its_rest_is_shown(log: ClientLog, tmp_path: Path) -> None:
    (tmp_path / "output.txt").write_text("a" * 15_000 + "/srv/secret/a.png" + "\nnext\n")

    log.follow()

    assert (tmp_path / "log.txt").read_text() == "a" * 10_000 + "\nnext\n"
