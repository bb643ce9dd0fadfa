"""`lexiseg eval`: a model on one split of an indexed data set, with the set's class list."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lexiseg_model.data.indexed import BACKGROUND, IndexedDataset
from lexiseg_model.evaluation.counts import Counts, Scores, count, scores
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Refinement, Vocabulary
from lexiseg_model.vocabulary.rows import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary


@dataclass(frozen=True)
class Report:
    """Result of an evaluation; `renamed` holds words used in place of class names."""

    model: str
    dataset: str
    split: str
    images: int
    classes: tuple[str, ...]
    renamed: dict[str, str]
    scores: Scores
    refine: Refinement = "none"

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "dataset": self.dataset,
            "split": self.split,
            "images": self.images,
            "miou": round(self.scores.miou, 2),
            "pixel_accuracy": round(self.scores.pixel_accuracy, 2),
            "per_class": {
                name: None if math.isnan(value) else round(float(value), 2)
                for name, value in zip(self.classes, self.scores.per_class, strict=True)
            },
            "renamed": self.renamed,
            "refine": self.refine,
        }


def evaluate(
    segmenter: Segmenter,
    data: IndexedDataset,
    renamed: dict[str, str] | None = None,
    on_image: Callable[[], None] = lambda: None,
    refine: Refinement | None = None,
) -> Report:
    """Scores of a split; arguments as in `count_photographs`.

    Args:
        on_image: called after each image.
    """
    renamed = {name: word for name, word in (renamed or {}).items() if name in data.classes}
    refine = refine or segmenter.card.refine
    counts = Counts.none(len(data.classes))
    for of_photograph in count_photographs(segmenter, data, renamed, refine):
        counts += of_photograph
        on_image()
    return Report(
        segmenter.card.name, data.name, data.split, len(data.samples), data.classes, renamed, scores(counts), refine
    )


def count_photographs(
    segmenter: Segmenter,
    data: IndexedDataset,
    renamed: dict[str, str] | None = None,
    refine: Refinement | None = None,
) -> Iterator[Counts]:
    """Label each photograph and count pixels at the mask's size.

    If class 0 of the data set is "background", the background rule is on and decides about it; otherwise every pixel
    gets a class. Mask value 255 is ignored.

    Args:
        segmenter: the model.
        data: the split.
        renamed: class name -> word to use instead.
        refine: refinement of the masks; None: the card's.

    Raises:
        OptionError: the model does not support this refinement.
    """
    renamed = renamed or {}
    asked = tuple(ClassEntry(renamed.get(name, name)) for name in data.classes if name != BACKGROUND)
    vocabulary = Vocabulary(asked, Background() if data.has_background else None, data.name)
    rows_of, refine = KnownRows(segmenter), refine or segmenter.card.refine
    # Mask value of each row of the scores; with a background the last row is nobody, mask value 0.
    value_of = np.arange(len(asked)) if not data.has_background else np.append(np.arange(1, len(asked) + 1), 0)
    for sample in data.samples:
        image, truth = sample.read(len(data.classes))
        features = segmenter.encode(image)
        labels = winners(score_vocabulary(segmenter, features, vocabulary, rows_of, refine), features.size).labels
        yield count(truth, value_of[labels], len(data.classes))
