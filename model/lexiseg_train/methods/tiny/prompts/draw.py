"""Draw random prompts for the objects of a crop: positive and negative points, and boxes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_train.data.indexed import IGNORE, Sample, list_samples
from lexiseg_train.data.pairs.source import Skipped
from lexiseg_train.data.scenes import Objects, components
from lexiseg_train.methods.tiny.sources import of_everyday_check
from lexiseg_train.methods.tiny.trainings import MaskSet, PromptsRecipe
from lexiseg_train.training.crops import random_crop
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.stream import Stream

LABEL_STRIDE = 2  # pixels of the crop per label: several make one cell of a target
CELL_LABELS = (STRIDE // LABEL_STRIDE) ** 2
SMALLEST = 0.002  # share of a crop that an object must have
MAX_POINTS = 4
DEEP = 0.4  # share of positive points that lie well inside their object
BESIDE = 0.35  # largest distance of negative points from an object's box, in sides of the box
JITTERED = 0.5  # share of boxes that are not tight
JITTER = 0.05  # standard deviation of each edge of these, in sides of the box
KINDS, KIND_SHARES = ("box", "both", "points"), (0.55, 0.2, 0.25)  # of the unambiguous prompts
ZOOM = (0.55, 1.3)  # of the shorter side of a photograph that a crop shows
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def read_samples(root: Path, name: str, source: MaskSet) -> tuple[Sample, ...]:
    """The photographs of one set that are used, without the everyday check's; no class list is needed."""
    held_out = {path.stem for path in of_everyday_check(root, name)}
    samples = (sample for split in source.splits for sample in list_samples(root, name, split)[:: source.frame_stride])
    return tuple(sample for sample in samples if sample.name not in held_out)


def find_objects(labels: NDArray[np.uint8], source: MaskSet, smallest: float, whole: bool) -> Objects:
    """Components of at least `smallest` pixels, by sides and corners, of values that may be objects; `whole`: as 1."""
    values = set(np.unique(labels).tolist()) - {IGNORE, source.background_value}
    if whole:
        parts, values = np.isin(labels, list(values)).astype(np.uint8), {1}
    else:
        parts = labels
    regions = components(parts, values, smallest)
    ignored = labels == IGNORE if source.ignored else np.zeros(labels.shape, bool)
    return Objects(regions.ids, regions.labels, ignored)


class Clicks(NamedTuple):
    """Prompts of one crop and their targets, in pixels of the crop.

    `points` [N, K, 2], `signs` [N, K], `boxes` [N, 4], `has_box` [N] as in `Prompts`; `targets` [N, h, w] say how many
    of four labels in a cell are the object's, `valid` [h, w] whether the cell counts, `values` [N] the objects' labels.
    """

    points: Floats
    signs: Floats
    boxes: Floats
    has_box: Floats
    targets: NDArray[np.uint8]
    valid: Mask
    values: NDArray[np.int64]


class Example(NamedTuple):
    source: int  # place of its set
    is_whole: bool  # all that may be an object is one
    crop: NDArray[np.uint8]
    clicks: Clicks


class PromptBatch(NamedTuple):
    examples: list[Example]
    skipped: tuple[Skipped, ...]  # samples that could not be read


class PromptCrops(Stream[PromptBatch]):
    """Batches of crops with single points, then clear prompts; the last `corrected` of these are a point to correct."""

    def __init__(
        self, sources: list[tuple[MaskSet, tuple[Sample, ...]]], recipe: PromptsRecipe, phase: LocalPhase
    ) -> None:
        self.sources, self.recipe, self.phase, self.seed = sources, recipe, phase, recipe.seed

    def make(self, number: int, random: np.random.Generator) -> PromptBatch:
        skipped: dict[str, Skipped] = {}
        examples = list(islice(self._examples(random, skipped), self.phase.batch))
        return PromptBatch(examples, tuple(skipped.values()))

    def _examples(self, random: np.random.Generator, skipped: dict[str, Skipped]) -> Iterator[Example]:
        shares = np.array([source.share for source, _ in self.sources])
        while True:
            place = int(random.choice(len(self.sources), p=shares / shares.sum()))
            source, samples = self.sources[place]
            sample = samples[random.integers(len(samples))]
            try:
                image, mask = sample.read()
            except SampleError as error:
                skipped[error.sample] = Skipped(error.sample, error.reason)
                if len(skipped) == sum(len(samples) for _, samples in self.sources):
                    raise DatasetError(f"no sample can be used; the last: {error}") from None
                continue
            crop, labels = random_crop(image, mask, self.phase.crop, LABEL_STRIDE, random, ZOOM)
            whole = random.random() < source.whole
            objects = find_objects(labels, source, max(4, int(SMALLEST * labels.size)), whole)
            if objects.labels:
                counts = self.recipe.single_point_prompts, self.recipe.unambiguous_prompts
                yield Example(place, whole, crop, draw(objects, *counts, random, self.recipe.corrected))


