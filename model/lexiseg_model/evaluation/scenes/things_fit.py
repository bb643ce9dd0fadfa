"""Fits the rule that decides which regions of things are kept (`ThingBelief`), on photographs with known things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lexiseg_model.data.scenes import VOID, PanopticTruth, SceneSet
from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.scenes.panoptic_quality import (
    EXCUSED_ABOVE,
    MATCHES_ABOVE,
    PanopticCounts,
    panoptic_scores,
)
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks.pixels import Seen, evidence, seen_things
from lexiseg_model.types import Background, ThingBelief, Vocabulary
from lexiseg_model.vocabulary.rows import KnownRows

STEPS = 100
DECAY = 1e-3  # of the weights of normalised evidence
LEASTS = (0.0, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.17, 0.2, 0.25, 0.3, 0.35, 0.4)
EXCUSED = -1.0  # IoU of a region that is mostly void


class Things(NamedTuple):
    """N regions of one data set, and its things.

    Attributes:
        evidence: [N, 3].
        reached: [N] IoU with a thing of the region's class, 0 without one, EXCUSED where most of it is void.
        owner: [N] class of each region.
        truth: [K] number of things of each class.
    """

    evidence: NDArray[np.float64]
    reached: NDArray[np.float64]
    owner: NDArray[np.int64]
    truth: NDArray[np.int64]

    def quality(self, rule: ThingBelief) -> float:
        """PQ of the things, in percent."""
        stays = self._beliefs(rule) >= rule.least
        n = len(self.truth)

        def count(which: NDArray[np.bool_]) -> NDArray[np.int64]:
            return np.bincount(self.owner[which], minlength=n)

        hits = stays & (self.reached > MATCHES_ABOVE)
        iou = np.bincount(self.owner[hits], self.reached[hits], n).astype(np.float64)
        false_alarms = count(stays & ~hits & (self.reached != EXCUSED))
        return panoptic_scores(PanopticCounts(iou, count(hits), false_alarms, self.truth - count(hits))).pq

    def _beliefs(self, rule: ThingBelief) -> NDArray[np.float64]:
        logits = self.evidence @ np.array([rule.probability, rule.area, rule.presence]) + rule.bias
        beliefs: NDArray[np.float64] = 1 / (1 + np.exp(-logits))
        return beliefs


def fit(sets: Sequence[Things]) -> ThingBelief:
    """Fit the rule by logistic regression, data sets weighted alike, and its threshold by their mean PQ.

    Raises:
        DatasetError: there is no region to fit to.
    """
    known = [things.reached != EXCUSED for things in sets]
    seen = torch.from_numpy(np.concatenate([things.evidence[some] for things, some in zip(sets, known, strict=True)]))
    if not len(seen):
        raise DatasetError("the model found no region of a thing in these photographs; expected at least one")
    hits = np.concatenate([things.reached[some] > MATCHES_ABOVE for things, some in zip(sets, known, strict=True)])
    weight = np.concatenate([np.full(some.sum(), 1 / (len(sets) * max(some.sum(), 1))) for some in known])
    middle, spread = seen.mean(0), seen.std(0, correction=0) + 1e-6
    scaled, right, counts = (seen - middle) / spread, torch.from_numpy(hits).double(), torch.from_numpy(weight)
    numbers = torch.zeros(seen.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([numbers], max_iter=STEPS)

    def loss() -> float:
        optimizer.zero_grad()
        logits = scaled @ numbers[:-1] + numbers[-1]
        missed = F.binary_cross_entropy_with_logits(logits, right, counts, reduction="sum")
        total = missed + DECAY * numbers[:-1].square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total.item()

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    weights = (numbers.detach()[:-1] / spread).tolist()
    bias = (numbers.detach()[-1] - (numbers.detach()[:-1] * middle / spread).sum()).item()
    probability, area, presence, bias = (round(number, 2) for number in (*weights, bias))
    rules = [
        ThingBelief(probability=probability, area=area, presence=presence, bias=bias, least=least) for least in LEASTS
    ]
    return max(rules, key=lambda rule: float(np.mean([things.quality(rule) for things in sets])))


@torch.inference_mode()
def gather(segmenter: Segmenter, data: SceneSet[PanopticTruth], photographs: int) -> Things:
    """Segment evenly chosen photographs with all classes of a data set."""
    n = min(photographs, len(data.scenes))
    entries = tuple(entry.entry for entry in data.classes)
    vocabulary = Vocabulary(entries, Background() if data.background else None, data.name)
    rows_of = KnownRows(segmenter)
    truth = np.zeros(len(entries), np.int64)
    parts = []
    for place in np.linspace(0, len(data.scenes) - 1, n).round().astype(int):
        scene = data.scenes[place]
        there = scene.read_truth()
        for segment in there.segments:
            truth[segment.class_index] += data.classes[segment.class_index].thing and not segment.crowd
        seen = seen_things(segmenter, segmenter.encode(scene.read_image()), vocabulary, rows_of)
        parts.append((evidence(seen), reached(seen, there), seen.regions.owner))
    known, best, owner = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Things(known, best, owner, truth)


def reached(seen: Seen, truth: PanopticTruth) -> NDArray[np.float64]:
    """`Things.reached` [N] of one image."""
    n = len(seen.regions.owner)
    ids = np.concatenate([[VOID], [segment.id for segment in truth.segments]]).astype(np.int64)
    number = np.zeros(max(int(truth.ids.max(initial=0)), int(ids.max())) + 1, np.int64)  # of a segment by its id
    number[ids[1:]] = np.arange(1, len(ids))
    width = len(ids) + 1
    # Columns: background and unknown ids, the segments, void.
    column = np.where(truth.ids == VOID, width - 1, number[truth.ids.clip(0)])
    shared = np.bincount((seen.regions.labels.astype(np.int64) * width + column).reshape(-1), minlength=(n + 1) * width)
    shared = shared.reshape(n + 1, width)[:n]
    areas = shared.sum(1)
    best = np.zeros(n)
    for place, segment in enumerate(truth.segments, 1):
        own = (seen.regions.owner == segment.class_index) & (not segment.crowd)
        union = areas - shared[:, -1] + segment.area - shared[:, place]
        best = np.where(own, np.maximum(best, shared[:, place] / union.clip(1)), best)
    best[(shared[:, -1] > EXCUSED_ABOVE * areas) & (best <= MATCHES_ABOVE)] = EXCUSED
    return best
