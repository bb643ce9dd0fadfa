"""Read the training data of `tiny`, masks, boxes, captions and names, into packs without validation photographs.

Boxes become masks: the prompt head segments each box, and pixels it is unsure of are ignored. A photograph with one
name gets a mask of its object where independent ways agree on it (`cutting`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lexiseg_model.abilities import prompts_of
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.features import InferenceOptions
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.methods.tiny.weights import FOLDER
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Prompt
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.alike import HeldOut
from lexiseg_train.data.indexed import (
    CLASSES,
    IGNORE,
    IndexedDataset,
    Sample,
    read_classes,
    read_dataset,
    read_photograph,
)
from lexiseg_train.data.pairs.source import Skipped, Skips
from lexiseg_train.methods.tiny.cutting import Cutter
from lexiseg_train.methods.tiny.pretrained import Teacher
from lexiseg_train.methods.tiny.texts import TextBook
from lexiseg_train.training.packs import Pack, Photograph, open_pack, write_pack

EVERYDAY = Path(__file__).with_name("everyday.json")  # photographs by set that no training sees, for a benchmark
MAX_SIDE = 320  # pixels of the image pass
SMALLEST = 0.004  # share of a photograph: all pixels of a smaller box are ignored
CROWDED = 7  # boxes of a photograph; with more, only their names are used
QUALITY = 0.6  # lower bound of a mask's predicted quality
PERSONS = (BACKGROUND, "person")  # classes of `masks/` that count in addition to boxes
MAX_CUT = 4  # photographs of a name with an object that is cut out; each takes 0.4 s
AGREEMENT = 0.65  # lower bound of the IoU of a mask's tight box with its box
OBJECT_PROBABILITY = 0.6  # lower bound of an object's pixel
BACKGROUND_PROBABILITY = 0.2  # upper bound of a pixel that is none


def packed(data: Path, packs: Path, name: str, book: TextBook) -> Pack:
    """The pack of one data set under `data`, made in `packs` on first use; nouns of `book` count in captions."""
    folder = packs / name
    if folder.exists():
        return open_pack(folder)
    print(f"{name} is decoded, once: kept in {folder}", flush=True)
    source, held_out = data / name, HeldOut(data, name, of_everyday_check(data, name))
    if (source / "boxes.json").exists():
        captions = source / "captions.json"
        captioned = caption_concepts(captions, book) if captions.exists() else {}
        photographs = boxed_photographs(source, catalogue.load_folder(FOLDER, "auto"), held_out, captioned)
        listing = json.loads((source / "boxes.json").read_text())
        names, complete = tuple(listing["names"]), bool(listing["complete"])
        pack = write_pack(folder, name, (BACKGROUND, *names), photographs, names, complete)
    elif (source / "labels.json").exists():
        pack = _pack_names(source, folder, name, held_out)
    else:
        dataset = read_dataset(data, name, "train")
        skips = Skips(packs / f"{name}.skipped.jsonl")
        pack = write_pack(folder, name, dataset.classes, _usable(dataset, held_out, skips))
        if skips:
            print(f"{name}: {skips.summary()}", flush=True)
    if held_out.n_withheld:
        print(f"{name}: {held_out.n_withheld} photographs are kept for validation, and left out", flush=True)
    return pack


def of_everyday_check(data: Path, name: str) -> list[Path]:
    """The photographs of a set that belong to the everyday check."""
    stems: list[str] = json.loads(EVERYDAY.read_text(encoding="utf-8")).get(name, [])
    images = (data / name / "train" / "images" / f"{stem}.jpg" for stem in stems)
    return [path for path in images if path.is_file()]


def _usable(dataset: IndexedDataset, held_out: HeldOut, skips: Skips) -> Iterator[Photograph]:
    n_broken = 0
    for sample in dataset.samples:
        try:
            image, mask = sample.read(len(dataset.classes))
        except SampleError as error:
            n_broken += 1
            skips.add([Skipped(error.sample, error.reason)])
            continue
        if not held_out.withholds(image):
            yield Photograph(sample.name, image, mask)
    if n_broken == len(dataset.samples):
        raise DatasetError(f"{dataset.name}: no photograph can be used; {skips.summary()}")


def _pack_names(source: Path, folder: Path, name: str, held_out: HeldOut) -> Pack:
    """Photographs that each show what `labels.json` names, with masks of the objects that can be cut out."""
    listing: dict[str, list[str]] = json.loads((source / "labels.json").read_text())
    path_of = {path.name: path for path in sorted(source.glob("**/*.jpg"))}
    cutter = Cutter(catalogue.load_folder(FOLDER, "auto"), Teacher())

    n_tried: Counter[str] = Counter()

    def photographs() -> Iterator[Photograph]:
        for file, present in sorted(listing.items()):
            image, mask = read_photograph(path_of[file]), None
            if held_out.withholds(image):
                continue
            if len(present) == 1 and n_tried[present[0]] < MAX_CUT:
                n_tried[present[0]] += 1
                mask = cutter.cut(image, present[0])
            yield Photograph(file, image, mask, tuple(present))

    names = tuple(sorted({entry for present in listing.values() for entry in present}))
    pack = write_pack(folder, name, (), photographs(), names)
    print(f"{name}: {int(pack.places[:, 3].sum())} objects of {len(pack)} photographs are cut out", flush=True)
    return pack


def caption_concepts(listing: Path, book: TextBook) -> dict[str, tuple[str, ...]]:
    """Photograph's stem -> concepts of `book.nouns` that a caption of it names, by a synonym or in the plural too."""
    captions = json.loads(listing.read_text())
    words = {noun: "|".join(map(re.escape, [noun, *book.synonyms.get(noun, [])])) for noun in book.nouns}
    patterns = {noun: re.compile(rf"\b(?:{either})(?:s|es)?\b", re.IGNORECASE) for noun, either in words.items()}
    return {
        Path(name).stem: tuple(noun for noun in book.nouns if patterns[noun].search(" ; ".join(entry["captions"])))
        for name, entry in captions.items()
    }


