"""The libraries of the extra `clip`, and the error where one is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lexiseg_model.errors import ModelError

CLIP = ("huggingface_hub", "open_clip", "scipy", "timm", "torchvision")
INSTALL = "pip install huggingface-hub open-clip-torch scipy timm"


@contextmanager
def names_missing_library(what: str, kind: type[ModelError]) -> Iterator[None]:
    """Raise `kind`, of which `what` is the first words, where the block imports a library that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in CLIP:
            raise
        raise kind(f"{what} needs {library}, which is not installed: {INSTALL}") from None
