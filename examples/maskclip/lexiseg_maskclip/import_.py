"""`lexiseg models import --method maskclip --clip FILE NAME`."""

from pathlib import Path

from pydantic import Field

from lexiseg_model import Imported, ImportOptions, clip_from_files, from_own_card


class Options(ImportOptions):
    """CLIP's towers, with OpenAI's activation."""

    clip: tuple[Path, ...] = Field(min_length=1, description="CLIP's towers, in one file or two")
    architecture: str = Field("ViT-B-16", description="open_clip's name of the CLIP; default: ViT-B-16")


def read(options: Options) -> Imported:
    """Read the towers, and change the bundled card to what they are."""
    towers = clip_from_files(options.architecture, options.clip, quick_gelu=True)
    width = towers.state["text_projection"].shape[1]
    return from_own_card("maskclip", towers.state, options.clip, {"architecture": towers.architecture}, embedding=width)
