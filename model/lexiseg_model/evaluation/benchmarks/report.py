"""Figures of a benchmark run beside published ones, as JSON values and as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray
from pydantic import BaseModel

from lexiseg_model.data.benchmark import Benchmark, Convention
from lexiseg_model.evaluation.benchmarks.protocol import DatasetRule
from lexiseg_model.evaluation.counts import CONVENTIONS, Counts, rounded, scores
from lexiseg_model.types import ModelCard, Refinement, StrictModel

PUBLISHED = Path(__file__).parent / "published.json"
TEMPLATE = Path(__file__).parent / "report.md.j2"
MASKS = {
    "pamr": "refined by PAMR",
    "lposs": "refined by LPOSS",
    "regions": "voted for by regions",
    "none": "as they are",
    None: "not stated",
}
MAX_TABLE = 171  # classes in a Markdown table; JSON lists all


class PublishedRow(StrictModel):
    """One row of a published table: mIoU in percent by data set."""

    method: str
    variant: str
    model: dict[str, str]  # `method` and settings of a card that is of the same method
    refine: Refinement | None
    protocol: str | None  # ours that measures the same; None if we have none
    convention: Convention | None  # of their mean; None if not stated
    miou: dict[str, float]
    source: str
    verified: bool
    notes: str = ""

    @property
    def label(self) -> str:
        """Method and variant."""
        return f"{self.method} ({self.variant})"

    def is_of(self, card: ModelCard) -> bool:
        """Whether a card is of this method and policy."""
        known = {"method": card.method} | card.settings
        return all(known.get(key) == value for key, value in self.model.items())


class _Table(BaseModel):
    about: str
    rows: list[PublishedRow]


@cache
def published() -> tuple[PublishedRow, ...]:
    """Every published row, in the order of the table."""
    return tuple(_Table.model_validate_json(PUBLISHED.read_bytes()).rows)


@dataclass(frozen=True)
class BenchmarkReport:
    """One data set by one protocol; `convention` is of the mean, `images` were evaluated."""

    card: ModelCard
    digest: str
    protocol: str
    convention: Convention
    rule: DatasetRule
    refine: Refinement
    benchmark: Benchmark
    split: str
    images: int
    counts: Counts

    @property
    def official(self) -> int:
        """Number of images in the split."""
        return self.benchmark.split(self.split).images

    @property
    def miou(self) -> float:
        """Percent."""
        return scores(self.counts, self.convention).miou

    @property
    def published(self) -> list[PublishedRow]:
        """Rows with this data set, the same method first."""
        rows = [row for row in published() if self.benchmark.name in row.miou]
        return sorted(rows, key=lambda row: not row.is_of(self.card))

    def repeats(self, row: PublishedRow) -> bool:
        """Whether a row is the same method, protocol, refinement and mean."""
        return (
            row.is_of(self.card)
            and row.protocol == self.protocol
            and row.refine in (None, self.refine)
            and row.convention == self.convention
            and self.split == "val"
        )

    @property
    def published_miou(self) -> float | None:
        """The published figure that this run repeats; released settings have precedence over the paper's."""
        figures = [row.miou[self.benchmark.name] for row in self.published if self.repeats(row)]
        return figures[-1] if figures else None

    def to_json(self) -> dict[str, Any]:
        """Plain values; figures in percent, null for a class that neither appears nor was predicted."""
        measured = scores(self.counts, self.convention)
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
            "miou": rounded(measured.miou),
            "miou_convention": self.convention,
            "miou_by_convention": {name: rounded(scores(self.counts, name).miou) for name in CONVENTIONS},
            "pixel_accuracy": rounded(measured.pixel_accuracy),
            "per_class": self._per_class(measured.per_class),
            "published_miou": self.published_miou,
            "published": [
                row.model_dump(include={"method", "variant", "protocol", "refine", "source", "verified"})
                | {
                    "miou": row.miou[self.benchmark.name],
                    "miou_convention": row.convention,
                    "same_method": row.is_of(self.card),
                    "same_measurement": self.repeats(row),
                }
                for row in self.published
            ],
        }

    def to_markdown(self) -> str:
        """A table of figures, ours first, and one of the classes."""
        per_class = scores(self.counts, self.convention).per_class
        short = len(self.benchmark.classes) <= MAX_TABLE
        environment = Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
        return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
            report=self,
            masks=MASKS.__getitem__,
            figure=lambda value: "-" if value is None else f"{value:.2f}",
            per_class=self._per_class(per_class) if short else None,
        )

    def _per_class(self, per_class: NDArray[np.float64]) -> dict[str, float | None]:
        """IoU by class name; a name that stands for two labels gets its label."""
        many = Counter(self.benchmark.classes)
        names = (name if many[name] == 1 else f"{name} #{label}" for label, name in enumerate(self.benchmark.classes))
        return {name: rounded(float(iou)) for name, iou in zip(names, per_class, strict=True)}


def summary(reports: Sequence[BenchmarkReport]) -> str:
    """Markdown table of all data sets, with the published figures of the same method."""
    lines = ["| data set | images | mIoU | published, same method |", "|---|---|---|---|"]
    for report in reports:
        name = report.benchmark.name
        rows = [f"{row.miou[name]} ({row.variant})" for row in report.published if row.is_of(report.card)]
        lines.append(
            f"| {name} | {report.images:,} of {report.official:,} | {report.miou:.2f} | {', '.join(rows) or '-'} |"
        )
    return "\n".join(lines) + "\n"
