"""Import a SAM 3 checkpoint in the hub's layout with transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from torch import Tensor

from lexiseg_model.cards import BackgroundRule, InputSize, ModelCard, PanopticRule
from lexiseg_model.catalogue.importing import Imported, ImportOptions, imported_from
from lexiseg_model.catalogue.transformers_model import (
    flat_state,
    model_type,
    plain_config,
    read_pretrained,
    require_transformers,
)
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.sam3.network import NAME, TRACKER, Sam3Settings, classes_of

TEXT_TOKENS = 32  # of Sam3Processor
HUB = "facebook/sam3"
FETCH = f"`hf download {HUB} --exclude '*.pt' --local-dir FOLDER`, after accepting its licence, and import FOLDER"


class Options(ImportOptions):
    """`checkpoint` is a folder as `facebook/sam3` on the hub: config.json, model.safetensors, the processor's files."""

    checkpoint: Path = Field(description="folder of a SAM 3 as the hub has it, which you may use by its licence")


def read(options: Options) -> Imported:
    """Read the weights, the tokenizer, and the image processor's input size and normalisation."""
    require_transformers(NAME)
    from transformers import Sam3Processor  # optional, and slow to import

    folder = options.checkpoint
    _refuse_original_layout(folder)
    model, tracker, tracker_state = _networks(folder)
    processor = read_pretrained(folder, Sam3Processor, NAME)
    images = processor.image_processor
    size = images.size
    if size["height"] != size["width"] or size["height"] != model.config.image_size:
        raise WeightsError(f"{folder}: the processor makes {size}; expected squares of {model.config.image_size}")
    if processor.tokenizer.pad_token_id is None:
        raise WeightsError(f"{folder}: the tokenizer has no padding")
    settings = Sam3Settings(
        config=plain_config(model.config.to_dict()),
        tracker=tracker,
        side=size["height"],
        mean=images.image_mean,
        std=images.image_std,
        tokens=TEXT_TOKENS,
        padding=processor.tokenizer.pad_token_id,
    )
    card = _card(settings, folder, int(model.text_projection.out_features))
    return Imported(card, flat_state(model, processor.tokenizer) | tracker_state)


def _networks(folder: Path) -> tuple[Any, dict[str, Any] | None, dict[str, Tensor]]:
    """The detector, and the tracker's configuration and weights if the folder has one."""
    from transformers import Sam3VideoModel  # optional, and slow to import

    kind = model_type(folder)
    if kind != "sam3_video":
        return read_pretrained(folder, classes_of(kind)[1], NAME), None, {}
    model = read_pretrained(folder, Sam3VideoModel, NAME)
    tracker_state = {name: value for name, value in flat_state(model).items() if name.startswith(TRACKER)}
    return model.detector_model, plain_config(model.config.tracker_config.to_dict()), tracker_state


def _refuse_original_layout(path: Path) -> None:
    files = [path] if path.is_file() else sorted(path.glob("sam3*.pt"))
    if not files or (path / "config.json").is_file():
        return
    name = files[0].name
    if "3.1" in name:
        raise WeightsError(f"{name}: SAM 3.1 has no transformers layout and is not served; use {HUB}: {FETCH}")
    raise WeightsError(f"{name} is in the layout of Meta's own code; use that of the hub: {FETCH}")


def _card(settings: Sam3Settings, folder: Path, width: int) -> ModelCard:
    promptable = settings.tracker is not None
    return ModelCard(
        name="sam3",
        version="1",
        method="sam3",
        summary="SAM 3 from a checkpoint of yours: every word finds its instances, and words compete for pixels.",
        tasks=["semantic", "instance", "panoptic", *(("prompt",) if promptable else ())],
        licence="that of the imported weights; Meta's are under the SAM License, accepted by whoever fetches them",
        training_data=["that of the imported weights"],
        lineage=imported_from(folder),
        input=InputSize(short_side=settings.side, long_side=settings.side, multiple=settings.side),
        embedding=width,
        text_tower="SAM 3's own",
        phrases=True,
        background=BackgroundRule(words=[], same_meaning=1.0),
        panoptic=PanopticRule(source="regions", score=settings.probability, overlap=0.5),
        refinements=["none"],
        precision="exact",
        settings=settings.model_dump(mode="json"),
        limits=[
            "A pass of the decoder for each word: a long list takes long, and longer on a CPU.",
            "One size of input: max_side changes nothing, and features of an image take tens of megabytes.",
            "A class by example is shown by boxes in the picture that is asked about alone.",
            *(() if promptable else ("The weights have no tracker: clicks and boxes are no prompts for one thing.",)),
        ],
        weights_sha256=None,
    )
