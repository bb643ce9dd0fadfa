"""MaskCLIP (Zhou et al., ECCV 2022): the values of CLIP's last block are compared with words."""

from pathlib import Path

from torch import Tensor, nn

from lexiseg_model import (
    Execution,
    ImageTower,
    Imported,
    ModelCard,
    PatchTextSegmenter,
    PatchTextSettings,
    TextTower,
    clip_from_hub,
    clip_from_state,
    heads_of,
    last_block,
    open_weights,
    patch_map,
    prepare_tiles,
    project,
    require_plain_vit,
    settings_of,
    tokens_before_last_block,
)


class Settings(PatchTextSettings):
    """`settings` of a card: windows, templates and thresholds come with the base."""

    architecture: str = "ViT-B-16"


class MaskClipTower(ImageTower):
    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = require_plain_vit(visual)
        self.multiple = self.visual.patch_size[0]

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        images = prepare_tiles(tiles, self.multiple, "clip", self.visual.conv1.weight.dtype)
        tokens, grid = tokens_before_last_block(self.visual, images, "scale_factor")
        block = last_block(self.visual)
        values = heads_of(block.attn, block.ln_1(tokens[:, 1:]), "value").transpose(1, 2).flatten(2)
        vectors = project(self.visual, block.attn.out_proj(values)).float()
        return (patch_map(nn.functional.normalize(vectors, dim=2), grid),)


def require_weights(card: ModelCard) -> Imported:
    """Get OpenAI's weights from the hub, for a card that names none."""
    return Imported(card, clip_from_hub(settings_of(card, Settings).architecture, "openai", model=card.name).state)


def load(folder: Path, card: ModelCard, execution: Execution) -> PatchTextSegmenter:
    card, state, digest = open_weights(folder, card, lambda: require_weights(card))
    settings = settings_of(card, Settings)
    towers = clip_from_state(settings.architecture, state, quick_gelu=True)
    tower, texts = MaskClipTower(towers.visual), TextTower(towers, execution.device)
    return PatchTextSegmenter(tower, texts, settings, card, digest, execution)
