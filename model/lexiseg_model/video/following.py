"""Video object segmentation: follow objects, each prompted once, from frame to frame.

    frame -> likeness of each cell to the object -> belief, by how much of its box it fills -> candidate boxes
          -> masks of the prompt head for them -> largest part of the mask that agrees best with the belief
          -> box and appearance for the next frame

A mask fits when it looks like the object and is as complete as in the first frame. An object without a fitting mask for
MAX_MISSES frames in a row is lost; at a scene cut all objects are. A lost object is searched for in the whole frame; to
be found again, a mask must fit better than while the object is followed. Appearance is learned from fitting masks only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import Prompter, PromptMasks, PromptsNearby, places_of, prompts_of
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.internal import prompt_masks
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Prompt
from lexiseg_model.video.appearance import Appearance, Window, scene_likeness, scene_of

MAX_OBJECTS = 16  # of one stream: each costs one to three prompts a frame
SEARCH_MARGIN = 0.3  # margin around a box, in sides of it, where the object is searched for in the next frame
MAX_CHANGE = 0.15  # largest distance of an edge from its expected place, in sides of the box
MASK_BOX_WEIGHT = 0.5  # weight of the mask's box against the expected box
CHANCE_SHARE = 0.02  # share of the likeness beyond each edge of a box that counts as noise
MIN_PART = 0.2  # likeness of a connected part, as a share of the largest one's; parts below are noise
MIN_SIDE = 8.0  # pixels of a box
QUALITY_WEIGHT = 0.3  # weight of the head's quality estimate, added to the agreement with likeness
EXPECTED_BONUS = 0.1  # bonus of the expected box, against other places that look like the object
SURE_AGREEMENT = 0.7  # agreement of the expected box's mask from which no other box is asked about
MIN_SHARE = 0.02  # of the places near an object, its own and its surroundings'
LIKENESS_WEIGHT = 0.5  # weight of likeness in the logits of a mask
SAME_SCENE = 0.9  # likeness (a cosine) of two frames below which the scene was cut: consecutive frames have 0.97
REACH = 2 * SEARCH_MARGIN + MAX_CHANGE  # margin around an expected box where places are compared with its object
MAX_MISSES = 3  # frames in a row without a mask that fits, until an object is lost

Box = NDArray[np.float64]  # [4] x0, y0, x1, y1 in pixels of the frame
TYPICAL_LIKENESS = 3.75  # mean likeness in the first frame; an object below it gets lower bounds later


class Start(NamedTuple):
    """Start to follow the object of a prompt in this frame, under a number."""

    number: int
    prompt: Prompt


class Sight(NamedTuple):
    """An object in a frame: one mask, None where it is lost."""

    number: int
    mask: PromptMasks | None
    start: int | None = None  # index of its prompt where the object begins in this frame


class ObjectMemory(Protocol):
    """State of the followed objects of one stream, for a model that follows objects itself."""

    @property
    def numbers(self) -> set[int]: ...

    @property
    def nbytes(self) -> int: ...

    def step(self, features: Features, starts: Sequence[Start], ends: Sequence[int]) -> list[Sight]:
        """As `Follower.step`."""


@runtime_checkable
class Remembers(Protocol):
    """A model with a memory of its own, in place of `Segmenter.places`."""

    def object_memory(self) -> ObjectMemory:
        """An empty memory for one stream."""


class _Bounds(NamedTuple):
    """Minima for a mask to fit."""

    likeness: float  # mean, a logit
    completeness: float  # a cosine
    agreement: float  # an IoU


FOLLOWED = _Bounds(1.0, 0.87, 0.0)
FOUND_AGAIN = _Bounds(1.5, 0.88, 0.4)


@dataclass
class _Object:
    number: int
    box: Box
    appearance: Appearance
    strict: float  # 0..1, factor of the bound of likeness: a motley or blurred object is never much like itself
    prior: float  # logit of a place near it: most belong to its surroundings
    speed: Box = field(default_factory=lambda: np.zeros(4))  # of each edge, pixels a frame
    misses: int = 0  # frames in a row without a mask that fits

    @property
    def is_lost(self) -> bool:
        return self.misses >= MAX_MISSES

    @property
    def expected(self) -> Box:
        """Its box in the next frame, which may reach beyond it."""
        return self.box + self.speed / 2

    def likeness(self, places: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits [h, w] of each place where it may be; after a miss that is the whole frame."""
        where = _window(self.expected, places.shape, size, REACH)
        return self.appearance.likeness(places, where | bool(self.misses))

    def belief(self, likeness: Tensor) -> Tensor:
        """Logits [h, w] of being the object's; a lost object may be anywhere, so only likeness counts."""
        return likeness if self.is_lost else likeness + self.prior

    def lose(self) -> None:
        """Search for the object in the whole frame."""
        self.misses, self.speed = MAX_MISSES, np.zeros(4)


