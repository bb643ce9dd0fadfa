"""Throughput of batched image passes: `tiny` on tiles, ViT-B/16 on 448 x 448 images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.device.vit import SIDE, vit
from benchmarks.device.workload import Workload
from benchmarks.runtimes import TILE, VOCABULARY, as_tile, photographs
from benchmarks.timing import median_and_range, print_table, rounds, synchronised
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks.label_maps import labeller, mean_share
from lexiseg_model.types import Precision
from lexiseg_service.gateway.vocabularies.named import built_in

GOAL = 2800  # images/s of ViT-B/16 at 448 x 448 on an H200
MIN_LABELS = 0.99  # share of labels equal to float32 on the CPU; bfloat16 on a CPU has 0.998
MIN_COSINE = 0.999  # of a patch vector with float32 on the CPU; bfloat16 on a CPU has 0.9999

MakeVit = Callable[[torch.device, Precision], Exportable]


def throughputs(
    work: Sequence[Callable[[], object]], batches: Sequence[int], device: torch.device, workload: Workload
) -> NDArray[np.float64]:
    """Images per second [rounds, len(work)], where work[i] processes batches[i] images."""
    seconds = rounds([synchronised(function, device) for function in work], workload.rounds, workload.warm_ups)[:, :, 0]
    return np.array(batches) / seconds


def repeated(pictures: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Repeat pictures [N, ...] cyclically to [count, ...]."""
    return pictures[np.arange(count) % len(pictures)]


def tiny_passes(device: torch.device, workload: Workload) -> None:
    """Print tiles per second, including the copy to the device."""
    segmenter = catalogue.load("tiny", device=str(device), precision="fast")
    assert_labels_agree(segmenter, catalogue.load("tiny", device="cpu", precision="exact"))
    tiles = np.concatenate([as_tile(picture) for picture in photographs()])
    work = [partial(segmenter.encode_tiles, repeated(tiles, batch)) for batch in workload.tiles]
    columns = throughputs(work, workload.tiles, device, workload).T.tolist()
    rows = [
        [str(batch), median_and_range(rates, 1), f"{1e3 / np.median(rates):.3f}"]
        for batch, rates in zip(workload.tiles, columns, strict=True)
    ]
    title = f"Image pass of tiny, tiles of {TILE[0]} x {TILE[1]}, {workload.rounds} rounds"
    print_table(title, ["batch", "tiles/s", "ms per tile"], rows)


def assert_labels_agree(segmenter: Segmenter, expected: Segmenter) -> None:
    """Check that two segmenters agree on MIN_LABELS of the pixels of six photographs; print the share."""
    vocabulary = built_in(VOCABULARY)
    assert vocabulary is not None
    maps = []
    for candidate in (segmenter, expected):
        label = labeller(candidate, vocabulary.vocabulary)
        maps.append([label(picture) for picture in photographs()])
    share = mean_share(*maps)
    assert share >= MIN_LABELS, f"tiny: only {100 * share:.2f} % of the labels equal the CPU's"
    print(f"\ntiny: {100 * share:.2f} % of the labels on six photographs equal float32 on the CPU", flush=True)


def vit_passes(device: torch.device, workload: Workload, make: MakeVit = vit, side: int = SIDE) -> None:
    """Print images per second, with and without the copy to the device.

    Args:
        device: the device to measure.
        workload: batches and rounds.
        make: builds the model for a device and a precision, always with the same weights.
        side: height and width of the images in pixels.
    """
    squares = np.stack([cv2.resize(picture, (side, side)).transpose(2, 0, 1) for picture in photographs()])
    tiles = np.ascontiguousarray(squares, np.uint8)
    expected = make(torch.device("cpu"), "exact").encode_tiles(tiles[:2])[0]
    segmenter = make(device, "fast")
    assert_vectors_agree(segmenter.encode_tiles(tiles[:2])[0], expected)
    network = segmenter.image_network()
    with torch.inference_mode():
        from_memory = [partial(segmenter.encode_tiles, repeated(tiles, batch)) for batch in workload.images]
        on_device = [partial(network, torch.from_numpy(repeated(tiles, batch)).to(device)) for batch in workload.images]
        rates = throughputs([*from_memory, *on_device], workload.images * 2, device, workload).T.tolist()
    rows = []
    for batch, *columns in zip(workload.images, rates, rates[len(workload.images) :], strict=False):
        cells = [(median_and_range(column, 1), f"{float(np.median(column)) / GOAL:.3f}") for column in columns]
        rows.append([str(batch), *cells[0], *cells[1]])
    head = ["batch", "images/s", f"of {GOAL:,}", "images/s, pixels on the device", f"of {GOAL:,}"]
    title = f"Image pass of ViT-B/16 (dense-clip), {side} x {side}, {workload.rounds} rounds; goal {GOAL:,} on an H200"
    print_table(title, head, rows)


def assert_vectors_agree(vectors: torch.Tensor, expected: torch.Tensor) -> None:
    """Check the cosine of patch vectors [N, D, h, w] with the CPU's; print the minimum."""
    cosine = float(F.cosine_similarity(vectors.float().cpu(), expected.float(), dim=1).min())
    assert cosine >= MIN_COSINE, f"ViT-B/16: a patch vector has a cosine of only {cosine:.5f} with the CPU's"
    print(f"\nViT-B/16: minimum cosine of patch vectors with float32 on the CPU: {cosine:.5f}", flush=True)
