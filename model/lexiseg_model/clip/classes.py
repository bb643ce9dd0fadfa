"""From text rows to class vectors: the rules that the methods publish. Rows are raw, as the text tower gives them."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.errors import ShapeError

# How the templates of one text are put together.
ClassRule = Literal["mean_of_units", "mean_of_rows"]


def mean_of_units(rows: Tensor, templates: int) -> Tensor:
    """Unit rows, their mean over templates, unit again: SCLIP, ClearCLIP, NACLIP, ProxyCLIP, CLIP-DINOiser.

    Args:
        rows: [T * templates, D] float32, all templates of the first text first.
        templates: how many rows a text has.

    Returns:
        [T, D] of unit length.

    Raises:
        ShapeError: the rows do not divide by the templates.
    """
    return F.normalize(F.normalize(_by_text(rows, templates), dim=2).mean(1), dim=1)


def mean_of_rows(rows: Tensor, templates: int) -> Tensor:
    """The mean of raw rows over templates, then unit: TCL. Longer rows count more. Arguments as above."""
    return F.normalize(_by_text(rows, templates).mean(1), dim=1, eps=1e-6)  # TCL's epsilon


def class_vectors(rows: Tensor, templates: int, rule: ClassRule) -> Tensor:
    """Vectors [T, D] by the named rule."""
    return (mean_of_units if rule == "mean_of_units" else mean_of_rows)(rows, templates)


def _by_text(rows: Tensor, templates: int) -> Tensor:
    if rows.ndim != 2 or templates < 1 or len(rows) % templates:
        raise ShapeError(f"expected rows [T * {templates}, D], got {list(rows.shape)}")
    return rows.float().view(-1, templates, rows.shape[1])
