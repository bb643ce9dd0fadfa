"""Recipes and trainings of Unpair-Seg: masks without class names (stage one), then their alignment with words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from lexiseg_model.cards import StrictModel
from lexiseg_model.methods.unpair_seg.settings import ARCHITECTURE, PROPOSALS, Compatibility, ProposalSettings
from lexiseg_train.data.labelling.entities import LISTING
from lexiseg_train.training.recipe import CaptionsRecipe, RunRecipe
from lexiseg_train.training.recipes.prerequisites import PUBLIC, lacks_pairs, lacks_prerequisite
from lexiseg_train.training.recipes.training import Prerequisite, Training, code_at

HERE = "lexiseg_train.methods.unpair_seg"


class PointSettings(StrictModel):
    """Points at which the mask losses are taken, as in Mask2Former."""

    points: int = Field(12_544, ge=1, description="points for each mask")
    oversample: float = Field(3.0, ge=1, description="candidates for each point, of which the unsure ones are taken")
    importance: float = Field(0.75, ge=0, le=1, description="share of points chosen so; the rest lies anywhere")


class AlignmentSettings(StrictModel):
    """Matching settings that the paper does not state."""

    # Of unused entries of the released configuration.
    sizes: tuple[int, ...] = Field(
        (896, 1024), min_length=1, description="longer sides of the image in pixels, over which CLIP's view is averaged"
    )
    adapter_share: float = Field(0.5, ge=0, le=1, description="share of the adapter at the end; it grows from 0")


class DecoderSize(StrictModel):
    """Sizes of the learned part of stage one; the defaults are the published model's."""

    width: int = Field(256, ge=32, multiple_of=32)
    heads: int = Field(8, ge=1)
    encoder_layers: int = Field(6, ge=1)
    encoder_feed_forward: int = Field(1024, ge=1)
    decoder_layers: int = Field(9, ge=1)
    decoder_feed_forward: int = Field(2048, ge=1)


class CropSettings(StrictModel):
    """Random crops of masked photographs: mirroring, size, colours, and position."""

    scale: tuple[float, float] = Field((0.8, 1.2), description="range of factors of the photograph that fits the crop")
    mirrored: float = Field(0.5, ge=0, le=1)
    colours: bool = Field(True, description="brightness, contrast and saturation change (SSD's)")
    min_share: float = Field(1e-4, ge=0, lt=1, description="share of the crop that an object must have")
    max_share: float = Field(0.8, gt=0, le=1, description="share of the crop that an object must not exceed")
    objects: int = Field(40, ge=1, description="most objects of a crop; which ones is drawn")


class PromptSettings(StrictModel):
    """Prompts per crop; each kind has a loss, and the losses are summed."""

    grid: int = Field(10, ge=0, description="points along each side; 0: none")
    boxes: int = Field(16, ge=0, description="tight boxes of objects")
    several: int = Field(16, ge=0, description="objects that are asked by several points")
    points: int = Field(3, ge=2, description="points of each object: the first on it, others on it or off it")

    @model_validator(mode="after")
    def _ask_something(self) -> Self:
        if not (self.grid or self.boxes or self.several):
            raise ValueError("grid, boxes and several are all 0; nothing would be asked")
        return self


class MasksRecipe(RunRecipe):
    """Recipe of stage one: promptable masks over a frozen CLIP, from masks without class names."""

    out: Path = Path("runs/unpair-seg-masks")
    sets: list[str] = Field(min_length=1, description="data sets below `data` whose masks are learned from")
    split: str = Field("train", description="split of each set")
    judged: dict[str, int] = Field({}, description="data set -> photographs of its val split that are measured on")
    architecture: str = Field(ARCHITECTURE, description="open_clip's name of the CLIP, a ConvNeXt")
    clip: list[Path] = Field([], description="files of its towers; none: from the hub")
    clip_recipe: str | None = Field(None, description="trained first where the file of `clip` is not there yet")
    clip_tag: str = Field("laion2b_s29b_b131k_ft_soup", description="tag of the hub's weights")
    size: DecoderSize = DecoderSize()
    crops: CropSettings = CropSettings()
    prompts: PromptSettings = PromptSettings()
    points: PointSettings = PointSettings()
    matching: Compatibility = Field("released", description="matching of points and objects; see prompt_matching")
    mismatched: bool = Field(False, description="masks of other photographs: a control, which learns no picture")


