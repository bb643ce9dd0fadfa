"""COCO's panoptic annotations as label maps of the 129 classes of our set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.annotated import AnnotatedImage
from lexiseg_model.data.labels import IGNORED, Labels
from lexiseg_model.data.panoptic_benchmark import panoptic_benchmark
from lexiseg_model.data.panoptic_folders import read_panoptic
from lexiseg_model.data.preparing.words import plain
from lexiseg_model.data.scenes import PanopticTruth, Scene

LEFT_OUT = {"parking meter", "cow", "toaster", "hair drier"}  # of the 133


@dataclass(frozen=True)
class _PanopticLabels:
    """A panoptic photograph as a label map, IGNORED where no class of ours is."""

    scene: Scene[PanopticTruth]
    labels: tuple[int, ...]  # of each category

    @property
    def name(self) -> str:
        return Path(self.scene.name).stem

    def read_image(self) -> NDArray[np.uint8]:
        return self.scene.read_image()

    def read_labels(self) -> Labels:
        truth = self.scene.read_truth()
        painted = np.full(truth.ids.shape, IGNORED, np.uint16)
        for segment in truth.segments:
            painted[truth.ids == segment.id] = self.labels[segment.class_index]
        return painted


def panoptic_classes() -> tuple[str, ...]:
    """Of our set."""
    return plain(entry.name for entry in panoptic_benchmark("coco-panoptic").categories if entry.name not in LEFT_OUT)


def read_panoptic_labels(root: Path, split: str) -> Sequence[AnnotatedImage]:
    """One split in the official layout.

    Raises:
        DatasetError: it is not there.
    """
    panoptic = panoptic_benchmark("coco-panoptic")
    kept = [entry.name for entry in panoptic.categories if entry.name not in LEFT_OUT]
    labels = tuple(kept.index(entry.name) if entry.name in kept else IGNORED for entry in panoptic.categories)
    return [_PanopticLabels(scene, labels) for scene in read_panoptic(panoptic, root, split).scenes]
