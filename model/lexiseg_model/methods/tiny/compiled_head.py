"""The prompt head's answers by the kernel: on a CPU that multiplies float32 in vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lexiseg_model.kernel import prompts
from lexiseg_model.kernel.prompts import ATTENDED, FINE, MOST, Floats, Shared, Weights, laid_out, square
from lexiseg_model.methods.tiny.network import EMBEDDING, Residual
from lexiseg_model.methods.tiny.prompt_head import Context, MaskAnswers, MaskOutput, PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import LONE
from lexiseg_model.methods.tiny.proposals.windows import Windows


class CompiledAnswers:
    """As `PromptHead.lone` and `sure` from what the prompts say, of a head whose batch norms are folded where they can
    be. Outside of gradients."""

    def __init__(self, head: PromptHead) -> None:
        body = laid_out(_body(head))
        self._lone = Weights(_filters(head, LONE), body, laid_out(_output(head.of_lone)))
        self._sure = Weights(_filters(head, None), body, laid_out(_output(head.of_sure)))

    def lone(self, said: Tensor, shared: SharedMaps, where: Windows | None = None) -> MaskAnswers:
        """Of one image: said [1, N, len(LONE), h, w] of the cells of `where`; of all by default."""
        return _answers(said, shared, self._lone, MOST, where)

    def sure(self, said: Tensor, shared: SharedMaps) -> MaskAnswers:
        """Of one image: said [1, N, CHANNELS, h, w]."""
        return _answers(said, shared, self._sure, 1, None)


def answering(head: PromptHead) -> PromptHead:
    """Has the kernel answer where it can, on a CPU in float32; in place. `head` does nothing else from here on."""
    weight = head.first.weight
    if weight.device.type == "cpu" and weight.dtype == torch.float32 and prompts.fit():
        head.compiled = CompiledAnswers(head)
    return head


def as_read(shared: SharedMaps) -> SharedMaps:
    """Maps laid out as the kernel reads them for every prompt."""
    mid, coarse, pixels = (
        part.contiguous(memory_format=torch.channels_last) for part in (shared.mid, shared.coarse, shared.pixels)
    )
    return shared._replace(fine=shared.fine.contiguous(), mid=mid, coarse=coarse, pixels=pixels)


def _answers(said: Tensor, shared: SharedMaps, weights: Weights, masks: int, where: Windows | None) -> MaskAnswers:
    corners = np.zeros((said.shape[1], 2), np.int64) if where is None else where.corners
    coarse, mid, pixels = (part[0].permute(1, 2, 0) for part in (shared.coarse, shared.mid, shared.pixels))
    maps = (np.ascontiguousarray(part.float().numpy()) for part in (coarse, mid, shared.fine[0], pixels))
    logits, quality = prompts.answer(said[0].numpy(), corners, Shared(*maps), weights, masks)
    return MaskAnswers(torch.from_numpy(logits)[None], torch.from_numpy(quality)[None])


def _filters(head: PromptHead, said: list[int] | None) -> Floats:
    """For what a prompt says of some channels, all by default."""
    coarse, mid = (_scale_and_shift(part[0])[0] for part in (head.enter, head.last))
    first, second = head.first.weight, head.second.weight
    if said is not None:
        first, second = first[:, said], second[:, said]
    return laid_out(
        [_numpy(first.permute(1, 2, 3, 0)) * coarse, _numpy(second.flatten(1).T) * mid],
    )


def _body(head: PromptHead) -> Iterator[Floats]:
    scale, shift = _scale_and_shift(head.enter[0])
    yield from (scale, shift + scale * _numpy(_bias(head.first)))
    for part in head.middle:
        yield from _context(part) if isinstance(part, Context) else _block(part)
    scale, shift = _scale_and_shift(head.last[0])
    yield _numpy(head.widen.weight.flatten(1).T) * scale
    yield from (scale, shift + scale * _numpy(_bias(head.second) + _bias(head.widen)))
    for part in head.last:
        if isinstance(part, Residual):
            yield from _block(part)


def _block(block: nn.Module) -> Iterator[Floats]:
    assert isinstance(block, Residual)
    for part in (block.first, block.second):
        convolution = part[0]
        assert isinstance(convolution, nn.Conv2d)
        yield from square(_numpy(convolution.weight), _numpy(_bias(convolution)))


def _context(context: Context) -> Iterator[Floats]:
    where, bias = (_numpy(part) for part in (context.attention.weight.flatten(1).T, _bias(context.attention)))
    for part in (where, bias[None]):
        yield np.pad(part, ((0, 0), (0, ATTENDED - len(bias))))
    for layer in context.mix:
        if isinstance(layer, nn.Linear):
            yield from (_numpy(layer.weight.T), _numpy(layer.bias))


def _output(output: MaskOutput) -> Iterator[Floats]:
    filters, bias = _numpy(output.project.weight.flatten(1).T), _numpy(_bias(output.project))  # [MID, FINE + M]
    bias[FINE:] += _numpy(_bias(output.edges))
    spare = len(filters) - len(bias)
    yield from (np.pad(filters, ((0, 0), (0, spare))), np.pad(bias, (0, spare)))
    yield np.pad(_numpy(output.edges.weight.flatten(1).T), ((0, 0), (0, MOST - output.masks)))
    seen = _numpy(output.seen.weight.T)
    seen[-3 - EMBEDDING : -3] *= EMBEDDING**0.5
    yield from (seen, _numpy(output.which + output.seen.bias))
    for layer in output.quality:
        if isinstance(layer, nn.Linear):
            yield from (_numpy(layer.weight.T), _numpy(layer.bias))


def _scale_and_shift(norm: nn.Module) -> tuple[Floats, Floats]:
    """What a batch norm does."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return _numpy(scale), _numpy(norm.bias - norm.running_mean * scale)


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None, "batch norms are not folded"
    return convolution.bias


def _numpy(numbers: Tensor) -> Floats:
    """A copy."""
    copy: Floats = np.array(numbers.detach().numpy(), np.float32, order="C")
    return copy
