"""Objects that a prompt has shown once, followed from frame to frame.

    frame -> how like the object each place is -> a few boxes where it may be -> the prompt head's masks for them
          -> the mask that agrees best with likeness -> box and memory for the next frame

An object whose masks are unlike it for some frames is lost. It is looked for in the whole picture then, and found again
where a mask is like it once more. What is but a little like it may be something else, or the object in another light:
its place is kept, it teaches nothing, and after some frames the object is said to be lost, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import PromptMasks, Segmenter
from lexiseg_model.tasks.negative_points import prompt_masks
from lexiseg_model.types import Prompt
from lexiseg_model.video.appearance import Appearance, Window

MOST_OBJECTS = 16  # of one stream: each costs three or four prompts a frame
REACH = 0.3  # of a box's side: how far beyond it the object is looked for in the next frame
MOST_CHANGE = 0.15  # of a box's side, by which an edge may leave where it is expected
FOLLOWS = 0.5  # share of what a mask's box says, beside what was expected
STRAY = 0.02  # share of the likeness at each edge of a box that may be chance
SMALLEST_PART = 0.1  # of the largest connected part of a mask; smaller ones do not count for its box
SMALLEST_SIDE = 8.0  # pixels of a box
QUALITY = 0.3  # weight of the head's own estimate beside the agreement with likeness
EXPECTED = 0.25  # what the expected box is ahead of others: places that look alike shall not pull it away
TRUST = 0.5  # weight of likeness in the logits of a mask
LIKE = 0.4  # share of a mask that is like the object, below which it is somewhere else,
LIKE_AGAIN = 0.6  # and from which an object that was lost is found,
SURE = 1.5  # mean likeness of a mask, a logit: below it is something else that is a little like the object,
SURE_AGAIN = 2.0  # and from it an object that was lost for that is found;
OWN = 0.4  # of the mean likeness in its first frame, at most: what is motley or blurred is never much like itself
AGREES = 0.4  # where mask and likeness also overlap by so much (intersection over union)
PATIENCE = 3  # frames in a row until an object is lost

Box = NDArray[np.float64]  # [4] x0, y0, x1, y1 in pixels of the frame


class Start(NamedTuple):
    """From the next frame on an object with this number is followed: what the prompt shows there."""

    number: int
    prompt: Prompt


class Sight(NamedTuple):
    """An object in a frame: one mask, None where it is lost. `start` is the place of its prompt among those that came
    with this frame."""

    number: int
    mask: PromptMasks | None
    start: int | None = None


@dataclass
class _Object:
    number: int
    box: Box
    appearance: Appearance
    strict: float  # 0..1, of SURE and SURE_AGAIN
    speed: Box = field(default_factory=lambda: np.zeros(4))  # of each edge, pixels a frame
    missed: int = 0  # frames in a row
    doubted: int = 0  # frames in a row whose mask is but a little like it

    @property
    def lost(self) -> bool:
        return self.missed >= PATIENCE

    @property
    def is_another(self) -> bool:
        """Whether what is followed is taken for something else: it is looked after, and not shown."""
        return self.doubted >= PATIENCE


class _Candidate(NamedTuple):
    box: Box
    window: Window  # where the object may be, if it is there


class Follower:
    """The objects of one stream. One thread at a time."""

    def __init__(self) -> None:
        self._objects: dict[int, _Object] = {}

    def __len__(self) -> int:
        return len(self._objects)

    @property
    def nbytes(self) -> int:
        """Bytes held from frame to frame; may be asked for on any thread."""
        return sum(each.appearance.nbytes for each in tuple(self._objects.values()))

    def forget(self) -> None:
        """Follows nothing any more."""
        self._objects.clear()

    def check(self, starts: Sequence[Start], ends: Sequence[int] = ()) -> None:
        """Whether these may begin.

        Raises:
            OptionError: there would be too many objects.
        """
        n = len((self._objects.keys() - set(ends)) | {start.number for start in starts})
        if n > MOST_OBJECTS:
            raise OptionError(f"at most {MOST_OBJECTS} objects followed in a stream; with these there would be {n}")

    def step(
        self, segmenter: Segmenter, features: Features, starts: Sequence[Start] = (), ends: Sequence[int] = ()
    ) -> list[Sight]:
        """Where the objects are in the next frame.

        Args:
            segmenter: a model that takes prompts and has `places`.
            features: of the frame.
            starts: objects that begin here; one whose number is followed begins anew.
            ends: numbers to be followed no more; unknown ones say nothing.

        Returns:
            One for each object, the oldest first.

        Raises:
            TaskError: the model cannot.
            OptionError: as `check`.
        """
        self.check(starts, ends)
        for number in (*ends, *(start.number for start in starts)):
            self._objects.pop(number, None)
        if not self._objects and not starts:
            return []
        places = segmenter.places(features).float()
        sights = self._followed(segmenter, features, places)
        if starts:
            answers = prompt_masks(segmenter, features, [start.prompt for start in starts])
            for place, (start, answer) in enumerate(zip(starts, answers, strict=True)):
                sights.append(self._begun(start, place, answer, places, features.size))
        return sights

    def _begun(self, start: Start, place: int, answer: PromptMasks, places: Tensor, size: tuple[int, int]) -> Sight:
        logits = answer.masks[0].float()
        box = _inside(_first_box(start.prompt, logits, size), size)
        near = _window(box, places.shape[1:], size, 2 * REACH)
        probability = _at(logits.sigmoid(), places)
        appearance = Appearance(places, probability, near)
        own = _mean(appearance.likeness(places), probability)
        strict = min(1.0, max(0.0, OWN * own / SURE))
        self._objects[start.number] = _Object(start.number, box, appearance, strict)
        return Sight(start.number, PromptMasks(logits[None], answer.quality[:1]), place)

    def _followed(self, segmenter: Segmenter, features: Features, places: Tensor) -> list[Sight]:
        objects = list(self._objects.values())
        likeness = [each.appearance.likeness(places) for each in objects]
        candidates = [_candidates(*pair, features.size) for pair in zip(objects, likeness, strict=True)]
        boxes = [candidate.box for of_object in candidates for candidate in of_object]
        prompts = [Prompt(box=(float(x0), float(y0), float(x1), float(y1)), rough=True) for x0, y0, x1, y1 in boxes]
        answers = iter(segmenter.prompt(features, prompts) if prompts else ())
        sights = []
        for each, like, of_object in zip(objects, likeness, candidates, strict=True):
            tried = [(candidate, next(answers)) for candidate in of_object]
            sights.append(_seen(each, places, like, tried, features.size))
        return sights


def _candidates(each: _Object, likeness: Tensor, size: tuple[int, int]) -> list[_Candidate]:
    """Where an object may be: where it is expected, where it is likest there, between the two; or anywhere."""
    grid = likeness.cpu().numpy()
    expected = _inside(each.box + each.speed / 2, size)
    boxes = []
    if not each.lost:
        window = _window(expected, grid.shape, size, REACH)
        boxes.append(_Candidate(expected, window))
        if (likest := _extent(np.where(window, grid, 0), size)) is not None:
            boxes.append(_Candidate(_inside(likest, size), window))
            boxes.append(_Candidate(_inside((likest + expected) / 2, size), window))
    if each.missed or each.doubted:
        anywhere = _inside(_peak(grid, each.box, size), size)
        window = _window(anywhere, grid.shape, size, REACH)
        likest = _extent(np.where(window, grid, 0), size)
        boxes.append(_Candidate(anywhere if likest is None else _inside(likest, size), window))
    return boxes


def _seen(
    each: _Object,
    places: Tensor,
    likeness: Tensor,
    tried: Sequence[tuple[_Candidate, PromptMasks]],
    size: tuple[int, int],
) -> Sight:
    """The best of the masks, and what the object becomes by it."""
    masks = [answer.masks[0].float() for _, answer in tried]
    probabilities = [_at(mask.sigmoid(), places) for mask in masks]
    like = likeness.sigmoid()
    agreements = []
    for (candidate, _), probability in zip(tried, probabilities, strict=True):
        expected = like * torch.from_numpy(candidate.window).to(like)
        overlap = torch.minimum(probability, expected).sum() / torch.maximum(probability, expected).sum().clamp_min(
            1e-6
        )
        agreements.append(float(overlap))
    qualities = [float(answer.quality[0]) for _, answer in tried]
    values = [agreement + QUALITY * quality for agreement, quality in zip(agreements, qualities, strict=True)]
    values[0] += EXPECTED  # the first candidate
    best = int(np.argmax(values))
    quality = tried[best][1].quality[:1].float()
    mask = masks[best].clamp(-8, 8) + TRUST * _at(likeness, masks[best])
    probability = _at(mask.sigmoid(), places)
    share = _mean((likeness > 0).float(), probability)
    box = _box(mask, size)
    is_seen = box is not None and share >= LIKE
    if each.lost:
        is_seen = is_seen and share >= LIKE_AGAIN and agreements[best] >= AGREES
    if not is_seen or box is None:
        each.missed = min(each.missed + 1, PATIENCE)
        each.speed = np.zeros(4)
        return Sight(each.number, None if each.lost or box is None else PromptMasks(mask[None], quality * share))
    least = each.strict * (SURE_AGAIN if each.is_another else SURE)
    each.doubted = 0 if _mean(likeness, probability) >= least else min(each.doubted + 1, PATIENCE)
    _move(each, box, tried[best][0].box, size)
    if not each.doubted:
        near = _window(each.box, likeness.shape, size, 2 * REACH)
        each.appearance.learn(places, probability, near, likeness)
    return Sight(each.number, None if each.is_another else PromptMasks(mask[None], quality))


def _move(each: _Object, seen: Box, asked: Box, size: tuple[int, int]) -> None:
    """The box of the next frame: what the mask says, but no edge may jump; after a loss there is nothing to expect."""
    if each.missed:
        each.box, each.speed, each.missed = _inside((seen + asked) / 2, size), np.zeros(4), 0
        return
    expected = each.box + each.speed / 2
    limit = MOST_CHANGE * np.tile(expected[2:] - expected[:2], 2)
    moved = _inside(expected + np.clip(FOLLOWS * (seen - expected), -limit, limit), size)
    each.speed, each.box = (each.speed + moved - each.box) / 2, moved


def _mean(values: Tensor, weights: Tensor) -> float:
    """Of maps [h, w]; 0 where nothing weighs."""
    return float((weights * values).sum() / weights.sum().clamp_min(1e-6))


def _at(values: Tensor, like: Tensor) -> Tensor:
    """A map [h, w] at the resolution of another [..., h', w']."""
    mode = "area" if values.shape[0] > like.shape[-2] else "bilinear"
    return F.interpolate(values[None, None], size=like.shape[-2:], mode=mode)[0, 0]


def _inside(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that the frame shows; never thinner than `SMALLEST_SIDE`, or the frame."""
    edges = []
    for low, high, side in ((box[0], box[2], size[1]), (box[1], box[3], size[0])):
        start = float(np.clip(low, 0, max(0.0, side - SMALLEST_SIDE)))
        edges.append((start, min(float(side), max(float(high), start + SMALLEST_SIDE))))
    (x0, x1), (y0, y1) = edges
    return np.array([x0, y0, x1, y1])


