"""Whether an image pass can be recorded as a CUDA graph, told by what it asks of torch before anything is recorded.

A graph holds kernels and the addresses that they read and write. So it can hold no copy between host and device, no
number that Python looks at and no shape that hangs on numbers; and whatever it reads must stay where it is. A recording
that breaks off spoils the allocator's books: it is better never begun.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

# Operators that bring tensors to another device. To all others a number on a CPU is a constant, and what they leave
# there (where attention keeps the state of its dropout) nobody has waited for.
COPIES = frozenset({"aten::copy_", "aten::to", "aten::_to_copy"})
INDEXING = frozenset({"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"})
# Made of such as hand numbers over, which a watch does not see.
HANDING_OVER = frozenset(
    {
        "aten.is_nonzero.default",
        "aten.nonzero_numpy.default",
        "aten.repeat_interleave.self_Tensor",
        "aten.tensor_split.tensor_indices_or_sections",
        "aten.where.default",
    }
)
FRESH = frozenset({"aten::lift_fresh", "aten::detach_"})  # what is done to numbers of Python's that became a tensor


class NotRecordable(RuntimeError):
    """A pass does what no graph can hold."""


class Watch(TorchDispatchMode):
    """While it is on, the calling thread's work raises NotRecordable where a graph could not hold it.

    `reads` are the tensors that were there before and were read: weights, and what the network keeps for a shape.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reads: dict[int, Tensor] = {}
        self._made: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary()

    @property
    def reads(self) -> tuple[Tensor, ...]:
        return tuple(self._reads.values())

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = list(_tensors((args, kwargs)))
        _check_operator(func, inputs)
        outcome = func(*args, **kwargs)
        outputs = list(_tensors(outcome))
        _check_devices(func, inputs, outputs)
        self._reads.update((id(tensor), tensor) for tensor in inputs if tensor not in self._made)
        for tensor in outputs:
            if id(tensor) not in self._reads:  # written in place, it is still the one that was there before
                self._made[tensor] = True
        return outcome


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _check_operator(func: Any, inputs: Sequence[Tensor]) -> None:
    if torch.Tag.data_dependent_output in func.tags or str(func) in HANDING_OVER:
        raise NotRecordable(f"{func} hands numbers to Python")
    if func._schema.name in INDEXING:
        if any(tensor.dtype in (torch.bool, torch.uint8) for tensor in inputs[1:]):
            raise NotRecordable(f"{func} by a mask makes a shape that hangs on numbers")
    elif torch.Tag.dynamic_output_shape in func.tags:
        raise NotRecordable(f"{func} makes a shape that hangs on numbers")


def _check_devices(func: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    name = func._schema.name
    if name in FRESH and any(tensor.device.type != "cpu" for tensor in outputs):
        raise NotRecordable("numbers of Python's become a tensor on the device")
    for source in inputs:
        if name in COPIES or (source.ndim and source.device.type == "cpu"):
            for tensor in outputs:
                if tensor.device != source.device:
                    raise NotRecordable(f"{func} copies from {source.device} to {tensor.device}")
