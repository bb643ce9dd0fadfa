"""A benchmark on disk, by its name."""

from __future__ import annotations

from pathlib import Path

from lexiseg_model.data.annotated import AnnotatedSet
from lexiseg_model.data.benchmark import benchmark
from lexiseg_model.data.folders import read_folders
from lexiseg_model.data.lvis import read_lvis
from lexiseg_model.errors import DatasetError


def read_benchmark(name: str, root: Path, split: str = "val") -> AnnotatedSet:
    """Lists one split of a benchmark in its official layout.

    Raises:
        DatasetError: no benchmark or split of that name, or its files are not under `root`.
    """
    official = benchmark(name)
    official.split(split)
    if not root.is_dir():
        raise DatasetError(f"{name}: {root} is not a folder")
    return read_folders(official, root, split) if official.layouts else read_lvis(official, root, split)
