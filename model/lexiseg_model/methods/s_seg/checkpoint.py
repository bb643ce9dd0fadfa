"""S-Seg networks from checkpoints; sizes follow from the weights.

Names: `sem_seg_head.` (MaskFormer's names), `backbone.body.` (timm's), `backbone.norms.`, `text.` (open_clip's),
`image_projector.`, `text_projector.` and `contrast.log_scale`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from torch import Tensor

from lexiseg_model.catalogue.weights import for_inference, names_in_network, naming_files
from lexiseg_model.clip.checkpoint import read_tensors
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.methods.s_seg.settings import SSegSettings

HEAD = "sem_seg_head."
CLASS_HEAD = f"{HEAD}predictor.class_embed."  # of MaskFormer, not in S-Seg
DECODER_LAYER = re.compile(re.escape(f"{HEAD}predictor.transformer.decoder.layers.") + r"(\d+)\.")
TEXT_LAYER = re.compile(r"text\.transformer\.resblocks\.(\d+)\.")


class Trained(NamedTuple):
    """Weights of a network, and the settings that its sizes give."""

    state: dict[str, Tensor]
    settings: SSegSettings


def read_trained(path: Path, backbone: str | None = None) -> Trained:
    """Read the network of a training checkpoint, bare or under `model`, without the state of the training.

    Args:
        path: safetensors, or a torch file of plain tensors.
        backbone: timm's name, which the weights do not show; None for the published Swin-S.

    Raises:
        WeightsError: the file is missing, or its weights are not those of S-Seg over that backbone.
        OptionError: timm has no such backbone, or it lacks the levels that S-Seg needs.
    """
    saved = read_tensors(path)
    named_in = names_in_network(saved)
    state = {name: saved[outer] for outer, name in named_in.items() if not name.startswith(CLASS_HEAD)}
    named = {} if backbone is None else {"backbone": backbone}
    with naming_files(path):
        settings = _settings(named | _sizes(state))
        return Trained(dict(restore(state, settings).state_dict()), settings)


def restore(state: dict[str, Tensor], settings: SSegSettings) -> SSegNetwork:
    """Build the network of a flat state, in evaluation mode and without gradients.

    Raises:
        WeightsError: tensors are missing, unknown, or of the wrong shape.
        OptionError: as `Pyramid`.
    """
    return for_inference(SSegNetwork(settings), f"S-Seg over {settings.backbone}", state)


def _sizes(state: dict[str, Tensor]) -> dict[str, Any]:
    """Settings that follow from the weights; dropout and drop path are 0, as they apply to training only."""
    try:
        return {
            "n_queries": len(state[f"{HEAD}predictor.query_embed.weight"]),
            "mask_width": state[f"{HEAD}predictor.query_embed.weight"].shape[1],
            "decoder_layers": _count(DECODER_LAYER, state),
            "text_layers": _count(TEXT_LAYER, state),
            "text_width": state["text.token_embedding.weight"].shape[1],
            "embedding": len(state["image_projector.second.weight"]),
            "projector_hidden": len(state["image_projector.first.weight"]),
            "drop_path": None,
            "dropout": 0.0,
        }
    except KeyError as error:
        raise WeightsError(f"not the weights of S-Seg: no {error.args[0]}") from None


def _settings(named: dict[str, Any]) -> SSegSettings:
    try:
        return SSegSettings(**named)
    except ValidationError as error:
        raise WeightsError(f"not the sizes of an S-Seg: {error}") from None


def _count(layer: re.Pattern[str], state: dict[str, Tensor]) -> int:
    return 1 + max((int(match[1]) for match in map(layer.match, state) if match), default=0)
