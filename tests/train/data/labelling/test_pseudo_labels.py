"""Pseudo-labels by a model with known answers: mask values, resumption, unreadable photographs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.errors import DatasetError, OptionError
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_train.data.indexed import photographs_in, read_dataset
from lexiseg_train.data.labelling.model_labels import Labelled, Labelling, write_pseudo_labels
from lexiseg_train.data.preparing.checking import check_masks
from tests.model.stand_in import ColourSegmenter, picture

RED_GREEN = (ClassEntry("red"), ClassEntry("green"))
WITH_NOBODY = Labelling(Vocabulary(RED_GREEN, Background()))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, rows in (("a", ["rrg", "rrg"]), ("b", ["gb.", "gbr"])):
        Image.fromarray(picture(rows)).save(folder / f"{name}.png")
    return folder


def label(photographs: Path, target: Path, labelling: Labelling = WITH_NOBODY) -> Labelled:
    return write_pseudo_labels(ColourSegmenter(), photographs_in(photographs), target, labelling)


def masks(target: Path, split: str = "train") -> dict[str, list[list[int]]]:
    return {
        path.stem: np.asarray(Image.open(path)).tolist() for path in sorted((target / split / "masks").glob("*.png"))
    }


def test_pseudo_labels_form_a_data_set(photographs: Path, tmp_path: Path) -> None:
    done = label(photographs, tmp_path / "sets" / "labelled")

    data = read_dataset(tmp_path / "sets", "labelled", "train")
    assert data.classes == ("background", "red", "green")
    assert [sample.read(3).mask.tolist() for sample in data.samples] == [[[1, 1, 2], [1, 1, 2]], [[2, 0, 0], [2, 0, 1]]]
    assert (done.n_new, done.earlier, len(done.skips)) == (2, 0, 0)
    assert check_masks(tmp_path / "sets" / "labelled").errors == []


@pytest.mark.parametrize(("confidence", "of_blue"), [(0.0, 0), (0.6, 255)])
def test_without_a_background_every_pixel_has_a_class_from_0_on_or_is_uncertain(
    confidence: float, of_blue: int, photographs: Path, tmp_path: Path
) -> None:
    """Blue is like neither red nor green: one of them wins with a half."""
    label(photographs, tmp_path / "labelled", Labelling(Vocabulary(RED_GREEN, None), confidence=confidence))

    assert json.loads((tmp_path / "labelled" / "classes.json").read_text()) == ["red", "green"]
    assert masks(tmp_path / "labelled") == {"a": [[0, 0, 1], [0, 0, 1]], "b": [[1, of_blue, of_blue], [1, of_blue, 0]]}


def test_a_stopped_run_resumes(photographs: Path, tmp_path: Path) -> None:
    label(photographs, tmp_path / "labelled")
    (tmp_path / "labelled/train/masks/b.png").unlink()
    first = (tmp_path / "labelled/train/masks/a.png").stat().st_ino

    done = label(photographs, tmp_path / "labelled")

    assert (done.n_new, done.earlier) == (1, 1)
    assert (tmp_path / "labelled/train/masks/a.png").stat().st_ino == first
    assert masks(tmp_path / "labelled")["b"] == [[2, 0, 0], [2, 0, 1]]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (Labelling(Vocabulary((ClassEntry("red"),), Background())), "other settings: classes "),
        (Labelling(Vocabulary(RED_GREEN, Background(("sky",)))), "other settings: background "),
        (
            Labelling(Vocabulary(RED_GREEN, Background()), confidence=0.5, max_side=64),
            "other settings: confidence 0.0, not 0.5; max_side None, not 64",
        ),
    ],
)
def test_masks_with_other_options_are_not_continued(
    photographs: Path, tmp_path: Path, other: Labelling, named: str
) -> None:
    label(photographs, tmp_path / "labelled")

    with pytest.raises(DatasetError, match=named):
        label(photographs, tmp_path / "labelled", other)


def test_an_unreadable_photograph_is_reported_and_has_no_mask(photographs: Path, tmp_path: Path) -> None:
    (photographs / "c.jpg").write_bytes(b"<html>")

    done = label(photographs, tmp_path / "labelled")

    assert done.n_new == 2
    assert list(done.skips.reasons) == [str(photographs / "c.jpg")]
    assert set(masks(tmp_path / "labelled")) == {"a", "b"}
    assert not (tmp_path / "labelled/train/images/c.jpg").exists()
    assert str(photographs / "c.jpg") in (tmp_path / "labelled/train/skipped.jsonl").read_text()


def test_more_than_255_classes_are_refused(photographs: Path, tmp_path: Path) -> None:
    many = Vocabulary(tuple(ClassEntry(f"class {number}") for number in range(255)), Background())

    with pytest.raises(OptionError, match="256 classes; a mask of 8 bits holds at most 255"):
        label(photographs, tmp_path / "labelled", Labelling(many))
