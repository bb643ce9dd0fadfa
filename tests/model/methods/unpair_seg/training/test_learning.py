"""Stage one's parts in training together: a small network learns one picture."""

from __future__ import annotations

import torch
from torch import Tensor

from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.network import PromptableMasks
from lexiseg_model.methods.unpair_seg.training.criterion import drawn_on, match_paired, match_points, prompt_losses
from lexiseg_model.methods.unpair_seg.training.recipe import PointSettings
from tests.model.methods.unpair_seg import small

FEW = PointSettings(points=300)
BOXES = torch.tensor([[[8.0, 8.0, 48.0, 56.0], [60.0, 20.0, 92.0, 44.0]]])
POINTS = torch.tensor([[[28.0, 32.0], [76.0, 32.0], [54.0, 4.0]]])  # one on each object, one on neither
STEPS = 60


def objects() -> Tensor:
    masks = torch.zeros(2, *small.SIZE, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, BOXES[0].long().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    return masks


def picture() -> list[Tensor]:
    """Maps in which the objects can be told from the rest."""
    seen = objects().amax(0).float()[None, None]
    return [
        0.1 * each + torch.nn.functional.adaptive_avg_pool2d(seen, (each.shape[2], each.shape[3])) * each[:, :, :1, :1]
        for each in small.maps()
    ]


def loss(network: PromptableMasks, features: PixelFeatures, generator: torch.Generator) -> Tensor:
    draw, targets = drawn_on(torch.device("cpu"), generator), [objects()]
    total = torch.zeros(())
    for kind in ("points", "boxes"):
        encoder = network.prompt_encoder
        if kind == "points":
            prompt = encoder.points(POINTS, features.masks, small.SIZE)
        else:
            prompt = encoder.boxes(BOXES, features.masks, small.SIZE)
        layers = network.mask_decoder.every_layer(features, prompt)
        last = layers[-1].masks
        matches = match_points(last, targets, POINTS) if kind == "points" else match_paired(last, targets)
        total = total + sum((each.weighted for each in prompt_losses(layers, targets, matches, draw, FEW)), total * 0)
    return total


def worst_overlap(masks: Tensor) -> float:
    """The smaller IoU of two masks [2, h, w] with the two objects."""
    truth = objects()[:, 2::4, 2::4] > 0
    predicted = masks > 0
    return float(((predicted & truth).flatten(1).sum(1) / (predicted | truth).flatten(1).sum(1)).min())


def test_a_small_network_learns_points_and_boxes_of_one_picture() -> None:
    network, maps = small.network().train(), picture()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(STEPS):
        step = loss(network, network.features(maps), generator)
        optimizer.zero_grad()
        step.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(float(step.detach()))

    with torch.no_grad():
        features = network.features(maps)
        of_boxes = network.boxes(features, BOXES, small.SIZE).masks[0, :, 0]
        of_points = network.points(features, POINTS[:, :2], small.SIZE)
    best = of_points.quality[0].argmax(1)
    assert losses[-1] < losses[0] / 3
    assert worst_overlap(of_boxes) > 0.8
    assert worst_overlap(of_points.masks[0, torch.arange(2), best]) > 0.8
