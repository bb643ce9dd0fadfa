"""The two ways of the kernel, to be measured in one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lexiseg_model.kernel import library


@contextmanager
def numpy_alone() -> Iterator[None]:
    """Meanwhile there is no kernel."""
    kept, library.LIBRARY = library.LIBRARY, None
    try:
        yield
    finally:
        library.LIBRARY = kept
