"""`lexiseg export`: the image pass of a model as ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.errors import ExportError
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.manifest import RANGES, Manifest, Numbers
from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.export.write import add_int8, export
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks.label_maps import labeller, mean_share
from lexiseg_service.commands.image_files import sources_of
from lexiseg_service.gateway.vocabularies.named import built_in
from lexiseg_service.in_process import load_exact
from lexiseg_service.settings import Settings

MAX_PHOTOGRAPHS = 64  # the ranges of activations hardly change beyond
VOCABULARY = "voc21"  # the labels to compare


def run(settings: Settings, out: Path | None, int8: bool, photos: Path | None) -> int:
    sources = [] if photos is None else sources_of([photos], settings.limits)
    step = max(1, len(sources) // MAX_PHOTOGRAPHS)  # spread over the photographs by name
    pictures = [source.pixels() for source in sources[::step][:MAX_PHOTOGRAPHS]]
    segmenter = load_exact(settings)
    if not isinstance(segmenter, Exportable):
        raise ExportError(f"{segmenter.card.name} cannot be written as ONNX")
    home = catalogue.find(settings.model, settings.models_dir).folder
    folder = out or catalogue.export_folder(home, segmenter)
    with bar_of(f"writing {segmenter.card.name} to {folder}", summary=False):
        manifest = export(segmenter, folder)
        if int8:
            tiles = [segmenter.plan(picture).tiles for picture in pictures]
            manifest = add_int8(folder, manifest, tiles, home / RANGES)
        agree = _agreement(segmenter, folder, manifest, pictures) if pictures else {}
    _print(folder, manifest, agree)
    return 0


def _agreement(
    segmenter: Segmenter, folder: Path, manifest: Manifest, pictures: list[NDArray[np.uint8]]
) -> dict[Numbers, float]:
    """Share of the photographs' pixels with the label of torch in float32."""
    vocabulary = built_in(VOCABULARY)
    assert vocabulary is not None
    assert isinstance(segmenter, Exportable)
    label = labeller(segmenter, vocabulary.vocabulary)
    by_torch = [label(picture) for picture in pictures]
    shares = {}
    for numbers in dict.fromkeys(graph.numbers for graph in manifest.graphs):
        segmenter.use_image_runner(OnnxRunner(folder, manifest, numbers, torch.device("cpu"), exact=True))
        shares[numbers] = mean_share(by_torch, [label(picture) for picture in pictures])
    return shares


def _print(folder: Path, manifest: Manifest, agree: dict[Numbers, float]) -> None:
    columns = ("file", "tiles", "numbers", "MB", "sha256", "labels as torch")
    table = Table(*columns, title=f"{manifest.model}@{manifest.version} in {folder}")
    for graph in manifest.graphs:
        size = "any size" if graph.size is None else f"{graph.size[0]} x {graph.size[1]}"
        same = f"{100 * agree[graph.numbers]:.2f} %" if agree else "not measured"
        table.add_row(graph.file, size, graph.numbers, f"{graph.bytes / 1e6:.1f}", graph.sha256[:16], same)
    console = Console()
    console.print(table)
    how = f"; int8: {manifest.int8}" if manifest.int8 else ""
    console.print(f"opset {manifest.opset}, weights {manifest.digest}, any number of tiles at once{how}")
