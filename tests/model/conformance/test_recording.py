"""Image passes that are recorded as CUDA graphs do nothing that a graph cannot hold.

They run on torch's `meta` device here, which has shapes and no numbers: whatever looks at a number fails, and what
comes from the host is seen to come from another device.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.device import Execution
from lexiseg_model.export.recordable import Watch
from lexiseg_model.features import TileFeatures
from lexiseg_model.methods.sam3.network import Sam3Network
from tests.model.conformance.models import CASES, MODELS, Case

META = torch.device("meta")
# On a CPU the fast pass of `tiny` is the kernel's; a GPU's is the exact one in another number type.
RECORDED = [case for case in CASES if case.name != "stand-in" and case != Case("tiny", "fast")]


class Twice:
    """In the place of a model's graphs, on the CPU: `passes` are what it gives alone, and watched."""

    def __init__(self) -> None:
        self.passes: list[TileFeatures] = []

    def encode(self, tiles: NDArray[np.uint8], image_pass: Any) -> TileFeatures:
        there = torch.from_numpy(tiles)
        for watch in (nullcontext(), Watch()):
            with watch:
                self.passes.append(image_pass(there))
        return self.passes[0]


class Watched:
    """In the place of a model's graphs: all but the first pass over a shape are watched, as what is recorded is."""

    def __init__(self) -> None:
        self.reads: list[tuple[Tensor, ...]] = []

    def encode(self, tiles: NDArray[np.uint8], image_pass: Any) -> TileFeatures:
        there = torch.empty(tiles.shape, dtype=torch.uint8, device=META)
        image_pass(there)
        for _ in range(2):
            with Watch() as watch:
                made: TileFeatures = image_pass(there)
            self.reads.append(watch.reads)
        return made


def moved(owner: Any) -> None:
    """Brings what an object computes with to the device; numbers are lost."""
    for name, value in tuple(vars(owner).items()):
        if isinstance(value, nn.Module):
            value.to(META)
        elif isinstance(value, Tensor):
            setattr(owner, name, value.to(META))
        elif isinstance(value, Execution):
            setattr(owner, name, replace(value, device=META))
        elif isinstance(value, torch.device):
            setattr(owner, name, META)
        elif isinstance(value, Sam3Network):
            moved(value)


@pytest.mark.parametrize("case", RECORDED, ids=str)
def test_a_graph_can_hold_the_image_pass(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter: Any = MODELS[case.name].load(case.precision)
    plan = segmenter.plan(np.zeros((64, 96, 3), np.uint8))
    assert segmenter._graphs is None, "there are some on a CUDA device alone"
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # the device has none
    moved(segmenter)
    segmenter._graphs = watched = Watched()

    made = segmenter.encode_tiles(plan.tiles)

    one, other = watched.reads
    assert {part.device for part in (*made, *one)} == {META}
    assert set(map(id, one)) == set(map(id, other)), "a pass brings tensors of its own from outside"


@pytest.mark.parametrize("case", RECORDED, ids=str)
def test_a_watched_pass_gives_what_it_gives_alone(case: Case) -> None:
    segmenter: Any = MODELS[case.name].load(case.precision)
    rgb = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    segmenter._graphs = twice = Twice()

    segmenter.encode_tiles(segmenter.plan(rgb).tiles)

    alone, watched = twice.passes
    assert all(map(torch.equal, alone, watched))
