"""Conversion between the authors' `tcl.pth` and our flat state dict, in both directions.

Theirs: `{"model": ...}` with 37 learned tensors over OpenAI's CLIP. A checkpoint of a whole training run also holds the
frozen towers, under other names, and two temperatures of the losses (340 tensors in all).
Ours: `clip.*` in open_clip's names, `grounder.*`, `sim2mask.*`, and `losses.*` where the file has them.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lexiseg_model.catalogue.weights import Undrawn, require_names, require_tensors
from lexiseg_model.clip.checkpoint import read_bare_or_wrapped
from lexiseg_model.clip.towers import ClipTowers, configuration, from_state
from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.methods.tcl.blend import ARCHITECTURE
from lexiseg_model.methods.tcl.grounder import STAGES
from lexiseg_model.methods.tcl.network import PATCH, TclNetwork

State = dict[str, Tensor]

CLIP, LOSSES = "clip.", "losses."  # our prefixes, beside `grounder.` and `sim2mask.`

_CLIP_SCALE = "clip.logit_scale"  # TCL drops it, having temperatures of its own
_OPENAI_SCALE = math.log(100.0)  # where OpenAI's training ended, at its upper bound


def _pairs(*names: str) -> list[str]:
    return [f"{name}.{part}" for name in names for part in ("weight", "bias")]


def _block(ours: str, theirs: str) -> dict[str, str]:
    names = ["attn.in_proj_weight", "attn.in_proj_bias", *_pairs("attn.out_proj", "ln_1", "ln_2")]
    names += _pairs("mlp.c_fc", "mlp.c_proj")
    return {ours + name: theirs + name for name in names}


def _learned(depth: int) -> dict[str, str]:
    encoder = "masker.image_encoder."
    table = _block("grounder.block.", f"{encoder}backbone.transformer.resblocks.{depth - 1}.")
    for stage in range(STAGES):
        for ours, theirs in (("first", "conv"), ("second", "conv2")):
            place, named = f"grounder.stages.{stage}.{ours}.", f"{encoder}decoder.decoder.net.{stage}.{theirs}."
            table |= {place + name: named + name for name in _pairs("norm", "conv")}
            table[f"{place}gate"] = f"{named}gate.gate"
    projection = f"{encoder}decoder.image_proj."
    table |= {f"grounder.projection.{name}": projection + name.replace("norm", "ln") for name in _pairs("norm")}
    return table | {
        "grounder.projection.matrix": f"{projection}proj",
        "sim2mask.scale": "masker.sim2mask.w",
        "sim2mask.bias": "masker.sim2mask.b",
    }


def _towers(depth: int, text_depth: int) -> dict[str, str]:
    image, text = "clip_image_encoder.clip_visual.", "clip_text_encoder."
    table: dict[str, str] = {}
    for ours, theirs, blocks in (("clip.visual.", image, depth), ("clip.", text, text_depth)):
        for index in range(blocks):
            inside = f"transformer.resblocks.{index}."
            table |= _block(ours + inside, theirs + inside)
    of_image = ["class_embedding", "positional_embedding", "conv1.weight", *_pairs("ln_pre")]
    of_text = ["positional_embedding", "text_projection", "token_embedding.weight", *_pairs("ln_final")]
    table |= {f"clip.visual.{name}": image + name for name in of_image}
    table |= {f"clip.{name}": text + name for name in of_text}
    # The end of CLIP's image tower is a module of its own in TCL.
    end = "clip_image_encoder.clip_proj."
    table |= {f"clip.visual.{name}": end + name.replace("ln_post", "ln") for name in _pairs("ln_post")}
    return table | {"clip.visual.proj": f"{end}proj"}


class Names(NamedTuple):
    """Ours -> theirs."""

    learned: dict[str, str]  # of ViT-B-16, 37: what the released file holds
    towers: dict[str, str]  # 301

    @property
    def all(self) -> dict[str, str]:
        """These and the temperatures of the losses."""
        return self.learned | TEMPERATURES | self.towers


TEMPERATURES = {
    "losses.image_contrast.log_scale": "tcli_loss.logit_scale",
    "losses.feature_contrast.log_scale": "tclf_loss.logit_scale",
}


@cache
def names_of(architecture: str = ARCHITECTURE) -> Names:
    """Names of a TCL over that CLIP; the authors' number their blocks, the last one's number is in the learned part.

    Raises:
        OptionError: open_clip knows no such architecture, or it is no plain vision transformer of patches of 16.
    """
    config = configuration(architecture)
    vision, text = config["vision_cfg"], config["text_cfg"]
    if vision.get("patch_size") != PATCH or "timm_model_name" in vision or "hf_model_name" in text:
        raise OptionError(
            f"--architecture {architecture}; TCL reads plain transformers with patches of {PATCH} pixels, as "
            f"{ARCHITECTURE} is, the only one it was published for"
        )
    return Names(_learned(vision["layers"]), _towers(vision["layers"], text["layers"]))


class Restored(NamedTuple):
    """A model in evaluation mode; the network's image tower is that of the towers."""

    towers: ClipTowers
    network: TclNetwork


