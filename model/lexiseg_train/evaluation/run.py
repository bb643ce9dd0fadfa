"""`lexiseg eval`: a model on one split of an indexed data set, with the set's class list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ClassEntry, Refinement
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_train.data.indexed import IndexedDataset, one_value_warning
from lexiseg_train.evaluation.counts import Counts, Scores, count, rounded, scores


class Views(NamedTuple):
    """Test-time augmentation: scales of the model's input, and whether mirrored views are added."""

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False


ONE_VIEW = Views()


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
    views: Views = ONE_VIEW
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "dataset": self.dataset,
            "split": self.split,
            "images": self.images,
            "miou": round(self.scores.miou, 2),
            "pixel_accuracy": round(self.scores.pixel_accuracy, 2),
            "per_class": {
                name: rounded(float(value)) for name, value in zip(self.classes, self.scores.per_class, strict=True)
            },
            "renamed": self.renamed,
            "refine": self.refine,
            "scales": list(self.views.scales),
            "flip": self.views.flip,
            "warnings": list(self.warnings),
        }


def evaluate(
    segmenter: Segmenter,
    data: IndexedDataset,
    renamed: dict[str, str] | None = None,
    on_image: Callable[[], None] = lambda: None,
    refine: Refinement | None = None,
    views: Views = ONE_VIEW,
) -> Report:
    """Scores of a split; `on_image` is called after each image. Other arguments as in `count_photographs`."""
    renamed = {name: word for name, word in (renamed or {}).items() if name in data.classes}
    refine = refine or segmenter.card.refine
    counts = np.zeros((3, len(data.classes)), np.int64)
    for of_photograph in count_photographs(segmenter, data, renamed, refine, views):
        counts += of_photograph
        on_image()
    return Report(
        segmenter.card.name,
        data.name,
        data.split,
        len(data.samples),
        data.classes,
        renamed,
        scores(counts),
        refine,
        views,
        one_value_warning(f"{data.name}/{data.split}", np.flatnonzero(counts[1]), len(data.classes)),
    )


def count_photographs(
    segmenter: Segmenter,
    data: IndexedDataset,
    renamed: dict[str, str] | None = None,
    refine: Refinement | None = None,
    views: Views = ONE_VIEW,
) -> Iterator[Counts]:
    """Label each photograph and count pixels at the mask's size, by the mean probability of the views.

    With a class 0 "background" the background rule decides about it. `renamed` has words in place of class names.
    """
    renamed = renamed or {}
    entries = tuple(ClassEntry(renamed.get(name, name)) for name in data.named.values())
    vocabulary = replace(data.vocabulary, classes=entries)
    rows_of, refine = KnownRows(segmenter), refine or segmenter.card.refine
    value_of = np.array([*data.named, 0])  # mask value of each row of the scores; the background's comes last
    scaled = [segmenter if scale == 1 else _at_scale(segmenter, scale) for scale in views.scales]

    def score_views(image: NDArray[np.uint8]) -> Iterator[Tensor]:
        """Yield the logits [K, h, w] of every view; a mirrored one's are mirrored back."""
        for each in scaled:
            yield score_vocabulary(each, each.encode(image), vocabulary, rows_of, refine)
            if views.flip:
                mirrored = each.encode(np.ascontiguousarray(image[:, ::-1]))
                yield score_vocabulary(each, mirrored, vocabulary, rows_of, refine).flip(2)

    for sample in data.samples:
        image, truth = sample.read(len(data.classes))
        labels = winners(_mean(score_views(image)), (truth.shape[0], truth.shape[1])).labels
        yield count(truth, value_of[labels], len(data.classes))


def _at_scale(segmenter: Segmenter, scale: float) -> Segmenter:
    limits = segmenter.card.input
    sides = {
        name: max(1, round(scale * getattr(limits, name) / limits.multiple)) * limits.multiple
        for name in ("short_side", "long_side")
    }
    scaled = copy(segmenter)
    scaled.card = segmenter.card.model_copy(update={"input": limits.model_copy(update=sides)})
    return scaled


def _mean(views: Iterator[Tensor]) -> Tensor:
    """Logits [K, h, w] of the mean probability of views, at the resolution of the first; of one view its own."""
    first = next(views)
    shares = [first.softmax(0)]
    shares += [
        F.interpolate(logits.softmax(0)[None], first.shape[1:], mode="bilinear", align_corners=False)[0]
        for logits in views
    ]
    return first if len(shares) == 1 else torch.stack(shares).mean(0).log()
