"""`lexiseg eval`: a model on one split of an indexed data set, with the set's own class list."""

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
    """What an evaluation measured; `renamed` are the synonyms that stood in for class names, `refine` what became of
    the scores."""

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
    """The counts of all photographs together; arguments as of `count_photographs`.

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
    """Labels each photograph and compares pixel by pixel at the mask's size.

    A data set whose class 0 is "background" is asked with the background rule on, which answers for class 0; in any
    other every pixel gets a class. Mask value 255 counts nowhere.

    Args:
        segmenter: the model.
        data: the split.
        renamed: class name -> the word to ask with instead.
        refine: what becomes of the scores; None: what the model's card says.

    Raises:
        OptionError: the model does not refine like that.
    """
    renamed = renamed or {}
    asked = tuple(ClassEntry(renamed.get(name, name)) for name in data.classes if name != BACKGROUND)
    vocabulary = Vocabulary(asked, Background() if data.has_background else None, data.name)
    rows_of, refine = KnownRows(segmenter), refine or segmenter.card.refine
    # Mask value of each row of the scores; with a background the last row is nobody, mask value 0.
    value_of = np.arange(len(asked)) if not data.has_background else np.append(np.arange(1, len(asked) + 1), 0)
    for sample in data.samples:
        image, truth = sample.read(len(data.classes))
        plan = segmenter.plan(image)
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
        labels = winners(score_vocabulary(segmenter, features, vocabulary, rows_of, refine), plan.size).labels
        yield count(truth, value_of[labels], len(data.classes))
