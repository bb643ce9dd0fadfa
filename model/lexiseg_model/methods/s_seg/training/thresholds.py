"""Choice of the background threshold, by mIoU on photographs with masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lexiseg_model.data.indexed import BACKGROUND, IndexedDataset
from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.counts import Counts, count, scores
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary

CANDIDATES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)  # GroupViT's 0.35 and 0.95 among them


def miou_by_threshold(segmenter: Segmenter, datasets: Sequence[IndexedDataset], photographs: int) -> dict[float, float]:
    """Mean mIoU in percent over data sets for each background threshold; the background counts as a class.

    Args:
        segmenter: the model; each photograph is encoded once.
        datasets: train splits with a background.
        photographs: number of evenly spread photographs of each set.

    Raises:
        DatasetError: a set has no background.
    """
    for data in datasets:
        if not data.has_background:
            raise DatasetError(f"{data.name} has no class {BACKGROUND!r}; no threshold can be chosen on it")
    by_set = np.array([_by_threshold(segmenter, data, photographs) for data in datasets])  # [sets, thresholds]
    return dict(zip(CANDIDATES, by_set.mean(0).tolist(), strict=True))


def _by_threshold(segmenter: Segmenter, data: IndexedDataset, photographs: int) -> list[float]:
    classes = tuple(ClassEntry(name) for name in data.classes[1:])
    value_of = np.append(np.arange(1, len(data.classes)), 0)  # mask value of each row of the scores; last: background
    rows_of = KnownRows(segmenter)
    counts = [Counts.none(len(data.classes)) for _ in CANDIDATES]
    for sample in data.samples[:: max(1, len(data.samples) // photographs)][:photographs]:
        features = segmenter.encode(sample.read_image())
        truth = sample.read_mask()
        for index, threshold in enumerate(CANDIDATES):
            vocabulary = Vocabulary(classes, Background(threshold=threshold))
            labels = winners(score_vocabulary(segmenter, features, vocabulary, rows_of), features.size).labels
            counts[index] += count(truth, value_of[labels], len(data.classes))
    return [scores(each).miou for each in counts]
