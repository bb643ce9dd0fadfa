"""Work that is counted and not timed: the same on a busy machine as on an idle one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

KERNEL_PROGRAM = "benchmarks.kernel_calls"
MIN_INSTRUCTIONS = 100_000


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


def instructions() -> dict[str, int] | None:
    """Instructions of the kernel's functions, under callgrind, as `benchmarks.kernel_calls` calls them.

    None without valgrind.
    """
    if shutil.which("valgrind") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        program = [sys.executable, "-m", KERNEL_PROGRAM]
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", *program]
        subprocess.run(command, check=True, capture_output=True)
        listing = subprocess.run(
            ["callgrind_annotate", "--threshold=100", str(counts)], check=True, capture_output=True, text=True
        ).stdout
    return parsed(listing)


def parsed(listing: str) -> dict[str, int]:
    """From callgrind_annotate's list: instructions by function, those of one name together, without the small ones.

    ctypes calls through libffi, which leaves no frame: what functions that it calls do themselves counts as its own.
    """
    by_name: Counter[str] = Counter()
    for count, name, library in re.findall(r"^\s*([\d,]+) \([^)]*\)\s+\S*?:(\S+) \[(.*)\]", listing, re.MULTILINE):
        if "libffi" in library or "_kernel." in library:
            place = "entry points" if "libffi" in library else name.split(".")[0]  # contest.avx2, contest.default
            by_name[place] += int(count.replace(",", ""))
    return {name: count for name, count in by_name.items() if count >= MIN_INSTRUCTIONS}


def one_thread() -> None:
    """So that torch splits no operation."""
    torch.set_num_threads(1)
