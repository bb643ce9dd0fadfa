"""Which objects index masks show, whatever their class: connected components of every value that may be one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lexiseg_model.data.indexed import IGNORE, Sample, list_samples
from lexiseg_model.data.scenes import Objects, components


class MaskSet(BaseModel):
    """How often a data set is drawn from, and what its mask values say about objects."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(gt=0, description="of the crops, beside those of the other sets")
    nothing: int | None = Field(None, ge=0, le=254, description="value whose components are no objects")
    whole: float = Field(0.0, ge=0, le=1, description="share of crops in which all other values are one")
    ignored: bool = Field(True, description="255 counts nowhere; false: it is outside of every object")
    splits: list[str] = Field(["train"], min_length=1, description="folders of the set that are used")
    every: int = Field(1, ge=1, description="one of so many photographs is used: neighbours in a video are alike")


def read_samples(root: Path, name: str, source: MaskSet) -> tuple[Sample, ...]:
    """The photographs of one set that are used; no class list is needed.

    Raises:
        DatasetError: a folder or a mask is missing; the message says which and what was expected.
    """
    return tuple(sample for split in source.splits for sample in list_samples(root, name, split)[:: source.every])


def find_objects(labels: NDArray[np.uint8], source: MaskSet, smallest: float, whole: bool) -> Objects:
    """Connected components (by sides and corners) of every value that may be an object.

    Args:
        labels: [H, W] mask values.
        source: what they mean.
        smallest: pixels that a component must have.
        whole: all values that may be an object are one.

    Returns:
        Objects labelled with their value, 1 for `whole`.
    """
    values = set(np.unique(labels).tolist()) - {IGNORE, source.nothing}
    if whole:
        parts, values = np.isin(labels, list(values)).astype(np.uint8), {1}
    else:
        parts = labels
    found = components(parts, values, smallest)
    ignored = labels == IGNORE if source.ignored else np.zeros(labels.shape, bool)
    return Objects(found.ids, found.labels, ignored)
