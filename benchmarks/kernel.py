"""Disable the C kernel, to compare it with numpy in one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lexiseg_model.kernel import library


@contextmanager
def kernel_disabled() -> Iterator[None]:
    """Use the numpy implementations inside the block."""
    loaded, library.LIBRARY = library.LIBRARY, None
    try:
        yield
    finally:
        library.LIBRARY = loaded
