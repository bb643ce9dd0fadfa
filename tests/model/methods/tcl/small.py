"""A TCL network of a few thousand weights, for what does not need CLIP's size."""

from __future__ import annotations

import torch
from open_clip.transformer import VisionTransformer

from lexiseg_model.methods.tcl.grounder import GatedConvolution
from lexiseg_model.methods.tcl.network import TclNetwork

EMBEDDING = 8


def small_network(gate: float = 0.7) -> TclNetwork:
    """Three blocks of width 32 on patches of 16; random, the same each time; gates at `gate`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        visual = VisionTransformer(
            image_size=32, patch_size=16, width=32, layers=3, heads=2, mlp_ratio=2, output_dim=EMBEDDING
        )
        network = TclNetwork(visual.eval())
    for block in network.modules():
        if isinstance(block, GatedConvolution):
            torch.nn.init.constant_(block.gate, gate)
    return network
