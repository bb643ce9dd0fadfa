"""How large the learned part is, read off its weights: any size that was trained can be restored and served."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.unpair_seg.names import OURS, depth_of


class Sizes(NamedTuple):
    """Of `network.PromptableMasks`; the defaults are those of the published model."""

    channels: tuple[int, ...] = (192, 384, 768, 1536)  # of CLIP's maps at strides 4, 8, 16, 32
    width: int = 256
    heads: int = 8
    encoder_layers: int = 6
    encoder_feed_forward: int = 1024
    decoder_layers: int = 9
    decoder_feed_forward: int = 2048


PUBLISHED = Sizes()

NUMBERS_OF_A_HEAD = 3 * 4 * 2  # its offsets: levels x points x (x, y)
GROUPS = 32  # of the norms, by which the width divides


def sizes_of(state: Mapping[str, Tensor], called: Mapping[str, str] = MappingProxyType({})) -> Sizes:
    """The sizes of a state dict of `PromptableMasks`.

    What is no size here follows from these, and is compared when a network is filled.

    Args:
        state: of the module.
        called: other names that tensors of it are told of by.

    Raises:
        WeightsError: a tensor that tells a size is missing, or tells one that cannot be.
    """
    depth = depth_of(state, OURS)

    def shape(name: str, axes: int) -> tuple[int, ...]:
        tensor, name_in_file = state.get(name), called.get(name, name)
        if tensor is None:
            raise WeightsError(f"not the weights of this model: missing {name_in_file}")
        if tensor.ndim != axes:
            raise WeightsError(f"{name_in_file} is {list(tensor.shape)}; expected {axes} axes")
        return tuple(tensor.shape)

    width, fine = shape("pixel_decoder.lateral.conv.weight", 4)[:2]
    coarse = [shape(f"pixel_decoder.inputs.{index}.0.weight", 4)[1] for index in (2, 1, 0)]
    heads = shape("pixel_decoder.layers.0.attention.offsets.bias", 1)[0] // NUMBERS_OF_A_HEAD
    if width % GROUPS or not heads or width % heads:
        raise WeightsError(f"a width of {width} with {heads} heads; expected one that divides by {GROUPS} and by these")
    return Sizes(
        (fine, *coarse),
        width,
        heads,
        depth.encoder,
        shape("pixel_decoder.layers.0.up.bias", 1)[0],
        depth.decoder,
        shape("mask_decoder.layers.0.up.bias", 1)[0],
    )
