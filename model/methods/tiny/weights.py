"""Where the bundled weights of `tiny` lie, how they load, and the template every text goes through."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model.errors import WeightsError

FOLDER = Path(__file__).parent / "bundled"
BUNDLED = FOLDER / "tiny.safetensors"
TEMPLATE = "a photo of a {}."


def read_weights(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """Tensors of a safetensors file in float32, after its digest was checked.

    Raises:
        WeightsError: there is no such file, or it is not the one that the digest names.
    """
    if not path.exists():
        raise WeightsError(f"no weights at {path}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 is not None and found != sha256:
        raise WeightsError(f"{path} has sha256 {found}; its card says {sha256}")
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from None
