"""Image passes in batches: `tiny` by tiles of its usual bucket, ViT-B/16 by squares of 448 pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.clock import print_table, rounds, spread, until_done
from benchmarks.device.extent import Extent
from benchmarks.device.vit import SIDE, vit
from benchmarks.runtimes import TILE, VOCABULARY, as_tile, photographs
from lexiseg_model import catalogue
from lexiseg_model.export.agreement import agreement, labeller
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Precision
from lexiseg_service.gateway.vocabularies.named import built_in

GOAL = 2800  # images/s of ViT-B/16 at 448 x 448 on an H200
MIN_LABELS = 0.99  # of the pixels have the CPU's label in float32; of bfloat16 on a CPU it is 0.998
MIN_COSINE = 0.999  # of a patch's vector with the CPU's in float32; of bfloat16 on a CPU it is 0.9999

MakeVit = Callable[[torch.device, Precision], Exportable]


def paces(
    work: Sequence[Callable[[], object]], batches: Sequence[int], device: torch.device, extent: Extent
) -> NDArray[np.float64]:
    """Images a second [rounds, batches] of pieces of work that each do a batch."""
    seconds = rounds([until_done(piece, device) for piece in work], extent.rounds, extent.warm_ups)[:, :, 0]
    return np.array(batches) / seconds


def filled(pictures: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """[N, ...] -> [count, ...], from the first again where they end."""
    return pictures[np.arange(count) % len(pictures)]


def tiny_passes(device: torch.device, extent: Extent) -> None:
    """Prints tiles a second, with their way to the device."""
    segmenter = catalogue.load("tiny", device=str(device), precision="fast")
    assert_labels_alike(segmenter, catalogue.load("tiny", device="cpu", precision="exact"))
    tiles = np.concatenate([as_tile(picture) for picture in photographs()])
    work = [partial(segmenter.encode_tiles, filled(tiles, batch)) for batch in extent.tiles]
    columns = paces(work, extent.tiles, device, extent).T.tolist()
    rows = [
        [str(batch), spread(pace, 1), f"{1e3 / np.median(pace):.3f}"]
        for batch, pace in zip(extent.tiles, columns, strict=True)
    ]
    title = f"Image pass of tiny, tiles of {TILE[0]} x {TILE[1]}, {extent.rounds} rounds"
    print_table(title, ["tiles at once", "tiles/s", "ms a tile"], rows)


def assert_labels_alike(segmenter: Segmenter, expected: Segmenter) -> None:
    """Two segmenters give nearly all pixels of six photographs the same label; says how many."""
    vocabulary = built_in(VOCABULARY)
    assert vocabulary is not None
    maps = []
    for each in (segmenter, expected):
        label = labeller(each, vocabulary.vocabulary)
        maps.append([label(picture) for picture in photographs()])
    share = agreement(*maps)
    assert share >= MIN_LABELS, f"tiny: {100 * share:.2f} % of the pixels have the label that the CPU gives them"
    print(f"\ntiny: {100 * share:.2f} % of six photographs' pixels have the label of the CPU's float32", flush=True)


def vit_passes(device: torch.device, extent: Extent, make: MakeVit = vit, side: int = SIDE) -> None:
    """Prints images a second, with their way to the device and without.

    Args:
        device: on which the measured model computes.
        extent: batches and rounds.
        make: the model for a device and a precision, always with the same weights.
        side: of its squares, in pixels.
    """
    squares = np.stack([cv2.resize(picture, (side, side)).transpose(2, 0, 1) for picture in photographs()])
    tiles = np.ascontiguousarray(squares, np.uint8)
    expected = make(torch.device("cpu"), "exact").encode_tiles(tiles[:2])[0]
    segmenter = make(device, "fast")
    assert_vectors_alike(segmenter.encode_tiles(tiles[:2])[0], expected)
    network = segmenter.image_network()
    with torch.inference_mode():
        from_memory = [partial(segmenter.encode_tiles, filled(tiles, batch)) for batch in extent.images]
        on_device = [partial(network, torch.from_numpy(filled(tiles, batch)).to(device)) for batch in extent.images]
        both = paces([*from_memory, *on_device], extent.images * 2, device, extent).T.tolist()
    rows = []
    for batch, whole, alone in zip(extent.images, both, both[len(extent.images) :], strict=False):
        of_goal = (f"{float(np.median(pace)) / GOAL:.3f}" for pace in (whole, alone))
        rows.append([str(batch), spread(whole, 1), next(of_goal), spread(alone, 1), next(of_goal)])
    head = ["images at once", "images/s", f"of {GOAL:,}", "images/s, pixels there already", f"of {GOAL:,}"]
    title = f"Image pass of ViT-B/16 (dense-clip), {side} x {side}, {extent.rounds} rounds; goal {GOAL:,} on an H200"
    print_table(title, head, rows)


def assert_vectors_alike(vectors: torch.Tensor, expected: torch.Tensor) -> None:
    """Patches' vectors [N, D, h, w] point where the CPU's do; says how nearly."""
    cosine = float(F.cosine_similarity(vectors.float().cpu(), expected.float(), dim=1).min())
    assert cosine >= MIN_COSINE, f"ViT-B/16: a patch has a cosine of {cosine:.5f} with what the CPU makes of it"
    print(f"\nViT-B/16: a patch's cosine with the CPU's float32 is at least {cosine:.5f}", flush=True)
