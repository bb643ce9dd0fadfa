"""Wider weights of `tiny` that answer as the narrower ones they begin with, and learn from there.

New numbers of images are zero; texts' are small and random: if both were zero, neither would have a gradient.
"""

from __future__ import annotations

import torch

from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.prompt_head import PromptHead

TEXT_SHARE = 0.03  # length of a text's new numbers, relative to the old ones: cosines change by 0.05 %
OF_HEAD = ("shared.stem.0.weight", "of_lone.seen.weight", "of_sure.seen.weight")  # layers that read embeddings


def widened(network: TinyNetwork, embedding: int) -> TinyNetwork:
    """A network with wider embeddings and the path past the decoder. Raises ValueError: the network is wider."""
    old = network.embedding
    if embedding < old:
        raise ValueError(f"embedding={embedding}: the weights to begin with are {old} wide")
    wide = TinyNetwork(embedding, has_shortcut=True)
    narrow = network.state_dict()
    for name, value in wide.state_dict().items():
        if name in narrow:  # all but the path past the decoder, which adds nothing
            value.zero_()
            value[tuple(slice(size) for size in narrow[name].shape)] = narrow[name]
    if embedding > old:
        projection = wide.text_projection.weight.data
        length = projection[:old].square().mean().sqrt() * TEXT_SHARE * (old / (embedding - old)) ** 0.5
        projection[old:] = torch.randn_like(projection[old:]) * length
    return wide


def widened_head(head: PromptHead, embedding: int) -> PromptHead:
    """A prompt head that reads embeddings of that width, the new numbers with zero weight."""
    old, wide = head.embedding, PromptHead(embedding)
    tensors = head.state_dict()
    factor = (old / embedding) ** 0.5  # the head scales unit vectors by the root of their width
    for name in OF_HEAD:
        # Columns of the embedding lie between others in `seen`, and before the colours in `stem`.
        first = 0 if "stem" in name else tensors[name].shape[1] - old - 3
        before, own, behind = tensors[name].tensor_split((first, first + old), dim=1)
        new = own.new_zeros(len(own), embedding - old, *own.shape[2:])
        tensors[name] = torch.cat([before, factor * own, new, behind], 1)
    wide.load_state_dict(tensors)
    return wide
