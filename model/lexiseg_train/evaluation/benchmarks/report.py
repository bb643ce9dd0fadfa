"""Figures of a benchmark run next to published ones, and the tables of the three papers line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from lexiseg_model.cards import ModelCard, StrictModel
from lexiseg_model.errors import OptionError
from lexiseg_model.types import Refinement
from lexiseg_train.data.benchmark import Benchmark, Convention
from lexiseg_train.evaluation.benchmarks.run import PAPERS, DatasetRule, protocol
from lexiseg_train.evaluation.counts import CONVENTIONS, Counts, rounded, scores

PUBLISHED = Path(__file__).parent / "published.json"
TEMPLATE = Path(__file__).parent / "report.md.j2"
MASKS = {
    "pamr": "refined by PAMR",
    "lposs": "refined by LPOSS",
    "regions": "voted for by regions",
    "none": "as they are",
    None: "not stated",
}
NO_FIGURE = "no published figure for this combination"
MAX_TABLE = 171  # classes in a Markdown table; JSON lists all
PAPER_FILE = Path(__file__).parent / "papers.json"
POINT_GRID = 20  # points along each side of Unpair-Seg's grid
Figures = dict[str, float | None]  # percent, by measure: miou, pq, sq, rq, iou


class PublishedModel(StrictModel):
    model: dict[str, str]  # `method` and settings of a card that is of the same method
    # Settings of a card that has the same backbone, weights and stage.
    weights: dict[str, str | bool] = Field(default_factory=dict)
    released: bool = True  # whether its authors gave the weights out; if not, no run repeats the figure

    def is_of(self, card: ModelCard) -> bool:
        values = {"method": card.method} | card.settings
        return all(values.get(key) == value for key, value in self.model.items())

    def other_weights(self, card: ModelCard) -> list[str]:
        """What differs from a card of this method: backbone, weights or stage, in words; empty if nothing."""
        values = _table().defaults.get(card.method, {}) | card.settings
        different = [
            f"{'an' if value else 'no'} {key}"
            if isinstance(value, bool)
            else f"{key} {value}, not {'of a file' if values.get(key) is None else values[key]}"
            for key, value in self.weights.items()
            if values.get(key) != value
        ]
        if not self.released:
            return [*different, "the authors' weights, never released"]
        return [*different, *(["the authors' weights, not own training"] if card.recipe is not None else [])]


class PublishedRow(PublishedModel):
    method: str
    variant: str
    refine: Refinement | None
    protocol: str | None  # ours that measures the same; None if we have none
    convention: Convention | None  # of their mean; None if not stated
    miou: dict[str, float]
    source: str
    verified: bool
    notes: str = ""

    @property
    def label(self) -> str:
        return f"{self.method} ({self.variant})"


class _Table(BaseModel):
    about: str
    defaults: dict[str, dict[str, Any]]  # by method: of settings that a card leaves out
    rows: list[PublishedRow]


@cache
def _table() -> _Table:
    return _Table.model_validate_json(PUBLISHED.read_bytes())


def published() -> tuple[PublishedRow, ...]:
    return tuple(_table().rows)


class MethodFigure(NamedTuple):
    """A published figure of a run's method, and what it has other than the run, in words."""

    label: str
    figure: float
    differences: list[str]
    released: bool  # the weights


def nearest(figures: Sequence[MethodFigure]) -> str:
    """The latest figure with the fewest differences, unreleased weights not counting as one, in words."""
    if not figures:
        return NO_FIGURE
    best = min(reversed(figures), key=lambda each: len(each.differences) - (not each.released))
    return f"{NO_FIGURE}; nearest: {best.label} {best.figure}, with {'; '.join(best.differences)}"


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
        return self.benchmark.split(self.split).images

    @property
    def miou(self) -> float:
        return scores(self.counts, self.convention).miou

    @property
    def keeps_size(self) -> bool:
        """Whether the model was measured at its own size, although the protocol states one."""
        return self.rule.as_applied(self.card) != self.rule

    @property
    def published(self) -> list[PublishedRow]:
        rows = [row for row in published() if self.benchmark.name in row.miou]
        return sorted(rows, key=lambda row: not row.is_of(self.card))

    def differences(self, row: PublishedRow) -> list[str]:
        """What a row of the same method has other than this run, in words: weights, protocol, refinement, mean."""
        different = row.other_weights(self.card)
        if row.protocol != self.protocol:
            different.append(f"protocol {row.protocol or 'not ours'}, not {self.protocol}")
        if row.refine not in (None, self.refine):
            different.append(f"masks {MASKS[row.refine]}, not {MASKS[self.refine]}")
        if row.convention not in (None, self.convention):
            different.append(f"mean of {row.convention}, not {self.convention}")
        return different if self.split == "val" else [*different, f"split val, not {self.split}"]

    def repeats(self, row: PublishedRow) -> bool:
        """Whether a row is the same method, backbone, weights, stage, protocol, refinement and mean."""
        return row.is_of(self.card) and not self.differences(row)

    @property
    def beside(self) -> str:
        """The published figure that this run repeats, or the nearest one and its differences, in words."""
        name, rows = self.benchmark.name, [row for row in self.published if row.is_of(self.card)]
        if same := [row for row in rows if self.repeats(row)]:
            return f"{same[-1].miou[name]} ({same[-1].variant})"
        return nearest([MethodFigure(row.label, row.miou[name], self.differences(row), row.released) for row in rows])

    @property
    def published_miou(self) -> float | None:
        """The published figure that this run repeats; released settings have precedence over the paper's."""
        figures = [row.miou[self.benchmark.name] for row in self.published if self.repeats(row)]
        return figures[-1] if figures else None

    def to_json(self) -> dict[str, Any]:
        measured = scores(self.counts, self.convention)
        return {
            "model": self.card.name,
            "model_version": self.card.version,
            "model_digest": self.digest,
            "protocol": self.protocol,
            "rule": self.rule.as_applied(self.card).model_dump(mode="json"),
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
            "beside": self.beside,
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
    """Markdown table of all data sets, with the published figure that each repeats, or the nearest one."""
    lines = ["| data set | images | mIoU | published |", "|---|---|---|---|"]
    lines += [
        f"| {each.benchmark.name} | {each.images:,} of {each.official:,} | {each.miou:.2f} | {each.beside} |"
        for each in reports
    ]
    return "\n".join(lines) + "\n"


class PaperLine(StrictModel):
    dataset: str = Field(description="a benchmark, or a JSON in COCO's format, relative to the folder of the data sets")
    task: Literal["semantic", "panoptic", "point", "box"]
    refine: Refinement | None = Field(None, description="refinement of the semantic task; None: the model's own")
    published: dict[str, dict[str, float]] = Field(description="percent by method and variant, then by measure")

    @property
    def measures(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for figures in self.published.values() for name in figures))

    @property
    def title(self) -> str:
        """Task, and how masks are refined or prompts are placed."""
        if self.task == "point":
            return f"point, grid of {POINT_GRID}"
        return self.task if self.refine is None else f"{self.task}, masks {MASKS[self.refine]}"


