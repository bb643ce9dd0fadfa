"""Names of files in data sets: safe, fitting, each once."""

import os
from pathlib import Path

import pytest

from lexiseg_labels.exports import write_whole
from lexiseg_labels.names import Names, fitting
from lexiseg_labels.picture_names import suffix_of
from lexiseg_model.files.names import as_text

PATHS = {
    "a/b.jpg": "a/b",
    "a/b.png": "a/b-2",
    "https://x.org/c.jpg?d=1": "https_x.org_c",
    "../../e.jpg": "e",
    "f": "f",
    ".jpg": "jpg",
    "a/b-2.jpg": "a/b-2-2",
    "A/B.jpg": "A/B-3",
    "C:\\g.jpg": "C_g",
    " # h .png": "h",
    os.fsdecode(b"caf\xe9.jpg"): "caf_",
    "caf\u00e9.jpg": "caf\u00e9",
    "cafe\u0301.jpg": "cafe\u0301-2",  # the same name for macOS
    "stra\N{LATIN SMALL LETTER SHARP S}e 1, 100%.tif": "stra\N{LATIN SMALL LETTER SHARP S}e 1, 100%",
}


def test_names_are_safe_and_each_is_given_once() -> None:
    names = Names()

    assert {source: names.next_for(source) for source in PATHS} == PATHS


def test_a_suffix_is_that_of_a_picture() -> None:
    assert [suffix_of(name) for name in ("a.JPG", "b.final", "c", "d.dib")] == [".jpg", ".jpg", ".jpg", ".dib"]
    assert suffix_of("b.final", ".png") == ".png"


@pytest.mark.parametrize("name", ["n" * 300, "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 100, os.fsdecode(b"\xe9" * 300)])
def test_a_long_name_is_cut_to_what_file_systems_take(tmp_path: Path, name: str) -> None:
    short = fitting(name, room=4)

    (tmp_path / f"{short}.jpg").write_bytes(b"")
    assert len(os.fsencode(short)) > 200
    assert short[:3] == name[:3]
    assert short != fitting(f"{name}-2", room=4)


def test_a_name_that_fits_stays(tmp_path: Path) -> None:
    assert fitting("n" * 251, room=4) == "n" * 251
    write_whole(tmp_path / ("n" * 255), b"written under another name first")


def test_a_long_name_is_cut_between_characters() -> None:
    as_text(fitting("a" + "\N{PILE OF POO}" * 100)).encode()
    assert "\\udc" not in as_text(fitting("\N{PILE OF POO}" * 100))
