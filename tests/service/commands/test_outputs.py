"""What is wrong with a command line is said before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexiseg_model import catalogue
from tests import pictures
from tests.service.commands.command_line import CommandLine


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photograph and a text, where no command may load a model."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(catalogue, "load", load)
    monkeypatch.setattr(catalogue, "load_folder", load)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/china.jpg").write_bytes(pictures.encoded(pictures.small("china", 64), "JPEG"))
    (tmp_path / "text.txt").write_text("no folder")
    (tmp_path / "data/flags/val/images").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("segment gone.jpg -c sky", "gone.jpg: No such file"),
        ("segment gone.tif -c sky --window 128", "gone.tif: No such file"),
        ("segment photos -c sky --out text.txt", "expected a folder, got the file text.txt"),
        ("segment photos -c sky --out text.txt/out", "text.txt is a file"),
        ("segment photos -c sky --model nobodys", "no model 'nobodys'"),
        ("segment photos/china.jpg -c sky --window 128 --model nobodys", "no model 'nobodys'"),
        ("calibrate photos --vocabulary voc21 --dry-run --masks photos", "1 of 1 missing"),
        ("calibrate photos --vocabulary voc21 --dry-run --model nobodys", "no model 'nobodys'"),
        ("bulk photos rows -c sky --local --model nobodys", "no model 'nobodys'"),
        ("bulk gone rows -c sky --local", "gone: nothing is there"),
        ("compare tiny nobodys photos -c sky", "no model 'nobodys'"),
        ("compare tiny tiny photos -c sky --out photos", "expected a file, got the folder photos"),
        ("compare tiny tiny photos", "give either classes or --vocabulary"),
        ("eval --dataset flags --root data --model nobodys", "no model 'nobodys'"),
        ("eval --dataset flags --root data --compare tiny nobodys", "no model 'nobodys'"),
        ("eval --dataset gone --root data --task panoptic", "gone"),
        ("eval --dataset flags --root data --json text.txt/figures.json", "text.txt is a file"),
        ("data pseudo-label photos labelled -c sky --model nobodys", "no model 'nobodys'"),
        ("models check nobodys", "no model 'nobodys'"),
        ("export --model nobodys", "no model 'nobodys'"),
        ("site out --model nobodys", "no model 'nobodys'"),
    ],
)
def test_a_wrong_argument_is_refused_before_a_model_is_loaded(
    lexiseg: CommandLine, folder: Path, words: str, said: str
) -> None:
    outcome = lexiseg(*words.split())

    assert outcome.status != 0
    assert said in " ".join(outcome.err.replace("│", " ").split())
