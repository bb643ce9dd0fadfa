"""Options of `lexiseg eval` that its ways of measuring share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from lexiseg_model.types import Refinement


class EvalOptions(NamedTuple):
    """The options of the command line; each way of measuring reads the ones that it knows."""

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