class _Candidate(NamedTuple):
    box: Box
    window: Window  # cells where the candidate's object may be


class _Answer(NamedTuple):
    candidate: _Candidate
    masks: PromptMasks
    agreement: float


class _Match(NamedTuple):
    """The best mask for an object in a frame, and how well it fits."""

    prompted_box: Box
    box: Box | None  # around the mask; None where it is empty
    mask: Tensor  # [h, w] logits
    probability: Tensor  # [h, w] of each place
    quality: Tensor  # [1]
    likeness: float
    completeness: float
    agreement: float

    def fits(self, followed: _Object) -> bool:
        bounds = FOUND_AGAIN if followed.is_lost else FOLLOWED
        return (
            self.box is not None
            and self.likeness >= followed.strict * bounds.likeness
            and self.completeness >= bounds.completeness
            and self.agreement >= bounds.agreement
        )


class Follower:
    """The objects of one stream. Not thread-safe."""

    def __init__(self) -> None:
        self._objects: dict[int, _Object] = {}
        self._scene: Tensor | None = None  # of the frame before
        self._memory: ObjectMemory | None = None  # of a model that has its own

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def _numbers(self) -> set[int]:
        return set(self._objects) if self._memory is None else self._memory.numbers

    @property
    def nbytes(self) -> int:
        """Bytes held from frame to frame; thread-safe."""
        own = 0 if self._memory is None else self._memory.nbytes
        scene = 0 if self._scene is None else self._scene.nbytes
        return own + scene + sum(followed.appearance.nbytes for followed in tuple(self._objects.values()))

    def forget(self) -> None:
        self._objects.clear()
        self._scene = self._memory = None

    def check(self, starts: Sequence[Start], ends: Sequence[int] = ()) -> None:
        """Check that these objects may begin. Raises OptionError: there would be too many objects."""
        n = len((self._numbers - set(ends)) | {start.number for start in starts})
        if n > MAX_OBJECTS:
            raise OptionError(f"at most {MAX_OBJECTS} objects followed in a stream; with these there would be {n}")

    def step(
        self, segmenter: Segmenter, features: Features, starts: Sequence[Start] = (), ends: Sequence[int] = ()
    ) -> list[Sight]:
        """Find the objects in the next frame, the oldest first.

        The model takes prompts and has `places` or a memory of its own, and is the same for all frames. A number in
        `starts` that is already followed starts again; unknown ones in `ends` are ignored.
        """
        self.check(starts, ends)
        if isinstance(segmenter, Remembers):
            self._memory = self._memory or segmenter.object_memory()
            return self._memory.step(features, starts, ends)
        for number in (*ends, *(start.number for start in starts)):
            self._objects.pop(number, None)
        if not self._objects and not starts:
            return []
        places = places_of(segmenter).places(features).float()
        before, self._scene = self._scene, scene_of(places)
        if before is not None and scene_likeness(before, self._scene) < SAME_SCENE:
            for followed in self._objects.values():
                followed.lose()
        sights = self._follow(segmenter, features, places)
        if starts:
            answers = prompt_masks(segmenter, features, [start.prompt for start in starts])
            for place, (start, answer) in enumerate(zip(starts, answers, strict=True)):
                sights.append(self._start(start, place, answer, places, features.size))
        return sights

    def _start(self, start: Start, place: int, answer: PromptMasks, places: Tensor, size: tuple[int, int]) -> Sight:
        logits = answer.masks[0].float()
        box = _inside(_first_box(start.prompt, logits, size), size)
        near = _window(box, places.shape[1:], size, 2 * SEARCH_MARGIN)
        probability = _at(logits.sigmoid(), places)
        appearance = Appearance(places, probability, near)
        everywhere = np.ones(near.shape, np.bool_)
        own = _mean(appearance.likeness(places, everywhere), probability)
        strict = min(1.0, max(0.0, own / TYPICAL_LIKENESS))
        # Without a prior, surroundings that are a little like the object agree best with the largest mask.
        filled = probability.sum() / _window(box, probability.shape, size, 0).sum()
        prior = float((filled / (1 + 2 * SEARCH_MARGIN) ** 2).logit(MIN_SHARE))
        self._objects[start.number] = _Object(start.number, box, appearance, strict, prior)
        return Sight(start.number, PromptMasks(logits[None], answer.quality[:1]), place)

    def _follow(self, segmenter: Segmenter, features: Features, places: Tensor) -> list[Sight]:
        objects, size = list(self._objects.values()), features.size
        likeness = [followed.likeness(places, size) for followed in objects]
        beliefs = [followed.belief(each) for followed, each in zip(objects, likeness, strict=True)]
        candidates = [_candidates(followed, belief, size) for followed, belief in zip(objects, beliefs, strict=True)]
        prompt: Prompter = partial(prompts_of(segmenter).prompt, features)
        if objects and isinstance(segmenter, PromptsNearby):
            boxes = [candidate.box for of_object in candidates for candidate in of_object]
            prompt = segmenter.near(features, np.array(boxes))
        firsts = _answers(prompt, [of_object[:1] for of_object in candidates], beliefs)
        doubtful = [
            () if first.agreement >= SURE_AGREEMENT else of_object[1:]
            for [first], of_object in zip(firsts, candidates, strict=True)
        ]
        others = _answers(prompt, doubtful, beliefs)
        sights = []
        for followed, map_of_object, first, rest in zip(objects, likeness, firsts, others, strict=True):
            match = _best(followed, places, map_of_object, [*first, *rest], size)
            sights.append(_update(followed, match, places, map_of_object, size))
        return sights


