"""A sample that can be read, where the one that was drawn cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from lexiseg_model.data.pairs.source import MOST_BROKEN, Skipped
from lexiseg_model.errors import DatasetError, SampleError

Content = TypeVar("Content")


def first_readable(
    drawn: int, count: int, read: Callable[[int], Content], random: np.random.Generator
) -> tuple[Content, tuple[Skipped, ...]]:
    """A sample's content, and those before it that could not be read.

    Args:
        drawn: the index that is tried first.
        count: of the samples; others are drawn from them.
        read: the content at an index; raises SampleError.
        random: drawn from where a sample is broken, and only there.

    Raises:
        DatasetError: more than MOST_BROKEN in a row are.
    """
    skipped: list[Skipped] = []
    index = drawn
    while True:
        try:
            return read(index), tuple(skipped)
        except SampleError as error:
            skipped.append(Skipped(error.sample, error.reason))
        if len(skipped) > MOST_BROKEN:
            raise DatasetError(f"{len(skipped)} samples in a row cannot be read; the last: {': '.join(skipped[-1])}")
        index = int(random.integers(count))
