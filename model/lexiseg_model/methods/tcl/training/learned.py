"""Trained part of TCL: grounder, mask scale and temperatures from the start, the copy of CLIP's block later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lexiseg_model.clip.towers import ClipTowers, fresh_model
from lexiseg_model.clip.vision import require_plain_vit
from lexiseg_model.methods.tcl.checkpoint import LOSSES, State, prefixes_of, to_official
from lexiseg_model.methods.tcl.grounder import STRIDE, logistic_noise
from lexiseg_model.methods.tcl.network import TclNetwork
from lexiseg_model.methods.tcl.training.losses import Losses, TclLosses
from lexiseg_model.methods.tcl.training.recipe import LossSettings, TclRecipe

NOISE = 5  # number of the random stream, distinct from those of `lexiseg_model.data.pairs.stream`


class Learned(nn.Module):
    """All parameters that training changes; `flat` converts their names to those of a flat state.

    The image tower is used but not a submodule, so it is neither saved, averaged nor counted.
    """

    def __init__(self, network: TclNetwork, settings: LossSettings) -> None:
        super().__init__()
        self.grounder = network.grounder
        # Not named `sim2mask.bias`: both decay in the authors' training, and names with `bias` do not decay here.
        self.mask_scale, self.mask_offset = network.sim2mask.scale, network.sim2mask.bias
        self.losses = TclLosses(settings)
        self._over = (network,)  # a tuple, so that it does not become a submodule

    def begin(self, block: bool) -> None:
        """Set whether the copy of CLIP's last block learns; otherwise it has no gradients and no decay."""
        self.grounder.block.requires_grad_(block)

    def forward(self, images: Tensor, texts: Tensor, noise: Tensor) -> Losses:
        """Losses of one step; arguments as in `TclLosses.forward`."""
        losses: Losses = self.losses(self._over[0], images, texts, noise)
        return losses

    def trained(self) -> Iterator[nn.Parameter]:
        """Parameters that currently learn."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)


def untrained(recipe: TclRecipe) -> Learned:
    """Untrained part of a recipe on the meta device.

    Raises:
        OptionError: TCL does not support the architecture.
    """
    prefixes_of(recipe.architecture)
    with torch.device("meta"):
        towers = ClipTowers(fresh_model(recipe.architecture, quick_gelu=True), recipe.architecture, quick_gelu=True)
        return Learned(TclNetwork(require_plain_vit(towers.visual)), recipe.loss)


def noise_of(seed: int, positions: Sequence[int], images: Tensor) -> Tensor:
    """Noise [B, H/4, W/4] of hard masks, determined by seed and position in every process."""
    height, width = (side // STRIDE for side in images.shape[-2:])
    uniform = np.stack(
        [np.random.default_rng([seed, NOISE, position]).random((height, width), np.float32) for position in positions]
    )
    edge = float(np.finfo(np.float32).eps)
    return logistic_noise(torch.from_numpy(uniform.clip(edge, 1 - edge))).to(images.device)


def flat(learned: State) -> State:
    """State of `Learned` under the names of a flat state: `grounder.*`, `sim2mask.*`, `losses.*`."""
    names = {"mask_scale": "sim2mask.scale", "mask_offset": "sim2mask.bias"}
    return {names.get(name, name): value for name, value in learned.items()}


def official_names(learned: State, architecture: str) -> State:
    """State of `Learned`, without temperatures, under the names of the released file."""
    ours = {name: value for name, value in flat(learned).items() if not name.startswith(LOSSES)}
    return to_official(ours, architecture)
