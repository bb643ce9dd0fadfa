"""A model on a benchmark by a protocol: labels of each image, and counts that add up to mIoU.

A protocol has texts, image size and windows, temperature and background rule of each data set. `tcl`, `unpair-seg` and
`s-seg` are the three papers' (tcl.json ...); `tcl` has the same rules for every data set and method. The others are
named after an attention policy and repeat what its authors released with their figures, data set by data set.
"""

from __future__ import annotations

import json
import math
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lexiseg_model.abilities import guide_of
from lexiseg_model.cards import ModelCard, StrictModel
from lexiseg_model.catalogue.method import BUILT_IN
from lexiseg_model.clip import windowed
from lexiseg_model.clip.patch_text import MIN_PROBABILITY
from lexiseg_model.clip.text_side import background_words
from lexiseg_model.errors import DatasetError, OptionError
from lexiseg_model.features import Features
from lexiseg_model.internal import region_refinement_of
from lexiseg_model.masks import pamr
from lexiseg_model.masks.upsample import strips, upsampled
from lexiseg_model.segmenter import Segmenter, words_of
from lexiseg_model.types import ClassEntry, Refinement
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.scoring import refine_logits
from lexiseg_train.data.benchmark import AnnotatedSet, Benchmark, Convention, Labels, benchmark
from lexiseg_train.evaluation.counts import Counts, count
from lexiseg_train.evaluation.resumable import EvaluationRun, Record

PAPERS = ("tcl", "unpair-seg", "s-seg")
HERE = Path(__file__).parent
POLICY_DATA = BUILT_IN / "dense_clip" / "data"
# The class files of a policy that has none of its own are the first of these that has some.
NAMES_OF = {"naclip": ("sclip",), "trident": ("proxyclip",)}
# Settings of a method that authors chose for each data set.
RECORDED_SETTINGS = ("sam_factor", "sam_least", "sam_low_bound", "sam_strips")
# From logits [T, r, W] and their rows of the image to the logit that the best query must reach: [r, W], or [].
BackgroundLogit = Callable[[Tensor, slice], Tensor]


class Sight(StrictModel):
    """Sides of the resized image in pixels, and the windows on it; no window: the whole image at once."""

    short_side: int
    long_side: int
    window: int | None
    stride: int | None
    settings: dict[str, float] = Field(
        default_factory=dict, description="settings of the method for this data set; used where a card states them"
    )

    def applied_to(self, card: ModelCard) -> ModelCard:
        """The card with this size and these windows."""
        sides = {"short_side": self.short_side, "long_side": self.long_side}
        own = {name: value for name, value in self.settings.items() if name in card.settings}
        settings = card.settings | {"window": self.window, "stride": self.stride} | own
        return card.model_copy(update={"input": card.input.model_copy(update=sides), "settings": settings})


class DatasetRule(StrictModel):
    """A protocol's rule for one data set."""

    sight: Sight | None = Field(None, description="None: the card's own size and windows")
    scale: float | None = Field(None, gt=0, description="factor of scores before the softmax; None: the model's own")
    threshold: float | Literal["own"] | None = Field(
        None, description="a pixel whose best class is less probable is background; own: by the method's own rule"
    )
    smallest_share: float | None = Field(None, gt=0, lt=1, description="least share of the foreground of a class")
    background: list[str] = Field(default_factory=list, description="texts of class 0")
    queries: dict[str, list[str]] = Field(default_factory=dict, description="texts in place of a class's name")
    max_ensemble: bool = Field(False, description="a class is the best of its texts; otherwise each competes")

    def applied_to(self, card: ModelCard) -> ModelCard:
        """The card with the rule's size and windows, if it takes them."""
        sight = self.as_applied(card).sight
        return card if sight is None else sight.applied_to(card)

    def as_applied(self, card: ModelCard) -> DatasetRule:
        """The rule without what a model does not take: a card of whatever method takes a size if it states windows."""
        return self if "window" in card.settings else self.model_copy(update={"sight": None})


class Protocol(StrictModel):
    """Rules for several data sets, by name."""

    name: str
    title: str
    source: str
    notes: str
    refine: Refinement | None = Field(description="None: the model's own default")
    miou: Convention | None = Field(None, description="None: the convention of each data set's published figures")
    datasets: dict[str, DatasetRule]

    def rule(self, dataset: str) -> DatasetRule:
        """The rule for one data set. Raises OptionError: the protocol does not cover it."""
        if dataset not in self.datasets:
            raise OptionError(
                f"the protocol {self.name} does not cover {dataset!r}; it covers {', '.join(self.datasets)}"
            )
        return self.datasets[dataset]


class Questions(NamedTuple):
    entries: tuple[ClassEntry, ...]
    owner: NDArray[np.int64]


def names() -> tuple[str, ...]:
    return (*PAPERS, *_policy_protocols())


