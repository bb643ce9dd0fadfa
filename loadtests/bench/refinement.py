"""PAMR from shifted views, band by band, against the plain formulation that unfolds every neighbourhood."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from loadtests.bench.clock import cost, print_table
from model.masks.pamr import NEIGHBOURS, PamrSettings, affinity, refine

SIDE = 448
CLASSES = (5, 20)
SETTINGS = PamrSettings()


def plain(maps: Tensor, image: Tensor) -> Tensor:
    """Every map copied once for each neighbour, ten times over."""
    weights = affinity(image, SETTINGS.dilations)
    for _ in range(SETTINGS.iterations):
        maps = (_unfold(maps) * weights[:, None]).sum(0)
    return maps


def _unfold(maps: Tensor) -> Tensor:
    """[K, H, W] -> [48, K, H, W]."""
    copies = []
    for dilation in SETTINGS.dilations:
        padded = F.pad(maps[None], (dilation,) * 4, mode="replicate")[0]
        for y, x in NEIGHBOURS:
            top, left = dilation * (1 + y), dilation * (1 + x)
            copies.append(padded[:, top : top + SIDE, left : left + SIDE])
    return torch.stack(copies)


def run() -> None:
    """CPU milliseconds on one thread."""
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.randn(1, 3, 40, 40, generator=random), size=(SIDE, SIDE), mode="bicubic")[0]
    rows = []
    for n_classes in CLASSES:
        maps = torch.rand(n_classes, SIDE, SIDE, generator=random)
        ours = cost(partial(refine, maps, image), runs=3).cpu
        theirs = cost(partial(plain, maps, image), runs=1).cpu
        rows.append([str(n_classes), f"{1e3 * ours:.0f}", f"{1e3 * theirs:.0f}", f"{theirs / ours:.1f}x"])
    head = ["classes", "shifted views, ms", "unfolded, ms", "gain"]
    print_table(f"PAMR, {SIDE} x {SIDE}, 10 iterations, 48 neighbours, CPU time", head, rows)