class Box(NamedTuple):
    """An object: its mask value and its sides in pixels."""

    value: int
    xyxy: tuple[float, float, float, float]


def boxed_photographs(
    source: Path, segmenter: Segmenter, held_out: HeldOut, captioned: Mapping[str, tuple[str, ...]]
) -> Iterator[Photograph]:
    """Photographs of `boxes.json` with a mask: 0 outside all boxes, value k the k-th name, 255 unsure.

    Outside incomplete boxes all is unsure, too. A mask in `masks/` replaces that of the one person. `captioned` are
    names that captions mention, by the photograph's stem."""
    nested = source / "train" / "images"
    images = nested if nested.is_dir() else source / "images"
    listing = json.loads((source / "boxes.json").read_text())
    values = {name: value for value, name in enumerate(listing["names"], 1)}
    has_persons = (source / CLASSES).is_file() and read_classes(source / CLASSES) == PERSONS
    for entry in listing["images"]:
        path = images / entry["file"]
        image = read_photograph(path)
        if held_out.withholds(image):
            continue
        boxed = sorted({box["name"] for box in entry["boxes"]})
        present = tuple(dict.fromkeys((*boxed, *captioned.get(path.stem, ()))))
        if len(entry["boxes"]) > CROWDED:
            yield Photograph(entry["file"], image, None, present)
            continue
        boxes = [Box(values[box["name"]], tuple(box["xyxy"])) for box in entry["boxes"]]
        mask = cut_boxes(segmenter, image, boxes, bool(listing["complete"]))
        person_mask = source / "masks" / f"{path.stem}.png"
        if has_persons and person_mask.exists():
            person = Sample(path, person_mask).read_mask()
            mask[(mask == values["person"]) & (person == 0)] = 0
            mask[person == 1] = values["person"]
        yield Photograph(entry["file"], image, mask, present)


def cut_boxes(segmenter: Segmenter, image: NDArray[np.uint8], boxes: list[Box], complete: bool) -> NDArray[np.uint8]:
    """Mask values [H, W] of boxes; small objects cover large ones."""
    height, width = image.shape[:2]
    mask = np.full((height, width), 0 if complete else IGNORE, np.uint8)
    by_size = sorted(boxes, key=lambda box: -_area(box.xyxy))
    cut = [box for box in by_size if _area(box.xyxy) >= SMALLEST * height * width]
    for box in by_size:
        if box not in cut:
            mask[_inside(box, height, width)] = IGNORE
    if not cut:
        return mask
    features = segmenter.encode(image, InferenceOptions(max_side=MAX_SIDE))
    # Rough: the mask may leave its box, and disagreement with the box is measured.
    answers = prompts_of(segmenter).prompt(features, [Prompt(box=box.xyxy, rough=True) for box in cut])
    for box, answer in zip(cut, answers, strict=True):
        logits = cv2.resize(answer.masks[0].float().cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
        probability = torch.from_numpy(logits).sigmoid().numpy()
        window = _inside(box, height, width)
        inside = probability[window]
        if float(answer.quality[0]) < QUALITY or _agreement(probability > 0.5, box) < AGREEMENT:
            mask[window] = IGNORE
            continue
        part = mask[window]
        part[(inside < OBJECT_PROBABILITY) & (inside > BACKGROUND_PROBABILITY)] = IGNORE
        part[inside >= OBJECT_PROBABILITY] = box.value
        if not complete:
            part[(inside <= BACKGROUND_PROBABILITY) & (part == IGNORE)] = 0
    return mask


def _area(xyxy: tuple[float, float, float, float]) -> float:
    return max(0.0, xyxy[2] - xyxy[0]) * max(0.0, xyxy[3] - xyxy[1])


def _inside(box: Box, height: int, width: int) -> tuple[slice, slice]:
    x0, y0, x1, y1 = box.xyxy
    return slice(max(0, int(y0)), min(height, int(np.ceil(y1)))), slice(max(0, int(x0)), min(width, int(np.ceil(x1))))


def _agreement(mask: NDArray[np.bool_], box: Box) -> float:
    if not mask.any():
        return 0.0
    tight = tight_box(mask)
    x0, y0, x1, y1 = box.xyxy
    both = _area((max(tight[0], x0), max(tight[1], y0), min(tight[2], x1), min(tight[3], y1)))
    return both / max(1e-6, _area(tight) + _area(box.xyxy) - both)
