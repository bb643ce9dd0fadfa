"""A model on a benchmark by a protocol: images shared among processes, counts kept on disk, one sum at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.data.annotated import AnnotatedImage, AnnotatedSet
from lexiseg_model.data.labels import Labels
from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.benchmarks.protocol import DatasetRule, questions
from lexiseg_model.evaluation.benchmarks.reduction import Nobody, Reduction, reduce_to_labels
from lexiseg_model.evaluation.counts import Counts, count
from lexiseg_model.evaluation.ranks import ALONE, Ranks
from lexiseg_model.evaluation.read_ahead import read_ahead
from lexiseg_model.evaluation.tally import Tally, folder_of, forget, read_parts
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Refinement
from lexiseg_model.vocabulary.rows import KnownRows
from lexiseg_model.vocabulary.scoring import refine_logits


class Share(NamedTuple):
    """The images that this process has to evaluate, and how many were done before."""

    images: tuple[AnnotatedImage, ...]
    done: int


class BenchmarkRun:
    """One evaluation; `share` says what is left to do, `run` does it."""

    def __init__(
        self,
        segmenter: Segmenter,
        data: AnnotatedSet,
        rule: DatasetRule,
        refine: Refinement,
        progress: Path,
        ranks: Ranks = ALONE,
        save_seconds: float = 10.0,
    ) -> None:
        """Reads what earlier runs have counted.

        Args:
            segmenter: the model, loaded with the protocol's sight.
            data: the split, or the part of it that is wanted.
            rule: the protocol's for this data set.
            refine: how masks are refined.
            progress: folder in which the counts of unfinished evaluations are kept.
            ranks: the processes that share the work; each makes a BenchmarkRun of the same arguments.
            save_seconds: how often the counts are saved.

        Raises:
            DatasetError: what earlier runs have left is damaged.
        """
        self._labels = _Labeller(segmenter, data, rule, refine)
        self._n_classes = len(data.benchmark.classes)
        self._ranks = ranks
        key = {
            "model": [segmenter.digest, segmenter.text_digest, segmenter.card.model_dump(mode="json")],
            "data": [data.benchmark.model_dump(mode="json"), data.split, [image.name for image in data.images]],
            "rule": rule.model_dump(mode="json"),
            "refine": refine,
        }
        self._folder = folder_of(progress, f"{segmenter.card.name}-{data.benchmark.name}-{data.split}", key)
        self._earlier, done = read_parts(self._folder, self._n_classes)
        ranks.wait()  # nobody writes before everybody has read
        left = [image for image in data.images if image.name not in done]
        self.share = Share(tuple(left[ranks.rank :: ranks.world]), len(done))
        self._tally = Tally(self._folder, self._n_classes, save_seconds)

    def run(self, on_image: Callable[[], None] = lambda: None) -> Counts:
        """Evaluates this process's share and adds up those of all; `on_image` is called after each image.

        Raises:
            DatasetError: an annotation is damaged, or not of its photograph's size.
        """
        try:
            for image, (rgb, truth) in read_ahead(self.share.images, _read):
                self._tally.add(image.name, self._count(image.name, rgb, truth))
                on_image()
        finally:
            self._tally.save()  # also when it was stopped by hand, or by an image that cannot be read
        total = self._earlier + self._ranks.total(self._tally.counts)
        self._ranks.wait()
        if self._ranks.first:
            forget(self._folder)
        return total

    def _count(self, name: str, rgb: NDArray[np.uint8], truth: Labels) -> Counts:
        labels = self._labels(rgb)
        if truth.shape != labels.shape:
            raise DatasetError(
                f"the annotation of {name} is {truth.shape}, its photograph {labels.shape} (height, width)"
            )
        return count(truth, labels, self._n_classes)


def _read(image: AnnotatedImage) -> tuple[NDArray[np.uint8], Labels]:
    return image.read_image(), image.read_labels()


class _Labeller:
    """From a photograph [H, W, 3] to labels [H, W]."""

    def __init__(self, segmenter: Segmenter, data: AnnotatedSet, rule: DatasetRule, refine: Refinement) -> None:
        entries, self._owner = questions(data.benchmark, rule)
        rows = KnownRows(segmenter)(segmenter.texts(entries))
        self._bank = segmenter.text_bank(entries, rows)
        self._segmenter = segmenter
        self._rule = rule
        self._refine = refine
        self._scale = rule.scale or segmenter.probability_scale
        self._has_nobody = data.benchmark.background and rule.threshold is not None

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint16]:
        segmenter = self._segmenter
        plan = segmenter.plan(rgb)
        with torch.inference_mode():
            features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
            scores = segmenter.refined_scores(features, self._bank) if self._refine == "pamr" else None
            if scores is None:
                scores = segmenter.class_scores(features, self._bank)
                if self._refine == "pamr":
                    return self._reduce_refined(scores, features)
            nobody = self._nobody_of(features, scores) if self._has_nobody else None
            return reduce_to_labels(scores, plan.size, self._reduction(self._scale, nobody))

    def _reduce_refined(self, scores: Tensor, features: Features) -> NDArray[np.uint16]:
        """For a method without a refinement of its own: probabilities are refined after nobody has competed."""
        logits = scores * self._scale
        if not self._has_nobody:
            logits = refine_logits(logits, self._segmenter.guide(features))
            return reduce_to_labels(logits, features.size, self._reduction(1.0, None))
        nobody = self._nobody(logits, features).expand(logits.shape[1:])
        logits = refine_logits(torch.cat([logits, nobody[None]]), self._segmenter.guide(features))
        return reduce_to_labels(logits, features.size, self._reduction(1.0, lambda competing, _: competing[-1]))

    def _reduction(self, scale: float, nobody: Nobody | None) -> Reduction:
        return Reduction(self._owner, scale, nobody, self._rule.smallest_share)

    def _nobody_of(self, features: Features, scores: Tensor) -> Nobody:
        """The method's rule for nobody: one number for the whole image, or strip by strip.

        One number may follow from all of the image's scores [T, h, w] (GroupViT's rule), of which a strip has a part.
        A rule for each pixel may look at the features, too (CLIP-DINOiser's objects). By how much these move it is
        asked once, at the image's size, of a single text: a strip says nothing of where it lies in them.
        """
        whole = self._nobody(scores * self._scale, features)
        if not whole.ndim:
            return lambda logits, rows: whole
        flat = torch.zeros(1, *features.size, device=scores.device)
        moved = (self._nobody(flat, features) - self._nobody(flat)).expand(features.size)
        return lambda logits, rows: self._nobody(logits) + moved[rows]

    def _nobody(self, logits: Tensor, features: Features | None = None) -> Tensor:
        threshold = self._rule.threshold
        assert threshold is not None
        return self._segmenter.nobody_score(logits, None if threshold == "own" else threshold, self._refine, features)
