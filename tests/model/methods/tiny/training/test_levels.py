"""Score offsets of words: fitting, synonyms, the model directory."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from lexiseg_model import catalogue
from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.training.levels import Cells, direction, fit, write_levels
from lexiseg_model.methods.tiny.training.texts import TextBook
from lexiseg_model.methods.tiny.weights import FILE, FOLDER, LEVEL
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from tests.model.data.own.made import save

BOOK = TextBook(templates=["{}"], synonyms={"sky": ["heaven"]}, overlaps=[], rare=[])


@pytest.fixture(scope="module")
def segmenter() -> TinySegmenter:
    loaded = catalogue.load_folder(FOLDER, "cpu")
    assert isinstance(loaded, TinySegmenter)
    return loaded


def cells(logits: NDArray[np.float32], truth: NDArray[np.int64], classes: int, nobody: float | None = None) -> Cells:
    n_columns = logits.shape[1]
    words = tuple(f"word {number}" for number in range(classes))
    photograph = np.zeros(len(logits), np.int64)
    return Cells(logits, np.zeros((1, n_columns), np.float32), photograph, truth, words, classes, nobody, 0.0)


def planted(offset: float) -> Cells:
    """Three classes told apart, of which the second is taken for too likely."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 3000)
    logits = random.normal(0, 0.5, (3000, 3)).astype(np.float32)
    logits[np.arange(3000), truth] += 1.5
    logits[:, 1] += offset
    return cells(logits, truth, 3)


def test_the_fit_removes_a_planted_offset() -> None:
    levels, _ = fit([planted(1.6)], 0.3)

    relative = levels["word 1"] - (levels["word 0"] + levels["word 2"]) / 2
    assert relative == pytest.approx(-1.6, abs=0.5)


def test_synonyms_share_the_level_of_their_word(segmenter: TinySegmenter) -> None:
    along = direction(segmenter, {"sky": 1.0, "boat": -1.0}, BOOK, ["table", "tiger", "trousers"])

    texts = segmenter.texts(tuple(map(ClassEntry, ("sky", "heaven", "boat", "table", "tiger", "gearbox"))))
    rows = torch.from_numpy(segmenter.encode_texts(texts)).float()
    sky, heaven, boat, table, tiger, gearbox = (F.normalize(rows, dim=1) @ along).tolist()
    assert sky == pytest.approx(1, abs=0.15)
    assert heaven == pytest.approx(1, abs=0.15)
    assert boat == pytest.approx(-1, abs=0.15)
    assert abs(table) < 0.15
    assert abs(tiger) < 0.15
    assert abs(gearbox) < 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model with levels fitted on drawn photographs."""
    root = tmp_path_factory.mktemp("levels")
    data, out = root / "data", root / "model"
    random = np.random.default_rng(1)
    for number in range(4):
        image = random.integers(0, 60, (96, 128, 3)).astype(np.uint8)
        image[:48, :, 2] += 180
        image[48:, :, 1] += 120
        mask = np.repeat(np.array([1, 2], np.uint8), 48)[:, None].repeat(128, 1)
        mask[40:56] = 255
        mask[:, :8] = 0
        save(data / "drawn" / "train", f"{number}", image, mask)
    (data / "drawn" / "classes.json").write_text('["sky", "blue sky", "grass"]')
    shutil.copytree(FOLDER, out)
    write_levels(out, [read_dataset(data, "drawn", "train")], ["table"], 0)
    return out


def test_levels_change_the_digest_of_a_model(folder: Path, segmenter: TinySegmenter) -> None:
    before, now = read_weights(FOLDER / FILE, None), read_weights(folder / FILE, None)
    loaded = catalogue.load_folder(folder, "cpu")

    assert loaded.digest != segmenter.digest
    assert all(torch.equal(value, now[name]) for name, value in before.items() if name != LEVEL)
    assert now[LEVEL].abs().max() > 0
    assert (folder / FILE).stat().st_size < (FOLDER / FILE).stat().st_size + 2000  # as small as it was


def test_levels_apply_to_classes_and_not_to_background_words(folder: Path) -> None:
    levelled = catalogue.load_folder(folder, "cpu")
    rows = KnownRows(levelled)
    alone = bank_of(levelled, Vocabulary((ClassEntry("blue sky"),)), rows).levels
    beside = bank_of(levelled, Vocabulary((ClassEntry("blue sky"), ClassEntry("grass")), Background()), rows).levels

    assert alone is not None
    assert beside is not None
    assert beside[0] == alone[0] != 0
    assert not beside[2:].any()
    assert len(beside) > 2