class AdapterSize(StrictModel):
    """Sizes of stage two's adapter, which the paper does not state."""

    width: int = Field(256, ge=32, multiple_of=32)
    blocks: int = Field(2, ge=1, description="residual convolutions")


class AlignRecipe(CaptionsRecipe):
    """Recipe of stage two: an adapter for regions, from captioned photographs with known entities."""

    out: Path = Path("runs/unpair-seg-align")
    entities: Path | None = Field(None, description="their listing; null: entities.jsonl beside the first of them")
    stage_one: Path = Field(description="weights of stage one, with CLIP's towers or without")
    stage_one_recipe: str | None = Field(None, description="trained first where `stage_one` is not there yet")
    architecture: str = Field(ARCHITECTURE, description="open_clip's name of the CLIP, a ConvNeXt")
    clip: list[Path] = Field([], description="files of its towers where stage one comes without them")
    text: str = Field("a photo of a {}.", description="template that an entity is put into before it is encoded")
    adapter: AdapterSize = AdapterSize()
    matching: AlignmentSettings = AlignmentSettings()
    proposals: ProposalSettings = Field(PROPOSALS, description="masks that stage one finds")
    regions: int = Field(100, ge=1, description="most regions of a photograph, the best ones")
    momentum: float = Field(0.999, ge=0, le=1, description="momentum of the average adapter, which matches, too")
    mirrored: float = Field(0.5, ge=0, le=1, description="share of photographs")

    @property
    def listing(self) -> Path:
        return self.entities or self.data / self.pairs[0] / LISTING


class MasksTraining(Training[MasksRecipe]):
    recipe = MasksRecipe

    at = code_at(f"{HERE}.masks_trainer", "MasksTrainer", "publish_masks")

    def start(self, recipe: MasksRecipe) -> str:
        clip = ", ".join(map(str, recipe.clip)) or f"open_clip's {recipe.clip_tag}"
        return f"random weights over the frozen CLIP of {clip}"

    def lacks(self, recipe: MasksRecipe) -> str | None:
        absent = [str(recipe.data / name) for name in recipe.sets if not (recipe.data / name).exists()]
        if absent:
            where = "say where with data=FOLDER sets=[NAME]"
            return f"there are no masks at {', '.join(absent)}; {where}; {PUBLIC} says how to get SA-1B"
        if recipe.clip_recipe is None and (lack := _without_clip(recipe.clip)) is not None:
            return lack
        return lacks_prerequisite(self.prerequisites(recipe), recipe)

    def prerequisites(self, recipe: MasksRecipe) -> list[Prerequisite]:
        return Prerequisite.if_named("clip", recipe.clip[0] if recipe.clip else None, recipe.clip_recipe)


class AlignTraining(Training[AlignRecipe]):
    recipe = AlignRecipe

    at = code_at(f"{HERE}.align_trainer", "AlignTrainer", "publish_aligned")

    def start(self, recipe: AlignRecipe) -> str:
        return f"an adapter that says what CLIP says, over stage one of {recipe.stage_one}"

    def lacks(self, recipe: AlignRecipe) -> str | None:
        if (lack := lacks_pairs(recipe.data, recipe.pairs)) is not None:
            return lack
        if (lack := lacks_prerequisite(self.prerequisites(recipe), recipe)) is not None:
            return lack
        if recipe.stage_one_recipe is None and not recipe.stage_one.exists():
            return f"there is no stage one at {recipe.stage_one}; `lexiseg train unpair-seg-masks` makes one"
        if not recipe.listing.exists():
            command = f"lexiseg data entities {recipe.data / recipe.pairs[0]} {recipe.listing}"
            return f"there are no entities at {recipe.listing}; `{command}` finds them"
        return _without_clip(recipe.clip)

    def prerequisites(self, recipe: AlignRecipe) -> list[Prerequisite]:
        return Prerequisite.if_named("stage_one", recipe.stage_one, recipe.stage_one_recipe)


TRAININGS: dict[str, Training[Any]] = {"unpair-seg-masks": MasksTraining(), "unpair-seg-align": AlignTraining()}


def _without_clip(files: Sequence[Path]) -> str | None:
    absent = [str(path) for path in files if not path.exists()]
    if not absent:
        return None
    command = "lexiseg train clip-convnext-smoke"
    return f"there is no CLIP at {', '.join(absent)}; `{command}` makes a small one"
