"""Open-vocabulary segmentation models: images and text classes in, masks out. Independent of the service.

The names below are the interface for methods of others, with `lexiseg_model.testing`, the suite that they pass;
docs/versions.md says how long they stay. Names are imported when they are used: some need torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexiseg_model.catalogue.importing import Imported, ImportOptions, own_card
    from lexiseg_model.catalogue.models import load, read_card
    from lexiseg_model.errors import (
        ExamplesError,
        ModelError,
        OptionError,
        ShapeError,
        TaskError,
        WeightsError,
    )
    from lexiseg_model.features import Features, InferenceOptions, Layout, Plan, TileFeatures, encode_each, picture_size
    from lexiseg_model.resources.device import Execution
    from lexiseg_model.segmenter import (
        Examples,
        ExampleVectors,
        Guided,
        Places,
        PromptMasks,
        Prompts,
        Proposals,
        Proposing,
        Regions,
        RowsOf,
        Segmenter,
        TextBank,
        TextRows,
        Words,
    )
    from lexiseg_model.tasks import Options, segment
    from lexiseg_model.types import (
        Background,
        ClassEntry,
        ModelCard,
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
    "errors", "types", "features", "resources.device", "segmenter", "tasks", "catalogue.models", "catalogue.importing",
)  # fmt: skip

__all__ = [
    "Background",
    "ClassEntry",
    "ExampleVectors",
    "Examples",
    "ExamplesError",
    "Execution",
    "Features",
    "Guided",
    "ImportOptions",
    "Imported",
    "InferenceOptions",
    "Layout",
    "ModelCard",
    "ModelError",
    "OptionError",
    "Options",
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
    "TileFeatures",
    "Vocabulary",
    "WeightsError",
    "Words",
    "encode_each",
    "load",
    "own_card",
    "picture_size",
    "read_card",
    "segment",
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
