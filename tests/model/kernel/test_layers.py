"""Layers of a network, compiled and by torch: alike but for the last digits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.kernel.layers import Convolution, Layers, Map, panel

# Of maps at half of it the sides are whole numbers of tiles, and not; narrower than one; more tiles than a group has.
SIZES = [(32, 32), (6, 18), (2, 4), (50, 34), (4, 128)]


@pytest.fixture(params=[8, 16])
def panels(request: pytest.FixtureRequest) -> int:
    """For each width of vectors that a processor may have, how many channels a panel of filters holds."""
    return panel(request.param) or pytest.skip("this processor has no such vectors")


def convolution(out: int, channels: int, kernel: int, relu: bool = True) -> Convolution:
    torch.manual_seed(out + kernel)
    filters = torch.randn(out, channels, kernel, kernel) * (2 / (kernel * kernel * channels)) ** 0.5
    return Convolution(filters.numpy(), torch.randn(out).numpy(), relu)


def shades() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(3, 256)).astype(np.float32)


def image(size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (3, *size), np.uint8)


def by_torch(maps: Tensor, layer: Convolution, stride: int = 1, add: Tensor | float = 0.0) -> Tensor:
    filters = torch.from_numpy(layer.filters)
    made = F.conv2d(maps, filters, torch.from_numpy(layer.bias), stride, filters.shape[-1] // 2) + add
    return made.relu() if layer.relu else made


def first_maps(size: tuple[int, int], layer: Convolution, stride: int = 2) -> Tensor:
    values = torch.stack(
        [
            torch.from_numpy(row)[torch.from_numpy(plane).long()]
            for row, plane in zip(shades(), image(size), strict=True)
        ]
    )
    return by_torch(values[None], layer, stride)


def compare(
    panels: int,
    size: tuple[int, int],
    channels: int,
    written: Callable[[Layers, Map], Map],
    expected: Callable[[Tensor], Tensor],
    threads: int = 1,
) -> None:
    """What is written down behind a first layer of so many channels, against what torch makes of the same."""
    first = convolution(channels, 3, 3)
    layers = Layers(panels)
    last = written(layers, layers.of_image(shades(), first))
    layers.close()

    (made,) = layers.run(image(size)[None], [last], threads, half=False)

    torch.testing.assert_close(
        torch.from_numpy(made).permute(0, 3, 1, 2), expected(first_maps(size, first)), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("size", SIZES)
def test_an_image_becomes_maps_of_any_number_of_channels(panels: int, size: tuple[int, int]) -> None:
    compare(panels, size, 20, lambda layers, maps: maps, lambda maps: maps)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("channels", [48, 96])
@pytest.mark.parametrize("size", SIZES)
def test_a_block_is_two_convolutions_beside_its_maps(
    panels: int, size: tuple[int, int], channels: int, threads: int
) -> None:
    first, second = convolution(channels, channels, 3), convolution(channels, channels, 3)

    def written(layers: Layers, maps: Map) -> Map:
        return layers.convolve(layers.convolve(maps, first), second, add=maps)

    compare(panels, size, channels, written, lambda maps: by_torch(by_torch(maps, first), second, 1, maps), threads)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_many_channels_go_through_small_tiles(panels: int, size: tuple[int, int], threads: int) -> None:
    layer = convolution(48, 240, 3, relu=False)

    compare(
        panels,
        size,
        240,
        lambda layers, maps: layers.convolve(maps, layer),
        lambda maps: by_torch(maps, layer),
        threads,
    )


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("kernel", "stride", "out"), [(3, 2, 48), (1, 1, 30), (1, 1, 100)])
@pytest.mark.parametrize("size", [(32, 48), (4, 8)])
def test_other_convolutions_go_pixel_by_pixel(
    panels: int, size: tuple[int, int], kernel: int, stride: int, out: int, threads: int
) -> None:
    layer = convolution(out, 48, kernel, relu=out == 30)

    def written(layers: Layers, maps: Map) -> Map:
        return layers.convolve(maps, layer, stride)

    compare(panels, size, 48, written, lambda maps: by_torch(maps, layer, stride), threads)


def test_maps_twice_as_large_are_bilinear(panels: int) -> None:
    compare(
        panels,
        (12, 20),
        48,
        lambda layers, maps: layers.twice(maps),
        lambda maps: F.interpolate(maps, scale_factor=2, mode="bilinear"),
    )


def test_the_mean_of_all_pixels_stands_beside_each(panels: int) -> None:
    compare(
        panels,
        (12, 20),
        48,
        lambda layers, maps: layers.beside_mean(maps),
        lambda maps: torch.cat([maps, maps.mean((2, 3), keepdim=True).expand_as(maps)], 1),
    )


def test_maps_half_as_large_are_means_of_four(panels: int) -> None:
    compare(panels, (12, 20), 48, lambda layers, maps: layers.halve(layers.twice(maps)), twice_and_back)


def twice_and_back(maps: Tensor) -> Tensor:
    return F.avg_pool2d(F.interpolate(maps, scale_factor=2, mode="bilinear"), 2)


def test_all_pixels_become_one_which_layers_go_on_with(panels: int) -> None:
    layer = convolution(30, 96, 1)

    def written(layers: Layers, maps: Map) -> Map:
        return layers.convolve(layers.pool(maps), layer)

    def expected(maps: Tensor) -> Tensor:
        return by_torch(torch.cat([maps.mean((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)], 1), layer)

    compare(panels, (12, 20), 48, written, expected)


def test_pixels_are_brought_to_unit_length(panels: int) -> None:
    compare(panels, (12, 20), 48, lambda layers, maps: layers.unit(maps), lambda maps: F.normalize(maps, dim=1))


def test_parts_of_pixels_are_brought_to_unit_length(panels: int) -> None:
    def expected(maps: Tensor) -> Tensor:
        return torch.cat([F.normalize(part, dim=1) for part in torch.split(maps, 16, 1)], 1)

    compare(panels, (12, 20), 48, lambda layers, maps: layers.unit(maps, 3), expected)


@pytest.mark.parametrize("size", [(32, 48), (3, 5)])
def test_an_image_keeps_all_of_its_pixels(panels: int, size: tuple[int, int]) -> None:
    layer = convolution(20, 3, 3)
    layers = Layers(panels)
    maps = layers.of_image(shades(), layer, stride=1)
    layers.close()

    (made,) = layers.run(image(size)[None], [maps], 1, half=False)

    expected = first_maps(size, layer, 1)
    torch.testing.assert_close(torch.from_numpy(made).permute(0, 3, 1, 2), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_maps_that_are_given_belong_each_to_its_image(panels: int, threads: int) -> None:
    first = convolution(48, 3, 3)
    layers = Layers(panels)
    maps = layers.of_image(shades(), first)
    last = layers.convolve(layers.given(32, 2), convolution(48, 32, 1, relu=False), add=maps)
    layers.close()
    given = np.random.default_rng(2).normal(size=(2, 6, 10, 32)).astype(np.float16)

    (made,) = layers.run(np.stack([image((12, 20))] * 2), [last], threads, half=False, given=given)

    beside = by_torch(torch.from_numpy(given).float().permute(0, 3, 1, 2), convolution(48, 32, 1, relu=False))
    expected = beside + first_maps((12, 20), first)
    torch.testing.assert_close(torch.from_numpy(made).permute(0, 3, 1, 2), expected, rtol=0, atol=1e-4)


def test_weights_begin_with_a_line_of_the_cache(panels: int) -> None:
    layers = Layers(panels)
    layers.convolve(layers.of_image(shades(), convolution(20, 3, 3)), convolution(30, 20, 1))
    layers.close()

    assert layers.weights.ctypes.data % 64 == 0


def test_what_comes_out_depends_neither_on_threads_nor_on_company(panels: int) -> None:
    layers = Layers(panels)
    maps = layers.of_image(shades(), convolution(96, 3, 3))
    last = layers.convolve(layers.convolve(maps, convolution(96, 96, 3)), convolution(96, 96, 3), 2)
    layers.close()
    images = np.stack([image((96, 128)), 255 - image((96, 128)), image((96, 128)) // 2])

    together = [layers.run(images, [maps, last], threads, half=False) for threads in (1, 2, 4)]

    alone = [layers.run(one[None], [maps, last], 1, half=False) for one in images]
    for made in together:
        np.testing.assert_array_equal(made[0], np.concatenate([each[0] for each in alone]))
        np.testing.assert_array_equal(made[1], np.concatenate([each[1] for each in alone]))


def test_numbers_of_two_bytes_are_those_of_four_rounded(panels: int) -> None:
    layers = Layers(panels)
    maps = layers.of_image(shades(), convolution(30, 3, 3))
    layers.close()

    short, long = (layers.run(image((10, 6))[None], [maps], 2, half)[0] for half in (True, False))

    assert short.dtype == np.float16
    np.testing.assert_array_equal(short, long.astype(np.float16))


def test_no_image_has_no_maps(panels: int) -> None:
    layers = Layers(panels)
    maps = layers.of_image(shades(), convolution(30, 3, 3))
    layers.close()

    assert layers.run(np.zeros((0, 3, 8, 8), np.uint8), [maps], 2, half=True)[0].shape == (0, 4, 4, 30)


def test_maps_that_are_read_again_are_kept_and_others_make_way(panels: int) -> None:
    layers = Layers(panels)
    first = layers.of_image(shades(), convolution(48, 3, 3))
    maps = first
    for _ in range(6):
        maps = layers.convolve(maps, convolution(48, 48, 1))
    last = layers.convolve(maps, convolution(48, 48, 1), add=first)
    layers.close()
    expected = first_maps((16, 16), convolution(48, 3, 3))

    kept, _ = layers.run(image((16, 16))[None], [first, last], 1, half=False)

    torch.testing.assert_close(torch.from_numpy(kept).permute(0, 3, 1, 2), expected, rtol=0, atol=1e-4)
    assert layers.numbers((16, 16), [first, last]) == 3 * kept.size


def test_wider_vectors_than_there_are_have_no_panels() -> None:
    assert panel(32) == 0
