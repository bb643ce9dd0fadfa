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

from lexiseg_model.catalogue.weights import SkipInit, require_names, require_tensors, under
from lexiseg_model.clip.checkpoint import read_bare_or_wrapped, require_same_towers
from lexiseg_model.clip.towers import ClipTowers, configuration, from_state
from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.methods.tcl.blend import ARCHITECTURE
from lexiseg_model.methods.tcl.grounder import STAGES
from lexiseg_model.methods.tcl.network import PATCH, TclNetwork

State = dict[str, Tensor]

CLIP, LOSSES = "clip.", "losses."  # our prefixes, beside `grounder.` and `sim2mask.`

_CLIP_SCALE = "clip.logit_scale"  # TCL drops it, having temperatures of its own
_OPENAI_SCALE = math.log(100.0)  # where OpenAI's training ended, at its upper bound


ENCODER, DECODER = "masker.image_encoder.", "masker.image_encoder.decoder."
Prefixes = list[tuple[str, str]]


@cache
def prefixes_of(architecture: str = ARCHITECTURE) -> Prefixes:
    """How names begin, theirs and ours, over that CLIP; the first that fits counts.

    The authors number CLIP's blocks, and the learned copy of the last one has its number.

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
    stages = [
        (f"{DECODER}decoder.net.{stage}.{theirs}", f"grounder.stages.{stage}.{ours}")
        for stage in range(STAGES)
        for theirs, ours in (
            ("conv.gate.gate", "first.gate"),
            ("conv.", "first."),
            ("conv2.gate.gate", "second.gate"),
            ("conv2.", "second."),
        )
    ]
    return [
        (f"{ENCODER}backbone.transformer.resblocks.{vision['layers'] - 1}.", "grounder.block."),
        *stages,
        (f"{DECODER}image_proj.ln.", "grounder.projection.norm."),
        (f"{DECODER}image_proj.proj", "grounder.projection.matrix"),
        ("masker.sim2mask.w", "sim2mask.scale"),
        ("masker.sim2mask.b", "sim2mask.bias"),
        ("tcli_loss.logit_scale", "losses.image_contrast.log_scale"),
        ("tclf_loss.logit_scale", "losses.feature_contrast.log_scale"),
        # The end of CLIP's image tower is a module of its own in TCL.
        ("clip_image_encoder.clip_proj.ln.", "clip.visual.ln_post."),
        ("clip_image_encoder.clip_proj.proj", "clip.visual.proj"),
        ("clip_image_encoder.clip_visual.", "clip.visual."),
        ("clip_text_encoder.", CLIP),
    ]


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
        float32 tensors; what is missing, and shapes, are looked at by `restore`.

    Raises:
        WeightsError: tensors are unknown, there are no towers, or `clip` is not what was trained over.
    """
    state = {name: value.float() for name, value in _renamed(official, prefixes_of(architecture)).items()}
    if any(name.startswith(CLIP) for name in state):
        state[_CLIP_SCALE] = torch.tensor(_OPENAI_SCALE)
        if clip is not None:
            require_same_towers(
                {name: value for name, value in under(CLIP, state).items() if name != "logit_scale"}, clip
            )
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
        WeightsError: tensors are unknown.
    """
    back = [(ours, theirs) for theirs, ours in prefixes_of(architecture)]
    return _renamed({name: value for name, value in state.items() if name != _CLIP_SCALE}, back)


def _renamed(state: State, prefixes: Prefixes) -> State:
    found = {name: next((pair for pair in prefixes if name.startswith(pair[0])), None) for name in state}
    require_names("TCL", state, [name for name, pair in found.items() if pair is not None])
    return {pair[1] + name.removeprefix(pair[0]): state[name] for name, pair in found.items() if pair is not None}


def restore(state: State, architecture: str = ARCHITECTURE) -> Restored:
    """Builds the model of a flat state; `losses.*` is left aside.

    Raises:
        WeightsError: tensors are missing, unknown, or of another shape.
    """
    towers = from_state(
        architecture, under(CLIP, state), quick_gelu=True
    )  # every CLIP that TCL was published over is OpenAI's
    with SkipInit():
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
