"""Read, save and rebuild networks of the transformers library: weights under its names, with the tokenizer's bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lexiseg_model.catalogue.weights import SkipInit
from lexiseg_model.errors import WeightsError

TOKENIZER = "tokenizer.json"  # name of the tokenizer's bytes among the weights
TOKENIZERS = (TOKENIZER, "tokenizer.model")  # files that hold a tokenizer's vocabulary
# Files of a hub's repository with a text tower; the first of each group that exists is used.
TEXT_FILES = (
    ("config.json",),
    ("model.safetensors", "model.safetensors.index.json"),
    TOKENIZERS,
    ("tokenizer_config.json",),
)
SAVE_METADATA = ("transformers_version", "architectures", "dtype", "_name_or_path")


def require_transformers(what: str) -> None:
    """Raise WeightsError with an installation command where transformers is not installed."""
    if find_spec("transformers") is None:
        raise WeightsError(f"{what} needs transformers, which is not installed: pip install 'transformers>=5.23,<6'")


def require_tokenizer(folder: Path, what: str) -> None:
    """Raise WeightsError where a folder has no tokenizer, of which transformers makes an empty one, or none to read."""
    names = [name for name in TOKENIZERS if (folder / name).is_file()]
    if not names:
        raise WeightsError(f"{folder} has none of {', '.join(TOKENIZERS)}; expected the tokenizer of {what}")
    if TOKENIZER not in names and find_spec("sentencepiece") is None:
        raise WeightsError(
            f"{folder} has {names[0]} and no {TOKENIZER}; to read it, install sentencepiece: pip install sentencepiece"
        )


def read_pretrained(folder: Path, kind: Any, what: str) -> Any:
    """Load a model or tokenizer, by a class with `from_pretrained`, from a folder with config.json as on the hub."""
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{folder} has no config.json; expected a folder of {what} in the hub's layout")
    return load_pretrained(kind, folder, what)


def load_pretrained(kind: Any, folder: Path, what: str) -> Any:
    """`kind.from_pretrained` of a folder, with every weight of a model; raises as `read_pretrained`."""
    is_model = issubclass(kind, torch.nn.Module)
    options = {"output_loading_info": True, "ignore_mismatched_sizes": True} if is_model else {}
    named = model_type(folder)
    kind_found = named and f"a folder of {named}"
    try:
        with _without_reports():
            loaded = kind.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # transformers raises errors of many types
        raise WeightsError(f"{folder}: transformers cannot read {kind_found or 'it'} as {what}: {error}") from None
    if not is_model:
        return loaded
    model, info = loaded
    if mismatched := info["mismatched_keys"]:
        name, size, expected = min(mismatched)
        raise WeightsError(
            f"{folder}: {len(mismatched)} weights are of another size, such as {name}: {list(size)}, and config.json "
            f"says {list(expected)}; use the files of one repository"
        )
    if missing := info["missing_keys"]:  # transformers initialises them at random
        expected = f"; expected {what}, got {kind_found}" if kind_found else ""
        raise WeightsError(f"{folder}: {len(missing)} weights are missing, such as {min(missing)}{expected}")
    return model


@contextmanager
def _without_reports() -> Iterator[None]:
    """Without transformers' table of odd weights, which our error says in a sentence, and its bars."""
    from transformers.utils import logging  # optional, and slow to import

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def model_type(folder: Path) -> str | None:
    """`model_type` in config.json; None where the file is missing, damaged or has none."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return config.get("model_type") if isinstance(config, dict) else None


def plain_config(config: Any) -> Any:
    """A configuration without `SAVE_METADATA`, which does not affect the network."""
    if isinstance(config, dict):
        return {name: plain_config(value) for name, value in config.items() if name not in SAVE_METADATA}
    return [plain_config(value) for value in config] if isinstance(config, list | tuple) else config


def flat_state(model: Any, tokenizer: Any = None) -> dict[str, Tensor]:
    """The weights of a model, and the bytes of its fast tokenizer, as one dictionary of tensors."""
    state = {name: value.detach() for name, value in model.state_dict().items()}
    if tokenizer is not None:
        text = tokenizer.backend_tokenizer.to_str().encode()
        state[TOKENIZER] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return state


def build_network(kind: Any, config: Any, state: dict[str, Tensor], what: str) -> Any:
    """Build a network in evaluation mode from a flat state, float32."""
    with SkipInit():
        model = kind(config).float()
    weights = {name: value for name, value in state.items() if name != TOKENIZER}
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # shapes differ
        raise WeightsError(f"weights of another {what}: {str(error).splitlines()[-1].strip()}") from None
    if missing or unexpected:
        raise WeightsError(f"weights of another {what}: {len(missing)} missing, {len(unexpected)} unexpected")
    return model.eval().requires_grad_(False)


class Tokens:
    """The tokenizer of a flat state: texts -> token ids [S, length], padded with `padding`."""

    def __init__(self, state: dict[str, Tensor], length: int, padding: int, what: str) -> None:
        if TOKENIZER not in state:
            raise WeightsError(f"{what}: no {TOKENIZER} in the weights; import them with `lexiseg models import`")
        self._tokenizer = Tokenizer.from_str(bytes(state[TOKENIZER].to(torch.uint8).tolist()).decode())
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(length=length, pad_id=padding)
        self._length = length

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids [S, length] int64, and a bool mask [S, length], False at padding."""
        encodings = self._tokenizer.encode_batch(texts)
        ids = torch.tensor([encoding.ids for encoding in encodings], dtype=torch.int64)
        valid = torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.bool)
        return ids.view(-1, self._length), valid.view(-1, self._length)
