"""Open-vocabulary segmentation models: images and text classes in, masks out. Independent of the service.

The names below are the interface for methods of others, with `lexiseg_model.testing`, the suite that they pass;
docs/versions.md says how long they stay. Names are imported when they are used: some need torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexiseg_model.abilities import (
        Detection,
        Examples,
        ExampleVectors,
        Guided,
        NamedMasks,
        Places,
        PromptMasks,
        Prompts,
        Proposals,
        Proposing,
        Regions,
    )
    from lexiseg_model.cards import ModelCard
    from lexiseg_model.catalogue.available import available
    from lexiseg_model.catalogue.hub import fetch_folder
    from lexiseg_model.catalogue.importing import Imported, ImportOptions, from_own_card, open_weights, own_card
    from lexiseg_model.catalogue.models import load, read_card
    from lexiseg_model.catalogue.weights import naming_files, read_tensor_file, require_tensors, settings_of, under
    from lexiseg_model.clip.dino import DinoTower, dino_from_file, dino_from_hub, dino_from_state
    from lexiseg_model.clip.images import normalise, prepare_tiles
    from lexiseg_model.clip.patch_text import ImageTower, PatchTextSegmenter, PatchTextSettings
    from lexiseg_model.clip.text import TextTower
    from lexiseg_model.clip.text_side import TextSide, WithTexts, template_set
    from lexiseg_model.clip.towers import ClipTowers, clip_from_files, clip_from_hub, clip_from_state, fresh_clip
    from lexiseg_model.clip.vision import (
        embed,
        heads_of,
        last_block,
        patch_map,
        project,
        require_plain_vit,
        tokens_before_last_block,
    )
    from lexiseg_model.clip.windowed import join_windows, place_windows, plan_windows, windows_of
    from lexiseg_model.errors import (
        ExamplesError,
        FieldError,
        ModelError,
        OptionError,
        ShapeError,
        TaskError,
        WeightsError,
    )
    from lexiseg_model.export.exportable import TorchPass
    from lexiseg_model.features import Features, InferenceOptions, Layout, Plan, TileFeatures, encode_each, picture_size
    from lexiseg_model.resources.device import Execution
    from lexiseg_model.segmenter import RowsOf, Segmenter, TextBank, TextRows, Words
    from lexiseg_model.tasks import Options, segment
    from lexiseg_model.tasks.options import check_work
    from lexiseg_model.types import (
        Background,
        ClassEntry,
        Point,
        Prompt,
        Refinement,
        Region,
        Segment,
        Segmentation,
        Vocabulary,
    )

# Where a name is looked for, modules free of torch first.
HOMES = (
    "errors", "types", "cards", "features", "resources.device", "segmenter", "abilities", "tasks", "tasks.options",
    "catalogue.models", "catalogue.importing", "catalogue.weights", "catalogue.available", "catalogue.hub",
    "export.exportable", "clip.images", "clip.patch_text", "clip.text", "clip.text_side", "clip.towers", "clip.vision",
    "clip.windowed", "clip.dino",
)  # fmt: skip

__all__ = [
    "Background",
    "ClassEntry",
    "ClipTowers",
    "Detection",
    "DinoTower",
    "ExampleVectors",
    "Examples",
    "ExamplesError",
    "Execution",
    "Features",
    "FieldError",
    "Guided",
    "ImageTower",
    "ImportOptions",
    "Imported",
    "InferenceOptions",
    "Layout",
    "ModelCard",
    "ModelError",
    "NamedMasks",
    "OptionError",
    "Options",
    "PatchTextSegmenter",
    "PatchTextSettings",
    "Places",
    "Plan",
    "Point",
    "Prompt",
    "PromptMasks",
    "Prompts",
    "Proposals",
    "Proposing",
    "Refinement",
    "Region",
    "Regions",
    "RowsOf",
    "Segment",
    "Segmentation",
    "Segmenter",
    "ShapeError",
    "TaskError",
    "TextBank",
    "TextRows",
    "TextSide",
    "TextTower",
    "TileFeatures",
    "TorchPass",
    "Vocabulary",
    "WeightsError",
    "WithTexts",
    "Words",
    "available",
    "check_work",
    "clip_from_files",
    "clip_from_hub",
    "clip_from_state",
    "dino_from_file",
    "dino_from_hub",
    "dino_from_state",
    "embed",
    "encode_each",
    "fetch_folder",
    "fresh_clip",
    "from_own_card",
    "heads_of",
    "join_windows",
    "last_block",
    "load",
    "naming_files",
    "normalise",
    "open_weights",
    "own_card",
    "patch_map",
    "picture_size",
    "place_windows",
    "plan_windows",
    "prepare_tiles",
    "project",
    "read_card",
    "read_tensor_file",
    "require_plain_vit",
    "require_tensors",
    "segment",
    "settings_of",
    "template_set",
    "tokens_before_last_block",
    "under",
    "windows_of",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in HOMES:
            module = import_module(f"{__name__}.{home}")
            if hasattr(module, name):
                globals()[name] = value = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
