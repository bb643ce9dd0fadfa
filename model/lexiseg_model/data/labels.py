"""Label maps of benchmarks: stored values to labels, one table look-up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.data.benchmark import Benchmark, FolderLayout
from lexiseg_model.errors import DatasetError

IGNORED = 65535  # label of a pixel that counts nowhere
UNEXPECTED = 65534  # of a stored value that the benchmark does not know
STORED_VALUES = 1 << 16
Labels = NDArray[np.uint16]


def label_table(benchmark: Benchmark, layout: FolderLayout) -> Labels:
    """[65536]: the label of every stored value; IGNORED and UNEXPECTED where there is none."""
    labels = range(len(benchmark.classes))
    if layout.values == "stored":
        if benchmark.stored is None:
            raise DatasetError(f"{benchmark.name}: a layout by stored values, and no table of them")
        stored = benchmark.stored
    else:
        first = 1 if layout.values == "from-one" else 0
        stored = [[label + first] for label in labels]
    table = np.full(STORED_VALUES, UNEXPECTED, np.uint16)
    table[layout.ignored] = IGNORED
    for label, values in zip(labels, stored, strict=True):
        table[values] = label
    return table


def read_labels(path: Path, layout: FolderLayout, table: Labels) -> Labels:
    """Labels [H, W] of one annotation file.

    Raises:
        DatasetError: the file is no image, has other channels than expected, or holds a value that the benchmark does
            not know: another encoding than the official one would otherwise pass for bad predictions.
    """
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as an image: {error}") from None
    if layout.values == "red-green":
        if pixels.ndim != 3 or pixels.shape[2] < 3:
            raise DatasetError(f"{path} is {list(pixels.shape)}; expected RGB, label = red + 256 green")
        wide = pixels.astype(np.int32)
        stored = wide[..., 0] + 256 * wide[..., 1]
    else:
        if pixels.ndim != 2 or pixels.dtype.kind not in "ui":
            raise DatasetError(f"{path} is {pixels.dtype} {list(pixels.shape)}; expected one channel of whole numbers")
        stored = pixels.astype(np.int32)
    outside = (stored < 0) | (stored >= STORED_VALUES)
    labels: Labels = table[np.where(outside, 0, stored)]
    unexpected = outside | (labels == UNEXPECTED)
    if unexpected.any():
        values = np.unique(stored[unexpected])[:5].tolist()
        raise DatasetError(f"{path} holds the values {values}, which mean nothing in the layout {layout.annotation}")
    return labels
