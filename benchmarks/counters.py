"""Count tensor operations and function calls: measures of work that do not depend on the machine's load."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TensorWork(NamedTuple):
    """Number of torch operations, and of the tensor elements they wrote."""

    operations: int
    elements: int


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations that reach a torch backend and the elements of their results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        self.elements += sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


def count_tensor_work(work: Callable[[], object]) -> TensorWork:
    """Count the torch work of one run, after a run that fills caches."""
    work()
    with OperationCounter() as counter:
        work()
    return TensorWork(counter.operations, counter.elements)


def count_calls(work: Callable[[], object]) -> int:
    """Count Python and C function calls of one run on this thread, after a run that fills caches."""
    work()
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def one_thread() -> None:
    """Limit torch to one thread, so that it splits no operation."""
    torch.set_num_threads(1)
