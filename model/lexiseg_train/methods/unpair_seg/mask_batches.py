"""Batches of stage one: photographs with masks of objects in all supported formats, random crops, and prompts.

Prompts are a grid of points, boxes, and several points for one object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.masks.rle import decode
from lexiseg_model.methods.unpair_seg.layers.trunk import PADDING
from lexiseg_model.types import Rle
from lexiseg_train.data.pairs.source import Skipped
from lexiseg_train.data.read_scenes import object_scenes, outlined_scenes
from lexiseg_train.data.scenes import Objects, Scene
from lexiseg_train.methods.unpair_seg.trainings import CropSettings, PromptSettings
from lexiseg_train.training.crops import recoloured

Masks = NDArray[np.bool_]  # [K, H, W]
ATTEMPTS = 20  # photographs in a row that may show no object

Pick = Callable[[int], NDArray[np.int64]]  # chooses among a number of objects; returns ascending indexes
# Reader of a photograph, RGB [H, W, 3], and the chosen ones of its objects [K, H, W], which may overlap; K may be 0.
# Raises SampleError if it cannot be read.
Masked = Callable[[Pick], tuple[NDArray[np.uint8], Masks]]
OFF = 0.5  # probability that a further point lies off the object
NEAR = 0.25  # greatest distance of points off an object from its box, as a share of the box's sides


def open_masked(root: Path, names: Sequence[str], split: str) -> list[Masked]:
    """Readers of all photographs of sets: folders of indexed masks (SET/SPLIT/masks), COCO's JSON, SA-1B's folders."""
    return [photograph for name in names for photograph in _open(root, name, split)]


def mismatched(photographs: Sequence[Masked]) -> list[Masked]:
    """Control experiment: every photograph with the masks of a fixed other one, resized."""
    half = len(photographs) // 2
    others = [*photographs[half:], *photographs[:half]]
    return [partial(_read_mismatched, own, other) for own, other in zip(photographs, others, strict=True)]


def _open(root: Path, name: str, split: str) -> list[Masked]:
    place = root / name
    if place.suffix != ".json" and (place / split / "masks").is_dir():
        return [partial(_read_scene, scene) for scene in object_scenes(root, name, split).scenes]
    if place.suffix != ".json" and not place.is_dir():
        raise DatasetError(
            f"there is no data set {place}; expected a folder with {split}/masks, SA-1B's or COCO's JSON"
        )
    return [partial(_read_outlined, scene) for scene in outlined_scenes(place)]


def _read_scene(scene: Scene[Objects], pick: Pick) -> tuple[NDArray[np.uint8], Masks]:
    objects = scene.read_truth()
    numbers = pick(len(objects.labels)) + 1
    return scene.read_image(), objects.ids[None] == numbers[:, None, None]


def _read_outlined(scene: Scene[tuple[Rle, ...]], pick: Pick) -> tuple[NDArray[np.uint8], Masks]:
    image, objects = scene.read_image(), scene.read_truth()
    if objects and objects[0].size != image.shape[:2]:
        stated, actual = (f"{width} x {height}" for height, width in (objects[0].size, image.shape[:2]))
        raise SampleError(scene.name, f"is {actual}; its JSON states {stated}")
    masks = [decode(objects[which]) for which in pick(len(objects)).tolist()]
    return image, np.stack(masks) if masks else np.zeros((0, *image.shape[:2]), bool)


def _read_mismatched(own: Masked, other: Masked, pick: Pick) -> tuple[NDArray[np.uint8], Masks]:
    image, _ = own(lambda _: np.empty(0, np.int64))
    size = (image.shape[1], image.shape[0])
    sized = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for mask in other(pick)[1]]
    return image, np.stack(sized) if sized else np.zeros((0, *image.shape[:2]), bool)


class Crop(NamedTuple):
    """Crop uint8 [3, S, S] with grey padding, `masks` [K, S, S] of its objects, and skipped unreadable photographs."""

    image: NDArray[np.uint8]
    masks: Masks
    skipped: tuple[Skipped, ...] = ()


def draw_crop(
    photographs: Sequence[Masked], first: int, size: int, settings: CropSettings, random: np.random.Generator
) -> Crop:
    """A crop of photograph `first`, or of another one until an object of an allowed size shows (DatasetError: none)."""
    index = first
    skipped: list[Skipped] = []

    def pick(n_objects: int) -> NDArray[np.int64]:
        return np.sort(random.permutation(n_objects)[: settings.objects])

    for _ in range(ATTEMPTS):
        try:
            crop = _crop(*photographs[index](pick), size, settings, random)
            if len(crop.masks):
                return crop._replace(skipped=tuple(skipped))
        except SampleError as error:
            skipped.append(Skipped(error.sample, error.reason))
        index = int(random.integers(len(photographs)))
    raise DatasetError(
        f"{ATTEMPTS} photographs in a row show no object of {settings.min_share:g} to {settings.max_share:g} of a "
        f"crop, or cannot be read: {', '.join(map(str, skipped[-1:])) or 'none of them'}"
    )


def _crop(
    image: NDArray[np.uint8], masks: Masks, size: int, settings: CropSettings, random: np.random.Generator
) -> Crop:
    """Resize a photograph to the crop times a random scale, then cut or pad it; K may be 0."""
    height, width = image.shape[:2]
    scale = size / max(height, width) * random.uniform(*settings.scale)
    sized = (max(1, round(width * scale)), max(1, round(height * scale)))
    top, left = (int(random.integers(max(0, side - size) + 1)) for side in sized[::-1])
    image = cv2.resize(image, sized, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR).astype(np.uint8)
    window = image[top : top + size, left : left + size]
    if settings.colours:
        window = recoloured(window, random)
    canvas = np.full((size, size, 3), PADDING, np.uint8)
    canvas[: window.shape[0], : window.shape[1]] = window
    cut = np.zeros((len(masks), size, size), bool)
    for index, mask in enumerate(masks):
        small = cv2.resize(mask.astype(np.uint8), sized, interpolation=cv2.INTER_NEAREST)[
            top : top + size, left : left + size
        ]
        cut[index, : small.shape[0], : small.shape[1]] = small > 0
    share = cut.mean((1, 2))
    cut = cut[(share >= max(settings.min_share, 1 / size**2)) & (share <= settings.max_share)]
    if random.random() < settings.mirrored:
        canvas, cut = canvas[:, ::-1], cut[:, :, ::-1]
    return Crop(np.ascontiguousarray(canvas.transpose(2, 0, 1)), np.ascontiguousarray(cut))


class MaskBatch(NamedTuple):
    """B crops with their prompts, in pixels of the crops."""

    images: Tensor  # uint8 [B, 3, S, S]
    targets: list[Tensor]  # objects uint8 [K, S, S] of each image, 0 or 1
    boxed: Tensor  # int64 [B, Q], the object of each box
    boxes: Tensor  # [B, Q, 4], x0, y0, x1, y1
    pointed: Tensor  # int64 [B, P], the object of each set of points
    points: Tensor  # [B, P, n, 2], (x, y)
    positive: Tensor  # bool [B, P, n], whether a point lies on the object
    skipped: tuple[Skipped, ...]  # photographs that could not be read


def draw_prompts(crops: Sequence[Crop], settings: PromptSettings, random: np.random.Generator) -> MaskBatch:
    """Draw the prompts of crops; if there are more prompts than objects, the objects repeat."""
    boxed, pointed = (
        [np.resize(random.permutation(len(crop.masks)), n).astype(np.int64) for crop in crops]
        for n in (settings.boxes, settings.several)
    )
    boxes = [
        np.array([tight_box(crop.masks[index]) for index in which], np.float32).reshape(-1, 4)
        for crop, which in zip(crops, boxed, strict=True)
    ]
    several = [
        [_points(crop.masks[which], settings.points, random) for which in mine]
        for crop, mine in zip(crops, pointed, strict=True)
    ]
    n_points = (len(crops), settings.several, settings.points)
    places = np.array([[points for points, _ in mine] for mine in several], np.float32).reshape(*n_points, 2)
    positive = np.array([[on for _, on in mine] for mine in several], bool).reshape(n_points)
    return MaskBatch(
        torch.from_numpy(np.stack([crop.image for crop in crops])),
        [torch.from_numpy(crop.masks.astype(np.uint8)) for crop in crops],
        torch.from_numpy(np.stack(boxed)),
        torch.from_numpy(np.stack(boxes)),
        torch.from_numpy(np.stack(pointed)),
        torch.from_numpy(places),
        torch.from_numpy(positive),
        tuple(skipped for crop in crops for skipped in crop.skipped),
    )


def _points(
    mask: NDArray[np.bool_], n: int, random: np.random.Generator
) -> tuple[list[tuple[float, float]], list[bool]]:
    """Draw n pixel centres (x, y) and whether they lie on the object; the first does, the others may lie around it."""
    inside = np.argwhere(mask)
    (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
    margin_y, margin_x = (int(NEAR * side) + 1 for side in (bottom - top, right - left))
    y, x = max(0, top - margin_y), max(0, left - margin_x)
    outside = np.argwhere(~mask[y : bottom + margin_y, x : right + margin_x]) + np.array([y, x])
    points, positive = [], []
    for index in range(n):
        on = index == 0 or not len(outside) or random.random() >= OFF
        row, column = (inside if on else outside)[random.integers(len(inside if on else outside))]
        points.append((float(column) + 0.5, float(row) + 0.5))
        positive.append(on)
    return points, positive
