"""How many bytes of tensors and arrays an object holds, and how many nobody in particular."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor, nn

from lexiseg_model.masks.bilinear import AXES, AXIS
from lexiseg_model.masks.shrink import AREAS

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


def table_bytes() -> int:
    """Bytes of what is kept of sizes, whatever model it is for."""
    return AXES.nbytes + AXIS.nbytes + AREAS.nbytes


def _below(holder: object) -> Iterable[object]:
    if isinstance(holder, dict):
        return holder.values()
    if isinstance(holder, list | tuple | set | frozenset):
        return holder
    if isinstance(holder, nn.Module) or type(holder).__module__.startswith(OURS):
        # A module of compiled or quantised code may have slots only.
        return vars(holder).values() if hasattr(holder, "__dict__") else ()
    return ()
