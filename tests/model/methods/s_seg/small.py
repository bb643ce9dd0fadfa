"""A network of the same make as S-Seg's, small enough to be built and trained in tests."""

from __future__ import annotations

import torch

from model.methods.s_seg.network import SSegNetwork
from model.methods.s_seg.settings import SSegSettings

SMALL = SSegSettings(
    backbone="test_resnet",
    drop_path=None,
    n_queries=6,
    decoder_layers=2,
    dropout=0.0,
    text_layers=1,
    text_width=64,
    embedding=16,
    projector_hidden=32,
    window=64,
    stride=32,
)


def small_network(settings: SSegSettings = SMALL, seed: int = 0) -> SSegNetwork:
    """Fresh weights, the same for the same seed; in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SSegNetwork(settings).eval()
