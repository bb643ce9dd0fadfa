"""The authors' `tcl.pth` over OpenAI's ViT-B/16, as a model directory."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.clip.towers import from_files
from lexiseg_model.errors import OptionError
from lexiseg_model.importing import Imported, ImportOptions, imported_from, own_card
from lexiseg_model.methods.tcl.checkpoint import ARCHITECTURE, from_official, read_official, restore
from lexiseg_model.weights import told_of


class Options(ImportOptions):
    """`clip` may be missing where `checkpoint`, that of a whole training run, holds the towers."""

    checkpoint: Path = Field(description="the authors' tcl.pth")
    clip: tuple[Path, ...] = Field((), description="CLIP's towers, in one file or two")
    architecture: str = Field(ARCHITECTURE, description=f"open_clip's name of the CLIP, {ARCHITECTURE} alone")

    @property
    def archives(self) -> tuple[Path, ...]:
        return self.clip


def read(options: Options) -> Imported:
    """Towers and grounder.

    Raises:
        WeightsError: a file is missing, damaged, or not what it is taken for.
        OptionError: another architecture than the published one.
    """
    if options.architecture != ARCHITECTURE:
        raise OptionError(f"--architecture {options.architecture}; TCL was published for {ARCHITECTURE} alone")
    official = read_official(options.checkpoint)
    # Whatever CLIP it is, it is served as OpenAI's: one that says it was trained otherwise is refused.
    towers = from_files(ARCHITECTURE, options.clip, quick_gelu=True, allow_torchscript=True) if options.clip else None
    with told_of(options.checkpoint):
        state = from_official(official, None if towers is None else towers.state)
        restore(state)  # shapes are checked before anything is written
    lineage = imported_from(options.checkpoint, *options.clip)
    return Imported(own_card("tcl").model_copy(update={"lineage": lineage}), state)
