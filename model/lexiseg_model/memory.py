"""Bytes of the tensors and arrays that an object holds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor, nn

OURS = "lexiseg_model."


def held_bytes(holder: object) -> int:
    """Bytes of every tensor and array below an object, each storage once however often it is shared.

    Looks into modules, into objects of this package, and into dicts, lists, tuples and sets. What other libraries hold
    out of sight, as a session of ONNX Runtime, is not seen.
    """
    storages: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [holder]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, Tensor):
            storage = current.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(current, np.ndarray):
            storages.setdefault(current.ctypes.data, current.nbytes)
        else:
            waiting.extend(_below(current))
    return sum(storages.values())


def _below(holder: object) -> Iterable[object]:
    if isinstance(holder, dict):
        return holder.values()
    if isinstance(holder, list | tuple | set | frozenset):
        return holder
    if isinstance(holder, nn.Module) or type(holder).__module__.startswith(OURS):
        # A module of compiled or quantised code may have slots only.
        return vars(holder).values() if hasattr(holder, "__dict__") else ()
    return ()
