"""Measure the memory of the tensors and arrays that an object references."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor, nn

PACKAGE = "lexiseg_model."


def held_bytes(holder: object) -> int:
    """Bytes of all tensors and arrays reachable from an object; a shared storage counts once.

    Follows modules, objects of this package, dicts, lists, tuples and sets. Memory inside other libraries, such as a
    session of ONNX Runtime, is not counted.
    """
    storages: dict[int, int] = {}
    visited: set[int] = set()
    waiting = [holder]
    while waiting:
        current = waiting.pop()
        if id(current) in visited:
            continue
        visited.add(id(current))
        if isinstance(current, Tensor):
            storage = current.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(current, np.ndarray):
            storages.setdefault(current.ctypes.data, current.nbytes)
        else:
            waiting.extend(_references(current))
    return sum(storages.values())


def _references(holder: object) -> Iterable[object]:
    if isinstance(holder, dict):
        return holder.values()
    if isinstance(holder, list | tuple | set | frozenset):
        return holder
    if isinstance(holder, nn.Module) or type(holder).__module__.startswith(PACKAGE):
        # Modules of compiled or quantised code may have only slots.
        return vars(holder).values() if hasattr(holder, "__dict__") else ()
    return ()