def _window(box: Box, shape: Sequence[int], size: tuple[int, int], reach: float) -> Window:
    """[h, w] the places of a box that is `reach` of its sides larger on each side."""
    height, width = shape[-2:]
    across, down = width / size[1], height / size[0]
    wide, high = reach * (box[2] - box[0]), reach * (box[3] - box[1])
    window = np.zeros((height, width), np.bool_)
    top, bottom = int((box[1] - high) * down), int(np.ceil((box[3] + high) * down))
    left, right = int((box[0] - wide) * across), int(np.ceil((box[2] + wide) * across))
    window[max(0, top) : max(1, bottom), max(0, left) : max(1, right)] = True
    return window


def _extent(likeness: NDArray[np.float32], size: tuple[int, int]) -> Box | None:
    """The box around what is like the object; None where nothing is."""
    like = np.maximum(likeness, 0)
    n, labels = cv2.connectedComponents((like > 0).astype(np.uint8))
    if n < 2:
        return None
    weights = np.bincount(labels.ravel(), like.ravel(), n)
    like = like * (weights >= 2 * SMALLEST_PART * weights.max())[labels]
    height, width = like.shape
    edges = []
    for profile, side in ((like.sum(0), size[1] / width), (like.sum(1), size[0] / height)):
        share = np.cumsum(profile) / profile.sum()
        edges.append((np.searchsorted(share, STRAY) * side, (np.searchsorted(share, 1 - STRAY) + 1) * side))
    (x0, x1), (y0, y1) = edges
    return np.array([x0, y0, x1, y1], np.float64)


