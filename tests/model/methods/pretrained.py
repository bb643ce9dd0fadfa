"""Small models of transformers with random weights: saved as the hub lays them out, imported once a process."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tests.model import imports


def drawn(kind: Callable[[Any], Any], config: Any, seed: int, noise: float = 0.1) -> Any:
    """A model of that class whose weights are large enough that every part shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config)
        for parameter in model.parameters():
            parameter.data.add_(noise * torch.randn_like(parameter))
    return model


@cache
def _home() -> TemporaryDirectory[str]:
    return TemporaryDirectory()  # removed when the process ends


@cache
def imported(method: str, save: Callable[[Path, int], None], seed: int = 0) -> Path:
    """A model directory; what `save` wrote lies beside it in `hub`."""
    place = Path(_home().name) / method / str(seed)
    save(place / "hub", seed)
    return imports.imported(method.replace("_", "-"), "small", place, checkpoint=place / "hub")
