"""A network like S-Seg's that is built and trained within a test."""

import torch

from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.methods.s_seg.segmenter import SSegSegmenter
from lexiseg_model.methods.s_seg.settings import SSegSettings
from lexiseg_model.resources.device import Execution
from lexiseg_model.types import Precision

SMALL = SSegSettings(
    backbone="test_resnet", drop_path=None, n_queries=6, decoder_layers=2, dropout=0.0, text_layers=1, text_width=64,
    embedding=16, projector_hidden=32,
)  # fmt: skip
CARD = catalogue.read_card(catalogue.bundled()["s-seg"]).model_copy(
    update={
        "settings": SMALL.model_dump(mode="json"),
        "embedding": SMALL.embedding,
        "input": InputSize(short_side=64, long_side=160, multiple=32),
    }
)


def small_network(settings: SSegSettings = SMALL) -> SSegNetwork:
    """Fresh weights, the same each time; in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SSegNetwork(settings).eval()


def small_segmenter(settings: SSegSettings = SMALL, precision: Precision = "exact") -> SSegSegmenter:
    """Of a small network, which is its own."""
    network = small_network(settings).requires_grad_(False)
    return SSegSegmenter(network, settings, CARD, "small", Execution(torch.device("cpu"), precision))
