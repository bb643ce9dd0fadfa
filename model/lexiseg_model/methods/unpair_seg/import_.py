"""Import of Unpair-Seg as a model directory: the authors' stage one, or an own training of one or two stages."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.catalogue.importing import Imported, ImportOptions, imported_from, own_card
from lexiseg_model.catalogue.weights import naming_files
from lexiseg_model.clip.towers import clip_from_files
from lexiseg_model.methods.unpair_seg.network import read_weights, restore
from lexiseg_model.methods.unpair_seg.settings import ARCHITECTURE, PUBLISHED

WITHOUT_ADAPTER = "without an adapter"  # words of the limit in the card that does not apply to a model with an adapter


class Options(ImportOptions):
    """Files to import; `checkpoint` is detectron2's `{"model": ...}` or the weights of an own training of any size."""

    checkpoint: Path = Field(description="the authors' stage one or one of your training")
    clip: tuple[Path, ...] = Field((), description="CLIP's towers where the checkpoint does not hold them")
    architecture: str = Field(
        ARCHITECTURE, description=f"open_clip's name of the CLIP, a ConvNeXt; default: {ARCHITECTURE}"
    )


def read(options: Options) -> Imported:
    """Read towers, mask decoder, and the adapter if there is one."""
    checkpoint, architecture = options.checkpoint, options.architecture
    towers = clip_from_files(architecture, options.clip, quick_gelu=False) if options.clip else None
    state = read_weights(checkpoint, None if towers is None else towers.state)
    with naming_files(checkpoint):
        # Shapes are checked before anything is written.
        restored = restore(state, architecture)
    card = own_card("unpair_seg")
    changes: dict[str, object] = {
        "lineage": imported_from(checkpoint, *options.clip),
        "embedding": restored.embedding,
        "settings": card.settings
        | {"architecture": restored.towers.architecture, "adapter": restored.network.adapter is not None},
    }
    adapter = restored.network.adapter
    published = restored.towers.architecture == ARCHITECTURE and restored.network.masks.sizes == PUBLISHED
    if adapter is not None or not published:  # the authors released one checkpoint, of stage one
        whose = "that of the imported weights"
        changes |= {
            "summary": f"Masks for points, boxes and everything over {restored.towers.architecture}, named by CLIP.",
            "text_tower": f"CLIP {restored.towers.architecture}",
            "licence": whose,
            "commercial_use": "ask",
            "training_data": [whose],
        }
    if adapter is not None:
        changes["limits"] = [limit for limit in card.limits if WITHOUT_ADAPTER not in limit]
    return Imported(card.model_copy(update=changes), state)
