"""Names of files: any bytes, at most 255 of them."""

import json
import os
from pathlib import Path

import pytest

from lexiseg_model.files.names import as_text, from_text, on_one_line, to_utf8, visible_files

LATIN = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("name", [LATIN, "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "plain"])
def test_a_name_survives_as_text_and_as_json(name: str) -> None:
    assert from_text(as_text(name).encode().decode()) == name
    assert json.loads(to_utf8(json.dumps(name, ensure_ascii=False))) == name


def test_a_name_is_one_line_in_a_list() -> None:
    assert on_one_line("a\nb\x1b\u2028\x85c") == "a_b___c"


def test_hidden_files_and_folders_are_not_listed(tmp_path: Path) -> None:
    for name in ("b.jpg", "._b.jpg", ".thumbnails/b.jpg", "below/a.jpg", "below/.DS_Store", f"{LATIN}.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    listed = [path.relative_to(tmp_path).as_posix() for path in visible_files(tmp_path)]

    assert listed == ["b.jpg", "below/a.jpg", f"{LATIN}.jpg"]