class _PaperTable(BaseModel):
    about: str
    source: str
    models: dict[str, PublishedModel]  # by a label of `PaperLine.published`; others are of methods that are not here
    papers: dict[str, list[PaperLine]]


@dataclass(frozen=True)
class PaperResult:
    """A line with our figures; without any, `missing` says why. `images` is "5 of 5,000"."""

    line: PaperLine
    figures: Figures
    images: str = ""
    missing: str = ""

    def to_json(self) -> dict[str, Any]:
        measured = {"measured": self.figures, "images": self.images, "missing": self.missing}
        return self.line.model_dump(mode="json") | measured


@cache
def _paper_table() -> _PaperTable:
    return _PaperTable.model_validate_json(PAPER_FILE.read_bytes())


@cache
def lines_of(paper: str) -> tuple[PaperLine, ...]:
    """Everything that a paper measures, semantic segmentation first. Raises OptionError for an unknown paper."""
    if paper not in PAPERS:
        raise OptionError(f"no paper {paper!r}; known papers: {', '.join(PAPERS)}")
    scenes = _paper_table().papers.get(paper, [])
    return (*_semantic(paper), *scenes)


def _semantic(paper: str) -> Iterator[PaperLine]:
    rows = [row for row in published() if row.protocol == paper]
    for refine in dict.fromkeys(row.refine for row in rows):
        for dataset in protocol(paper).datasets:
            figures = {
                row.label: {"miou": row.miou[dataset]} for row in rows if row.refine == refine and dataset in row.miou
            }
            if figures:
                yield PaperLine(dataset=dataset, task="semantic", refine=refine, published=figures)


def beside(line: PaperLine, measure: str, card: ModelCard) -> str:
    """Published figures of a card's method and weights, or the nearest one and its differences, in words."""
    figures = {label: values[measure] for label, values in line.published.items() if measure in values}
    models = {label: model for label in figures if (model := _model_of(line, label)) and model.is_of(card)}
    rows = [
        MethodFigure(label, figures[label], each.other_weights(card), each.released) for label, each in models.items()
    ]
    return "; ".join(f"{row.figure} ({row.label})" for row in rows if not row.differences) or nearest(rows)


def _model_of(line: PaperLine, label: str) -> PublishedModel | None:
    """Method and weights of a figure; None if the method is not here."""
    if line.task == "semantic":
        return next(row for row in published() if row.label == label)
    model = _paper_table().models.get(label)
    if model is None or line.task == "panoptic":
        return model
    # Prompts are answered by stage one, which was released.
    weights = {name: value for name, value in model.weights.items() if name != "adapter"}
    return model.model_copy(update={"weights": weights, "released": True})


def to_markdown(card: ModelCard, paper: str, results: Sequence[PaperResult]) -> str:
    lines = [
        f"## {card.name} beside the paper: {paper}",
        "",
        "| data set | task | measure | ours | published | images |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        line = result.line
        for measure in line.measures:
            ours = "-" if (figure := result.figures.get(measure)) is None else f"{figure:.2f}"
            cells = (line.dataset, line.title, measure, ours, beside(line, measure, card), result.images or "-")
            lines.append(f"| {' | '.join(cells)} |")
    missing = dict.fromkeys(f"- {result.line.dataset}: {result.missing}" for result in results if result.missing)
    if missing:
        lines += ["", "Not measured:", "", *missing]
    return "\n".join(lines) + "\n"
