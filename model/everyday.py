"""Write the cells of everyday photographs that heads are solved with: `python model/everyday.py ROOT`.

Of sets in ROOT, for the bundled weights; after each change of these. Only the features of single cells are kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lexiseg_model.abilities import teachable
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import InferenceOptions
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.heads import MAX_CELLS, LabelledPicture, Lesson
from lexiseg_model.vocabulary.solving import EVERYDAY
from lexiseg_train.data.indexed import evenly_spread, read_dataset

SETS = "coco", "voc"
PHOTOGRAPHS = 64
NAME = "everyday"  # stands for any class, of which the photographs show none


def main(root: Path) -> None:
    """Write the file."""
    segmenter = catalogue.load("tiny", runtime="auto")
    bank = bank_of(segmenter, Vocabulary((ClassEntry(NAME),), Background()), KnownRows(segmenter))
    lessons = []
    for name in SETS:
        for sample in evenly_spread(read_dataset(root, name, "train").samples, PHOTOGRAPHS // len(SETS)):
            rgb = sample.read_image()
            labelled = LabelledPicture(np.ones(rgb.shape[:2], np.int16), (NAME,))
            features = segmenter.encode(rgb, InferenceOptions(teaching=True, fine=True))
            lessons.append(teachable(segmenter).lesson(features, labelled, bank))
    n = MAX_CELLS // len(lessons)
    few = [np.linspace(0, len(lesson.labels) - 1, n).round().astype(int) for lesson in lessons]
    cells, detail = (
        np.concatenate([np.asarray(getattr(each, part))[rows] for each, rows in zip(lessons, few, strict=True)])
        for part in ("cells", "detail")
    )
    labels, shares = np.ones(len(cells), np.int16), np.full(len(cells), 1 / len(cells), np.float32)
    no_text = np.zeros((len(cells), 1), np.float16)
    EVERYDAY.write_bytes(Lesson(segmenter.digest, (NAME,), cells, labels, shares, no_text, detail).to_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
