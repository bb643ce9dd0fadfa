"""Import of a training checkpoint of S-Seg as a model directory."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.catalogue.importing import Imported, ImportOptions, from_own_card
from lexiseg_model.methods.s_seg.network import read_trained


class Options(ImportOptions):
    """File to import and the backbone, by default the published Swin-S."""

    checkpoint: Path = Field(description="checkpoint of a training of S-Seg")
    backbone: str | None = Field(None, description="timm's name of its backbone, where that is not Swin-S")


def read(options: Options) -> Imported:
    """Read the whole network."""
    state, settings = read_trained(options.checkpoint, options.backbone)
    changes = {
        "summary": f"S-Seg over {settings.backbone}, {settings.n_queries} masks an image.",
        "licence": "that of the imported weights",
        "commercial_use": "ask",
        "training_data": ["that of the imported weights"],
        "embedding": settings.embedding,
    }
    return from_own_card(
        "s_seg", state, [options.checkpoint], settings.model_dump(mode="json", exclude_unset=True), **changes
    )
