"""Import of TCL as a model directory: the authors' `tcl.pth` over OpenAI's ViT-B/16, or an own training."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.importing import Imported, ImportOptions, imported_from, own_card, terms_of_files
from lexiseg_model.catalogue.weights import naming_files
from lexiseg_model.clip.checkpoint import read_tensors
from lexiseg_model.clip.towers import clip_from_files, configuration, known_architecture
from lexiseg_model.methods.tcl.checkpoint import from_official, prefixes_of, restore
from lexiseg_model.methods.tcl.network import ARCHITECTURE, TclSettings


class Options(ImportOptions):
    """Files to import; `clip` is not needed if `checkpoint` contains the towers."""

    checkpoint: Path = Field(description="the authors' tcl.pth, or one trained here")
    clip: tuple[Path, ...] = Field((), description="CLIP's towers, in one file or two")
    architecture: str = Field(ARCHITECTURE, description=f"open_clip's name of the CLIP; default: {ARCHITECTURE}")

    @property
    def archives(self) -> tuple[Path, ...]:
        return self.clip


def read(options: Options) -> Imported:
    """Read towers and grounder."""
    architecture = known_architecture(options.architecture)
    prefixes_of(architecture)
    official = read_tensors(options.checkpoint)
    # TCL uses OpenAI's activation, so files that state another one are refused.
    towers = (
        clip_from_files(architecture, options.clip, quick_gelu=True, allow_torchscript=True) if options.clip else None
    )
    with naming_files(options.checkpoint):
        state = from_official(official, None if towers is None else towers.state, architecture)
        restore(state, architecture)  # shapes are checked before anything is written
    card = card_over(architecture)
    changes = {"lineage": imported_from(options.checkpoint, *options.clip), **terms_of_files(card)}
    return Imported(card.model_copy(update=changes), state)


def card_over(architecture: str) -> ModelCard:
    """The bundled card, changed for another CLIP than the published one."""
    card = own_card("tcl")
    if architecture == ARCHITECTURE:
        return card
    settings = TclSettings.model_validate(card.settings | {"architecture": architecture})
    return card.model_copy(
        update={
            "summary": f"Text-grounded contrastive learning over a frozen {architecture}.",
            "settings": settings.model_dump(mode="json"),
            "embedding": configuration(architecture)["embed_dim"],
            "text_tower": f"CLIP {architecture}",
        }
    )
