"""Records on disk: nothing is lost, nothing counted twice, whatever is killed when."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.records import RecordFile, read_records


def test_what_was_added_is_read_at_once(tmp_path: Path) -> None:
    with RecordFile(tmp_path / "new") as file:
        file.add("a/ä.jpg", {"counts": [[1, 0.25]]})

        assert read_records(tmp_path / "new") == {"a/ä.jpg": {"counts": [[1, 0.25]]}}


def test_files_of_several_processes_are_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with RecordFile(tmp_path) as file:
            file.add(name, {"of": name})

    assert read_records(tmp_path) == {"a": {"of": "a"}, "b": {"of": "b"}}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none") == {}


@pytest.mark.parametrize("cut", [1, 5])
def test_a_line_cut_short_is_not_there(tmp_path: Path, cut: int) -> None:
    with RecordFile(tmp_path) as file:
        file.add("a", {})
        file.add("b", {"long": "enough"})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])

    assert read_records(tmp_path) == {"a": {}}


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('["a", {}]\n["b",\n')

    with pytest.raises(DatasetError, match=r"x.jsonl, line 2 is damaged .* delete the file"):
        read_records(tmp_path)


def test_an_image_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('["a", {}]\n')
    (tmp_path / "y.jsonl").write_text('["a", {}]\n')

    with pytest.raises(DatasetError, match="holds 'a' twice: two evaluations ran at once"):
        read_records(tmp_path)
