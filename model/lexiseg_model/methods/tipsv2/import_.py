"""Import a TIPSv2 checkpoint in the hub's layout with transformers, or the archives of google-deepmind/tips."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.importing import Imported, ImportOptions, from_own_card
from lexiseg_model.catalogue.transformers_model import (
    build_network,
    flat_state,
    load_pretrained,
    plain_config,
    read_pretrained,
    require_tokenizer,
    require_transformers,
)
from lexiseg_model.catalogue.weights import naming_files
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tipsv2.released import read_released, released_files

NAME = "TIPSv2"
TOKENS = 64  # of Tipsv2Processor
FIRST = "tips-s14"  # in `available.yaml`; the terms of all files of google-deepmind/tips


class Options(ImportOptions):
    """`checkpoint` is a folder as `google/tipsv2-b14` on the hub, or with the files that google-deepmind/tips names."""

    checkpoint: Path = Field(
        description="folder of a TIPSv2 as the hub has it, or of *_vision.npz, *_text.npz and tokenizer.model"
    )


def read(options: Options) -> Imported:
    """Read the weights, the configuration and the tokenizer.

    Raises:
        WeightsError: transformers is not installed, or the folder holds no TIPS.
    """
    require_transformers(NAME)
    from transformers import Tipsv2Config, Tipsv2Model, Tipsv2Tokenizer  # optional, and slow to import

    folder = options.checkpoint
    files = released_files(folder)
    if files:
        config, state = read_released(files)
        with naming_files(*files):
            model = build_network(Tipsv2Model, Tipsv2Config(**config), state, "TIPS")
    else:
        model = read_pretrained(folder, Tipsv2Model, NAME)
    require_tokenizer(folder, NAME)
    tokenizer = load_pretrained(Tipsv2Tokenizer, folder, NAME)
    if tokenizer.pad_token_id is None:
        raise WeightsError(f"{folder}: the tokenizer has no padding; expected TIPSv2's")
    settings = {"config": plain_config(model.config.to_dict()), "tokens": TOKENS, "padding": tokenizer.pad_token_id}
    changes = (available()[FIRST].card if files else {}) | {"embedding": model.config.vision_config.hidden_size}
    return from_own_card("tipsv2", flat_state(model, tokenizer), files or [folder], settings, **changes)
