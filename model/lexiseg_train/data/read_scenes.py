"""Scenes on disk by the name of a data set: public benchmarks, indexed folders, and any COCO JSON.

Panoptic benchmarks share COCO's format: a JSON, and a PNG per image with ids of R + 256 G + 65536 B, 0 = void
(cocodataset/panopticapi, utils.py). A JSON of instances knows things only: pixels of anything else are background. In
indexed folders connected components stand in for instances. SA-1B and any COCO JSON are also read as mere outlines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from lexiseg_labels.annotations import AnnotatedImage, Id
from lexiseg_labels.annotations import Annotation as ReadAnnotation
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.coco import id_order
from lexiseg_labels.masks.outlines import checked_size, whole_number
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.files.names import visible_files
from lexiseg_model.masks.rle import decode
from lexiseg_model.types import Rle
from lexiseg_model.vocabulary.class_names import BACKGROUND, is_thing
from lexiseg_train.data.annotations.coco import read_coco_file
from lexiseg_train.data.annotations.drawing import draw
from lexiseg_train.data.annotations.listed import Photographs, not_read
from lexiseg_train.data.benchmark import (
    IGNORED,
    PANOPTIC_FOLDER,
    Labels,
    PanopticBenchmark,
    Split,
    WithSplits,
    names,
    panoptic_benchmark,
    read_rgb,
    require_files,
)
from lexiseg_train.data.indexed import (
    CLASSES,
    IGNORE,
    IndexedDataset,
    Sample,
    list_samples,
    read_dataset,
    read_photograph,
)
from lexiseg_train.data.scenes import (
    VOID,
    Annotation,
    Objects,
    PanopticTruth,
    Scene,
    SceneClass,
    SceneSet,
    TruthSegment,
    annotation,
    objects_in,
    objects_of,
    panoptic_of,
    things_of,
    with_truth,
)

COCO = "coco-instance"
COCO_SPLITS: WithSplits[Split] = WithSplits(
    name=COCO, splits={"val": Split(folder="val2017", images=5000), "train": Split(folder="train2017", images=118_287)}
)
Truth = TypeVar("Truth")
Size = tuple[int, int]
Labelled = tuple[ReadAnnotation, int]  # with its class index
REGION = SceneClass("region", ("region",), thing=True)  # the class of a set without class names
MAX_SEGMENT_ID = (1 << 24) - 1  # of a PNG's three channels
MAX_NAMED = 3  # objects in a message
NO_CLASS = IGNORED - 1  # label of a background: it counts, and is none of the classes


def read_panoptic_scenes(name: str, root: Path, split: str) -> SceneSet[PanopticTruth]:
    """Scenes with things and stuff of a panoptic benchmark, or of an indexed set."""
    benchmarks = names(PANOPTIC_FOLDER)
    if _is_coco(name):
        use = " or ".join(benchmarks)
        raise DatasetError(f"{name} has instances only, not enough for panoptic quality; use {use}")
    if name in benchmarks:
        return read_panoptic(panoptic_benchmark(name), root, split)
    scenes = _indexed_scenes(read_dataset(root, name, split))
    things = {class_index for class_index, entry in enumerate(scenes.classes) if entry.thing}
    stuff = set(range(len(scenes.classes))) - things
    return with_truth(scenes, lambda labels: panoptic_of(labels, things, stuff, IGNORED))


def read_instance_scenes(name: str, root: Path, split: str) -> SceneSet[list[Annotation]]:
    """Scenes with instances: COCO's, any JSON's in its format, or the things of a panoptic set."""
    if _is_coco(name):
        return read_coco(name, root, split, _instances)
    scenes = read_panoptic_scenes(name, root, split)
    return with_truth(scenes, lambda truth: things_of(truth, scenes.classes))


def read_object_scenes(name: str, root: Path, split: str) -> SceneSet[Objects]:
    """Scenes with objects for points and boxes: of a benchmark, an indexed set, or a JSON of COCO below `root`."""
    if _is_coco(name):
        return read_coco(name, root, split, _visible_objects)
    if name in names(PANOPTIC_FOLDER):
        panoptic = read_panoptic(panoptic_benchmark(name), root, split)
        return with_truth(panoptic, lambda truth: objects_in(truth, panoptic.classes))
    return object_scenes(root, name, split)


def object_scenes(root: Path, name: str, split: str) -> SceneSet[Objects]:
    """Scenes of an indexed set: components of its classes, or of every mask value where it has no class list."""
    if (root / name / CLASSES).exists():
        scenes = _indexed_scenes(read_dataset(root, name, split))
        return with_truth(scenes, lambda labels: objects_of(labels, range(len(scenes.classes)), IGNORED))
    regions = tuple(_mask_scene(sample, _label_table(0, IGNORE)) for sample in list_samples(root, name, split))
    unnamed = SceneSet(name, split, (REGION,), True, "components", len(regions), regions)

    def regions_of(labels: Labels) -> Objects:
        of_values = objects_of(labels, range(IGNORE), IGNORED)
        return Objects(of_values.ids, (0,) * len(of_values.labels), of_values.ignored)

    return with_truth(unnamed, regions_of)


def read_panoptic(benchmark: PanopticBenchmark, root: Path, split: str) -> SceneSet[PanopticTruth]:
    """List one split of a panoptic benchmark; unusable segments are left out and named, their pixels void."""
    layout, bases = benchmark.split(split), benchmark.bases(root)
    base = next((base for base in bases if (base / layout.annotations).exists()), None)
    if base is None:
        raise DatasetError(
            f"{benchmark.name}: none of {', '.join(map(str, bases))} holds {layout.annotations}; expected it with the "
            f"PNG files in {' or '.join(layout.masks)} and the photographs {layout.image}"
        )
    listing = base / layout.annotations
    try:
        content = json.loads(listing.read_bytes())
        files = {str(image["id"]): str(image["file_name"]) for image in content["images"]}
        entries = sorted(content["annotations"], key=lambda entry: str(entry["file_name"]))
        folders = (base / name for name in layout.masks if entries and (base / name / entries[0]["file_name"]).exists())
        masks = next(folders, base / layout.masks[0])
        segments = [_truth_segments(benchmark, entry, files) for entry in entries]
        n_segments = sum(len(entry["segments_info"]) for entry in entries)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        expected = "expected JSON with the lists images and annotations"
        raise DatasetError(f"{listing} is not a panoptic annotation file ({error}); {expected}") from None
    scenes, paths = [], []
    for entry, (of_image, faults) in zip(entries, segments, strict=True):
        name = str(entry["image_id"])
        image = base / layout.image.format(file=files[name], id=name, city=name.partition("_")[0])
        mask = masks / entry["file_name"]
        paths += [image, mask]
        scenes.append(Scene(name, partial(read_photograph, image), partial(_read_truth, mask, of_image, not faults)))
    require_files(benchmark.name, paths)
    warnings = not_read(listing, n_segments, [fault for _, faults in segments for fault in faults])
    return SceneSet(
        benchmark.name, split, benchmark.classes, False, "annotated", layout.images, tuple(scenes), warnings
    )


def _truth_segments(
    benchmark: PanopticBenchmark, entry: dict[str, Any], files: dict[str, str]
) -> tuple[tuple[TruthSegment, ...], list[str]]:
    """The segments of one image's entry in `annotations`, and why others are unusable; `files` by the image's id."""
    name = str(entry["image_id"])
    if name not in files:
        raise DatasetError(f"{benchmark.name}: annotations of the image {name!r}, which is not among the images")
    segments: dict[int, TruthSegment] = {}
    faults = []
    for number, info in enumerate(entry["segments_info"], 1):
        try:
            segment_id, category, area = (whole_number(info[key]) for key in ("id", "category_id", "area"))
            if not VOID < segment_id <= MAX_SEGMENT_ID or segment_id in segments:
                raise ValueError(f"an id of {segment_id}; expected one of its own, 1 to {MAX_SEGMENT_ID}")
            crowd = bool(info.get("iscrowd", 0))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            faults.append(f"segment {number} of the image {name}: {reason}")
            continue
        if category not in benchmark.class_of:  # the file is of another set
            raise DatasetError(
                f"{benchmark.name}: the image {name!r} has a segment of the unknown category {category}; expected one "
                f"of the {len(benchmark.categories)} ids of the benchmark"
            )
        segments[segment_id] = TruthSegment(segment_id, benchmark.class_of[category], area, crowd)
    return tuple(segments.values()), faults


def _read_truth(mask: Path, segments: tuple[TruthSegment, ...], complete: bool) -> PanopticTruth:
    """The truth of one PNG; ids that `segments` lack are void, unless they are complete."""
    ids = read_rgb(mask, "id = red + 256 green + 65536 blue") @ np.array([1, 256, 65536], np.int32)
    ids_listed = [VOID, *(segment.id for segment in segments)]
    unknown = ~np.isin(ids, ids_listed)
    if complete and unknown.any():
        values = np.unique(ids[unknown])[:5].tolist()
        raise DatasetError(f"{mask} holds the ids {values}, which its segments_info does not list")
    ids[unknown] = VOID
    return PanopticTruth(ids, segments)


def _is_coco(name: str) -> bool:
    return name == COCO or name.endswith(".json")


def read_coco(name: str, root: Path, split: str, read: Callable[[Size, list[Labelled]], Truth]) -> SceneSet[Truth]:
    """COCO's instances in their official layout, or a JSON in its format; `read` makes a photograph's truth."""
    listing, official, folder = root / name, None, None
    classes: dict[Id, SceneClass]
    if name == COCO:
        official = COCO_SPLITS.split(split)
        folder = root / "coco" if (root / "coco").is_dir() else root
        listing = folder / f"annotations/instances_{official.folder}.json"
        things = [entry for entry in panoptic_benchmark("coco-panoptic").categories if entry.thing]
        classes = {entry.id: SceneClass(entry.name, tuple(entry.words), thing=True) for entry in things}
        content = read_coco_file(listing, [entry.id for entry in things])
    else:
        content = read_coco_file(listing)
        objects = ((category, word) for category, word in content.categories.items() if word != BACKGROUND)
        named = sorted(objects, key=lambda entry: id_order(entry[0]))
        classes = {category: SceneClass(word, (word,), thing=True) for category, word in named}
    class_of = {category: class_index for class_index, category in enumerate(classes)}
    files = Photographs(listing, folder).find_all([image.file_name for image in content.images])
    scenes = []
    for image, file in zip(content.images, files, strict=True):
        labelled = [
            (each, class_index)
            for each in image.annotations  # what may be of any class is given for each; the background is no object
            for class_index in (class_of.values() if each.category is None else [class_of.get(each.category)])
            if class_index is not None
        ]
        truth = partial(read, image.size, labelled)
        scenes.append(Scene(image.file_name, partial(read_photograph, file), truth))
    set_name, n_official = (listing.stem, None) if official is None else (name, official.images)
    return SceneSet(
        set_name, split, tuple(classes.values()), True, "annotated", n_official, tuple(scenes), content.warnings
    )


def _instances(size: Size, labelled: list[Labelled]) -> list[Annotation]:
    """Instances of a photograph [H, W]; areas as the file states them, which decide what is small."""
    return [
        annotation(mask, class_index, each.ignored) | {"area": each.stated_area or mask.area}
        for each, class_index in labelled
        for mask in [draw(each.outline, size)]
    ]


def _visible_objects(size: Size, labelled: list[Labelled]) -> Objects:
    """Objects of annotations on [H, W]: smaller ones, or what may be of any class, cover larger; groups are ignored."""
    ids, ignored = np.zeros(size, np.int32), np.zeros(size, np.bool_)
    # What may be of any class is listed for each: once is enough.
    listed = [(each, index) for each, index in labelled if each.category is not None or not index]
    shapes = [(decode(draw(each.outline, size)), each, index) for each, index in listed]
    layers = [layer for layer in shapes if not layer[1].ignored or layer[1].category is None]
    things: list[int] = []
    for mask, each, index in sorted(layers, key=lambda layer: (-int(layer[0].sum()), not layer[1].ignored)):
        things += [] if each.ignored else [index]
        ids[mask], ignored[mask] = (0 if each.ignored else len(things)), each.ignored
    for mask, each, _ in shapes:
        if each.ignored and each.category is not None:
            ignored |= mask
    visible = np.unique(ids[ids > 0])  # the others are hidden by smaller ones
    labels = tuple(things[number - 1] for number in visible.tolist())
    return Objects(np.searchsorted(visible, ids, "right").astype(np.int32), labels, ignored & (ids == 0))


def _indexed_scenes(dataset: IndexedDataset) -> SceneSet[Labels]:
    """Scenes of an indexed set; labels count without its background, which becomes NO_CLASS."""
    first = int(dataset.has_background)
    classes = tuple(SceneClass(name, (name,), is_thing(name) is not False) for name in dataset.classes[first:])
    table = _label_table(first, len(dataset.classes))
    scenes = tuple(_mask_scene(sample, table, len(dataset.classes)) for sample in dataset.samples)
    return SceneSet(dataset.name, dataset.split, classes, dataset.has_background, "components", len(scenes), scenes)


def _mask_scene(sample: Sample, table: Labels, values: int = IGNORE) -> Scene[Labels]:
    """A photograph and its label map; `table` [256] maps the first `values` mask values to labels."""
    return Scene(sample.name, sample.read_image, lambda: table[sample.read_fitting_mask(values)])


def _label_table(first: int, n_values: int) -> Labels:
    """Map mask values from `first` on to labels from 0, earlier ones to NO_CLASS, others to IGNORED."""
    table = np.full(IGNORE + 1, IGNORED, np.uint16)
    table[:first] = NO_CLASS
    table[first:n_values] = np.arange(n_values - first)
    return table


def outlined_scenes(place: Path) -> list[Scene[tuple[Rle, ...]]]:
    """Photographs with the outlines of their objects: of a JSON in COCO's format, without its groups, or of SA-1B."""
    if place.suffix == ".json":
        content, photographs = read_coco_file(place), Photographs(place)
        for warning in content.warnings:
            print(f"warning: {warning}", flush=True)
        scenes = []
        for image in content.images:
            # A photograph that is missing costs only itself.
            file = photographs.find(image.file_name) or photographs.folder / PurePosixPath(image.file_name).name
            scenes.append(Scene(str(file), partial(read_photograph, file), partial(_coco_objects, image)))
        return scenes
    images = [path for path in visible_files(place) if path.suffix == ".jpg" and path.with_suffix(".json").exists()]
    if not images:
        raise DatasetError(f"{place} holds no NAME.jpg with NAME.json beside it, as SA-1B has them")
    return [Scene(str(path), partial(read_photograph, path), partial(_sa1b_objects, path)) for path in images]


def _coco_objects(image: AnnotatedImage) -> tuple[Rle, ...]:
    return tuple(draw(each.outline, image.size) for each in image.annotations if not each.ignored)


def _sa1b_objects(path: Path) -> tuple[Rle, ...]:
    """Objects of a photograph of SA-1B; a line is printed about unreadable ones."""
    try:
        content = json.loads(path.with_suffix(".json").read_bytes())
        size = checked_size(content["image"]["height"], content["image"]["width"])
        entries = list(content["annotations"])
    except OSError as error:
        raise SampleError(str(path), f"cannot be read: {error.strerror}") from None
    except (UnreadableLabels, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SampleError(str(path), f"its JSON is not SA-1B's: {error!r}") from None
    objects: list[Rle] = []
    faults: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            objects.append(draw(entry["segmentation"], size))
        except (UnreadableLabels, KeyError, TypeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            faults.append(f"object {number}: {reason}")
    if faults and not objects:
        raise SampleError(str(path), f"its objects cannot be read: {faults[0]}")
    if faults:
        named = "; ".join(faults[:MAX_NAMED])
        print(f"warning: {path}: {len(faults)} of {len(entries)} objects are left out: {named}", flush=True)
    return tuple(objects)
