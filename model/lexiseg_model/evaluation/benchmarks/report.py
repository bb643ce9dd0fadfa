"""What a benchmark run has measured, beside what is published: as JSON values and as Markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.benchmark import Benchmark
from lexiseg_model.evaluation.benchmarks.protocol import DatasetRule
from lexiseg_model.evaluation.benchmarks.published import PublishedRow, published
from lexiseg_model.evaluation.counts import CONVENTIONS, Counts, scores
from lexiseg_model.types import ModelCard, Refinement

FREQUENCIES = {"f": "frequent", "c": "common", "r": "rare"}
LONGEST_TABLE = 171  # classes that Markdown lists one by one; JSON lists all


@dataclass(frozen=True)
class BenchmarkReport:
    """One data set by one protocol. `images` were evaluated of the `official` number that the split has."""

    card: ModelCard
    digest: str
    protocol: str
    rule: DatasetRule
    refine: Refinement
    benchmark: Benchmark
    split: str
    images: int
    counts: Counts

    @property
    def official(self) -> int:
        return self.benchmark.split(self.split).images

    @property
    def miou(self) -> float:
        """By the convention of the data set's own published figures, in percent."""
        return scores(self.counts, self.benchmark.miou).miou

    @property
    def published(self) -> list[PublishedRow]:
        """Rows that have this data set, those of the model's own method first."""
        rows = [row for row in published() if self.benchmark.name in row.miou]
        return sorted(rows, key=lambda row: not row.is_of(self.card))

    def repeats(self, row: PublishedRow) -> bool:
        """A row of the same method, protocol, refinement and mean: what this run is to be compared with."""
        return (
            row.is_of(self.card)
            and row.protocol == self.protocol
            and row.refine in (None, self.refine)
            and row.convention == self.benchmark.miou
            and self.split == "val"
        )

    @property
    def published_miou(self) -> float | None:
        """The published figure that this run repeats; the authors' released settings go before their paper's."""
        figures = [row.miou[self.benchmark.name] for row in self.published if self.repeats(row)]
        return figures[-1] if figures else None

    def to_json(self) -> dict[str, Any]:
        """Plain values; figures in percent, null for a class that neither appears nor was predicted."""
        measured = scores(self.counts, self.benchmark.miou)
        return {
            "model": self.card.name,
            "model_version": self.card.version,
            "model_digest": self.digest,
            "protocol": self.protocol,
            "rule": self.rule.model_dump(mode="json"),
            "refine": self.refine,
            "dataset": self.benchmark.name,
            "split": self.split,
            "images": self.images,
            "official_images": self.official,
            "miou": _rounded(measured.miou),
            "miou_convention": self.benchmark.miou,
            "miou_by_convention": {name: _rounded(scores(self.counts, name).miou) for name in CONVENTIONS},
            "miou_by_frequency": self._by_frequency(measured.per_class),
            "pixel_accuracy": _rounded(measured.pixel_accuracy),
            "per_class": {
                name: _rounded(float(iou)) for name, iou in zip(self._names(), measured.per_class, strict=True)
            },
            "published_miou": self.published_miou,
            "published": [
                {
                    "method": row.method,
                    "variant": row.variant,
                    "miou": row.miou[self.benchmark.name],
                    "miou_convention": row.convention,
                    "protocol": row.protocol,
                    "refine": row.refine,
                    "source": row.source,
                    "verified": row.verified,
                    "same_method": row.is_of(self.card),
                    "same_measurement": self.repeats(row),
                }
                for row in self.published
            ],
        }

    def to_markdown(self) -> str:
        """A table of figures, ours first, and one of the classes."""
        lines = [
            f"## {self.card.name} on {self.benchmark.name}, protocol {self.protocol}",
            "",
            f"{self.benchmark.title}; split {self.split}, {self.images:,} of {self.official:,} images; mIoU by the "
            f"convention of {self.benchmark.miou}; masks {_masks(self.refine)}.",
            "",
            "| model | mIoU | protocol | masks | source |",
            "|---|---|---|---|---|",
            f"| **{self.card.name}** (measured) | **{self.miou:.2f}** | {self.protocol} | {_masks(self.refine)} "
            f"| this run, weights {self.digest} |",
        ]
        for row in self.published:
            name = f"**{row.label}**" if row.is_of(self.card) else row.label
            lines.append(
                f"| {name} | {row.miou[self.benchmark.name]} | {row.protocol or 'its own'} | {_masks(row.refine)} "
                f"| {row.source}{'' if row.verified else ' (not checked)'} |"
            )
        if self.benchmark.frequency is not None:
            groups = self._by_frequency(scores(self.counts, self.benchmark.miou).per_class) or {}
            lines += ["", "; ".join(f"{name} classes: {_figure(value)}" for name, value in groups.items()) + "."]
        if len(self.benchmark.classes) <= LONGEST_TABLE:
            lines += ["", "| class | IoU |", "|---|---|"]
            per_class = scores(self.counts).per_class
            lines += [f"| {name} | {_figure(iou)} |" for name, iou in zip(self._names(), per_class, strict=True)]
        return "\n".join(lines) + "\n"

    def _names(self) -> list[str]:
        """Class names; one that stands for two labels gets its label."""
        many = Counter(self.benchmark.classes)
        return [name if many[name] == 1 else f"{name} #{label}" for label, name in enumerate(self.benchmark.classes)]

    def _by_frequency(self, per_class: NDArray[np.float64]) -> dict[str, float | None] | None:
        """mIoU over the classes of the truth that are frequent, common, rare in training (LVIS)."""
        if self.benchmark.frequency is None:
            return None
        letters = np.array(list(self.benchmark.frequency))
        there = self.counts.truth > 0
        groups = {name: per_class[there & (letters == letter)] for letter, name in FREQUENCIES.items()}
        return {name: _rounded(float(ious.mean())) if ious.size else None for name, ious in groups.items()}


def summary(reports: Sequence[BenchmarkReport]) -> str:
    """Markdown: one row a data set, with the published figures of the same method."""
    lines = ["| data set | images | mIoU | published, same method |", "|---|---|---|---|"]
    for report in reports:
        name = report.benchmark.name
        rows = [f"{row.miou[name]} ({row.variant})" for row in report.published if row.is_of(report.card)]
        lines.append(
            f"| {name} | {report.images:,} of {report.official:,} | {report.miou:.2f} | {', '.join(rows) or '-'} |"
        )
    return "\n".join(lines) + "\n"


def _masks(refine: Refinement | None) -> str:
    words = {"pamr": "refined by PAMR", "regions": "voted for by regions", "none": "as they are"}
    return "not stated" if refine is None else words[refine]


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)


def _figure(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"
