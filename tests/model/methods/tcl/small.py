"""A TCL network of a few thousand weights."""

import torch
from open_clip.transformer import VisionTransformer

from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.methods.tcl.checkpoint import Restored
from lexiseg_model.methods.tcl.network import GatedConvolution, TclNetwork, TclSettings
from lexiseg_model.methods.tcl.segmenter import TclSegmenter
from lexiseg_model.resources.device import Execution
from lexiseg_model.types import Precision
from tests.model.clip import small

EMBEDDING = 8
SETTINGS = TclSettings(window=32, stride=16)


def small_network(embedding: int = EMBEDDING, layers: int = 3) -> TclNetwork:
    """Blocks of width 32 on patches of 16; random, the same each time; gates half open."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        visual = VisionTransformer(
            image_size=32, patch_size=16, width=32, layers=layers, heads=2, mlp_ratio=2, output_dim=embedding
        )
        network = TclNetwork(visual.eval())
    for block in network.modules():
        if isinstance(block, GatedConvolution):
            torch.nn.init.constant_(block.gate, 0.7)
    return network


def segmenter(precision: Precision = "exact") -> TclSegmenter:
    """The whole model over it, with the text tower of a small CLIP."""
    card = catalogue.read_card(catalogue.bundled()["tcl"]).model_copy(
        update={
            "input": InputSize(short_side=48, long_side=160, multiple=16),
            "settings": SETTINGS.model_dump(mode="json"),
            "embedding": 16,
        }
    )
    restored = Restored(small.towers(), small_network(embedding=16).requires_grad_(False))
    return TclSegmenter(restored, SETTINGS, card, "small", Execution(torch.device("cpu"), precision))
