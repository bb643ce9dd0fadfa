"""The image pass of `tiny` by torch and ONNX Runtime: speed of one tile and of eight, labels that agree."""

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

from benchmarks.clock import print_table, rounds
from lexiseg_model import catalogue
from lexiseg_model.export.agreement import agreement, labeller
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


class Contender(NamedTuple):
    """A runtime with its numbers."""

    name: str
    segmenter: Segmenter


def photographs() -> list[NDArray[np.uint8]]:
    """Six, [H, W, 3]."""
    china, flower = load_sample_images().images
    return [china, flower, data.chelsea(), data.coffee(), data.astronaut(), data.rocket()]


def as_tile(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[1, 3, 288, 384]."""
    return np.ascontiguousarray(cv2.resize(picture, TILE[::-1]).transpose(2, 0, 1), np.uint8)[None]


@contextmanager
def contenders() -> Iterator[list[Contender]]:
    """torch in float32, ONNX Runtime in float32 and in int8."""
    exact = catalogue.load("tiny", device="cpu", precision="exact")
    assert isinstance(exact, Exportable)
    with tempfile.TemporaryDirectory() as folder:
        ranges = catalogue.find("tiny").folder / RANGES
        manifest = add_int8(Path(folder), export(exact, Path(folder)), (), ranges)

        def in_onnx(numbers: Numbers) -> Segmenter:
            segmenter = catalogue.load("tiny", device="cpu", precision="exact")
            assert isinstance(segmenter, Exportable)
            segmenter.use_image_runner(OnnxRunner(Path(folder), manifest, numbers, torch.device("cpu"), exact=True))
            return segmenter

        yield [
            Contender("torch, float32", exact),
            Contender("ONNX, float32", in_onnx("float32")),
            Contender("ONNX, int8", in_onnx("int8")),
        ]


def faster(seconds: NDArray[np.float64], than: int) -> list[str]:
    """How many times faster each piece of work is than one of them, and in CPU time: medians over rounds."""
    ratios = np.median(seconds[:, [than]] / seconds, axis=0)
    return [f"{wall:.2f}x ({cpu:.2f}x)" for wall, cpu in ratios]


def speed(those: list[Contender], count: int) -> None:
    """Prints what one tile costs when `count` of them come together."""
    tiles = np.concatenate([as_tile(picture) for picture in photographs()] * 2)[:count]
    seconds = rounds([partial(contender.segmenter.encode_tiles, tiles) for contender in those], ROUNDS)
    bases = [index for index, contender in enumerate(those) if contender.name.startswith("torch")]
    head = ["image pass by", "ms a tile (of CPU)", *(f"against {those[base].name}" for base in bases)]
    per_tile = 1e3 * np.median(seconds, axis=0) / count
    columns = [[f"{wall:.1f} ({cpu:.1f})" for wall, cpu in per_tile], *(faster(seconds, base) for base in bases)]
    rows = [[contender.name, *row] for contender, *row in zip(those, *columns, strict=True)]
    print_table(f"tiny, {count} of {TILE[0]} x {TILE[1]} at once, median of {ROUNDS} rounds", head, rows)


def same_labels(those: list[Contender]) -> None:
    """Prints how many pixels get the label of the first contender."""
    vocabulary = built_in(VOCABULARY)
    assert vocabulary is not None
    maps = []
    for contender in those:
        label = labeller(contender.segmenter, vocabulary.vocabulary)
        maps.append([label(picture) for picture in photographs()])
    rows = [
        [contender.name, f"{100 * agreement(maps[0], own):.2f} %"] for contender, own in zip(those, maps, strict=True)
    ]
    title = f"Pixels of six photographs with the label of {those[0].name}, vocabulary {VOCABULARY}"
    print_table(title, ["image pass by", "share"], rows)


def run() -> None:
    """Ratios above 1: faster than the named one, on the wall clock and, in brackets, by CPU time."""
    with contenders() as those:
        for count in TILES:
            speed(those, count)
        same_labels(those)
