"""Every function of the kernel once, on drawn input and without torch: what callgrind runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import (
    cell_scores,
    crumbs,
    outcome,
    outlines,
    pamr,
    pixels,
    regions,
    runs,
    spans,
    specks,
    winners,
)
from lexiseg_model.masks.bilinear import axes
from lexiseg_model.masks.shrink import shrink

CELLS, SIZE, CLASSES = (60, 80), (480, 640), 20


def smooth(n: int) -> NDArray[np.float32]:
    """[n, h, w]: waves of different lengths and directions."""
    y, x = np.indices(CELLS) / 10
    number = np.arange(n)[:, None, None]
    waves: NDArray[np.float64] = np.sin(x * (1 + number % 3) / 2 + number) * np.cos(
        y * (1 + number % 4) / 3 + 2 * number
    )
    return (4 * waves).astype(np.float32)


def run() -> None:
    """Scores to labels to run lengths; labels to regions; a mask to its runs and borders; pictures; crumbs of masks."""
    places = axes(CELLS, SIZE)
    scores = smooth(CLASSES)
    labels, _, probability = winners.winners(scores, places, keep_probability=True)
    assert probability is not None
    runs.encode_label_map(labels, CLASSES)
    down = labels.T.ravel()
    start = np.flatnonzero(np.append(np.append(True, down[1:] != down[:-1]), True))
    runs.encode_known_runs(start, down[start[:-1]].astype(np.int32), SIZE, CLASSES)
    connected = regions.connect(labels)
    regions.paint(connected, np.arange(len(connected.areas)).astype(np.uint16))
    regions.sum_by_label(labels, probability, CLASSES)
    specks.tidy(scores.copy(), CLASSES - 1, (0.005, 0.1, 0.0005), 1000)
    outcome.outcome(scores.copy(), places, CLASSES, (0.005, 0.1, 0.0005), 1000, keep_probability=False, encode=True)
    cut = spans.cut(scores[3], places)
    spans.encode(cut, SIZE, keep_counts=True)
    outlines.outlines(cut, SIZE)
    pixels.halve(np.stack([labels] * 3))
    shrink(np.stack([labels] * 3, 2), (288, 384))
    crumbs.turn_crumbs(scores[:4].copy(), 0.2, 0.05)
    if cell_scores.fit(16):
        cells = smooth(16).reshape(16, -1).astype(np.float16)
        cell_scores.cell_scores(cells, np.ones((3, 16), np.float32), np.zeros(3, np.float32), np.arange(3))
        texts = cell_scores.Asked(*2 * (np.ones((3, 16), np.float32),), None, np.arange(3))
        cell_scores.scores_by_presence(cells, cells, cells[:, 0].copy(), texts, cell_scores.PresenceRule(1, 0, 1, -6))
    pamr.refine(smooth(4), smooth(3), dilations=(8,), iterations=2)


if __name__ == "__main__":
    run()
