"""Cut the one object out of photographs that each have a name and no mask, where independent ways agree on it.

    the words     the model's own answer for the name and for wider words
    the trunk     where the published classifier sees the name: a box, and the prompt head's mask for it
    the colours   GrabCut in the box of either (Rother et al. 2004)

No single way is trusted: an object is where the two ways that agree best do, without another one that says otherwise.
What no two agree on stays a photograph with a name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.abilities import prompts_of
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.masks.rle import decode
from lexiseg_model.methods.tiny.trunk import normalised
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Prompt, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.pretrained import NAMES, Teacher, wider_words

OBJECT = 1  # value of the object in the masks; 0 is surely not the object
SIDE = 320  # pixels of the image pass
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


class Way(NamedTuple):
    """One way's mask, and the kind of evidence that it is made of: two of a kind are not independent."""

    kind: str
    mask: Mask


class Cutter:
    """Cuts objects out by a model and the published classifier."""

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
        features = self._segmenter.encode(image, InferenceOptions(max_side=SIDE))
        by_word = self._by_word(features, name)
        boxes = []
        if by_word is not None:
            yield Way("words", by_word)
            boxes.append(_box(by_word))
        if leaf is not None and (focus := self._seen_box(image, leaf)) is not None:
            rough = self._by_box(features, focus, rough=True)
            if rough is not None:
                yield Way("trunk", rough)
                boxes.append(_box(rough))
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
        return None if region is None else _box(region)

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
    """The largest component of a mask; None: it is empty."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if len(stats) < 2:
        return None
    largest: Mask = parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return largest


def _box(mask: Mask) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = tight_box(mask)
    return float(x0), float(y0), float(x1), float(y1)


def _iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _unsure_around(inside: Mask, anywhere: Mask) -> NDArray[np.uint8]:
    """OBJECT inside, 0 beyond a margin around where the object may be anywhere, 255 between."""
    side = 2 * max(1, round(MARGIN * max(inside.shape))) + 1
    near = cv2.dilate(anywhere.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    mask = np.where(near, np.uint8(IGNORE), np.uint8(0))
    mask[inside] = OBJECT
    return mask
