"""A training of TCL in seconds: a dozen drawn photographs, a random CLIP."""

from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

from lexiseg_model.clip.towers import configuration
from lexiseg_train.methods.tcl.trainings import TclRecipe
from tests.train.methods.short_runs import read_as
from tests.train.training.pairs_folder import write_pairs

MINI = "lexiseg-mini-16"


def write_data(folder: Path) -> Path:
    """`captions` and `clip.safetensors` in a folder."""
    write_pairs(folder / "captions")
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**configuration(MINI) | {"quick_gelu": True}).state_dict(), folder / "clip.safetensors")
    return folder


def recipe(data: Path, out: Path, **changes: Any) -> TclRecipe:
    """`tcl-smoke` in three steps of four pairs, the block from the third."""
    small = {
        "data": data, "out": out, "clip": data / "clip.safetensors", "held_out": 0, "validate_steps": None,
        "steps": 3, "grounder_steps": 2, "warmup_steps": 1, "warmup_from": 0.5, "device": "cpu",
        "precision": "float32", "workers": 0, "phases": [{"after": 0.0, "crop": 64, "global_batch": 4}],
    }  # fmt: skip
    values = read_as(TclRecipe, "tcl-smoke").model_dump(mode="json")
    return TclRecipe.model_validate(values | small | changes)
