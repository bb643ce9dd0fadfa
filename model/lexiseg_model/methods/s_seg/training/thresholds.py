"""The score from which a class owns a pixel, chosen on photographs with masks that are for training.

The paper's thresholds are not known and GroupViT's are for its own scores: each training gets its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lexiseg_model.data.indexed import BACKGROUND, IndexedDataset
from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.counts import Counts, count, scores
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.rows import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary

CANDIDATES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)  # GroupViT's 0.35 and 0.95 among them


def miou_by_threshold(segmenter: Segmenter, datasets: Sequence[IndexedDataset], photographs: int) -> dict[float, float]:
    """Mean over data sets of the mIoU in percent that each threshold gives, nobody being a class like the others.

    Args:
        segmenter: the model; an image pass of each photograph serves all thresholds.
        datasets: train splits with a background.
        photographs: of each of them, evenly spread.

    Raises:
        DatasetError: a set without a background, in which no threshold decides anything.
    """
    for data in datasets:
        if not data.has_background:
            raise DatasetError(f"{data.name} has no class {BACKGROUND!r}; no threshold can be chosen on it")
    by_set = np.array([_by_threshold(segmenter, data, photographs) for data in datasets])  # [sets, thresholds]
    return dict(zip(CANDIDATES, by_set.mean(0).tolist(), strict=True))


def _by_threshold(segmenter: Segmenter, data: IndexedDataset, photographs: int) -> list[float]:
    classes = tuple(ClassEntry(name) for name in data.classes[1:])
    value_of = np.append(np.arange(1, len(data.classes)), 0)  # of a row of the scores; the last is nobody
    rows_of = KnownRows(segmenter)
    counts = [Counts.none(len(data.classes)) for _ in CANDIDATES]
    for sample in data.samples[:: max(1, len(data.samples) // photographs)][:photographs]:
        plan = segmenter.plan(sample.read_image())
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
        truth = sample.read_mask()
        for index, threshold in enumerate(CANDIDATES):
            vocabulary = Vocabulary(classes, Background(threshold=threshold))
            labels = winners(score_vocabulary(segmenter, features, vocabulary, rows_of), plan.size).labels
            counts[index] += count(truth, value_of[labels], len(data.classes))
    return [scores(each).miou for each in counts]
