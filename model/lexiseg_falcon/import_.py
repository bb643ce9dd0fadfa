"""Import a Falcon Perception checkpoint in the hub's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from tokenizers import Tokenizer

from lexiseg_falcon.network import Architecture, ControlTokens, FalconNetwork, FalconSettings
from lexiseg_model import (
    Imported,
    ImportOptions,
    WeightsError,
    from_own_card,
    naming_files,
    read_tensor_file,
    require_tensors,
)

NAME = "Falcon Perception"
CARD = "falcon_perception"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
FILES = (("config.json",), (WEIGHTS,), (TOKENIZER,), ("tokenizer_config.json",), ("special_tokens_map.json",))
REGISTERS = tuple(f"image_reg_{number}_token" for number in (1, 2, 3, 4))


class Options(ImportOptions):
    """`checkpoint` is a folder as `tiiuae/Falcon-Perception` on the hub: configuration, weights and tokenizer."""

    checkpoint: Path = Field(description="folder of a Falcon Perception as the hub has it")


def read(options: Options) -> Imported:
    """Read the weights, the configuration and the tokenizer."""
    folder = options.checkpoint
    config = _json(folder, "config.json")
    sizes = _sizes(folder, config)
    state = dict(read_tensor_file(folder / WEIGHTS))
    with torch.device("meta"):
        expected = FalconNetwork(sizes).state_dict()
    with naming_files(folder / WEIGHTS):
        require_tensors(NAME, state, expected)
    text, tokens = _tokens(folder)
    state[TOKENIZER] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    settings = FalconSettings(network=sizes, tokens=tokens).model_dump(mode="json", include={"network", "tokens"})
    return from_own_card(CARD, state, [folder], settings, embedding=sizes.dim)


def _sizes(folder: Path, config: dict[str, Any]) -> Architecture:
    kind = config.get("model_type")
    if kind != CARD or "FalconOCRForCausalLM" in config.get("architectures", []):
        raise WeightsError(f"{folder / 'config.json'} is of a model {kind!r}; expected {CARD!r}")
    if not config.get("do_segmentation", True):
        raise WeightsError(f"{folder}: this size of {NAME} has boxes and no masks; expected that of 0.6 B")
    try:
        return Architecture.model_validate(
            {name: value for name, value in config.items() if name in Architecture.model_fields}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise WeightsError(f"{folder / 'config.json'}: {first['loc'][0]}: {first['msg']}") from None


def _tokens(folder: Path) -> tuple[bytes, ControlTokens]:
    """The tokenizer, and the ids of control tokens by their names in its configuration."""
    config, named = _json(folder, "tokenizer_config.json"), _json(folder, "special_tokens_map.json", is_required=False)
    path = folder / TOKENIZER
    if not path.is_file():
        raise WeightsError(f"{folder} has no {TOKENIZER}; expected the tokenizer of {NAME}")
    text = path.read_bytes()
    try:
        tokenizer = Tokenizer.from_str(text.decode())
    except Exception as error:  # tokenizers raises plain exceptions
        raise WeightsError(f"{path} is no tokenizer: {error}") from None
    names = {name: value for name, value in {**named, **config}.items() if isinstance(value, str)}
    names |= config.get("model_specific_special_tokens", {})

    def id_of(name: str, default: str | None = None) -> int:
        number = tokenizer.token_to_id(names.get(name, default) or "")
        if number is None:
            raise WeightsError(f"{folder}: the tokenizer has no {name}; expected that of {NAME}")
        return int(number)

    bos = tokenizer.encode("").ids[:1]
    return text, ControlTokens(
        bos=bos[0] if bos and bos == [tokenizer.token_to_id(names.get("bos_token", ""))] else None,
        image=id_of("image_token"),
        before=[id_of(name) for name in ("image_cls_token", *REGISTERS)],
        after=id_of("end_of_image_token"),
        coord=id_of("coord_token"),
        size=id_of("size_token"),
        seg=id_of("seg_token"),
        stop=[id_of("eos_token", "<|end_of_text|>"), id_of("end_of_query_token")],
    )


def _json(folder: Path, name: str, is_required: bool = True) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        if not is_required:
            return {}
        raise WeightsError(f"{folder} has no {name}; expected a folder of {NAME} in the hub's layout")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is a JSON {type(content).__name__}; expected an object")
    return content