def _peak(likeness: NDArray[np.float32], box: Box, size: tuple[int, int]) -> Box:
    """A box of the same size where the picture is likest the object, against what lies around it."""
    height, width = likeness.shape
    scale = np.array([size[1] / width, size[0] / height])
    side = (box[2:] - box[:2]) / scale
    inner, outer = (tuple(max(1, round(float(s) * share)) for s in side) for share in (1.0, 2.0))
    like = 1 / (1 + np.exp(-likeness))
    within = cv2.boxFilter(like, -1, inner, normalize=True, borderType=cv2.BORDER_CONSTANT)
    around = cv2.boxFilter(like, -1, outer, normalize=True, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(np.argmax(within - around / 2)), likeness.shape)
    middle = (np.array([column, row]) + 0.5) * scale
    half = (box[2:] - box[:2]) / 2
    return np.concatenate([middle - half, middle + half])


def _box(mask: Tensor, size: tuple[int, int]) -> Box | None:
    """The box around a mask's larger parts; None for an empty mask."""
    inside = (mask > 0).cpu().numpy().astype(np.uint8)
    n, _, stats, _ = cv2.connectedComponentsWithStats(inside)
    if n < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA]
    parts = stats[1:][areas >= SMALLEST_PART * areas.max()]
    low = parts[:, :2].min(0)
    high = (parts[:, :2] + parts[:, 2:4]).max(0)
    scale = np.tile([size[1] / inside.shape[1], size[0] / inside.shape[0]], 2)
    edges: Box = np.concatenate([low, high]) * scale
    return edges


def _first_box(prompt: Prompt, mask: Tensor, size: tuple[int, int]) -> Box:
    """The prompt's own, or that of its mask, or one around the points of a prompt that shows nothing."""
    if prompt.box is not None:
        return np.array(prompt.box, np.float64)
    if (box := _box(mask, size)) is not None:
        return box
    x, y = ([getattr(point, axis) for point in prompt.points] for axis in "xy")
    half = SMALLEST_SIDE / 2
    return np.array([min(x) - half, min(y) - half, max(x) + half, max(y) + half])
