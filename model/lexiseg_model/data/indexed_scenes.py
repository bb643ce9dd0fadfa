"""Indexed data sets as scenes: connected components stand in for the instances that nobody has drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.components import objects_of, panoptic_of
from lexiseg_model.data.indexed import CLASSES, IGNORE, IndexedDataset, Sample, list_samples, read_dataset
from lexiseg_model.data.labels import IGNORED, Labels
from lexiseg_model.data.scenes import Objects, PanopticTruth, SceneClass, SceneSet, with_truth

IsThing = Callable[[str], bool | None]  # by a class's name; None where nobody knows, which counts as a thing
REGION = SceneClass("region", ("region",), thing=True)  # the one class of a set that names none
NO_CLASS = IGNORED - 1  # label of a background: it counts, and is none of the classes
STORED_VALUES = 256


@dataclass(frozen=True)
class MaskScene:
    """A photograph and its label map; `table` [256] gives the label of each mask value, of which there are `values`."""

    sample: Sample
    table: Labels
    values: int = IGNORE

    @property
    def name(self) -> str:
        return self.sample.name

    def read_image(self) -> NDArray[np.uint8]:
        return self.sample.read_image()

    def read_truth(self) -> Labels:
        labels: Labels = self.table[self.sample.read_fitting_mask(self.values)]
        return labels


def panoptic_scenes(dataset: IndexedDataset, is_thing: IsThing) -> SceneSet[PanopticTruth]:
    """Components of things and whole classes of stuff as segments; a background is none, and no void either.

    Args:
        dataset: the split.
        is_thing: whether a class of that name comes in countable pieces.
    """
    scenes = _labelled(dataset, is_thing)
    things = {class_index for class_index, entry in enumerate(scenes.classes) if entry.thing}
    stuff = set(range(len(scenes.classes))) - things
    return with_truth(scenes, lambda labels: panoptic_of(labels, things, stuff, IGNORED))


def object_scenes(root: Path, name: str, split: str, is_thing: IsThing) -> SceneSet[Objects]:
    """Components of every class, background apart, as objects; those of every value where the set names no classes.

    Raises:
        DatasetError: as `lexiseg_model.data.indexed.read_dataset`, but a class list may be missing.
    """
    if (root / name / CLASSES).exists():
        scenes = _labelled(read_dataset(root, name, split), is_thing)
        every_class = range(len(scenes.classes))
        return with_truth(scenes, lambda labels: objects_of(labels, every_class, IGNORED))
    regions = tuple(MaskScene(sample, _table(0, IGNORE)) for sample in list_samples(root, name, split))
    unnamed = SceneSet(name, split, (REGION,), True, "components", len(regions), regions)
    return with_truth(unnamed, _regions)


def _regions(labels: Labels) -> Objects:
    """Whatever the value, an object is a region."""
    regions = objects_of(labels, range(IGNORE), IGNORED)
    return Objects(regions.ids, (0,) * len(regions.labels), regions.ignored)


def _labelled(dataset: IndexedDataset, is_thing: IsThing) -> SceneSet[Labels]:
    """Label maps in which the background has no place among the classes."""
    first = int(dataset.has_background)
    names = dataset.classes[first:]
    classes = tuple(SceneClass(name, (name,), thing=is_thing(name) is not False) for name in names)
    table = _table(first, len(dataset.classes))
    scenes = tuple(MaskScene(sample, table, len(dataset.classes)) for sample in dataset.samples)
    return SceneSet(dataset.name, dataset.split, classes, dataset.has_background, "components", len(scenes), scenes)


def _table(first: int, n_values: int) -> Labels:
    """Mask values from `first` on become labels from 0 on; those before it no class, others are ignored."""
    table = np.full(STORED_VALUES, IGNORED, np.uint16)
    table[:first] = NO_CLASS
    table[first:n_values] = np.arange(n_values - first)
    return table
