"""Work that is counted and not timed: the same on a busy machine as on an idle one."""

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
    """Operations that torch ran, and the numbers that they wrote."""

    operations: int
    elements: int


class Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what reaches a backend, forward and backward, and the numbers that it writes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        self.operations += 1
        self.elements += sum(leaf.numel() for leaf in tree_leaves(returned) if isinstance(leaf, Tensor))
        return returned


def tensor_work(work: Callable[[], object]) -> TensorWork:
    """Of one run, after another that fills what is filled once."""
    work()
    with Tally() as tally:
        work()
    return TensorWork(tally.operations, tally.elements)


def calls(work: Callable[[], object]) -> int:
    """Calls of functions, Python's and C's, in one run on this thread, after one that fills what is filled once."""
    work()
    count = 0

    def called(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def one_thread() -> None:
    """So that torch splits no operation."""
    torch.set_num_threads(1)