@cache
def protocol(name: str) -> Protocol:
    if name in PAPERS:
        return Protocol.model_validate_json((HERE / f"{name}.json").read_bytes())
    if name not in _policy_protocols():
        raise OptionError(f"no protocol {name!r}; known protocols: {', '.join(names())}")
    return Protocol.model_validate(_policy_protocols()[name])


def questions(benchmark: Benchmark, rule: DatasetRule) -> Questions:
    """The texts to score, and the class of each: one entry per text, or per class; a background may have none."""
    texts_of = [
        rule.background if benchmark.background and label == 0 else rule.queries.get(name, [name])
        for label, name in enumerate(benchmark.classes)
    ]
    if rule.max_ensemble:
        pairs = [(label, ClassEntry(texts[0], tuple(texts[1:]))) for label, texts in enumerate(texts_of) if texts]
    else:
        pairs = [(label, ClassEntry(text)) for label, texts in enumerate(texts_of) for text in texts]
    return Questions(tuple(entry for _, entry in pairs), np.array([label for label, _ in pairs], np.int64))


@cache
def _policy_protocols() -> dict[str, dict[str, Any]]:
    """Values of a `Protocol` for each attention policy, by its name on the command line."""
    policies = yaml.safe_load((POLICY_DATA / "policies.yaml").read_text())
    class_names = json.loads((POLICY_DATA / "class_names.json").read_bytes())
    names_of = {
        policy: ChainMap(*(class_names.get(name, {}) for name in (policy, *NAMES_OF.get(policy, ()))))
        for policy in policies
    }
    return {
        policy.replace("_", "-"): {
            "name": policy.replace("_", "-"),
            "title": f"{policy}, as its authors ran it",
            "source": entry["source"],
            "notes": class_names["notes"],
            "refine": entry.get("refine", "pamr" if entry["settings"]["pamr_iterations"] else "none"),
            "miou": "mmseg",  # all of them are measured by mmseg's IoUMetric, ade847 and pc459 included
            "datasets": {
                dataset: _rule(dataset, entry["settings"] | changes, names_of[policy])
                for dataset, changes in entry["datasets"].items()
            },
        }
        for policy, entry in policies.items()
    }


def _rule(dataset: str, settings: dict[str, Any], class_names: Mapping[str, Any]) -> dict[str, Any]:
    has_background = benchmark(dataset).background
    return {
        "sight": {
            "short_side": settings["short_side"],
            "long_side": settings.get("long_side", 2048),
            "window": settings["window"],
            "stride": settings["stride"],
            "settings": {name: settings[name] for name in RECORDED_SETTINGS if name in settings},
        },
        "scale": settings["logit_scale"],
        "threshold": settings["prob_thd"] or None if has_background else None,
        "smallest_share": settings.get("area_thd"),
        "background": list(background_words(settings["background_words"])) if has_background else [],
        "queries": {name: texts for name, texts in class_names.get(dataset, {}).items() if name != "background"},
    }


def benchmark_run(
    segmenter: Segmenter, data: AnnotatedSet, rule: DatasetRule, refine: Refinement, progress: Path
) -> EvaluationRun[Labels]:
    """An evaluation with records that `total_counts` adds up, of a model loaded with the protocol's sight."""
    key = {"data": data.benchmark.model_dump(mode="json"), "rule": rule.model_dump(mode="json"), "refine": refine}
    judge = _BenchmarkJudge(segmenter, data, rule, refine)
    return EvaluationRun(segmenter, data.images, judge, progress, f"{data.benchmark.name}-{data.split}", key)


def total_counts(records: Sequence[Record], n_classes: int) -> Counts:
    total = np.zeros((3, n_classes), np.int64)
    for record in records:
        for label, *counts in record["counts"]:
            total[:, label] += counts
    return total


