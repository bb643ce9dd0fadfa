"""Networks of transformers as model directories: read from a checkpoint's folder, written flat, and built again.

A model directory keeps the weights under transformers' names and the tokenizer's bytes beside them; its card's settings
keep the configuration.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lexiseg_model.catalogue.weights import Undrawn
from lexiseg_model.errors import ForeignWeightsError, MissingWeightsError, WeightsError

TOKENIZER = "tokenizer.json"  # its bytes, among the weights
HOW_SAVED = ("transformers_version", "architectures", "dtype", "_name_or_path")


def require_transformers(what: str) -> None:
    """Raises WeightsError with what to install where transformers is not."""
    if find_spec("transformers") is None:
        raise WeightsError(f"{what} runs by transformers, which is not installed: pip install 'transformers>=5.23,<6'")


def read_pretrained(folder: Path, kind: Any, what: str) -> Any:
    """What a class of transformers reads from a folder in the hub's layout; of a model all weights must be there.

    Args:
        folder: with config.json.
        kind: a class with `from_pretrained`.
        what: the checkpoint's name, for messages.

    Raises:
        WeightsError: the folder holds no such checkpoint, or not all of it.
    """
    if not (folder / "config.json").is_file():
        raise MissingWeightsError(f"{folder} has no config.json; expected a folder of {what}, as the hub has it")
    is_model = issubclass(kind, torch.nn.Module)
    told_too = {"output_loading_info": True} if is_model else {}
    try:
        made = kind.from_pretrained(folder, local_files_only=True, **told_too)
    except Exception as error:  # of every kind, as its files are
        raise WeightsError(f"{folder}: transformers cannot read it as {what}: {error}") from None
    if not is_model:
        return made
    model, told = made
    if told["missing_keys"]:
        # They would be random.
        raise WeightsError(f"{folder}: {len(told['missing_keys'])} weights are missing, as {min(told['missing_keys'])}")
    return model


def model_type(folder: Path) -> str | None:
    """What config.json says that a checkpoint is; None where it says nothing, which `read_pretrained` then refuses."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return config.get("model_type") if isinstance(config, dict) else None


def plain_config(config: Any) -> Any:
    """A configuration without what says how it was saved, which no network is made of."""
    if isinstance(config, dict):
        return {name: plain_config(value) for name, value in config.items() if name not in HOW_SAVED}
    return [plain_config(value) for value in config] if isinstance(config, list | tuple) else config


def flat_state(model: Any, tokenizer: Any = None) -> dict[str, Tensor]:
    """Weights, and the bytes of a fast tokenizer, as a model directory keeps them."""
    state = {name: value.detach() for name, value in model.state_dict().items()}
    if tokenizer is not None:
        text = tokenizer.backend_tokenizer.to_str().encode()
        state[TOKENIZER] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return state


def filled(kind: Any, config: Any, state: dict[str, Tensor], what: str) -> Any:
    """A network in evaluation mode with the weights of a flat state, float32.

    Raises:
        ForeignWeightsError: the weights are of another network.
    """
    with Undrawn():
        model = kind(config).float()
    weights = {name: value for name, value in state.items() if name != TOKENIZER}
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # of another shape
        raise ForeignWeightsError(f"weights of another {what}: {str(error).splitlines()[-1].strip()}") from None
    if missing or unexpected:
        raise ForeignWeightsError(f"weights of another {what}: {len(missing)} missing, {len(unexpected)} unexpected")
    return model.eval().requires_grad_(False)


class Tokens:
    """A tokenizer from a flat state: texts to numbers [S, length], filled up with `padding`."""

    def __init__(self, state: dict[str, Tensor], length: int, padding: int, what: str) -> None:
        if TOKENIZER not in state:
            raise WeightsError(f"{what}: no {TOKENIZER} in the weights; expected what `lexiseg models import` writes")
        self._tokenizer = Tokenizer.from_str(bytes(state[TOKENIZER].to(torch.uint8).tolist()).decode())
        self._tokenizer.enable_truncation(length)
        self._tokenizer.no_padding()
        self._length = length
        self._padding = padding

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Numbers [S, length], and which are no padding."""
        ids = torch.full((len(texts), self._length), self._padding)
        valid = torch.zeros(len(texts), self._length, dtype=torch.bool)
        for place, encoding in enumerate(self._tokenizer.encode_batch(texts)):
            n = len(encoding.ids)
            ids[place, :n] = torch.tensor(encoding.ids, dtype=torch.long)
            valid[place, :n] = True
        return ids, valid
