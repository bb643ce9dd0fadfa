"""The frozen CLIP that both stages work over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import open_clip
import torch

from lexiseg_model.clip.towers import ClipTowers, configuration, from_files, from_hub
from lexiseg_model.methods.unpair_seg.layers.trunk import ClipTrunk


def frozen_towers(architecture: str, files: Sequence[Path], tag: str) -> ClipTowers:
    """Of files, or of the hub where none is named.

    Raises:
        OptionError: open_clip knows no such architecture or tag.
        WeightsError: the weights cannot be had, or are of another architecture.
    """
    if files:
        return from_files(architecture, tuple(files), quick_gelu=False)
    return from_hub(architecture, tag, quick_gelu=False)


def trunk_in_form(architecture: str) -> ClipTrunk:
    """An image tower without values: sizes can be read off it at once.

    Raises:
        OptionError: open_clip knows no such architecture.
        WeightsError: it is no ConvNeXt.
    """
    config = configuration(architecture)
    config["vision_cfg"]["timm_model_pretrained"] = False
    with torch.device("meta"):
        return ClipTrunk(
            open_clip.CLIP(
                embed_dim=config["embed_dim"], vision_cfg=config["vision_cfg"], text_cfg=config["text_cfg"]
            ).visual
        )
