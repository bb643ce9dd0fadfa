"""Read the training data of `tiny`, masks, boxes, captions and names, into packs without validation photographs.

Boxes become masks: the prompt head segments each box, and pixels it is unsure of are ignored. The one object of a
photograph with a name is cut out where independent ways agree on it:

    the words     the model's own answer for the name and for wider words
    the trunk     where the published classifier sees the name: a box, and the prompt head's mask for it
    the colours   GrabCut in the box of either (Rother et al. 2004)

It is where the two ways that agree best do, without another one that says otherwise; else it stays a name.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.abilities import prompts_of
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.masks.rle import decode
from lexiseg_model.methods.tiny.trunk import normalised
from lexiseg_model.methods.tiny.weights import FOLDER
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Prompt, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
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
from lexiseg_train.methods.tiny.pretrained import NAMES, Teacher, wider_words
from lexiseg_train.methods.tiny.texts import TextBook
from lexiseg_train.training.crops import Pack, Photograph, open_pack, write_pack

OBJECT = 1  # value of the object in the masks; 0 is surely not the object
CLASSIFIER_SIDE = 288  # short side that the classifier sees
AGREED = 0.8  # lower bound of the IoU of the two ways that agree best
DISSENT = 0.3  # lower bound of the IoU of any way with these
SHARES = (0.015, 0.8)  # of the photograph that an object covers
PEAK = 0.4  # share of the name's strongest cell from which a cell belongs to its box
MIN_SEEN = 0.05  # probability of the name in its strongest cell
WIDEST = 60  # classes: wider words that cover more say too little
MARGIN = 0.03  # of the longer side: around the object nothing is sure
ROUNDS = 4  # of GrabCut
Mask = NDArray[np.bool_]
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


class Way(NamedTuple):
    """One way's mask, and the kind of evidence that it is made of: two of a kind are not independent."""

    kind: str
    mask: Mask


class Cutter:
    def __init__(self, segmenter: Segmenter, teacher: Teacher) -> None:
        self._segmenter, self._teacher = segmenter, teacher
        self._rows_of = KnownRows(segmenter)
        book = json.loads(NAMES.read_text(encoding="utf-8"))
        self._leaves = {name.lower(): leaf for leaf, name in enumerate(book["leaves"])}
        self._wider = wider_words(WIDEST)

    def cut(self, image: NDArray[np.uint8], name: str) -> NDArray[np.uint8] | None:
        """The mask [H, W] of the object of that name: OBJECT, 0, and 255 where it is unsure; None: no ways agree."""
        ways = [*self._ways(image, name)]
        pairs = [(one.mask, other.mask) for one, other in combinations(ways, 2) if one.kind != other.kind]
        if not pairs:
            return None
        one, other = max(pairs, key=lambda pair: _iou(*pair))
        if _iou(one, other) < AGREED or not SHARES[0] <= one.mean() <= SHARES[1]:
            return None
        if any(_iou(way.mask, one) < DISSENT for way in ways):
            return None  # often a part of the object, or another one
        anywhere = np.logical_or.reduce([way.mask for way in ways])
        return _unsure_around(one & other, anywhere)

    def _ways(self, image: NDArray[np.uint8], name: str) -> Iterator[Way]:
        leaf = self._leaves.get(name.lower())
        features = self._segmenter.encode(image, InferenceOptions(max_side=MAX_SIDE))
        by_word = self._by_word(features, name)
        boxes = []
        if by_word is not None:
            yield Way("words", by_word)
            boxes.append(tight_box(by_word))
        if leaf is not None and (focus := self._seen_box(image, leaf)) is not None:
            rough = self._by_box(features, focus, rough=True)
            if rough is not None:
                yield Way("trunk", rough)
                boxes.append(tight_box(rough))
        for box in boxes:
            if (exact := self._by_box(features, box, rough=False)) is not None:
                yield Way("head", exact)
            if (coloured := _grab_cut(image, box)) is not None:
                yield Way("colours", coloured)

    def _by_word(self, features: Features, name: str) -> Mask | None:
        wider = self._wider.get(name.lower(), ())[:2]
        entry = ClassEntry(name, tuple(word for word in wider if word != name))
        answer = tasks.segment(
            "semantic", self._segmenter, features, Vocabulary((entry,), Background()), rows_of=self._rows_of
        )
        return _largest(decode(answer.segments[0].mask).astype(bool)) if answer.segments else None

    def _seen_box(self, image: NDArray[np.uint8], leaf: int) -> tuple[float, float, float, float] | None:
        """The box, in pixels of the image, around the cells in which the classifier sees a name."""
        height, width = image.shape[:2]
        factor = CLASSIFIER_SIDE / min(height, width)
        rows, columns = (max(32, round(side * factor / 32) * 32) for side in (height, width))
        small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
        pixels = normalised(torch.from_numpy(small).permute(2, 0, 1)[None].float())
        with torch.inference_mode():
            named = self._teacher.name(self._teacher.trunk(pixels)[1])
            cells = F.interpolate(named.cells[:, leaf : leaf + 1], size=(height, width), mode="bilinear")[0, 0].numpy()
        if cells.max() < MIN_SEEN:
            return None
        region = _largest(cells >= PEAK * cells.max())
        return None if region is None else tight_box(region)

    def _by_box(self, features: Features, box: tuple[float, float, float, float], rough: bool) -> Mask | None:
        [answer] = prompts_of(self._segmenter).prompt(features, [Prompt(box=box, rough=rough)])
        height, width = features.size
        logits = cv2.resize(answer.masks[0].float().cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
        return _largest(logits > 0)


def _grab_cut(image: NDArray[np.uint8], box: tuple[float, float, float, float]) -> Mask | None:
    x0, y0, x1, y1 = (round(side) for side in box)
    height, width = image.shape[:2]
    if (x1 - x0) * (y1 - y0) >= 0.9 * height * width or min(x1 - x0, y1 - y0) < 8:
        return None  # no surroundings to learn from
    mask = np.zeros((height, width), np.uint8)
    cv2.setRNGSeed(0)
    rectangle = (x0, y0, x1 - x0, y1 - y0)
    cv2.grabCut(image, mask, rectangle, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_RECT)
    return _largest((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD))


def _largest(mask: Mask) -> Mask | None:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if len(stats) < 2:
        return None
    largest: Mask = parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return largest


def _iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _unsure_around(inside: Mask, anywhere: Mask) -> NDArray[np.uint8]:
    """OBJECT inside, 0 beyond a margin around where the object may be anywhere, 255 between."""
    side = 2 * max(1, round(MARGIN * max(inside.shape))) + 1
    near = cv2.dilate(anywhere.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    mask = np.where(near, np.uint8(IGNORE), np.uint8(0))
    mask[inside] = OBJECT
    return mask


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
