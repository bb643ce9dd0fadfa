"""What an evaluation beyond semantic has measured: as JSON values, and as rows for a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lexiseg_model.data.scenes import SceneSet
from lexiseg_model.evaluation.scenes.figures import Figures
from lexiseg_model.types import ModelCard

SceneTask = Literal["instance", "panoptic", "point", "box"]
# Of each task: what its table shows of every class, and a title for it.
COLUMNS: dict[SceneTask, dict[str, str]] = {
    "panoptic": {"pq": "PQ", "sq": "SQ", "rq": "RQ", "matches": "TP", "false_alarms": "FP", "misses": "FN"},
    "instance": {"ap": "AP", "instances": "instances"},
    "point": {"iou": "IoU of the best", "iou_first": "of the first", "objects": "objects"},
    "box": {"iou": "IoU of the best", "iou_first": "of the first", "objects": "objects"},
}
TITLES = {
    "pq": "PQ", "sq": "SQ", "rq": "RQ", "classes": "classes",
    "pq_things": "PQ, things", "sq_things": "SQ, things", "rq_things": "RQ, things",
    "classes_things": "classes, things",
    "pq_stuff": "PQ, stuff", "sq_stuff": "SQ, stuff", "rq_stuff": "RQ, stuff", "classes_stuff": "classes, stuff",
    "ap": "AP", "ap50": "AP50", "ap75": "AP75", "ap_small": "AP, small", "ap_medium": "AP, medium",
    "ap_large": "AP, large", "instances": "instances",
    "iou": "IoU of the best, mean of objects", "iou_first": "IoU of the first, mean of objects",
    "iou_classes": "IoU of the best, mean of classes", "objects": "objects",
}  # fmt: skip


@dataclass(frozen=True)
class SceneReport:
    """One data set by one task. `settings` are the judge's, `figures` in percent or numbers of things."""

    task: SceneTask
    card: ModelCard
    digest: str
    data: SceneSet[Any]
    settings: dict[str, Any]
    figures: Figures

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where there was nothing to measure. `images` were evaluated of `official_images`."""
        return {
            "task": self.task,
            "model": self.card.name,
            "model_version": self.card.version,
            "model_digest": self.digest,
            "dataset": self.data.name,
            "split": self.data.split,
            "images": len(self.data.scenes),
            "official_images": self.data.official,
            "instances_are": self.data.source,
            **self.settings,
            "figures": self.figures.whole,
            "per_class": {
                entry.name: {"thing": entry.thing, "asked": list(entry.words), **row}
                for entry, row in zip(self.data.classes, self.figures.per_class, strict=True)
            },
        }

    def titled_figures(self) -> list[tuple[str, str]]:
        """Figures of the whole split, by readable names."""
        return [(TITLES[name], shown(value)) for name, value in self.figures.whole.items()]

    def class_rows(self) -> list[tuple[str, ...]]:
        """A row for each class that has something to show: its name, and what `COLUMNS` name."""
        columns = COLUMNS[self.task]
        rows = zip(self.data.classes, self.figures.per_class, strict=True)
        return [(entry.name, *(shown(row[column]) for column in columns)) for entry, row in rows if any(row.values())]


def shown(value: float | int | None) -> str:
    """Two decimals for percent, none for numbers of things."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
