"""Import a SAM 2.1 or EdgeTAM checkpoint in the hub's layout with transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue.importing import Imported, ImportOptions, from_own_card
from lexiseg_model.catalogue.transformers_model import (
    flat_state,
    model_type,
    plain_config,
    read_pretrained,
    require_transformers,
)
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.sam2.head import SquareSettings

NAME = "SAM 2.1"
KINDS = {"sam2_video": "Sam2Video", "edgetam_video": "EdgeTamVideo"}  # model type -> prefix of transformers' classes


class Sam2Settings(SquareSettings):
    """All that running the weights needs."""

    config: dict[str, Any] = Field(
        description="configuration of `transformers.Sam2VideoModel` or `EdgeTamVideoModel`, as saved"
    )
    grid: int = Field(32, ge=1, le=64, description="points along a side, for everything")


class Options(ImportOptions):
    """`checkpoint` is a folder as `facebook/sam2.1-hiera-tiny` on the hub: config.json, weights, processor."""

    checkpoint: Path = Field(description="folder of a SAM 2.1 or an EdgeTAM as the hub has it")


def classes_of(model_type: str | None) -> tuple[Any, Any]:
    """transformers' configuration and model classes of a model type; SAM 2.1's for unknown ones."""
    import transformers  # optional, and slow to import

    name = KINDS.get(str(model_type), KINDS["sam2_video"])
    return getattr(transformers, f"{name}Config"), getattr(transformers, f"{name}Model")


def read(options: Options) -> Imported:
    """Read the weights, and the image processor's input size and normalisation."""
    require_transformers(NAME)
    from transformers import Sam2ImageProcessor  # optional, and slow to import

    folder = options.checkpoint
    if folder.suffix == ".pt" or (not (folder / "config.json").is_file() and any(folder.glob("sam2*.pt"))):
        raise WeightsError(
            f"{folder} is in the layout of Meta's own code; use that of the hub: `hf download "
            "facebook/sam2.1-hiera-tiny --exclude '*.pt' --local-dir FOLDER`, and import FOLDER"
        )
    kinds = classes_of(model_type(folder))[1], Sam2ImageProcessor
    model, processor = (read_pretrained(folder, kind, NAME) for kind in kinds)
    side = model.prompt_encoder.input_image_size
    if (processor.size["height"], processor.size["width"]) != (side, side):
        raise WeightsError(f"{folder}: the processor makes {processor.size}; expected squares of {side}")
    settings = Sam2Settings(
        config=plain_config(model.config.to_dict()), side=side, mean=processor.image_mean, std=processor.image_std
    )
    changes = {"input": InputSize(short_side=side, long_side=side, multiple=side), "embedding": model.hidden_dim}
    return from_own_card("sam2", flat_state(model), [folder], settings.model_dump(mode="json"), **changes)
