"""Image passes that are recorded as CUDA graphs do nothing that a graph cannot hold."""

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
from tests.model.methods.unpair_seg import small as unpair_seg
from tests.model.recording import META, assert_recordable

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


class OnDevice:
    """In the place of a model's graphs."""

    def encode(self, tiles: NDArray[np.uint8], image_pass: Any) -> TileFeatures:
        return assert_recordable(image_pass, tiles.shape)


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
    assert_held(MODELS[case.name].load(case.precision), monkeypatch)


def test_a_graph_can_hold_the_adapter_of_unpair_seg(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_held(unpair_seg.segmenter(adapted=True), monkeypatch)


def assert_held(segmenter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = segmenter.plan(np.zeros((64, 96, 3), np.uint8))
    assert segmenter._graphs is None, "there are some on a CUDA device alone"
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # the device has none
    moved(segmenter)
    segmenter._graphs = OnDevice()

    made = segmenter.encode_tiles(plan.tiles)

    assert all(len(part) == len(plan.tiles) for part in made)


@pytest.mark.parametrize("loaded", RECORDED, indirect=True, ids=str)
def test_a_watched_pass_gives_what_it_gives_alone(segmenter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    twice = Twice()
    monkeypatch.setattr(segmenter, "_graphs", twice)

    segmenter.encode_tiles(segmenter.plan(rgb).tiles)

    alone, watched = twice.passes
    assert all(map(torch.equal, alone, watched))
