"""The image pass of `tiny` by the kernel's layers: on a CPU that multiplies float32 fastest."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.device import Execution
from lexiseg_model.kernel.layers import Convolution, Layers, Map, panel
from lexiseg_model.methods.tiny.network import MEAN, STD, ImageFeatures, Residual, TinyNetwork


def suits(execution: Execution) -> bool:
    """Whether the kernel does the pass: on a CPU, where nobody insists on torch's last digits.

    Its float32 is ahead of bfloat16 in vectors, for it takes a quarter of the products. Tiles of bfloat16 (AMX) are
    torch's.
    """
    ahead = execution.dtype == torch.float32 or not torch.cpu._is_amx_tile_supported()
    return execution.device.type == "cpu" and execution.precision == "fast" and ahead and panel() > 0


class CompiledPass:
    """As `TinyNetwork.forward` of a network whose batch norms are in its convolutions; as fp16.

    Takes the weights out of the network, as the kernel keeps them in an order of its own.
    """

    def __init__(self, network: TinyNetwork, lanes: int = 0) -> None:
        self._layers = layers = Layers(panel(lanes))
        pyramid = _trunk(layers, network)
        self._wanted = (_pixels(layers, network, pyramid), *_names(layers, network, *pyramid[-2:]))
        layers.close()
        for name in ("stem", "stages", "context", "lateral", "smooth", "pixel_head", "image_head", "evidence"):
            delattr(network, name)

    def __call__(self, tiles: NDArray[np.uint8], half: bool = True) -> ImageFeatures:
        """Of tiles [N, 3, s, t], all in one call: every return to Python may have to wait for other threads."""
        made = self._layers.run(tiles, self._wanted, torch.get_num_threads(), half)
        pixels, image, cells = (torch.from_numpy(maps).permute(0, 3, 1, 2) for maps in made)
        return ImageFeatures(pixels, image.flatten(1), cells)


def _trunk(layers: Layers, network: TinyNetwork) -> list[Map]:
    maps = layers.of_image(shades(), convolution(network.stem[0]))
    maps = layers.convolve(maps, convolution(network.stem[1]), stride=2)
    pyramid = []
    for stage in network.stages:
        for part in stage.children():
            maps = block(layers, maps, part)
        pyramid.append(maps)
    pyramid[-1] = layers.convolve(layers.beside_mean(maps), convolution(network.context))
    return pyramid


def _pixels(layers: Layers, network: TinyNetwork, pyramid: list[Map]) -> Map:
    decoded = None
    for level in reversed(range(len(pyramid))):
        coarser = None if decoded is None else layers.twice(decoded)
        lateral = layers.convolve(pyramid[level], convolution(network.lateral[level]), add=coarser)
        decoded = layers.convolve(lateral, convolution(network.smooth[level]))
    assert decoded is not None
    return layers.unit(layers.convolve(decoded, convolution(network.pixel_head)))


def _names(layers: Layers, network: TinyNetwork, finer: Map, coarse: Map) -> tuple[Map, Map]:
    """As `TinyNetwork.names` of `named_cells`, whose two parts are multiplied apart instead of laid side by side."""
    hidden, last = (_linear(part) for part in network.image_head if isinstance(part, nn.Linear))
    image = layers.convolve(layers.pool(coarse), hidden._replace(relu=True))
    whole, cells = (convolution(part) for part in network.evidence if isinstance(part, nn.Conv2d))
    of_coarse, of_finer = np.split(whole.filters, [coarse.channels], axis=1)
    evidence = layers.convolve(coarse, Convolution(of_coarse, whole.bias, relu=False))
    evidence = layers.convolve(layers.halve(finer), Convolution(of_finer, 0 * whole.bias), add=evidence)
    return layers.unit(layers.convolve(image, last)), layers.convolve(evidence, cells)


def block(layers: Layers, maps: Map, part: nn.Module) -> Map:
    if not isinstance(part, Residual):
        return layers.convolve(maps, convolution(part), stride=2)
    first = layers.convolve(maps, convolution(part.first))
    return layers.convolve(first, convolution(part.second, relu=True), add=maps)


def shades() -> NDArray[np.float32]:
    """[3, 256]: what the network is given for a byte of each colour."""
    inverse_std = 1 / torch.tensor(STD)
    shades: Tensor = (torch.arange(256.0)[None] - torch.tensor(MEAN)[:, None]) * inverse_std[:, None]
    return shades.numpy()


def convolution(part: nn.Module, relu: bool | None = None) -> Convolution:
    """Of a sequence that begins with a convolution, and may have a ReLU, or of a convolution alone."""
    first, *rest = part if isinstance(part, nn.Sequential) else [part]
    assert isinstance(first, nn.Conv2d)
    assert first.bias is not None, "batch norms are not folded"
    follows = any(isinstance(layer, nn.ReLU) for layer in rest) if relu is None else relu
    return Convolution(first.weight.detach().numpy(), first.bias.detach().numpy(), follows)


def _linear(layer: nn.Linear) -> Convolution:
    """A convolution of one pixel."""
    return Convolution(layer.weight.detach().numpy()[..., None, None], layer.bias.detach().numpy(), relu=False)
