"""What weights of `tiny` know of words and photographs that no crop of a training shows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.segmenter import Segmenter


def run(check: Callable[[Segmenter, Path], object], arguments: Sequence[str]) -> None:
    """Print the figures of a model directory on the data sets below a folder, as it is served: in 8 bits if it can."""
    if len(arguments) != 2:
        sys.exit("expected two folders: one of data sets, and a model directory")
    root, folder = map(Path, arguments)
    torch.set_num_threads(1)
    print(check(catalogue.load_folder(folder, "cpu", runtime="auto"), root))
