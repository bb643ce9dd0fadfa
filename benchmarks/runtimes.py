"""The image pass of `tiny` in torch and ONNX Runtime: speed for 1 and 8 tiles, and agreement of labels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from sklearn.datasets import load_sample_images

from benchmarks.timing import print_table, rounds
from lexiseg_model import catalogue
from lexiseg_model.evaluation.comparison.agreement import labeller, mean_share
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.manifest import RANGES, Numbers
from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.export.write import add_int8, export
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.gateway.vocabularies.named import built_in

TILE = (288, 384)  # of a 4:3 photograph
TILES = (1, 8)
ROUNDS = 15
VOCABULARY = "voc21"


class Runtime(NamedTuple):
    """A segmenter on a runtime, in float32 or int8."""

    name: str
    segmenter: Segmenter


def photographs() -> list[NDArray[np.uint8]]:
    """Six RGB photographs [H, W, 3]."""
    china, flower = load_sample_images().images
    return [china, flower, data.chelsea(), data.coffee(), data.astronaut(), data.rocket()]


def as_tile(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize a picture [H, W, 3] to one tile [1, 3, 288, 384]."""
    return np.ascontiguousarray(cv2.resize(picture, TILE[::-1]).transpose(2, 0, 1), np.uint8)[None]


@contextmanager
def runtimes() -> Iterator[list[Runtime]]:
    """Load `tiny` on torch in float32, and on ONNX Runtime in float32 and int8."""
    exact = catalogue.load("tiny", device="cpu", precision="exact")
    assert isinstance(exact, Exportable)
    with tempfile.TemporaryDirectory() as folder:
        ranges = catalogue.find("tiny").folder / RANGES
        manifest = add_int8(Path(folder), export(exact, Path(folder)), (), ranges)

        def on_onnx(numbers: Numbers) -> Segmenter:
            segmenter = catalogue.load("tiny", device="cpu", precision="exact")
            assert isinstance(segmenter, Exportable)
            segmenter.use_image_runner(OnnxRunner(Path(folder), manifest, numbers, torch.device("cpu"), exact=True))
            return segmenter

        yield [
            Runtime("torch, float32", exact),
            Runtime("ONNX, float32", on_onnx("float32")),
            Runtime("ONNX, int8", on_onnx("int8")),
        ]


def speedups(seconds: NDArray[np.float64], base: int) -> list[str]:
    """Median speed-up of each column over column `base`, as `wall (CPU)`; `seconds` as from `rounds`."""
    ratios = np.median(seconds[:, [base]] / seconds, axis=0)
    return [f"{wall:.2f}x ({cpu:.2f}x)" for wall, cpu in ratios]


def speed(candidates: list[Runtime], count: int) -> None:
    """Print the time per tile in batches of `count` tiles."""
    tiles = np.concatenate([as_tile(picture) for picture in photographs()] * 2)[:count]
    seconds = rounds([partial(runtime.segmenter.encode_tiles, tiles) for runtime in candidates], ROUNDS)
    bases = [index for index, runtime in enumerate(candidates) if runtime.name.startswith("torch")]
    head = ["image pass by", "ms a tile (of CPU)", *(f"against {candidates[base].name}" for base in bases)]
    per_tile = 1e3 * np.median(seconds, axis=0) / count
    columns = [[f"{wall:.1f} ({cpu:.1f})" for wall, cpu in per_tile], *(speedups(seconds, base) for base in bases)]
    rows = [[runtime.name, *row] for runtime, *row in zip(candidates, *columns, strict=True)]
    print_table(f"tiny, {count} of {TILE[0]} x {TILE[1]} at once, median of {ROUNDS} rounds", head, rows)


def label_agreement(candidates: list[Runtime]) -> None:
    """Print the share of pixels with the same label as on the first runtime."""
    vocabulary = built_in(VOCABULARY)
    assert vocabulary is not None
    maps = []
    for runtime in candidates:
        label = labeller(runtime.segmenter, vocabulary.vocabulary)
        maps.append([label(picture) for picture in photographs()])
    rows = [
        [runtime.name, f"{100 * mean_share(maps[0], own):.2f} %"] for runtime, own in zip(candidates, maps, strict=True)
    ]
    title = f"Pixels of six photographs with the label of {candidates[0].name}, vocabulary {VOCABULARY}"
    print_table(title, ["image pass by", "share"], rows)


def run() -> None:
    """Print speed and agreement tables; ratios above 1 are faster, CPU time in brackets."""
    with runtimes() as candidates:
        for count in TILES:
            speed(candidates, count)
        label_agreement(candidates)
