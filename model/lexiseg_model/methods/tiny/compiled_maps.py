"""The maps that all prompts about an image share, by the kernel's layers: on a CPU that multiplies float32 fastest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.kernel.layers import Convolution, Layers, Map, panel
from lexiseg_model.methods.tiny.compiled_pass import block, convolution, shades
from lexiseg_model.methods.tiny.network import EMBEDDING
from lexiseg_model.methods.tiny.prompt_head import SharedMaps, SharedNetwork
from lexiseg_model.methods.tiny.prompt_maps import HEADS


class CompiledMaps:
    """As `SharedNetwork.forward` of one image, by a network whose batch norms are in its convolutions.

    Takes the weights out of the network, as the kernel keeps them in an order of its own.
    """

    def __init__(self, network: SharedNetwork, lanes: int = 0) -> None:
        self._layers = layers = Layers(panel(lanes))
        colours = layers.of_image(shades(), convolution(network.colours[0]), stride=1)
        colours = layers.convolve(colours, convolution(network.colours[1]), stride=2)
        pixels = layers.given(EMBEDDING, stride=2)
        pyramid = [_stem(layers, network, pixels, colours)]
        for stage in (network.eighth, network.sixteenth, network.whole):
            maps = pyramid[-1]
            for part in stage.children():
                maps = block(layers, maps, part)
            pyramid.append(maps)
        coarse, mid, fine = _levels(layers, network, pyramid)
        self._wanted = (
            layers.convolve(fine, convolution(network.fine)),
            layers.convolve(mid, convolution(network.mid)),
            layers.convolve(coarse, convolution(network.coarse)),
            layers.unit(layers.convolve(mid, convolution(network.grouping)), HEADS),
            layers.unit(layers.halve(pixels)),
        )
        layers.close()
        for name, _ in list(network.named_children()):
            delattr(network, name)

    def __call__(self, pixels: Tensor, guide: Tensor) -> SharedMaps:
        """Of embeddings [96, h, w] float16 and the picture in bytes [3, 2h, 2w]; laid out as prompts read them."""
        given = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())[None]
        threads = torch.get_num_threads()
        made = self._layers.run(guide.numpy()[None], self._wanted, threads, half=False, given=given)
        fine, mid, coarse, grouping, unit = (torch.from_numpy(maps).permute(0, 3, 1, 2) for maps in made)
        return SharedMaps(fine.contiguous(), mid, coarse, grouping.contiguous(), unit)


def _stem(layers: Layers, network: SharedNetwork, pixels: Map, colours: Map) -> Map:
    """Of both beside each other, which are multiplied apart; embeddings are unit vectors (`SharedNetwork.forward`)."""
    whole = convolution(network.stem)
    of_pixels, of_colours = np.split(whole.filters, [EMBEDDING], axis=1)
    seen = layers.convolve(colours, Convolution(of_colours, 0 * whole.bias, relu=False))
    return layers.convolve(pixels, whole._replace(filters=of_pixels * np.float32(EMBEDDING**0.5)), add=seen)


def _levels(layers: Layers, network: SharedNetwork, pyramid: list[Map]) -> list[Map]:
    """At strides 16, 8 and 4."""
    decoded = layers.convolve(pyramid[3], convolution(network.lateral[3]))
    levels = []
    for level in (2, 1, 0):
        lateral = layers.convolve(pyramid[level], convolution(network.lateral[level]), add=layers.twice(decoded))
        decoded = layers.convolve(lateral, convolution(network.smooth[level]))
        levels.append(decoded)
    return levels
