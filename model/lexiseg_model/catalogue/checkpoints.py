"""Read the files in which others publish weights, for imports: torch files, safetensors, archives of TorchScript."""

from __future__ import annotations

import errno
import re
import warnings
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lexiseg_model.catalogue.weights import listed
from lexiseg_model.errors import WeightsError

ADDED_PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.|network\.)+")  # by DataParallel, by torch.compile, by trainers
CRITERION = "criterion."  # prefix of losses that training may save
UNREADABLE = "damaged, cut short, or of another kind"


def read_tensor_file(path: Path) -> Mapping[str, Any]:
    """Content of a safetensors file, or of a torch file as by `read_torch`. Raises WeightsError: as there."""
    require_file(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)


def read_torch(path: Path) -> Mapping[str, Any]:
    """Content of a torch file, read without executing code in it (`weights_only=True`).

    Raises:
        WeightsError: no such file, damaged, holding other things than tensors and plain values, or no mapping.
    """
    require_file(path)
    if is_torchscript(path):
        raise WeightsError(
            f"{path} is a TorchScript archive, and loading one runs the code inside; expected plain tensors "
            "(`lexiseg models import --clip` converts an archive of OpenAI's once)"
        )
    try:
        with warnings.catch_warnings():  # torch's advice on how else a strange file might be read
            warnings.simplefilter("ignore", UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # in a file of another kind torch stumbles over whatever it takes for an instruction
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: sought before the start of half a file
            raise
        raise WeightsError(f"{path} is not a torch file of plain tensors: {_why_unread(error)}") from None
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}; expected a state dict")
    return loaded


def require_file(path: Path) -> None:
    """Raise WeightsError where there is no file."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; expected a file of weights")
    if not path.is_file():
        raise WeightsError(f"no weights at {path}")


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code and tensors; reads the list of contents only."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def names_in_network(saved: Iterable[str]) -> dict[str, str]:
    """Map saved tensor names to names in the network: wrapper prefixes are cut, losses left out."""
    unwrapped = {name: ADDED_PREFIXES.sub("", name) for name in saved}
    return {name: inner for name, inner in unwrapped.items() if not inner.startswith(CRITERION)}


def require_prefixes(whose: str, state: Collection[str], prefixes: Collection[str]) -> None:
    """Raise WeightsError where tensor names begin with none of these; `whose`: the network, for the message."""
    if unknown := sorted(name for name in state if not name.startswith(tuple(prefixes))):
        first = sorted({f"{prefix.partition('.')[0]}." for prefix in prefixes})
        raise WeightsError(f"not the weights of {whose}: unexpected {listed(unknown)}; expected {', '.join(first)}")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file: {UNREADABLE} ({error})") from None


def _why_unread(error: Exception) -> str:
    """A reason in place of torch's own, which advises to load the file without the check: that runs what is inside."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused is None:
        return UNREADABLE
    return (
        f"it holds {refused[1]}, and reading that would run code; save the tensors of its state dict alone, or read it "
        "once with `lexiseg models import --trust`"
    )
