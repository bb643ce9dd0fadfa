"""The tables of the three papers, line by line: what is measured, and what the papers print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from lexiseg_model.cards import ModelCard, StrictModel
from lexiseg_model.errors import OptionError
from lexiseg_model.types import Refinement
from lexiseg_train.evaluation.benchmarks.protocol import PAPERS, protocol
from lexiseg_train.evaluation.benchmarks.report import MASKS, FigureOf, PublishedModel, nearest, published

FILE = Path(__file__).parent / "papers.json"
POINT_GRID = 20  # points along each side of Unpair-Seg's grid
Figures = dict[str, float | None]  # percent, by measure: miou, pq, sq, rq, iou


class PaperLine(StrictModel):
    """One measurement of a paper."""

    dataset: str = Field(description="a benchmark, or a JSON in COCO's format, relative to the folder of the data sets")
    task: Literal["semantic", "panoptic", "point", "box"]
    refine: Refinement | None = Field(None, description="refinement of the semantic task; None: the model's own")
    published: dict[str, dict[str, float]] = Field(description="percent by method and variant, then by measure")

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of its figures."""
        return tuple(dict.fromkeys(name for figures in self.published.values() for name in figures))

    @property
    def title(self) -> str:
        """Task, and how masks are refined or prompts are placed."""
        if self.task == "point":
            return f"point, grid of {POINT_GRID}"
        return self.task if self.refine is None else f"{self.task}, masks {MASKS[self.refine]}"


class _Table(BaseModel):
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
        """Plain values."""
        measured = {"measured": self.figures, "images": self.images, "missing": self.missing}
        return self.line.model_dump(mode="json") | measured


@cache
def _table() -> _Table:
    return _Table.model_validate_json(FILE.read_bytes())


@cache
def lines_of(paper: str) -> tuple[PaperLine, ...]:
    """Everything that a paper measures, semantic segmentation first. Raises OptionError for an unknown paper."""
    if paper not in PAPERS:
        raise OptionError(f"no paper {paper!r}; known papers: {', '.join(PAPERS)}")
    scenes = _table().papers.get(paper, [])
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
    rows = [FigureOf(label, figures[label], each.other_weights(card), each.released) for label, each in models.items()]
    return "; ".join(f"{row.figure} ({row.label})" for row in rows if not row.differences) or nearest(rows)


def _model_of(line: PaperLine, label: str) -> PublishedModel | None:
    """Method and weights of a figure; None if the method is not here."""
    if line.task == "semantic":
        return next(row for row in published() if row.label == label)
    model = _table().models.get(label)
    if model is None or line.task == "panoptic":
        return model
    # Prompts are answered by stage one, which was released.
    weights = {name: value for name, value in model.weights.items() if name != "adapter"}
    return model.model_copy(update={"weights": weights, "released": True})


def to_markdown(card: ModelCard, paper: str, results: Sequence[PaperResult]) -> str:
    """One table of all lines, ours next to the published figures; below it the data that is missing, and why."""
    lines = [
        f"## {card.name} beside the paper: {paper}",
        "",
        "| data set | task | measure | ours | published | images |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        line = result.line
        for measure in line.measures:
            ours = result.figures.get(measure)
            cells = (
                line.dataset,
                line.title,
                measure,
                "-" if ours is None else f"{ours:.2f}",
                beside(line, measure, card),
                result.images or "-",
            )
            lines.append(f"| {' | '.join(cells)} |")
    missing = dict.fromkeys(f"- {result.line.dataset}: {result.missing}" for result in results if result.missing)
    if missing:
        lines += ["", "Not measured:", "", *missing]
    return "\n".join(lines) + "\n"