def _answers(
    prompt: Prompter, candidates: Sequence[Sequence[_Candidate]], beliefs: Sequence[Tensor]
) -> list[list[_Answer]]:
    boxes = [candidate.box.tolist() for of_object in candidates for candidate in of_object]
    prompts = [Prompt(box=(x0, y0, x1, y1), single_pass=True) for x0, y0, x1, y1 in boxes]
    masks = iter(prompt(prompts) if prompts else ())
    return [
        [
            _Answer(candidate, answer := next(masks), _agreement(answer.masks[0], belief, candidate.window))
            for candidate in of_object
        ]
        for of_object, belief in zip(candidates, beliefs, strict=True)
    ]


def _candidates(followed: _Object, belief: Tensor, size: tuple[int, int]) -> list[_Candidate]:
    """The expected box, the most similar one near it; after a miss one anywhere."""
    grid = belief.cpu().numpy()
    expected = _inside(followed.expected, size)
    boxes = []
    if not followed.is_lost:
        window = _window(expected, grid.shape, size, SEARCH_MARGIN)
        boxes.append(_Candidate(expected, window))
        if (likest := _extent(np.where(window, grid, 0), size)) is not None:
            boxes.append(_Candidate(_inside(likest, size), window))
    if followed.misses:
        anywhere = _inside(_peak(grid, followed.box, size), size)
        window = _window(anywhere, grid.shape, size, SEARCH_MARGIN)
        likest = _extent(np.where(window, grid, 0), size)
        boxes.append(_Candidate(anywhere if likest is None else _inside(likest, size), window))
    return boxes


def _best(
    followed: _Object, places: Tensor, likeness: Tensor, answers: Sequence[_Answer], size: tuple[int, int]
) -> _Match:
    """The mask that agrees best with belief in its window; the first candidate has a bonus."""
    values = [each.agreement + QUALITY_WEIGHT * float(each.masks.quality[0]) for each in answers]
    values[0] += EXPECTED_BONUS
    candidate, answer, agreement = answers[int(np.argmax(values))]
    logits = answer.masks[0].float().clamp(-8, 8)
    mask = _one_part(logits + LIKENESS_WEIGHT * _at(likeness, logits))
    probability = _at(mask.sigmoid(), places)
    return _Match(
        candidate.box,
        _box(mask, size),
        mask,
        probability,
        answer.quality[:1].float(),
        _mean(likeness, probability),
        followed.appearance.completeness(places, probability),
        agreement,
    )


def _update(followed: _Object, match: _Match, places: Tensor, likeness: Tensor, size: tuple[int, int]) -> Sight:
    if not match.fits(followed) or match.box is None:
        followed.misses = min(followed.misses + 1, MAX_MISSES)
        followed.speed = np.zeros(4)
        hidden = followed.is_lost or match.box is None
        return Sight(followed.number, None if hidden else PromptMasks(match.mask[None], match.quality / 2))
    _move(followed, match.box, match.prompted_box, size)
    near = _window(followed.box, likeness.shape, size, 2 * SEARCH_MARGIN)
    followed.appearance.learn(places, match.probability, near, likeness)
    return Sight(followed.number, PromptMasks(match.mask[None], match.quality))


def _move(followed: _Object, mask_box: Box, prompted_box: Box, size: tuple[int, int]) -> None:
    """Move the box towards the box of the mask by bounded steps; after a miss the speed restarts at 0."""
    if followed.misses:
        followed.box, followed.speed, followed.misses = _inside((mask_box + prompted_box) / 2, size), np.zeros(4), 0
        return
    expected = followed.expected
    limit = MAX_CHANGE * np.tile(expected[2:] - expected[:2], 2)
    moved = _inside(expected + np.clip(MASK_BOX_WEIGHT * (mask_box - expected), -limit, limit), size)
    followed.speed, followed.box = (followed.speed + moved - followed.box) / 2, moved


