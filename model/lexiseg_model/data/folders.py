"""Reader of benchmarks whose annotations are label maps in files: VOC, PASCAL Context, COCO, Cityscapes, ADE20K ..."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.annotated import AnnotatedSet, read_photograph
from lexiseg_model.data.benchmark import Benchmark, FolderLayout
from lexiseg_model.data.labels import Labels, label_table, read_labels
from lexiseg_model.errors import DatasetError


@dataclass(frozen=True)
class FileSample:
    """A photograph and its annotation file."""

    name: str
    image: Path
    annotation: Path
    layout: FolderLayout
    table: Labels  # shared by all samples of a split

    def read_image(self) -> NDArray[np.uint8]:
        return read_photograph(self.image)

    def read_labels(self) -> Labels:
        return read_labels(self.annotation, self.layout, self.table)


def read_folders(benchmark: Benchmark, root: Path, split: str) -> AnnotatedSet:
    """Lists one split in the first of the benchmark's layouts that is there.

    Args:
        benchmark: one with layouts.
        root: the official folder of the data set, or one that holds it.
        split: common name, as `val`.

    Raises:
        DatasetError: no layout is there (the message names all that were looked for), or a file of a sample is missing.
    """
    folder = benchmark.split(split).folder
    layouts = [layout for layout in benchmark.layouts if layout.splits is None or split in layout.splits]
    bases = list(dict.fromkeys(root / name for name in benchmark.roots))
    for base in bases:
        for layout in layouts:
            names = _names(base, layout, folder)
            if names and (base / _path(layout.annotation, folder, names[0])).exists():
                return AnnotatedSet(benchmark, split, _samples(benchmark, base, layout, folder, names))
    looked = "; or ".join(
        _path(f"{layout.listing or layout.image} with {layout.annotation}", folder, "ID") for layout in layouts
    )
    raise DatasetError(f"{benchmark.name}, split {split!r}: none of {', '.join(map(str, bases))} holds {looked}")


def _samples(
    benchmark: Benchmark, base: Path, layout: FolderLayout, folder: str, names: list[str]
) -> tuple[FileSample, ...]:
    table = label_table(benchmark, layout)
    samples = tuple(
        FileSample(
            name, base / _path(layout.image, folder, name), base / _path(layout.annotation, folder, name), layout, table
        )
        for name in names
    )
    missing = [path for sample in samples for path in (sample.image, sample.annotation) if not path.exists()]
    if missing:
        raise DatasetError(f"{benchmark.name}: {len(missing)} of {2 * len(samples)} files are missing, as {missing[0]}")
    return samples


def _names(base: Path, layout: FolderLayout, folder: str) -> list[str]:
    if layout.listing is not None:
        listing = base / layout.listing.replace("{split}", folder)
        return listing.read_text().split() if listing.exists() else []
    pattern = layout.image if layout.listed_by == "images" else layout.annotation
    above, suffix = pattern.replace("{split}", folder).split("{id}")
    where = base / above
    paths = (path.relative_to(where).as_posix() for path in where.rglob(f"*{suffix}") if path.name[0] != ".")
    return sorted(path.removesuffix(suffix) for path in paths)


def _path(pattern: str, folder: str, name: str) -> str:
    return pattern.replace("{split}", folder).replace("{id}", name)
