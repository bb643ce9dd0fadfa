"""The figures of docs/mask-quality.md: published ones from the data, our own from kept reports.

    python -m benchmarks.pages.mask_quality docs/mask-quality.md

writes them anew between the page's two markers. Reports are what `lexiseg eval --task ... --json` has written to the
folder of the page's name, here docs/mask-quality/.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.pages.quality import NOTHING, read_reports, with_figures
from lexiseg_model.data.panoptic_benchmark import names

FILE = Path(__file__).parent / "published_masks.json"
GRID = 20  # points along each side, of the published figures
Report = dict[str, Any]


class PublishedPanoptic(BaseModel):
    """PQ, SQ and RQ of one method by data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    figures: dict[str, tuple[float, float, float]]
    source: str
    verified: bool
    notes: str


class PublishedPrompts(BaseModel):
    """Oracle IoU of one method by data set: the best mask of a grid of points, and of a box."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    point_grid: dict[str, float]
    box: dict[str, float]
    source: str
    verified: bool
    notes: str


class Published(BaseModel):
    """The whole file."""

    about: str
    panoptic: list[PublishedPanoptic]
    prompts: list[PublishedPrompts]


@cache
def published() -> Published:
    """Every published figure, with its source."""
    return Published.model_validate_json(FILE.read_bytes())


def figures(reports: list[Report]) -> str:
    """Markdown: panoptic quality and prompts beside what is published, mask AP, and the sets of one's own.

    Args:
        reports: JSON of `SceneReport`s; those of a part of a split are left out.
    """
    whole = [report for report in reports if report["images"] == report["official_images"]]
    official = [report for report in whole if report["instances_are"] == "annotated"]
    own = [report for report in whole if report["instances_are"] == "components"]
    return "\n\n".join([_panoptic(official), _prompts(official), _instances(official), _own(own)])


def _panoptic(reports: list[Report]) -> str:
    lines = [
        "**Panoptic quality**, PQ / SQ / RQ:",
        "",
        f"| method | {' | '.join(names())} | source |",
        f"|---{'|---:' * len(names())}|---|",
    ]
    for row in published().panoptic:
        cells = {name: " / ".join(map(str, values)) for name, values in row.figures.items()}
        lines.append(_line(row.method, cells, _source(row.source, row.verified)))
    for label, by_name in _by_model(reports, "panoptic").items():
        cells = {
            name: " / ".join(_figure(report, key) for key in ("pq", "sq", "rq")) for name, report in by_name.items()
        }
        lines.append(_line(f"**{label}**", cells, "measured"))
    return "\n".join([*lines, "", *_notes(published().panoptic)])


def _prompts(reports: list[Report]) -> str:
    lines = [
        f"**Prompts**, IoU of the best mask, a grid of {GRID} x {GRID} points / a box for each object:",
        "",
        f"| method | {' | '.join(names())} | source |",
        f"|---{'|---:' * len(names())}|---|",
    ]
    for row in published().prompts:
        cells = {name: f"{row.point_grid[name]} / {row.box[name]}" for name in row.box}
        lines.append(_line(row.method, cells, _source(row.source, row.verified)))
    points = _by_model([report for report in reports if report.get("grid") == GRID], "point")
    boxes = _by_model(reports, "box")
    for label in dict.fromkeys([*points, *boxes]):
        cells = {}
        for name in names():
            pair = [_of(reports_of.get(label, {}).get(name), "iou") for reports_of in (points, boxes)]
            if pair != [NOTHING, NOTHING]:
                cells[name] = " / ".join(pair)
        lines.append(_line(f"**{label}**", cells, "measured"))
    return "\n".join([*lines, "", *_notes(published().prompts)])


def _instances(reports: list[Report]) -> str:
    lines = ["**Mask AP:**", "", "| model | data set | AP | AP50 | AP75 |", "|---|---|---:|---:|---:|"]
    instances = [report for report in reports if report["task"] == "instance"]
    for report in instances:
        cells = " | ".join(_figure(report, key) for key in ("ap", "ap50", "ap75"))
        lines.append(f"| **{_label(report)}** | {report['dataset']} | {cells} |")
    return "\n".join(lines) if instances else "**Mask AP:** not measured yet."


def _own(reports: list[Report]) -> str:
    """One row for each model and data set, whatever tasks there are reports of."""
    title = "**Sets without instances**, whose connected components stand in for them:"
    rows: dict[tuple[str, str], dict[str, Report]] = {}
    for report in reports:
        task = f"grid {report['grid']}" if "grid" in report else str(report["task"])
        rows.setdefault((_label(report), report["dataset"]), {})[task] = report
    if not rows:
        return f"{title} not measured yet."
    lines = [
        title,
        "",
        f"| model | data set | images | objects | point | point, first mask | {GRID} x {GRID} points | box | PQ | AP |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (label, dataset), by_task in rows.items():
        point, box = by_task.get("point"), by_task.get("box")
        cells = [
            str(next(iter(by_task.values()))["images"]),
            _of(box or point, "objects"),
            _of(point, "iou"),
            _of(point, "iou_first"),
            _of(by_task.get(f"grid {GRID}"), "iou"),
            _of(box, "iou"),
            _of(by_task.get("panoptic"), "pq"),
            _of(by_task.get("instance"), "ap"),
        ]
        lines.append(f"| **{label}** | {dataset} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_model(reports: Iterable[Report], task: str) -> dict[str, dict[str, Report]]:
    """Reports of one task by model and data set."""
    by_model: dict[str, dict[str, Report]] = {}
    for report in reports:
        if report["task"] == task:
            by_model.setdefault(_label(report), {})[report["dataset"]] = report
    return by_model


def _label(report: Report) -> str:
    refined = ", PAMR" if report.get("refine") == "pamr" else ""
    return f"{report['model']} {report['model_version']}{refined}"


def _line(method: str, cells: dict[str, str], source: str) -> str:
    return f"| {method} | {' | '.join(cells.get(name, NOTHING) for name in names())} | {source} |"


def _notes(rows: Iterable[PublishedPanoptic | PublishedPrompts]) -> list[str]:
    return [f"- {row.method}: {row.notes}" for row in rows if row.notes]


def _source(source: str, verified: bool) -> str:
    return source if verified else f"{source} (not checked)"


def _of(report: Report | None, key: str) -> str:
    return NOTHING if report is None else _figure(report, key)


def _figure(report: Report, key: str) -> str:
    value = report["figures"][key]
    return NOTHING if value is None else f"{value:,}"


def main(page: Path) -> None:
    """Writes the figures of one page anew."""
    text = page.read_text(encoding="utf-8")
    page.write_text(with_figures(text, figures(read_reports(page.with_suffix("")))), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
