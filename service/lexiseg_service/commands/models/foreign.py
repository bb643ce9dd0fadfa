"""Objects of other people's classes in torch files: which there are, and inert stand-ins to read them with.

Training code saves its configuration with the tensors, as TCL's does with OmegaConf. Unpickling such an object would
run code that the file names. A stand-in keeps what it was made of, and runs nothing.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals


class StandIn(dict[Any, Any]):
    """An object of any class: its items, and its attributes in `__dict__`."""

    def __init__(self, *_: object, **__: object) -> None:
        """Drop the arguments of the class or function that it stands for."""
        super().__init__()

    def __setstate__(self, state: object) -> None:
        if isinstance(state, Mapping):
            self.__dict__.update(state)


def foreign_names(path: Path) -> list[str]:
    """Names of classes and functions in a torch file that `weights_only=True` refuses; none in any other file."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return []
    try:
        return sorted(get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError):  # not of `torch.save`, or damaged
        return []


@contextmanager
def stand_ins(names: Iterable[str]) -> Iterator[None]:
    """Let `torch.load(weights_only=True)` read objects of these names as stand-ins during the block."""
    with safe_globals([(StandIn, name) for name in names]):
        yield
