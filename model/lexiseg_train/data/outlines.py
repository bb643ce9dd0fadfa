"""Photographs with outlined objects: SA-1B, and COCO's JSON from any tool."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path, PurePosixPath

from lexiseg_labels.annotations import AnnotatedImage
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.outlines import checked_size
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.files.names import visible_files
from lexiseg_model.types import Rle
from lexiseg_train.data.annotations.coco import read_coco_file
from lexiseg_train.data.annotations.drawing import draw
from lexiseg_train.data.annotations.photographs import Photographs
from lexiseg_train.data.indexed import read_photograph
from lexiseg_train.data.scenes import Scene

MAX_NAMED = 3  # objects in a message


def outlined_scenes(place: Path) -> list[Scene[tuple[Rle, ...]]]:
    """Photographs with the outlines of their objects; a photograph may show none.

    Prints a line about annotations of a JSON that are left out.

    Args:
        place: a JSON in COCO's format, without its groups, or a folder of SA-1B: every `NAME.jpg` with
            `NAME.json` next to it.

    Returns:
        Scenes with readers that raise SampleError.

    Raises:
        DatasetError: the JSON is missing or not in COCO's format, or the folder has no such photograph.
    """
    if place.suffix == ".json":
        content, photographs = read_coco_file(place), Photographs(place)
        for warning in content.warnings:
            print(f"warning: {warning}", flush=True)
        # A photograph that is missing costs only itself.
        files = [
            photographs.find(image.file_name) or photographs.folder / PurePosixPath(image.file_name).name
            for image in content.images
        ]
        return [
            Scene(str(file), partial(read_photograph, file), partial(_coco_objects, image))
            for file, image in zip(files, content.images, strict=True)
        ]
    images = [path for path in visible_files(place) if path.suffix == ".jpg" and path.with_suffix(".json").exists()]
    if not images:
        raise DatasetError(f"{place} holds no NAME.jpg with NAME.json beside it, as SA-1B has them")
    return [Scene(str(path), partial(read_photograph, path), partial(_sa1b_objects, path)) for path in images]


def _coco_objects(image: AnnotatedImage) -> tuple[Rle, ...]:
    return tuple(draw(each.outline, image.size) for each in image.annotations if not each.ignored)


def _sa1b_objects(path: Path) -> tuple[Rle, ...]:
    """Objects of a photograph of SA-1B; a line is printed about unreadable ones.

    Raises:
        SampleError: its JSON is missing or not SA-1B's, or no object can be read.
    """
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