def read_official(path: Path) -> State:
    """The state dict inside a file of the authors' layout, unwrapped from `{"model": ...}`.

    Raises:
        WeightsError: no such file, or one that holds other things than tensors.
    """
    return read_bare_or_wrapped(path, "TCL")


def from_official(official: State, clip: State | None, architecture: str = ARCHITECTURE) -> State:
    """The authors' weights and CLIP's towers as one flat state of ours.

    Args:
        official: of `read_official`.
        clip: both towers in open_clip's names; None where `official` holds them.
        architecture: open_clip's name of the towers.

    Returns:
        float32 tensors; shapes are looked at by `restore`.

    Raises:
        WeightsError: tensors are missing or unknown, there are no towers, or `clip` is not what was trained over.
    """
    learned, towers = names_of(architecture)
    has_towers = not official.keys().isdisjoint(towers.values())
    needed = [*learned.values(), *(towers.values() if has_towers else ())]
    require_names("TCL", official, needed, optional=TEMPERATURES.values())
    state = {
        ours: official[theirs].float() for ours, theirs in names_of(architecture).all.items() if theirs in official
    }
    if has_towers:
        state[_CLIP_SCALE] = torch.tensor(_OPENAI_SCALE)
        if clip is not None:
            _require_same_towers(state, clip, towers)
        return state
    if clip is None:
        raise WeightsError(
            "these weights of TCL come without CLIP; what they were trained over has to be given with them, "
            "OpenAI's ViT-B/16 with the released ones"
        )
    return state | {CLIP + name: value.float() for name, value in clip.items()}


def to_official(state: State, architecture: str = ARCHITECTURE) -> State:
    """A state of ours in the authors' names: what is learned, the temperatures, and the towers as in a training run.

    The released file holds only the learned part: the tensors that begin with `masker.`.

    Raises:
        WeightsError: tensors are missing or unknown.
    """
    names = names_of(architecture)
    require_names("this model", state, [*names.learned, *names.towers], optional=[*TEMPERATURES, _CLIP_SCALE])
    return {names.all[name]: value for name, value in state.items() if name in names.all}


def restore(state: State, architecture: str = ARCHITECTURE) -> Restored:
    """Builds the model of a flat state; `losses.*` is left aside.

    Raises:
        WeightsError: tensors are missing, unknown, or of another shape.
    """
    clip = {name.removeprefix(CLIP): value for name, value in state.items() if name.startswith(CLIP)}
    towers = from_state(architecture, clip, quick_gelu=True)  # every CLIP that TCL was published over is OpenAI's
    with Undrawn():
        network = TclNetwork(towers.visual)
    learned = {name: value for name, value in state.items() if not name.startswith((CLIP, LOSSES))}
    wanted = {name: value for name, value in network.state_dict().items() if not name.startswith("visual.")}
    require_tensors("this model", learned, wanted)
    network.load_state_dict(learned, strict=False)
    return Restored(towers, network.eval().requires_grad_(False))


def flat_state(restored: Restored) -> State:
    """Back from a model: the state that `restore` takes."""
    learned = {name: value for name, value in restored.network.state_dict().items() if not name.startswith("visual.")}
    return learned | {CLIP + name: value for name, value in restored.towers.state.items()}


def _require_same_towers(state: State, clip: State, towers: dict[str, str]) -> None:
    """Frozen towers are the same numbers; what may differ is the type that somebody stored them in."""
    for name in towers:
        beside = clip.get(name.removeprefix(CLIP))
        if beside is None or beside.shape != state[name].shape or not _close(state[name], beside):
            raise WeightsError(f"this TCL was trained over another CLIP than the one given: {name} differs")


def _close(ours: Tensor, beside: Tensor) -> bool:
    return torch.allclose(ours, beside.float(), rtol=1e-2, atol=1e-3)