class _BenchmarkJudge:
    """Record: `counts`, a list of [label, hits, truth, predicted] for labels that occur."""

    def __init__(self, segmenter: Segmenter, data: AnnotatedSet, rule: DatasetRule, refine: Refinement) -> None:
        entries, self._owner = questions(data.benchmark, rule)
        rows = KnownRows(segmenter)(words_of(segmenter).texts(entries))
        self._bank = words_of(segmenter).text_bank(entries, rows)
        self._segmenter = segmenter
        self._rule = rule
        self._refine = refine
        self._scale = rule.scale or segmenter.probability_scale
        self._has_background = data.benchmark.background and rule.threshold is not None
        self._n_classes = len(data.benchmark.classes)
        self._reduction = Reduction(self._owner, smallest_share=rule.smallest_share)

    def __call__(self, rgb: NDArray[np.uint8], truth: Labels) -> Record:
        labels = self._label_photograph(rgb)
        if truth.shape != labels.shape:
            raise DatasetError(f"the annotation is {truth.shape}, its photograph {labels.shape} (height, width)")
        counts = count(truth, labels, self._n_classes)
        return {"counts": [[label, *counts[:, label].tolist()] for label in np.flatnonzero(counts.any(0)).tolist()]}

    def _label_photograph(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint16]:
        segmenter = self._segmenter
        with torch.inference_mode():
            features = segmenter.encode(rgb)
            scores = segmenter.refined_scores(features, self._bank) if self._refine == "pamr" else None
            if scores is None:
                scores = words_of(segmenter).class_scores(features, self._bank)
                if self._refine == "pamr":
                    return self._reduce_refined(scores, features)
            background = self._background_of(features, scores) if self._has_background else None
            if self._refine == "regions":
                return self._by_regions(features, scores)
            reduction = replace(self._reduction, scale=self._scale, background=background)
            return reduce_to_labels(scores, features.size, reduction)

    def _by_regions(self, features: Features, scores: Tensor) -> NDArray[np.uint16]:
        """The method's own refinement of classes that compete at the picture's size."""
        logits = windowed.resize(scores, features.size) * self._scale
        total = logits.logsumexp(0)
        rows_of = [torch.from_numpy(np.flatnonzero(self._owner == label)) for label in range(self._n_classes)]
        never = total + math.log(MIN_PROBABILITY)
        classes = torch.stack([logits[rows].amax(0) if len(rows) else never for rows in rows_of])
        best, winner = classes.max(0)
        if self._has_background and isinstance(self._rule.threshold, float):
            winner = winner.masked_fill((best - total).exp() < self._rule.threshold, 0)
        refined = region_refinement_of(self._segmenter).by_regions(features, classes, total, winner)
        labels: NDArray[np.uint16] = windowed.resize(refined, features.size).argmax(0).cpu().numpy().astype(np.uint16)
        return labels

    def _reduce_refined(self, scores: Tensor, features: Features) -> NDArray[np.uint16]:
        """PAMR for methods without a refinement of their own: the background competes before it."""
        logits = scores * self._scale
        by_colours = partial(pamr.refine, image=guide_of(self._segmenter, features))
        if not self._has_background:
            logits = refine_logits(logits, by_colours)
            return reduce_to_labels(logits, features.size, self._reduction)
        background = self._background(logits, features).expand(logits.shape[1:])
        logits = refine_logits(torch.cat([logits, background[None]]), by_colours)
        reduction = replace(self._reduction, background=lambda competing, _: competing[-1])
        return reduce_to_labels(logits, features.size, reduction)

    def _background_of(self, features: Features, scores: Tensor) -> BackgroundLogit:
        """The method's background rule: one number for the image (GroupViT's), or computed strip by strip."""
        whole = self._background(scores * self._scale, features)
        if not whole.ndim:
            return lambda logits, rows: whole
        zeros = torch.zeros(1, *features.size, device=scores.device)
        added = (self._background(zeros, features) - self._background(zeros)).expand(features.size)
        return lambda logits, rows: self._background(logits) + added[rows]

    def _background(self, logits: Tensor, features: Features | None = None) -> Tensor:
        threshold = self._rule.threshold
        assert threshold is not None
        return words_of(self._segmenter).background_score(
            logits, None if threshold == "own" else threshold, self._refine, features
        )


@dataclass(frozen=True)
class Reduction:
    """Rules that turn scores of queries into labels."""

    owner: NDArray[np.int64]  # [T] label of each query, ascending: a tie goes to the lower label
    scale: float = 1.0  # factor of the scores before the softmax
    background: BackgroundLogit | None = None  # a pixel below it is label 0; None: every pixel gets a class
    smallest_share: float | None = None  # of the foreground; labels but 0 with at most that lose their pixels


def reduce_to_labels(scores: Tensor, size: tuple[int, int], reduction: Reduction) -> NDArray[np.uint16]:
    """Labels [H, W] of scores [T', h, w] of T' >= T queries; rows after the owners' are only passed to `background`."""
    n_texts = len(reduction.owner)
    dropped = (
        None if reduction.smallest_share is None else _too_small(scores, size, reduction, reduction.smallest_share)
    )
    labels = np.empty(size, np.uint16)
    owner = torch.from_numpy(reduction.owner).to(scores.device)
    for strip in strips(scores, size):
        logits = reduction.scale * upsampled(scores, strip)
        competing = logits[:n_texts]
        if dropped is not None:
            competing = competing.masked_fill(dropped[:, None, None], -math.inf)
        best, winner = competing.max(0)
        won = owner[winner]
        if reduction.background is not None:
            won = torch.where(best < reduction.background(logits, strip.rows), 0, won)
        labels[strip.rows] = won.cpu().numpy()
    return labels


def _too_small(scores: Tensor, size: tuple[int, int], reduction: Reduction, share: float) -> Tensor:
    """[T] queries with a label that wins too little of the foreground, before the background rule."""
    area = np.zeros(int(reduction.owner.max()) + 1)
    for strip in strips(scores, size):
        winner = upsampled(scores, strip)[: len(reduction.owner)].argmax(0).cpu().numpy()
        area += np.bincount(reduction.owner[winner].reshape(-1), minlength=len(area))
    small = area <= share * area[1:].sum()
    small[0] = False
    return torch.from_numpy(small[reduction.owner]).to(scores.device)
