"""The everyday check: which words are asked, when one is found, and that no crop shows its photographs."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.by_words import everyday
from benchmarks.by_words.everyday import Question, outcomes, painted, words_in
from lexiseg_model.types import Background
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny import sources
from lexiseg_train.methods.tiny.sources import packed
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook
from tests.model.stand_in import ColourSegmenter
from tests.train.methods.tiny.shapes import write_shapes


def test_words_are_what_covers_enough_of_a_photograph() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[:10] = 1
    mask[10, 0] = 2
    mask[12:] = IGNORE

    assert words_in(mask, ("background", "sky", "coin")) == {1: "sky"}


def test_a_word_is_judged_within_the_labelled_pixels() -> None:
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16, 0] = 255  # red
    image[:, 16:, 2] = 255  # blue
    mask = np.full((16, 32), IGNORE, np.uint8)
    mask[:8, :16] = 1
    mask[:8, 16:] = 2
    segmenter = ColourSegmenter()

    asked, features, rows_of = (
        Question(image, mask, {1: "red", 2: "green"}),
        segmenter.encode(image),
        KnownRows(segmenter),
    )
    found = outcomes(segmenter, features, asked, Background(), rows_of)

    assert (found[0].iou, found[1].iou) == (1.0, 0.0)
    assert found[0].score > 0


def test_an_absent_word_is_painted_where_it_gets_a_segment() -> None:
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16, 0] = 255  # red
    image[:, 16:, 2] = 255  # blue
    segmenter, mask = ColourSegmenter(), np.ones((16, 32), np.uint8)
    asked, features, rows_of = Question(image, mask, {1: "red"}), segmenter.encode(image), KnownRows(segmenter)

    assert painted(segmenter, features, asked, 3, ["green", "blue"], rows_of) in ([False, True], [True, False])


def test_training_leaves_the_photographs_of_the_check_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_shapes(tmp_path, count=3)
    kept = sorted((root / "shapes/train/images").iterdir())[1]
    listing = tmp_path / "everyday.json"
    listing.write_text(f'{{"shapes": ["{kept.stem}"]}}')
    for module in (sources, everyday):
        monkeypatch.setattr(module, "EVERYDAY", listing)

    pack = packed(root, tmp_path / "packs", "shapes", TextBook.read(TEXTS))

    assert len(pack) == 2
    assert kept.name not in pack.photographs
    assert len(list(everyday.photographs(root))) == 1
