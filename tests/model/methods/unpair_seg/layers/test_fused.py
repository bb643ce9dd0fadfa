"""The layout in which the fused kernel is called, by a stand-in that computes the operator from its documentation."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch
from torch import Tensor

from lexiseg_model.methods.unpair_seg.layers import fused
from lexiseg_model.methods.unpair_seg.layers.deformable import DeformableAttention, sample_levels
from lexiseg_model.methods.unpair_seg.layers.positions import cell_centres

SIZES = [(2, 3), (4, 6)]
CELLS = 2 * 3 + 4 * 6


class Documented:
    """mmcv's operator as its documentation has it, one place after the other."""

    @staticmethod
    def apply(
        value: Tensor, shapes: Tensor, firsts: Tensor, places: Tensor, weights: Tensor, im2col_step: int
    ) -> Tensor:
        n, _, heads, depth = value.shape
        _, n_queries, _, n_levels, n_points, _ = places.shape
        assert shapes.dtype == firsts.dtype == torch.int64
        assert all(each.is_contiguous() for each in (value, places, weights))
        assert n % min(n, im2col_step) == 0
        out = torch.zeros(n, n_queries, heads, depth)
        for level in range(n_levels):
            height, width = (int(side) for side in shapes[level])
            cells = value[:, int(firsts[level]) : int(firsts[level]) + height * width]
            maps = cells.reshape(n, height, width, heads, depth)
            for point in range(n_points):
                x = places[:, :, :, level, point, 0] * width - 0.5
                y = places[:, :, :, level, point, 1] * height - 0.5
                for row in range(height):
                    for column in range(width):
                        near = (1 - (x - column).abs()).clamp(min=0) * (1 - (y - row).abs()).clamp(min=0)
                        share = (near * weights[:, :, :, level, point])[..., None]
                        out += share * maps[:, row, column][:, None]
        return out.flatten(2)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if mmcv were installed."""
    for name in ("mmcv", "mmcv.ops", "mmcv.ops.multi_scale_deform_attn"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(module, "MultiScaleDeformableAttnFunction", Documented, raising=False)
    fused.kernel.cache_clear()
    yield
    fused.kernel.cache_clear()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("images", [1, 3])
def test_the_kernel_gets_what_its_documentation_asks_for(images: int) -> None:
    torch.manual_seed(0)
    values = torch.randn(images, CELLS, 2, 5)
    places = torch.rand(images, 4, 2, len(SIZES), 3, 2) * 1.4 - 0.2
    weights = torch.rand(images, 4, 2, len(SIZES), 3)

    found = fused.sample_levels(values, SIZES, places, weights)

    torch.testing.assert_close(found, sample_levels(values, SIZES, places, weights))


@pytest.mark.usefixtures("installed")
def test_attention_over_the_kernel_is_attention_in_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = DeformableAttention(width=16, heads=4, levels=2, points=2)
    torch.nn.init.normal_(attention.offsets.weight)
    cells = torch.randn(2, CELLS, 16)
    references = torch.cat([cell_centres(*size) for size in SIZES])
    plain = attention(cells, references, cells, SIZES)

    monkeypatch.setattr(fused, "takes", lambda values: True)

    torch.testing.assert_close(attention(cells, references, cells, SIZES), plain)


@pytest.mark.usefixtures("installed")
def test_the_kernel_is_left_alone_on_a_cpu() -> None:
    assert fused.kernel() is Documented
    assert not fused.takes(torch.zeros(1))


def test_an_installation_without_the_operator_is_told_once_and_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lite = ModuleType("mmcv")
    lite.__spec__ = ModuleSpec("mmcv", None)
    lite.__path__ = []  # a package without its operators
    monkeypatch.setitem(sys.modules, "mmcv", lite)
    fused.kernel.cache_clear()

    with caplog.at_level(logging.WARNING, "lexiseg.unpair_seg"):
        found = [fused.kernel(), fused.kernel()]
    fused.kernel.cache_clear()

    assert found == [None, None]
    assert len(caplog.records) == 1
    assert "plain torch does it" in caplog.text
