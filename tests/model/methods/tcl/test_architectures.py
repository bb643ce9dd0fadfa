"""TCL over other CLIP architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from lexiseg_model import catalogue
from lexiseg_model.clip.towers import configuration, from_state
from lexiseg_model.errors import WeightsError
from lexiseg_model.features import InferenceOptions
from lexiseg_model.methods.tcl.checkpoint import Restored, State, flat_state, from_official, to_official
from lexiseg_model.methods.tcl.network import TclNetwork
from lexiseg_model.types import ClassEntry
from tests.model.imports import imported

MINI = "lexiseg-mini-16"


def model() -> Restored:
    torch.manual_seed(0)
    towers = from_state(MINI, open_clip.CLIP(**configuration(MINI)).state_dict(), quick_gelu=True)
    return Restored(towers, TclNetwork(towers.visual).requires_grad_(False))


def learned(official: State) -> State:
    return {name: value for name, value in official.items() if name.startswith("masker.")}


def test_a_model_round_trips_bit_for_bit() -> None:
    state = flat_state(model())
    towers = {name.removeprefix("clip."): value for name, value in state.items() if name.startswith("clip.")}

    official = to_official(state, MINI)

    for back in (from_official(official, None, MINI), from_official(learned(official), towers, MINI)):
        assert back.keys() == state.keys()
        assert all(torch.equal(back[name], state[name]) for name in state if name != "clip.logit_scale")


def test_it_is_imported_and_segments(tmp_path: Path) -> None:
    restored = model()
    torch.save({"model": learned(to_official(flat_state(restored), MINI))}, tmp_path / "tcl.pth")
    torch.save(restored.towers.state, tmp_path / "clip.pt")

    files: dict[str, Any] = {"checkpoint": tmp_path / "tcl.pth", "clip": [tmp_path / "clip.pt"]}
    imported("tcl", "mine", tmp_path, architecture=MINI, **files)
    segmenter = catalogue.load("mine", models_dir=tmp_path, device="cpu")

    picture = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    plan = segmenter.plan(picture, InferenceOptions())
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    classes = (ClassEntry("cat"), ClassEntry("sky"))
    bank = segmenter.text_bank(classes, segmenter.encode_texts(segmenter.texts(classes)))
    assert segmenter.class_scores(features, bank).shape[0] == 2
    assert segmenter.card.settings["architecture"] == MINI
    assert segmenter.card.embedding == 128
    with pytest.raises(WeightsError, match="weights of ViT-B-16 lack"):
        imported("tcl", "as-published", tmp_path, **files)
