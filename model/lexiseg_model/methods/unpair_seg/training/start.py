"""The frozen CLIP that both stages work over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lexiseg_model.clip.towers import ClipTowers, configuration, from_files, from_hub
from lexiseg_model.methods.unpair_seg.layers.adapter import RegionAdapter
from lexiseg_model.methods.unpair_seg.layers.trunk import ClipTrunk
from lexiseg_model.methods.unpair_seg.network import PromptableMasks
from lexiseg_model.methods.unpair_seg.sizes import Sizes
from lexiseg_model.methods.unpair_seg.training.recipe import AlignRecipe, MasksRecipe


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
    from open_clip import CLIP  # it can be imported once lexiseg_model.clip was

    config = configuration(architecture)
    config["vision_cfg"]["timm_model_pretrained"] = False
    with torch.device("meta"):
        return ClipTrunk(CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"]).visual)


def masks_in_form(recipe: MasksRecipe) -> PromptableMasks:
    """What stage one trains, with random values; errors as `trunk_in_form`."""
    return PromptableMasks(sizes_over(trunk_in_form(recipe.architecture), recipe))


def adapter_in_form(recipe: AlignRecipe) -> RegionAdapter:
    """What stage two trains, over stage one of the published width; errors as `trunk_in_form`."""
    size = recipe.adapter
    return RegionAdapter(trunk_in_form(recipe.architecture).channels, width=size.width, blocks=size.blocks)


def sizes_over(trunk: ClipTrunk, recipe: MasksRecipe) -> Sizes:
    """Of the learned part of stage one over a tower."""
    size = recipe.size
    return Sizes(
        trunk.channels,
        size.width,
        size.heads,
        size.encoder_layers,
        size.encoder_feed_forward,
        size.decoder_layers,
        size.decoder_feed_forward,
    )
