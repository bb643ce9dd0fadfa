"""What masks of everything cost: Unpair-Seg at its published size, with random weights, and suppression alone.

Image pass, grid of 400 points and a click on a 1,024 px image, in a process that does nothing else. Every one of the
grid's 1,600 masks is taken for good and judged; random masks are alike, so that suppression leaves a few of them, and
what naming and keeping many costs is not seen here. Suppression alone is measured with masks of which many stay, too.
"""

from __future__ import annotations

import multiprocessing
import platform
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.clock import Cost, cost, print_table
from benchmarks.memory import most_resident
from lexiseg_model import catalogue
from lexiseg_model.clip.towers import ClipTowers
from lexiseg_model.device import Execution
from lexiseg_model.masks.nms import suppress
from lexiseg_model.methods.unpair_seg.checkpoint import Restored
from lexiseg_model.methods.unpair_seg.layers.trunk import ClipTrunk
from lexiseg_model.methods.unpair_seg.network import PromptableMasks, UnpairSegNetwork
from lexiseg_model.methods.unpair_seg.segmenter import UnpairSegSegmenter, settings_of
from lexiseg_model.types import Point, Precision, Prompt

SIDE = 1024  # pixels of the image
CELLS = 256  # of a mask's side, at stride 4
GRID = 20
THREADS = 2
AREAS = (0.002, 0.01, 0.05, 0.2)  # of the four masks of a point, in shares of the image


def processor() -> str:
    """Its name and its cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    cores = len([line for line in lines if line.startswith("processor")])
    return f"{' / '.join(sorted(names)) or platform.machine()}, {cores} cores"


def machine() -> str:
    """The processor, its cores and the version of torch, for the page that the tables go to."""
    instructions = "AMX bf16" if torch.cpu._is_amx_tile_supported() else "no AMX"
    return f"{processor()}, {instructions}, {THREADS} threads, torch {torch.__version__}"


def blobs() -> tuple[Tensor, Tensor]:
    """As a grid proposes them: round masks of four sizes at 400 points, bool [1600, 256, 256], and scores."""
    random = torch.Generator().manual_seed(0)
    steps = torch.linspace(1 / (2 * GRID), 1 - 1 / (2 * GRID), GRID)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    centres = torch.stack([y, x], -1).reshape(-1, 1, 2).expand(-1, len(AREAS), -1).reshape(-1, 2)
    radii = (torch.tensor(AREAS) / torch.pi).sqrt().repeat(GRID * GRID)
    at = (torch.arange(CELLS) + 0.5) / CELLS
    rough = F.interpolate(torch.randn(1, 1, 24, 24, generator=random), size=(CELLS, CELLS), mode="bicubic")[0, 0]
    masks = []
    for (row, column), radius in zip(centres.tolist(), radii.tolist(), strict=True):
        distance = ((at - row) ** 2)[:, None] + ((at - column) ** 2)[None]
        masks.append(distance.sqrt() < radius * (1 + 0.3 * rough))
    return torch.stack(masks), torch.rand(len(masks), generator=random)


def crowded() -> tuple[Tensor, Tensor]:
    """The worst there is: 1,600 masks of half the image each, at random, none of which suppresses another."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(GRID * GRID * len(AREAS), 1, 32, 32, generator=random)
    masks = F.interpolate(coarse, size=(CELLS, CELLS), mode="nearest")[:, 0] > 0.5
    return masks, torch.rand(len(masks), generator=random)


def _now() -> Cost:
    return Cost(time.perf_counter(), time.process_time())


def _whole_model(precision: Precision) -> list[str]:
    """A row of the table: seconds of each step, megabytes with the weights alone and at most."""
    import open_clip  # lexiseg_model.clip has made it importable

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    card = catalogue.read_card(catalogue.bundled()["unpair-seg"])
    settings = card.settings | {"cleaning": {"stability": 0, "specks": 64}}
    settings["proposals"] = settings["proposals"] | {"quality": 0}
    card = card.model_copy(update={"settings": settings})
    chosen = settings_of(card)
    model: Any = open_clip.create_model(chosen.architecture, pretrained=None)
    towers = ClipTowers(model.eval().requires_grad_(False), chosen.architecture, quick_gelu=False)
    network = UnpairSegNetwork(ClipTrunk(towers.visual), PromptableMasks()).eval().requires_grad_(False)
    execution = Execution(torch.device("cpu"), precision)
    segmenter = UnpairSegSegmenter(Restored(towers, network), chosen, card, "random", execution)
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    weights = most_resident()
    plan = segmenter.plan(image)
    marks = [_now()]
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    marks.append(_now())
    proposed = segmenter.propose(features)
    marks.append(_now())
    segmenter.prompt(features, [Prompt(points=(Point(500, 400),))])
    marks.append(_now())
    seconds = [f"{after.wall - before.wall:.2f} ({after.cpu - before.cpu:.2f})" for before, after in pairwise(marks)]
    dtype = str(execution.dtype).removeprefix("torch.")
    return [f"{precision} ({dtype})", *seconds, str(len(proposed.masks)), f"{weights:.0f}", f"{most_resident():.0f}"]


def whole_model(precision: Precision) -> list[str]:
    """In a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        return fresh.apply(_whole_model, (precision,))


def run() -> None:
    """Wall seconds, CPU seconds of all threads, megabytes."""
    print(f"\n{machine()}")
    torch.set_num_threads(THREADS)
    rows = []
    for name, make in (("a grid's", blobs), ("crowded", crowded)):
        masks, scores = make()
        spent = cost(partial(suppress, masks, scores), runs=3)
        rows.append([name, str(len(suppress(masks, scores))), f"{spent.wall:.2f}", f"{spent.cpu:.2f}"])
    head = ["masks", "that stay", "seconds", "CPU seconds"]
    print_table(f"Suppression of 1,600 masks of {CELLS} x {CELLS}", head, rows)
    head = ["precision", "image pass, s (CPU s)", f"{GRID * GRID} points, s (CPU s)", "a click, s (CPU s)", "stay"]
    head += ["process with the weights, MB", "at most, MB"]
    table = [whole_model(precision) for precision in ("exact", "fast")]
    print_table(f"unpair-seg, {SIDE} x {SIDE}, all 1,600 masks judged, alike ones dropped", head, table)
