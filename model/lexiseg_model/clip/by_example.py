"""Classes by example for CLIP: embeddings of examples, rescaled to compete with text embeddings.

Images are far more like each other than like any text, so the vector of a class by example is set to score on its own
examples as a fitting word does, and on their pictures as any word does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors
from lexiseg_model.cards import StrictModel
from lexiseg_model.errors import ForeignExamplesError
from lexiseg_model.segmenter import TextRows
from lexiseg_model.types import Region
from lexiseg_model.vocabulary.examples import cells_of, mean_embeddings

APART = 0.05  # minimum of 1 - cosine ** 2; below it examples fill their picture, and its surroundings are unknown


class ExampleLevels(StrictModel):
    """Cosines that a vector of examples is set to have, in the range that CLIP's texts have."""

    inside: float = Field(
        0.26, gt=0, lt=1, description="cosine of the vector with what was shown, as that of a fitting word"
    )
    outside: float = Field(
        0.18, ge=0, lt=1, description="cosine of the vector with the whole picture, as that of any word"
    )
    away: float = Field(0.5, ge=0, description="share by which the vector is turned from the negatives")


def region_rows(maps: Tensor, size: tuple[int, int], regions: Sequence[Region]) -> NDArray[np.float16]:
    """[R, 2 D]: the unit mean embedding of each region's cells, then that of the picture, of maps [D, h, w]."""
    means = mean_embeddings([cells_of(region, size, maps) for region in regions], maps)
    return rows_of(means, maps.mean((1, 2)))


def rows_of(regions: Tensor, whole: Tensor) -> NDArray[np.float16]:
    """Rows [R, 2 D] of regions: their embeddings [R, D], then that of their image [D], both of unit length."""
    image = F.normalize(whole.float(), dim=0).expand(len(regions), -1)
    return torch.cat([F.normalize(regions.float(), dim=1), image], 1).cpu().numpy().astype(np.float16)


def vectors(
    positive: TextRows, negative: TextRows, levels: ExampleLevels, width: int, device: torch.device
) -> ExampleVectors:
    """One vector [1, D] of the examples of a class, their mean, and all of them for the fusion."""
    regions, pictures = _halves(positive, width, device)
    mean, picture = F.normalize(regions.mean(0), dim=0), F.normalize(pictures.mean(0), dim=0)
    towards = mean
    if len(negative):
        others, _ = _halves(negative, width, device)
        away = F.normalize(others.mean(0), dim=0)
        towards, regions = (F.normalize(each + levels.away * (each - away), dim=-1) for each in (mean, regions))
    return ExampleVectors(_set_to_levels(towards, mean, picture, levels)[None], mean[None], examples=regions)


def _set_to_levels(towards: Tensor, mean: Tensor, picture: Tensor, levels: ExampleLevels) -> Tensor:
    """`a` x towards + `b` x picture, with a and b so that its products with `mean` and `picture` are the levels."""
    of_mean, across, both = float(towards @ mean), float(towards @ picture), float(mean @ picture)
    determinant = of_mean - across * both
    if determinant < APART:
        return levels.inside * towards / max(of_mean, APART)
    a = (levels.inside - levels.outside * both) / determinant
    b = (of_mean * levels.outside - across * levels.inside) / determinant
    return a * towards + b * picture


def _halves(rows: TextRows, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    if rows.ndim != 2 or rows.shape[1] != 2 * width:
        raise ForeignExamplesError(f"expected rows [R, {2 * width}] of examples, got {list(rows.shape)}")
    both = torch.from_numpy(rows.astype(np.float32)).to(device)
    return both[:, :width], both[:, width:]
