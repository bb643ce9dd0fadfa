"""What a folder of pictures says about its use."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexiseg_model.training.publishing.terms import terms, with_terms


@pytest.mark.parametrize("name", ["LICENSE", "licence.txt", "COPYING.md"])
def test_the_first_line_of_a_licence_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("\n# CC BY 4.0\n\nLong text.")

    assert terms(tmp_path) == "CC BY 4.0"


def test_a_folder_without_a_licence_says_so(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")

    assert with_terms("masks of mine", tmp_path) == f"masks of mine ({tmp_path}); its terms are not stated"
    assert terms(tmp_path / "nowhere") is None
