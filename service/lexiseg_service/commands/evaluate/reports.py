"""What `lexiseg eval` asks for, and the files of its reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lexiseg_model.types import Refinement


class Wanted(NamedTuple):
    """The options of the command line; each way of measuring reads those that it knows."""

    root: Path
    progress: Path
    dataset: str = ""
    split: str = "val"
    task: Literal["semantic", "instance", "panoptic", "point", "box"] = "semantic"
    protocol: str = ""  # rules of a public benchmark, or the paper
    limit: int | None = None  # only the first images
    refine: Refinement | None = None
    grid: int | None = None  # points along each side; None: one point where an object is deepest
    json: Path | None = None
    markdown: Path | None = None


def write_json(target: Path | None, report: Any) -> None:
    """Write a report as JSON, where a file is asked for."""
    write_report(target, json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def write_report(target: Path | None, text: str) -> None:
    """Write a report with the folders above it, where a file is asked for."""
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
