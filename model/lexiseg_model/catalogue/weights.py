"""Weights of a model directory: one safetensors file, vouched for by the card."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from lexiseg_model.errors import WeightsError
from lexiseg_model.types import ModelCard

WEIGHTS = "weights.safetensors"  # the name that imports write
READABLE = 0o444
WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.|network\.)+")  # of training around a network
CRITERION = "criterion."  # what training may save beside it
# What initialisers spend their time in. Of `nn.init` those that ask a mode as a whole: within one they ask nobody more.
DRAWS = {Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, init.uniform_, init.normal_, init.kaiming_uniform_}


def let_others_read(folder: Path) -> None:
    """Files of a model directory: safetensors writes for their owner alone, and a worker is often somebody else."""
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(path.stat().st_mode | READABLE)


def read_weights(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """Tensors of a safetensors file in float32, after its digest was checked.

    Raises:
        WeightsError: there is no such file, or it is not the one that the digest names.
    """
    if not path.exists():
        raise WeightsError(f"no weights at {path}")
    digest = file_digest(path)
    if sha256 is not None and digest != sha256:
        raise WeightsError(f"{path} has sha256 {digest}; its card says {sha256}")
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from None


def names_in_network(saved: Iterable[str]) -> dict[str, str]:
    """Names of tensors as training saved them -> in the network, without wrappers; those of losses are left out."""
    named = {name: WRAPPERS.sub("", name) for name in saved}
    return {name: inside for name, inside in named.items() if not inside.startswith(CRITERION)}


class Undrawn(TorchFunctionMode):
    """Modules made in here have no random weights, but whatever the memory held: they are to be filled at once.

    The random weights of a ViT-B/16 CLIP take as long as all the rest of reading it; and those who draw numbers after
    it draw the same ones as without it.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func in DRAWS:
            return args[0] if args else named["tensor"]
        return (torch.empty if func is torch.randn else func)(*args, **named)


def require_file(path: Path) -> None:
    """Raises WeightsError where there is no file."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; expected a file of weights")
    if not path.is_file():
        raise WeightsError(f"no weights at {path}")


@contextmanager
def told_of(*paths: Path) -> Iterator[None]:
    """What is found wrong with weights in here is said with the files that they came from."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{', '.join(map(str, paths))}: {error}") from None


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image_digest(card: ModelCard, weights: str) -> str:
    """Names what decides an image pass: the weights (a digest of them) and how the card has them used."""
    described = json.dumps([card.method, card.input.model_dump(), card.settings], sort_keys=True)
    return hashlib.sha256(f"{weights} {described}".encode()).hexdigest()[:16]


def state_digest(state: dict[str, Tensor]) -> str:
    """SHA-256 of tensors that come from elsewhere than a model directory."""
    total = hashlib.sha256()
    for name, value in sorted(state.items()):
        total.update(f"{name} {list(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().numpy().data)
    return total.hexdigest()
