"""The extras of this package: which library belongs to which, and the error where one is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lexiseg_model.errors import ModelError

EXTRA_OF = {
    "huggingface_hub": "clip",
    "open_clip": "clip",
    "scipy": "clip",
    "timm": "clip",
    "torchvision": "clip",
    "transformers": "sam3",
}


@contextmanager
def names_missing_library(what: str, kind: type[ModelError]) -> Iterator[None]:
    """Raise `kind` where the block imports a library of an extra that is not installed.

    Args:
        what: needs the library, as the start of the sentence.
        kind: of the error; its message says how to install the library.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRA_OF:
            raise
        command = f"pip install 'lexiseg-model[{EXTRA_OF[library]}]'"
        raise kind(f"{what} needs {library}, which is not installed: {command}") from None
