"""Conversion between the authors' `tcl.pth` and our flat state dict, in both directions.

The authors' file is `{"model": ...}` with 37 learned tensors over OpenAI's CLIP; checkpoints of their training hold the
frozen towers and two temperatures as well. Ours has `clip.*`, `grounder.*`, `sim2mask.*`, and `losses.*` if there are
temperatures.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from lexiseg_model.catalogue.weights import SkipInit, require_prefixes, require_tensors, under
from lexiseg_model.clip.checkpoint import require_same_towers
from lexiseg_model.clip.towers import ClipTowers, clip_from_state, configuration
from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.methods.tcl.network import ARCHITECTURE, PATCH, STAGES, TclNetwork

State = dict[str, Tensor]

CLIP, LOSSES = "clip.", "losses."  # our prefixes, with `grounder.` and `sim2mask.`

_CLIP_SCALE = "clip.logit_scale"  # not in TCL's files, which have their own temperatures
_OPENAI_SCALE = math.log(100.0)  # OpenAI's final value, the upper bound

ENCODER, DECODER = "masker.image_encoder.", "masker.image_encoder.decoder."
Prefixes = list[tuple[str, str]]


@cache
def prefixes_of(architecture: str) -> Prefixes:
    """Prefixes of names, the authors' and ours; the first match applies. The learned block has the last one's
    number."""
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
        # In TCL the end of CLIP's image tower is a separate module.
        ("clip_image_encoder.clip_proj.ln.", "clip.visual.ln_post."),
        ("clip_image_encoder.clip_proj.proj", "clip.visual.proj"),
        ("clip_image_encoder.clip_visual.", "clip.visual."),
        ("clip_text_encoder.", CLIP),
    ]


class Restored(NamedTuple):
    """A model in evaluation mode; `network` shares its image tower with `towers`."""

    towers: ClipTowers
    network: TclNetwork


def from_official(official: State, clip: State | None, architecture: str = ARCHITECTURE) -> State:
    """The authors' state dict and CLIP's towers as our flat state, float32; `clip` is None if `official` has them."""
    state = {name: value.float() for name, value in _renamed(official, prefixes_of(architecture)).items()}
    if any(name.startswith(CLIP) for name in state):
        state[_CLIP_SCALE] = torch.tensor(_OPENAI_SCALE)
        if clip is not None:
            towers = under(CLIP, state)
            del towers["logit_scale"]
            require_same_towers(towers, clip)
        return state
    if clip is None:
        raise WeightsError(
            "these weights of TCL come without CLIP; what they were trained over has to be given with them, "
            "OpenAI's ViT-B/16 with the released ones"
        )
    return state | {CLIP + name: value.float() for name, value in clip.items()}


def to_official(state: State, architecture: str = ARCHITECTURE) -> State:
    """Convert our flat state to the authors' names; the released file has only the learned part, `masker.`."""
    back = [(ours, theirs) for theirs, ours in prefixes_of(architecture)]
    return _renamed({name: value for name, value in state.items() if name != _CLIP_SCALE}, back)


def _renamed(state: State, prefixes: Prefixes) -> State:
    require_prefixes("TCL", state, [theirs for theirs, _ in prefixes])
    pairs = {name: next(pair for pair in prefixes if name.startswith(pair[0])) for name in state}
    return {pair[1] + name.removeprefix(pair[0]): state[name] for name, pair in pairs.items()}


def restore(state: State, architecture: str = ARCHITECTURE) -> Restored:
    """Build the model of a flat state; `losses.*` is ignored."""
    towers = clip_from_state(architecture, under(CLIP, state), quick_gelu=True)  # TCL is published over OpenAI's CLIP
    with SkipInit():
        network = TclNetwork(towers.visual)
    learned = {name: value for name, value in state.items() if not name.startswith((CLIP, LOSSES))}
    expected = {name: value for name, value in network.state_dict().items() if not name.startswith("visual.")}
    require_tensors("this model", learned, expected)
    network.load_state_dict(learned, strict=False)
    return Restored(towers, network.eval().requires_grad_(False))
