"""Image passes in torch, ONNX Runtime and OpenVINO: `tiny` for 1 and 8 tiles, a ViT-B/16, and agreement of labels."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from benchmarks.device.vit import SIDE, vit
from benchmarks.timing import print_table, rounds
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.manifest import RANGES, Manifest, Numbers
from lexiseg_model.export.runner import Engine, OnnxRunner
from lexiseg_model.export.write import add_int8, export
from lexiseg_model.tasks.label_maps import labeller, mean_share
from lexiseg_service.gateway.vocabularies.named import built_in
from lexiseg_service.image import samples

TILE = (288, 384)  # of a 4:3 photograph
TILES = (1, 8)
ROUNDS = 15
VIT_ROUNDS = 5
NUMBERS: tuple[Numbers, ...] = ("float32", "int8")
ENGINES: tuple[Engine, ...] = ("ONNX Runtime", "OpenVINO")
VOCABULARY = "voc21"


class Runtime(NamedTuple):
    """A segmenter on a runtime, in float32 or int8."""

    name: str
    segmenter: Exportable


def photographs() -> list[NDArray[np.uint8]]:
    """Six RGB photographs [H, W, 3]."""
    jpegs = (samples.photograph(name) for name in ("china.jpg", "flower.jpg"))
    china, flower = (np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs)
    return [china, flower, data.chelsea(), data.coffee(), data.astronaut(), data.rocket()]


def as_tile(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize a picture [H, W, 3] to one tile [1, 3, 288, 384]."""
    return np.ascontiguousarray(cv2.resize(picture, TILE[::-1]).transpose(2, 0, 1), np.uint8)[None]


@contextmanager
def runtimes() -> Iterator[list[Runtime]]:
    """`tiny` on each runtime."""
    with tempfile.TemporaryDirectory() as folder:
        ranges = catalogue.find("tiny").folder / RANGES
        manifest = add_int8(Path(folder), export(exact_tiny(), Path(folder)), (), ranges)
        yield on_each(exact_tiny, Path(folder), manifest)


def exact_tiny() -> Exportable:
    """`tiny` on torch in float32."""
    segmenter = catalogue.load("tiny", device="cpu", precision="exact")
    assert isinstance(segmenter, Exportable)
    return segmenter


def on_each(load: Callable[[], Exportable], folder: Path, manifest: Manifest) -> list[Runtime]:
    """A model on torch in float32, and by both of its exported number types in each engine that is installed."""
    made = [Runtime("torch, float32", load())]
    for engine in ENGINES if find_spec("openvino") else ENGINES[:1]:
        for numbers in NUMBERS:
            segmenter = load()
            segmenter.use_image_runner(
                OnnxRunner(folder, manifest, numbers, torch.device("cpu"), exact=True, engine=engine)
            )
            made.append(Runtime(f"{engine}, {numbers}", segmenter))
    return made


def speedups(seconds: NDArray[np.float64], base: int) -> list[str]:
    """Median speed-up of each column over column `base`, as `wall (CPU)`; `seconds` as from `rounds`."""
    ratios = np.median(seconds[:, [base]] / seconds, axis=0)
    return [f"{wall:.2f}x ({cpu:.2f}x)" for wall, cpu in ratios]


def speed(candidates: list[Runtime], name: str, tiles: NDArray[np.uint8], count: int) -> None:
    """Print the time per tile for tiles [N, 3, s, t] at once, over `count` rounds."""
    seconds = rounds([partial(runtime.segmenter.encode_tiles, tiles) for runtime in candidates], count)
    bases = [index for index, runtime in enumerate(candidates) if not runtime.name.startswith("OpenVINO")]
    head = ["image pass by", "ms a tile (of CPU)", *(f"against {candidates[base].name}" for base in bases)]
    per_tile = 1e3 * np.median(seconds, axis=0) / len(tiles)
    columns = [[f"{wall:.1f} ({cpu:.1f})" for wall, cpu in per_tile], *(speedups(seconds, base) for base in bases)]
    rows = [[runtime.name, *row] for runtime, *row in zip(candidates, *columns, strict=True)]
    size = f"{tiles.shape[2]} x {tiles.shape[3]}"
    print_table(f"{name}, {len(tiles)} of {size} at once, median of {count} rounds", head, rows)


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
        tiles = np.concatenate([as_tile(picture) for picture in photographs()] * 2)
        for count in TILES:
            speed(candidates, "tiny", tiles[:count], ROUNDS)
        label_agreement(candidates)
    with tempfile.TemporaryDirectory() as folder:
        load = partial(vit, torch.device("cpu"), "exact")
        manifest = add_int8(Path(folder), export(load(), Path(folder)), ())
        window = np.random.default_rng(0).integers(0, 256, (1, 3, SIDE, SIDE), np.uint8)
        speed(on_each(load, Path(folder), manifest), "NACLIP over ViT-B/16, random weights", window, VIT_ROUNDS)