def _agreement(mask: Tensor, belief: Tensor, window: Window) -> float:
    """Overlap (intersection over union) of a mask's probability with belief in a window."""
    probability = _at(mask.float().sigmoid(), belief)
    expected = belief.sigmoid() * torch.from_numpy(window).to(belief)
    common, either = torch.minimum(probability, expected).sum(), torch.maximum(probability, expected).sum()
    return float(common / either.clamp_min(1e-6))


def _one_part(mask: Tensor) -> Tensor:
    """Logits [h, w] of a mask's largest connected part; the other parts change their sign."""
    inside = (mask > 0).cpu().numpy().astype(np.uint8)
    n, parts, stats, _ = cv2.connectedComponentsWithStats(inside)
    if n <= 2:
        return mask
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    others = torch.from_numpy((parts > 0) & (parts != largest)).to(mask.device)
    return torch.where(others, -mask, mask)


def _mean(values: Tensor, weights: Tensor) -> float:
    return float((weights * values).sum() / weights.sum().clamp_min(1e-6))


def _at(values: Tensor, target: Tensor) -> Tensor:
    """A map [h, w] resized to the resolution of `target` [..., h', w']."""
    mode = "area" if values.shape[0] > target.shape[-2] else "bilinear"
    return F.interpolate(values[None, None], size=target.shape[-2:], mode=mode)[0, 0]


def _inside(box: Box, size: tuple[int, int]) -> Box:
    """Clip a box to the frame; its sides are at least `MIN_SIDE`, or the frame's."""
    sides = np.array(size[::-1], np.float64)
    start = np.clip(box[:2], 0, np.maximum(0.0, sides - MIN_SIDE))
    return np.concatenate([start, np.minimum(sides, np.maximum(box[2:], start + MIN_SIDE))])


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
    """The box around cells with positive likeness [h, w]; None without any."""
    positive = np.maximum(likeness, 0)
    n, labels = cv2.connectedComponents((positive > 0).astype(np.uint8))
    if n < 2:
        return None
    weights = np.bincount(labels.ravel(), positive.ravel(), n)
    positive = positive * (weights >= MIN_PART * weights.max())[labels]
    height, width = positive.shape
    edges = []
    for profile, side in ((positive.sum(0), size[1] / width), (positive.sum(1), size[0] / height)):
        first, last = np.searchsorted(np.cumsum(profile) / profile.sum(), (CHANCE_SHARE, 1 - CHANCE_SHARE))
        edges.append((first * side, (last + 1) * side))
    return np.array(edges, np.float64).T.reshape(4)


def _peak(likeness: NDArray[np.float32], box: Box, size: tuple[int, int]) -> Box:
    """A box of the same size where likeness stands out most from its surroundings."""
    height, width = likeness.shape
    scale = np.array([size[1] / width, size[0] / height])
    side = (box[2:] - box[:2]) / scale
    inner, outer = (tuple(max(1, round(float(s) * share)) for s in side) for share in (1.0, 2.0))
    likeness_map = 1 / (1 + np.exp(-likeness))
    within = cv2.boxFilter(likeness_map, -1, inner, normalize=True, borderType=cv2.BORDER_CONSTANT)
    around = cv2.boxFilter(likeness_map, -1, outer, normalize=True, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(np.argmax(within - around / 2)), likeness.shape)
    middle = (np.array([column, row]) + 0.5) * scale
    half = (box[2:] - box[:2]) / 2
    return np.concatenate([middle - half, middle + half])


def _box(mask: Tensor, size: tuple[int, int]) -> Box | None:
    """The box around a mask; None for an empty one."""
    x, y, width, height = cv2.boundingRect((mask > 0).cpu().numpy().astype(np.uint8))
    if not width:
        return None
    scale = np.tile([size[1] / mask.shape[1], size[0] / mask.shape[0]], 2)
    edges: Box = np.array([x, y, x + width, y + height]) * scale
    return edges


def _first_box(prompt: Prompt, mask: Tensor, size: tuple[int, int]) -> Box:
    """The box of the prompt, else of its mask, else around its points if the mask is empty."""
    if prompt.box is not None:
        return np.array(prompt.box, np.float64)
    if (box := _box(_one_part(mask), size)) is not None:
        return box
    x, y = ([getattr(point, axis) for point in prompt.points] for axis in "xy")
    half = MIN_SIDE / 2
    return np.array([min(x) - half, min(y) - half, max(x) + half, max(y) + half])
