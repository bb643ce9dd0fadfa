"""Conversion between the authors' checkpoint layout and ours; other files are refused."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.towers import clip_from_state, configuration
from lexiseg_model.errors import WeightsError
from lexiseg_model.features import InferenceOptions
from lexiseg_model.methods.tcl.checkpoint import Restored, State, from_official, restore, to_official
from lexiseg_model.methods.tcl.network import TclNetwork
from lexiseg_model.segmenter import words_of
from lexiseg_model.testing.suite import bank_of
from lexiseg_model.types import ClassEntry
from tests.golden import golden_weights
from tests.model.imports import imported


def numbered(names: list[str]) -> State:
    """A state of scalars, each another number."""
    return {name: torch.tensor(float(index)) for index, name in enumerate(sorted(names))}


def clip() -> State:
    return numbered([*golden_weights.openai_clip_vitb16()])


def released() -> State:
    return numbered([*golden_weights.tcl_masker()])


def whole_run() -> State:
    temperatures = numbered([f"{loss}.logit_scale" for loss in ("tcli_loss", "tclf_loss")])
    return released() | temperatures | to_official({f"clip.{name}": value for name, value in clip().items()})


def test_towers_of_a_whole_run_are_as_good_as_given_ones() -> None:
    inside = from_official(whole_run(), None)
    given = from_official(released(), clip())

    assert all(inside[name] == value for name, value in given.items() if name != "clip.logit_scale")
    assert inside["clip.logit_scale"].item() == pytest.approx(math.log(100))


def test_another_clip_than_the_one_trained_over_is_refused() -> None:
    towers = clip()
    towers["visual.proj"] = -towers["visual.proj"]

    with pytest.raises(WeightsError, match=r"another CLIP.*visual\.proj"):
        from_official(whole_run(), towers)


def test_a_released_file_needs_a_clip() -> None:
    with pytest.raises(WeightsError, match="OpenAI's ViT-B/16"):
        from_official(released(), None)


def test_unknown_tensors_are_refused() -> None:
    expected = r"unexpected masker\.extra; expected clip_image_encoder\., clip_text_encoder\., masker\., "
    with pytest.raises(WeightsError, match=expected):
        from_official(released() | {"masker.extra": torch.zeros(1)}, clip())


MINI = "lexiseg-mini-16"


def model() -> Restored:
    torch.manual_seed(0)
    towers = clip_from_state(MINI, open_clip.CLIP(**configuration(MINI)).state_dict(), quick_gelu=True)
    return Restored(towers, TclNetwork(towers.visual).requires_grad_(False))


def flat_state(restored: Restored) -> State:
    state = {name: value for name, value in restored.network.state_dict().items() if not name.startswith("visual.")}
    return state | {f"clip.{name}": value for name, value in restored.towers.state.items()}


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("sim2mask.scale", (1,), r"sim2mask\.scale is \[1\]; expected \[\]"),
        ("clip.visual.proj", (768, 4), r"visual\.proj is \[768, 4\]"),
    ],
)
def test_a_mismatching_state_is_refused(name: str, shape: tuple[int, ...], message: str) -> None:
    state = flat_state(model()) | {name: torch.zeros(shape)}

    with pytest.raises(WeightsError, match=message):
        restore(state, MINI)


def learned(official: State) -> State:
    return {name: value for name, value in official.items() if name.startswith("masker.")}


def test_a_model_round_trips_bit_for_bit() -> None:
    state = flat_state(model())
    towers = {name.removeprefix("clip."): value for name, value in state.items() if name.startswith("clip.")}

    official = to_official(state, MINI)

    for back in (from_official(official, None, MINI), from_official(learned(official), towers, MINI)):
        assert back.keys() == state.keys()
        assert all(torch.equal(back[name], state[name]) for name in state if name != "clip.logit_scale")


def saved(folder: Path, clip: str) -> dict[str, Any]:
    """Files to import, CLIP's towers under that name."""
    restored = model()
    torch.save({"model": learned(to_official(flat_state(restored), MINI))}, folder / "tcl.pth")
    trained = {"epoch": 3, "name": MINI, "state_dict": restored.towers.state}  # as open_clip's training writes it
    torch.save(trained if clip.startswith("epoch") else restored.towers.state, folder / clip)
    return {"checkpoint": folder / "tcl.pth", "clip": [folder / clip]}


def test_it_is_imported_and_segments(tmp_path: Path) -> None:
    files = saved(tmp_path, "clip.pt")

    imported("tcl", "mine", tmp_path, architecture=MINI, **files)
    segmenter = catalogue.load("mine", models_dir=tmp_path, device="cpu")

    picture = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    features = segmenter.encode(picture, InferenceOptions())
    classes = (ClassEntry("cat"), ClassEntry("sky"))
    assert words_of(segmenter).class_scores(features, bank_of(words_of(segmenter), classes)).shape[0] == 2
    assert segmenter.card.settings["architecture"] == MINI
    assert segmenter.card.embedding == 128
    assert segmenter.card.lineage == "Imported from tcl.pth, clip.pt."
    assert segmenter.card.weights_sha256 is not None
    with pytest.raises(WeightsError, match="not the weights of ViT-B-16: missing"):
        imported("tcl", "as-published", tmp_path, **files)


def test_a_clip_that_was_trained_with_gelu_is_refused(tmp_path: Path) -> None:
    files = saved(tmp_path, "epoch_3.pt")

    with pytest.raises(WeightsError, match=r"epoch_3\.pt: .* trained with GELU"):
        imported("tcl", "mine", tmp_path, architecture=MINI, **files)
