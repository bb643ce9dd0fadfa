"""Every kind of label becomes a pack without validation photographs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from lexiseg_model.methods.tiny.training.recipe import TEXTS
from lexiseg_model.methods.tiny.training.sources import packed
from lexiseg_model.methods.tiny.training.texts import TextBook
from tests.model.methods.tiny.training.shapes import CLASSES, write_shapes
from tests.model.methods.tiny.training.weak import write_boxes, write_names

BOOK = TextBook.read(TEXTS)


def test_masks_become_a_pack(tmp_path: Path) -> None:
    pack = packed(write_shapes(tmp_path, count=3), tmp_path / "packs", "shapes", BOOK)

    assert (len(pack), pack.classes) == (3, CLASSES)
    assert pack.places[:, 3].tolist() == [1, 1, 1]


def test_boxes_and_captions_become_a_pack(tmp_path: Path) -> None:
    pack = packed(write_boxes(tmp_path), tmp_path / "packs", "boxed", BOOK)

    assert pack.classes == ("background", "cat", "dog")
    assert (pack.names, pack.complete) == (("cat", "dog"), True)
    assert pack.present == (("cat", "grass"), ("dog",), ())
    assert pack.places[:, 3].tolist() == [1, 0, 1]


@pytest.mark.parametrize("copied", ["boxed/images/000.jpg", "named/train/images/g.jpg"])
def test_validation_photographs_are_excluded_by_content(tmp_path: Path, copied: str) -> None:
    write_names(write_boxes(tmp_path))
    other = tmp_path / "other" / "val" / "images" / "renamed.jpg"
    other.parent.mkdir(parents=True)
    shutil.copy(tmp_path / copied, other)

    pack = packed(tmp_path, tmp_path / "packs", copied.split("/")[0], BOOK)

    assert Path(copied).name not in pack.photographs
    assert len(pack) > 0


def test_an_unusable_mask_is_skipped_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_shapes(tmp_path, count=3)
    broken = sorted((root / "shapes/train/masks").iterdir())[1]
    Image.new("L", (5, 5)).save(broken)

    pack = packed(root, tmp_path / "packs", "shapes", BOOK)

    assert broken.stem not in pack.photographs
    assert len(pack) == 2
    said = capsys.readouterr().out
    assert "shapes: 1 sample" in said
    assert f"{broken}: is 5 x 5, its photograph" in said
    assert str(broken) in (tmp_path / "packs/shapes.skipped.jsonl").read_text()
