import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import pictures
from tests.service.commands.command_line import CommandLine


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_photograph_of_the_readme_is_one_command_away(lexiseg: CommandLine, tmp_path: Path) -> None:
    outcome = lexiseg("sample")

    assert outcome.status == 0
    assert outcome.out.startswith("china.jpg: photograph by danielbuechele (Flickr), CC BY 2.0")
    with Image.open(tmp_path / "china.jpg") as copied:
        assert np.array_equal(np.asarray(copied), np.asarray(pictures.photograph("china")))


def test_another_picture_of_that_name_is_left_alone(lexiseg: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "china.jpg").write_bytes(b"mine")

    outcome = lexiseg("sample")

    assert (outcome.status, (tmp_path / "china.jpg").read_bytes()) == (1, b"mine")
    assert "is there already" in outcome.err


def test_without_the_package_that_holds_them_the_way_to_it_is_said(
    lexiseg: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])

    outcome = lexiseg("sample")

    assert outcome.status == 1
    assert 'pip install "lexiseg[sample]"' in outcome.err