def draw(objects: Objects, n_points: int, n_clear: int, random: np.random.Generator, corrected: int = 0) -> Clicks:
    """Draw `n_points` single points, then `n_clear` boxes or groups of points, the last `corrected` single points."""
    n = n_points + n_clear
    points = np.zeros((n, MAX_POINTS, 2), np.float32)
    signs = np.zeros((n, MAX_POINTS), np.float32)
    boxes = np.zeros((n, 4), np.float32)
    has_box = np.zeros(n, np.float32)
    indices = random.permutation(np.resize(random.permutation(len(objects.labels)), n))
    masks = {index: objects.ids == index + 1 for index in set(indices.tolist())}
    depths = {index: _depth(mask) for index, mask in masks.items()}
    for prompt, index in enumerate(indices.tolist()):
        mask, depth = masks[index], depths[index]
        kind = "point" if prompt < n_points or prompt >= n - corrected else random.choice(KINDS, p=KIND_SHARES)
        if kind in ("box", "both"):
            boxes[prompt], has_box[prompt] = _box(mask, random), 1
        if kind != "box":
            points[prompt, 0], signs[prompt, 0] = _on(depth, random), 1
        if kind == "points" or (kind == "both" and random.random() < 0.5):
            for place in range(1, random.integers(2, MAX_POINTS + 1)):
                beside = None if random.random() < 0.5 else _beside(mask, objects.ignored, random)
                points[prompt, place] = _on(depth, random) if beside is None else beside
                signs[prompt, place] = 1 if beside is None else -1
    cells = {index: _cells(mask) for index, mask in masks.items()}
    targets = np.stack([cells[index] for index in indices.tolist()])
    values = np.array(objects.labels, np.int64)[indices]
    return Clicks(points, signs, boxes, has_box, targets, _cells(~objects.ignored) == CELL_LABELS, values)


def _cells(mask: Mask) -> NDArray[np.uint8]:
    """Number of labels of each cell of a target that lie in a mask."""
    ratio = STRIDE // LABEL_STRIDE
    height, width = mask.shape
    counts = mask.reshape(height // ratio, ratio, width // ratio, ratio).sum((1, 3))
    return np.asarray(counts, np.uint8)


def _depth(mask: Mask) -> Floats:
    """Labels to the nearest one outside, [h, w]; the crop's edge is outside too."""
    padded = np.pad(mask.astype(np.uint8), 1)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1].astype(np.float32)


def _on(depth: Floats, random: np.random.Generator) -> Floats:
    """(x, y) of a point on the object."""
    min_depth = 0.6 * depth.max() if random.random() < DEEP else 0.0
    return _somewhere(depth > min_depth, random)


def _beside(mask: Mask, ignored: Mask, random: np.random.Generator) -> Floats | None:
    """(x, y) of a point close to the object and not on it; None where there is no such place."""
    x0, y0, x1, y1 = map(int, tight_box(mask))
    reach_x, reach_y = int(np.ceil(BESIDE * (x1 - x0))), int(np.ceil(BESIDE * (y1 - y0)))
    near = np.zeros_like(mask)
    near[max(0, y0 - reach_y) : y1 + reach_y, max(0, x0 - reach_x) : x1 + reach_x] = True
    near &= ~(ignored | mask)
    return _somewhere(near, random) if near.any() else None


def _somewhere(mask: Mask, random: np.random.Generator) -> Floats:
    """(x, y) in pixels of the crop, anywhere on a mask of labels."""
    flat = np.flatnonzero(mask)
    row, column = divmod(int(flat[random.integers(len(flat))]), mask.shape[1])
    return (np.array([column, row]) + random.random(2)).astype(np.float32) * LABEL_STRIDE


def _box(mask: Mask, random: np.random.Generator) -> Floats:
    """(x0, y0, x1, y1) in pixels of the crop."""
    box = np.array(tight_box(mask), np.float32) * LABEL_STRIDE
    if random.random() < JITTERED:
        sides = np.tile(box[2:] - box[:2], 2)
        box += np.clip(random.normal(0, JITTER, 4), -2 * JITTER, 2 * JITTER) * sides
    return box.astype(np.float32)
