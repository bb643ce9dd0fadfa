"""A benchmark of colours in memory, for the segmenter with known answers."""

from collections.abc import Sequence

import numpy as np

from lexiseg_train.data.benchmark import IGNORED, AnnotatedSet, Benchmark, Convention, Labels, Split
from lexiseg_train.data.scenes import Scene
from lexiseg_train.evaluation.benchmarks.run import DatasetRule, Sight
from tests.model.stand_in import picture

SIGHT = Sight(short_side=448, long_side=2048, window=448, stride=224)


def painting(name: str, rows: Sequence[str], labels: Sequence[str]) -> Scene[Labels]:
    """A picture in letters and its labels: digits count in the class list, anything else is ignored."""
    stored = np.array([[int(cell) if cell.isdigit() else IGNORED for cell in row] for row in labels], np.uint16)
    return Scene(name, lambda: picture(rows), lambda: stored)


def colours(
    classes: Sequence[str],
    *paintings: tuple[list[str], list[str]],
    miou: Convention = "mmseg",
) -> AnnotatedSet:
    """A set of (picture in letters, labels in digits); class 0 called background is one."""
    benchmark = Benchmark(
        name="flags", title="Flags", source="these tests", notes="", miou=miou, background=classes[0] == "background",
        roots=["."], splits={"val": Split(folder="val", images=len(paintings))}, layouts=[],
        classes=list(classes),
    )  # fmt: skip
    images = tuple(painting(f"flag-{index}", rows, labels) for index, (rows, labels) in enumerate(paintings))
    return AnnotatedSet(benchmark, "val", images)


def rule(
    threshold: float | str | None = None,
    background: Sequence[str] = (),
    queries: dict[str, list[str]] | None = None,
    scale: float | None = None,
) -> DatasetRule:
    return DatasetRule.model_validate(
        {
            "sight": SIGHT, "threshold": threshold, "background": list(background), "queries": queries or {},
            "scale": scale,
        }
    )  # fmt: skip
