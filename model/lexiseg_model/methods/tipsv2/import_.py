"""Import a TIPSv2 checkpoint in the hub's layout with transformers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.catalogue.importing import Imported, ImportOptions, from_own_card
from lexiseg_model.catalogue.transformers_model import (
    flat_state,
    plain_config,
    read_pretrained,
    require_tokenizer,
    require_transformers,
)
from lexiseg_model.errors import WeightsError

NAME = "TIPSv2"
TOKENS = 64  # of Tipsv2Processor


class Options(ImportOptions):
    """`checkpoint` is a folder as `google/tipsv2-b14` on the hub: config.json, model.safetensors, the tokenizer."""

    checkpoint: Path = Field(description="folder of a TIPSv2 as the hub has it")


def read(options: Options) -> Imported:
    """Read the weights, the configuration and the tokenizer.

    Raises:
        WeightsError: transformers is not installed, or the folder holds no TIPSv2.
    """
    require_transformers(NAME)
    from transformers import Tipsv2Model, Tipsv2Tokenizer  # optional, and slow to import

    folder = options.checkpoint
    model = read_pretrained(folder, Tipsv2Model, NAME)
    require_tokenizer(folder, NAME)
    tokenizer = read_pretrained(folder, Tipsv2Tokenizer, NAME)
    if tokenizer.pad_token_id is None:
        raise WeightsError(f"{folder}: the tokenizer has no padding; expected TIPSv2's")
    settings = {"config": plain_config(model.config.to_dict()), "tokens": TOKENS, "padding": tokenizer.pad_token_id}
    width = model.config.vision_config.hidden_size
    return from_own_card("tipsv2", flat_state(model, tokenizer), [folder], settings, embedding=width)
