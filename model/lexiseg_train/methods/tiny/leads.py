"""Leads of parts over their wholes (`lead_parts`), fitted on training photographs of `voc-parts`.

A part's lead is the one of the highest mean IoU of the part and the rest of its whole, over all questions for both.

python -m lexiseg_train.methods.tiny.leads ROOT MODEL
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.methods.tiny.teaching import cell_labels
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_train.methods.tiny.checks.parts_check import photographs, questions
from lexiseg_train.methods.tiny.directions.parts import Parts

SETS, PHOTOGRAPHS = ("voc", "voc-more"), 130  # of each set
MIN_SHARE = 0.001  # of a photograph, that a part covers
LEADS = np.linspace(0.25, 6, 24)
MIN_QUESTIONS = 5  # fewer say nothing


class Cells(NamedTuple):
    """Of the cells [n] of a part and its wholes: by how much the part exceeds these, and which are the part's."""

    above: NDArray[np.float32]
    is_part: NDArray[np.bool_]


def cells_by_part(segmenter: Segmenter, root: Path) -> Iterator[tuple[str, Cells]]:
    """The part's name and the cells of each question about training photographs below `root`."""
    rows_of, marked = KnownRows(segmenter), Parts(root, "train")
    for name in SETS:
        for photograph in photographs(root, marked, name, "train", PHOTOGRAPHS):
            features = segmenter.encode(photograph.image)
            for question in questions(photograph, marked, MIN_SHARE):
                words = tuple(map(ClassEntry, question.words.values()))
                bank = bank_of(segmenter, segmenter.explained(Vocabulary(words, Background())), rows_of)
                scores = segmenter.competing(features, replace(bank, leads=None), "none").classes[: len(words)].numpy()
                labels = cell_labels(question.mask, (scores.shape[1], scores.shape[2]))
                *wholes, part = question.words
                known = np.isin(labels, [*wholes, part])
                above = scores[-1] - scores[:-1].max(0)
                if (labels == part).any():
                    yield question.words[part], Cells(above[known], labels[known] == part)


def fit(cells_of: Mapping[str, Sequence[Cells]]) -> dict[str, float]:
    """The lead of each part that is asked for often enough."""
    return {
        name: float(LEADS[np.mean([_ious(cells) for cells in some], 0).argmax()])
        for name, some in cells_of.items()
        if len(some) >= MIN_QUESTIONS
    }


def _ious(cells: Cells) -> NDArray[np.float64]:
    """The mean IoU of the part and of the rest of its wholes, for each of LEADS."""
    won = cells.above + LEADS[:, None] > 0
    sides = ((won, cells.is_part), (~won, ~cells.is_part))
    return np.asarray(np.mean([(one & other).sum(1) / (one | other).sum(1).clip(1) for one, other in sides], 0))


if __name__ == "__main__":
    torch.set_num_threads(1)
    model, by_part = catalogue.load_folder(Path(sys.argv[2]), "cpu", runtime="auto"), defaultdict(list)
    for part, cells in cells_by_part(model, Path(sys.argv[1])):
        by_part[part].append(cells)
    print({part: len(cells) for part, cells in by_part.items()}, fit(by_part))
