"""What our sets call the classes of public ones: plain words, as a person would type them."""

from __future__ import annotations

from collections.abc import Iterable

VOC = (
    "background", "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorcycle", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
CAMVID = (
    "sky", "building", "pole", "road", "sidewalk", "tree", "traffic sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
WORDS = {
    "aeroplane": "airplane", "motorbike": "motorcycle", "pottedplant": "potted plant", "tvmonitor": "tv monitor",
    "building-other": "building", "ceiling-other": "ceiling", "ceiling-tile": "tiled ceiling", "desk-stuff": "desk",
    "door-stuff": "door", "floor-marble": "marble floor", "floor-other": "floor", "floor-stone": "stone floor",
    "floor-tile": "tiled floor", "floor-wood": "wooden floor", "food-other": "food", "furniture-other": "furniture",
    "ground-other": "ground", "mirror-stuff": "mirror", "plant-other": "plant", "playingfield": "playing field",
    "sky-other": "sky", "solid-other": "solid", "structural-other": "structure", "textile-other": "textile",
    "wall-brick": "brick wall", "wall-concrete": "concrete wall", "wall-other": "wall", "wall-panel": "wall panel",
    "wall-stone": "stone wall", "wall-tile": "tiled wall", "wall-wood": "wooden wall", "water-other": "water",
    "waterdrops": "water drops", "window-blind": "window blind", "window-other": "window",
}  # fmt: skip


def plain(names: Iterable[str]) -> tuple[str, ...]:
    """Each in plain words; COCO's panoptic names lose their `-merged`."""
    return tuple(WORDS.get(name, name) for name in (name.removesuffix("-merged") for name in names))
