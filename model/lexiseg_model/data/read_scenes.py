"""Scenes on disk by a data set's name: a public benchmark in its official layout, or an indexed folder of one's own."""

from __future__ import annotations

from pathlib import Path

from lexiseg_model.data import instance_folders
from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.data.indexed_scenes import IsThing, object_scenes, panoptic_scenes
from lexiseg_model.data.instances import things_of
from lexiseg_model.data.objects import objects_in
from lexiseg_model.data.panoptic_benchmark import names, panoptic_benchmark
from lexiseg_model.data.panoptic_folders import read_panoptic
from lexiseg_model.data.scenes import Annotation, Objects, PanopticTruth, SceneSet, with_truth
from lexiseg_model.errors import DatasetError

INSTANCE_SETS = {
    instance_folders.COCO: instance_folders.read_coco_instances,
    instance_folders.ADE: instance_folders.read_ade_instances,
}


def read_panoptic_scenes(name: str, root: Path, split: str, is_thing: IsThing) -> SceneSet[PanopticTruth]:
    """Things and stuff.

    Args:
        name: of a panoptic benchmark, or of the folder of an indexed set, whose components stand in for instances.
        root: folder that holds the data set.
        split: common name, as `val`.
        is_thing: of an indexed set's class names; benchmarks say it themselves.

    Raises:
        DatasetError: the data set is not there, damaged, or has no panoptic truth.
    """
    _refuse(name, "panoptic quality")
    if name in names():
        return read_panoptic(panoptic_benchmark(name), root, split)
    return panoptic_scenes(read_dataset(root, name, split), is_thing)


def read_instance_scenes(name: str, root: Path, split: str, is_thing: IsThing) -> SceneSet[list[Annotation]]:
    """Instances; of a panoptic set its things. Arguments and errors as `read_panoptic_scenes`."""
    if name in INSTANCE_SETS:
        return INSTANCE_SETS[name](root, split)
    scenes = read_panoptic_scenes(name, root, split, is_thing)
    return with_truth(scenes, lambda truth: things_of(truth, scenes.classes))


def read_object_scenes(name: str, root: Path, split: str, is_thing: IsThing) -> SceneSet[Objects]:
    """What points and boxes are to show: things of a benchmark, components of an indexed set's classes or regions.

    Arguments and errors as `read_panoptic_scenes`.
    """
    _refuse(name, "the IoU of prompts")
    if name in names():
        scenes = read_panoptic(panoptic_benchmark(name), root, split)
        return with_truth(scenes, lambda truth: objects_in(truth, scenes.classes))
    return object_scenes(root, name, split, is_thing)


def _refuse(name: str, task: str) -> None:
    if name in INSTANCE_SETS:
        raise DatasetError(
            f"{name} knows instances only, which {task} cannot be measured by; take {' or '.join(names())}"
        )
